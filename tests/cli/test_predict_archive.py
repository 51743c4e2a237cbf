"""`dsrfau-predict` on archives of videos: resumed, on one machine or on a Ray cluster, with the same bytes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from calling import call

from dsrfau_edge.cli.archive_state import STATE
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.network import ASSETS

PORTRAIT = ASSETS.parent / "portrait.jpg"
MAIN = [sys.executable, "-c", "from dsrfau_edge.cli.main import predict_main as m; m()"]


def write_video(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (256, 256))
    image = cv2.resize(read_image(PORTRAIT), (256, 256), interpolation=cv2.INTER_AREA)
    for index in range(frames):
        writer.write(cv2.convertScaleAbs(image, alpha=1 - 0.03 * (index % 4)))
    writer.release()
    return path


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "videos"
    for name, frames in (("2.avi", 3), ("10.avi", 4), ("deep/er/2.avi", 5)):
        write_video(folder / name, frames)
    (folder / "notes.txt").write_text("no video")
    return folder


@pytest.fixture
def predict(tiny_bundle):
    return lambda *arguments: call("predict", "--bundle", tiny_bundle, "--runtime", "onnxruntime", *arguments)


def tree(folder):
    """Contents by name, without the state."""
    files = [path for path in folder.rglob("*") if path.is_file() and STATE not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_result_file_a_video(predict, archive, tmp_path):
    out = tmp_path / "results"
    called = predict(archive, "-o", out)
    assert called.code == 0, called.err
    assert sorted(tree(out)) == ["10.avi.jsonl", "2.avi.jsonl"]
    assert "2 of 2 videos are done" in called.err
    called = predict(archive, "-o", out, "--recursive", "--plot", tmp_path / "plots")
    assert called.code == 0, called.err
    assert sorted(tree(out)) == ["10.avi.jsonl", "2.avi.jsonl", "deep/er/2.avi.jsonl"]
    assert sorted(tree(tmp_path / "plots")) == ["10.avi.png", "2.avi.png", "deep/er/2.avi.png"]
    alone = predict(archive / "10.avi", "--json").out
    assert (out / "10.avi.jsonl").read_text() == alone, "the same as of the video alone"


def made_at(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.*") if STATE not in path.parts}


def test_what_is_finished_is_skipped(predict, archive, tmp_path):
    out = tmp_path / "results"
    predict(archive, "-o", out, "--format", "csv")
    before = made_at(out)
    predict(archive, "-o", out, "--format", "csv")
    assert made_at(out) == before
    (out / "2.avi.csv").write_text("cut")  # damaged: made again
    write_video(archive / "10.avi", 6)  # another video: made again
    assert predict(archive, "-o", out, "--format", "csv").code == 0
    assert len((out / "2.avi.csv").read_text().splitlines()) == 4
    assert len((out / "10.avi.csv").read_text().splitlines()) == 7
    before = made_at(out)
    assert predict(archive, "-o", out, "--format", "csv", "--redo").code == 0
    assert all(made_at(out)[name] > at for name, at in before.items())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--no-smooth"], "stream"),
        (["--aus", "12"], "aus"),
        (["--every", 2], "every"),
        (["--max-faces", 1], "max_faces"),
        (["--baseline", "online"], "stream"),
    ],
)
def test_other_options_are_not_skipped_silently(predict, archive, tmp_path, arguments, told):
    out = tmp_path / "results"
    predict(archive, "-o", out)
    before = tree(out)
    called = predict(archive, "-o", out, *arguments)
    assert called.code == 2
    assert f"made otherwise ({told}: " in called.err
    assert "--redo" in called.err
    assert tree(out) == before
    assert predict(archive, "-o", out, "--redo", *arguments).code == 0
    assert predict(archive, "-o", out, *arguments).code == 0


def test_unreadable_videos_are_told_and_the_others_done(predict, archive, tmp_path):
    (archive / "1.mp4").write_bytes(b"dear diary")
    (archive / "3.avi").write_bytes((archive / "2.avi").read_bytes()[:200])
    called = predict(archive, "-o", tmp_path / "results")
    assert called.code == 5
    assert "1.mp4" in called.err
    assert "3.avi" in called.err
    assert "2 inputs could not be read" in called.err
    assert sorted(tree(tmp_path / "results")) == ["10.avi.jsonl", "2.avi.jsonl"]


def test_a_killed_run_loses_one_video(tiny_bundle, predict, tmp_path):
    archive, out = tmp_path / "videos", tmp_path / "results"
    for number in range(3):
        write_video(archive / f"{number}.avi", 40)
    write_video(archive / "3.avi", 3000)
    arguments = [archive, "--bundle", tiny_bundle, "--runtime", "onnxruntime", "-o", out, "--format", "csv"]
    process = subprocess.Popen([*MAIN, *arguments], stderr=subprocess.PIPE)
    for _ in range(600):
        if (out / STATE / "done" / "2.avi.json").exists():
            break
        time.sleep(0.1)
    time.sleep(0.5)  # it is at the long one
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert sorted(tree(out)) == ["0.avi.csv", "1.avi.csv", "2.avi.csv"]
    assert any((out / STATE / "scratch").iterdir()), "it was in the middle of the fourth"
    before = made_at(out)
    write_video(archive / "3.avi", 3)
    called = predict(*arguments)
    assert called.code == 0, called.err
    assert len((out / "3.avi.csv").read_text().splitlines()) == 4
    assert {name: at for name, at in made_at(out).items() if name in before} == before
    assert not list((out / STATE / "scratch").iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_no_half_result(tiny_bundle, tmp_path, number, code):
    archive, out = tmp_path / "videos", tmp_path / "results"
    write_video(archive / "0.avi", 3)
    write_video(archive / "1.avi", 3000)
    arguments = [archive, "--bundle", tiny_bundle, "--runtime", "onnxruntime", "-o", out]
    process = subprocess.Popen([*MAIN, *arguments], stderr=subprocess.PIPE)
    for _ in range(600):
        if (out / STATE / "done" / "0.avi.json").exists():
            break
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert sorted(tree(out)) == ["0.avi.jsonl"]
    assert not list((out / STATE / "scratch").iterdir())


def test_two_runs_do_not_meet(tiny_bundle, predict, tmp_path):
    archive, out = tmp_path / "videos", tmp_path / "results"
    write_video(archive / "0.avi", 2000)
    arguments = [archive, "--bundle", tiny_bundle, "--runtime", "onnxruntime", "-o", out]
    process = subprocess.Popen([*MAIN, *arguments], stderr=subprocess.PIPE)
    try:
        for _ in range(600):
            if (out / STATE / "scratch").exists():
                break
            time.sleep(0.1)
        called = predict(*arguments)
        assert called.code == 1
        assert "Another dsrfau-predict" in called.err
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_ray_gives_the_same_bytes(tiny_bundle, predict, archive, tmp_path):
    pytest.importorskip("ray", reason="needs the extra ray")
    (archive / "1.mp4").write_bytes(b"dear diary")
    options = ["--recursive", "--baseline", "online", "--aus", "12,25"]
    for form in ("jsonl", "parquet") if _has("pyarrow") else ("jsonl",):
        here, there = tmp_path / f"here-{form}", tmp_path / f"there-{form}"
        plots = ["--plot", tmp_path / f"plots-here-{form}"], ["--plot", tmp_path / f"plots-there-{form}"]
        assert predict(archive, "-o", here, "--format", form, *options, *plots[0]).code == 5
        called = predict(archive, "-o", there, "--format", form, *options, *plots[1], "--engine", "ray")
        assert called.code == 5
        assert "1.mp4" in called.err
        assert len(tree(here)) == 3
        assert tree(here) == tree(there)
        assert tree(plots[0][1]) == tree(plots[1][1])
        before = made_at(there)
        predict(archive, "-o", there, "--format", form, *options, *plots[1])
        assert made_at(there) == before, "what a cluster has done is done here too"


def _has(name):
    import importlib.util

    return importlib.util.find_spec(name) is not None


WRONG = {
    "no folder to write to": (2, ["{archive}", "--recursive"], "-o FOLDER"),
    "redo of a picture": (2, ["{portrait}", "--redo"], "-o FOLDER"),
    "a file to write to": (2, ["{archive}", "--recursive", "-o", "{portrait}"], "is a file"),
    "waited for": (2, ["{archive}", "-o", "new", "--wait"], "live sources"),
    "drawn": (2, ["{archive}", "-o", "new", "--draw", "drawn"], "single videos"),
    "sent": (2, ["{archive}", "-o", "new", "--send", "unix:x"], "single videos"),
    "in Rerun": (2, ["{archive}", "-o", "new", "--rerun", "x.rrd"], "single videos"),
    "baseline saved": (
        2, ["{archive}", "-o", "new", "--baseline", "online", "--save-baseline", "x.json"], "single videos",
    ),
    "to robots": (2, ["{archive}", "-o", "new", "--mcap", "x.mcap"], "single videos"),
    "one plot": (2, ["{archive}", "-o", "new", "--plot", "x.png"], "folder"),
    "Ray's address alone": (2, ["{archive}", "-o", "new", "--ray-address", "localhost:6379"], "--engine ray"),
    "unknown engine": (2, ["{archive}", "-o", "new", "--engine", "slurm"], "ray"),
    "unknown AU": (2, ["{archive}", "-o", "new", "--aus", "6"], "AU04, AU12, AU25"),
    "no Ray there": (3, ["{archive}", "-o", "new", "--engine", "ray", "--ray-address", "127.0.0.1:1"], "No Ray"),
    "no videos": (5, ["{empty}", "-o", "new", "--recursive"], "holds no videos"),
    "no such folder": (5, ["{archive}/nowhere", "-o", "new", "--recursive"], "no file or folder"),
    "a picture": (5, ["{portrait}", "-o", "new", "--recursive"], "no video"),
    "two of one name": (2, ["{archive}/2.avi", "{archive}/deep/er/2.avi", "{archive}", "-o", "new"], "both write"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values(predict, archive, tmp_path, monkeypatch, name):
    code, arguments, words = WRONG[name]
    empty = tmp_path / "empty"
    empty.mkdir()
    portrait = shutil.copy(PORTRAIT, tmp_path / "portrait.jpg")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    called = predict(*(argument.format(archive=archive, empty=empty, portrait=portrait) for argument in arguments))
    assert called.code == code, called.err
    assert words in called.err
    assert not tree(tmp_path / "cwd")
    assert (tmp_path / "portrait.jpg").read_bytes() == PORTRAIT.read_bytes()


def test_the_state_says_how_it_was_made(predict, archive, tmp_path):
    predict(archive, "-o", tmp_path / "out")
    state = json.loads((tmp_path / "out" / STATE / "done" / "2.avi.json").read_text())
    assert state["frames"] == 3
    assert state["settings"]["runtime"] == "onnxruntime"
    assert state["settings"]["aus"] == ["AU04", "AU12", "AU25"]
    assert (tmp_path / "out" / "2.avi.jsonl").stat().st_size == state["result_bytes"]
    assert np.isfinite(state["settings"]["stream"]["forget_after"])
