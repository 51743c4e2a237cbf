"""Runs: the same bytes for any number of workers, continued where they were stopped, nothing lost without a record."""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_trees import bp4d, disfa, nobody, table, write_labels, write_picture

from dsrfau_edge.errors import DataError, DsrfauError
from dsrfau_edge.train.data.preparation import bp4d as bp4d_kind
from dsrfau_edge.train.data.preparation import disfa as disfa_kind
from dsrfau_edge.train.data.preparation import plan as planning
from dsrfau_edge.train.data.preparation import table as table_kind
from dsrfau_edge.train.data.preparation.options import Options
from dsrfau_edge.train.data.preparation.plan import Plan
from dsrfau_edge.train.data.preparation.run import prepare
from dsrfau_edge.train.data.preparation.summary import summarise
from dsrfau_edge.train.data.prepared import load_prepared


def digests(folder: Path) -> dict[str, str]:
    """What each file of a set holds."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SHARD", 2)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two sequences of stills; in the third shard there is no face at all."""
    root = bp4d(bp4d(tmp_path / "set", "F001_T1", (1, 2, 3, 4, 5)), "M002_T1", (1, 2))
    for name in ("F001/T1/0005.jpg", "M002/T1/0001.jpg"):
        write_picture(root / name, nobody())
    return root


@pytest.mark.usefixtures("small_shards")
def test_any_number_of_workers_makes_the_same_and_lost_shards_are_made_again(tmp_path: Path, tree: Path) -> None:
    plan = bp4d_kind.plan(tree, Options())
    told: list[int] = []
    one = prepare(plan, tmp_path / "a", workers=1, on_pictures=told.append)
    two = prepare(plan, tmp_path / "b", workers=2)
    assert sum(told) == plan.count == 7
    assert one == two
    assert [shard.count for shard in one.index.shards] == [2, 2, 1]
    assert [shard.file for shard in one.index.shards] == [f"shard-00000{number}.tar" for number in (0, 1, 3)]
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    before = digests(tmp_path / "a")
    (tmp_path / "a" / "shard-000000.tar").unlink()
    (tmp_path / "a" / "shard-000001.tar").write_bytes(b"damaged")
    (tmp_path / "a" / "shard-000003.tar.1.part").write_bytes(b"half")
    found: list[int] = []
    assert prepare(plan, tmp_path / "a", workers=1, on_found=found.append) == one
    assert found == [3]  # two lost, one made
    assert digests(tmp_path / "a") == before


def test_a_folder_of_another_plan_is_refused(tmp_path: Path, tree: Path) -> None:
    prepare(bp4d_kind.plan(tree, Options()), tmp_path / "out", workers=1)
    with pytest.raises(DataError, match="quality"):
        prepare(bp4d_kind.plan(tree, Options(quality=90)), tmp_path / "out", workers=1)
    write_labels(tree / "AU-INT" / "AU12" / "F001_T1_AU12.csv", "1,5\n2,5\n")
    with pytest.raises(DataError, match="pictures_sha256"):
        prepare(bp4d_kind.plan(tree, Options()), tmp_path / "out", workers=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "shard-000000.tar").write_bytes(b"")
    with pytest.raises(DataError, match="not begun here"):
        prepare(bp4d_kind.plan(tree, Options()), tmp_path / "other", workers=1)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        prepare(bp4d_kind.plan(tree, Options()), tmp_path / "file", workers=1)


def test_no_face_anywhere_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    table(tmp_path / "faces", "path,subject,AU12\na.jpg,x,1\nb.jpg,x,1\n")
    write_picture(tmp_path / "faces" / "a.jpg", nobody())
    (tmp_path / "faces" / "b.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="no face: 1, unreadable picture: 1"):
        prepare(table_kind.plan(tmp_path / "faces", Options()), tmp_path / "out", workers=1)
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_dead_worker_is_an_error_and_the_rest_is_made_next_time(tmp_path: Path, tree: Path) -> None:
    plan = bp4d_kind.plan(tree, Options())

    def kill(count: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(DsrfauError, match="preparing process died"):
        prepare(plan, tmp_path / "out", workers=1, on_pictures=kill)
    assert not multiprocessing.active_children()
    assert prepare(plan, tmp_path / "out", workers=1).index.count == 5


def test_what_is_made_is_what_training_reads(tmp_path: Path, tree: Path) -> None:
    prepare(bp4d_kind.plan(tree, Options()), tmp_path / "bp4d", workers=1)
    root = disfa(disfa(tmp_path / "disfa_set", "SN001", 3), "SN002", 3)
    prepare(disfa_kind.plan(root, Options()), tmp_path / "disfa", workers=1)
    data = load_prepared([tmp_path / "bp4d", tmp_path / "disfa"])
    assert [source["kind"] for source in data.sources] == ["bp4d", "disfa"]
    assert data.sets.tolist() == [0] * 5 + [1] * 6
    assert {data.identities[position] for position in data.split("train", held_out=0.2, protocol="fera2015")} >= {
        "bp4d-F001"
    }
    assert set(data.identities[data.split("held-out", held_out=0.2, protocol="fera2015")]) == {"bp4d-M002"}
    assert set(data.identities[data.split("held-out", held_out=0.2, protocol="disfa-0")]) == {"disfa-SN001"}
    sites = list(data.index.sites)
    both = data.intensities[:, [sites.index("AU12_left"), sites.index("AU12_right")]]
    np.testing.assert_array_equal(both[:, 0], both[:, 1])
    np.testing.assert_array_equal(both[5:, 0], [1, 2, 3, 1, 2, 3])
    assert np.isnan(data.intensities[5:, sites.index("AU10_left")]).all()
    crop, centres = data.frame(0)
    assert crop.shape == (128, 128, 3)
    labelled = centres[~np.isnan(data.intensities[0])]
    assert ((labelled > 0) & (labelled < 128)).all()


def test_the_summary_says_what_is_there_and_what_is_not(tmp_path: Path, tree: Path) -> None:
    plan = bp4d_kind.plan(tree, Options())
    folder = tmp_path / "out"
    summary = summarise(plan, prepare(plan, folder, workers=1), folder)
    assert summary == json.loads((folder / "summary.json").read_text())
    assert (summary["samples"], summary["subjects"], summary["lost"]) == (5, 2, {"no face": 2})
    assert summary["bands"]["AU12"] == {"0": 1, "A": 2, "B": 1, "C": 1, "D": 0, "E": 0}
    with (folder / "losses.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["source"], row["frame"], row["reason"]) for row in rows] == [
        ("F001/T1/0005.jpg", "5", "no face"),
        ("M002/T1/0001.jpg", "1", "no face"),
    ]
    picture = cv2.imread(str(folder / "preview.jpg"))
    assert picture is not None
    assert picture.shape[1] > picture.shape[0]  # five in a row


STOPPED = """
from dsrfau_edge.train.data.preparation import plan
plan.SHARD = 1
from dsrfau_edge.cli.main import run
from dsrfau_edge.cli.prepare import command
run(command, "prepare")
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_in_the_middle_it_loses_no_finished_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: signal.Signals
) -> None:
    root, out = bp4d(tmp_path / "set", numbers=range(1, 81)), tmp_path / "out"
    started = subprocess.Popen(
        [sys.executable, "-c", STOPPED, "bp4d", str(root), "--workers", "1", "-o", str(out)],
        stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background has it ignored
    )  # fmt: skip
    limit = time.monotonic() + 60
    while not list(out.glob("*.tar")) and time.monotonic() < limit and started.poll() is None:
        time.sleep(0.02)
    os.kill(started.pid, sign)
    said = started.communicate(timeout=20)[1]
    assert started.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[sign]
    assert "Traceback" not in said
    finished = {name: digest for name, digest in digests(out).items() if name.endswith(".tar")}
    assert 0 < len(finished) < 80
    if sign != signal.SIGKILL:
        return
    monkeypatch.setattr(planning, "SHARD", 1)
    plan: Plan = bp4d_kind.plan(root, Options())
    found: list[int] = []
    prepare(plan, out, workers=2, on_found=found.append)
    assert found[0] >= len(finished)
    prepare(plan, tmp_path / "unbroken", workers=1)
    assert digests(out) == digests(tmp_path / "unbroken")
    assert finished.items() <= digests(out).items()
