"""`dsrfau-predict` on videos and live sources: what is done with faces over time."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
from calling import call
from streams import MjpegServer

from dsrfau_edge import Baseline, Predictor, StreamOptions
from dsrfau_edge.cli.frame_progress import FrameProgress
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.network import ASSETS
from dsrfau_edge.face_stream import FaceStream

PORTRAIT = ASSETS.parent / "portrait.jpg"


def write_video(path, frames, rate=5):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (256, 256))
    image = cv2.resize(read_image(PORTRAIT), (256, 256), interpolation=cv2.INTER_AREA)
    for index in range(frames):
        writer.write(cv2.convertScaleAbs(image, alpha=1 - 0.02 * (index % 5)))
    writer.release()
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "face.avi", 8)


@pytest.fixture
def predict(tiny_bundle):
    return lambda *arguments: call("predict", "--bundle", tiny_bundle, "--runtime", "onnxruntime", *arguments)


def lines(called):
    assert called.code == 0, called.err
    return [json.loads(line) for line in called.out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], StreamOptions()),
        (["--no-track"], StreamOptions(track=False)),
        (["--no-smooth"], StreamOptions(smoothing=None)),
        (["--detect-every", 2], StreamOptions(detect_every=2)),
        (["--baseline", "online"], StreamOptions(baseline=Baseline())),
    ],
)
def test_a_video_is_what_the_library_says(predict, tiny_bundle, video, arguments, options):
    found = lines(predict(video, "--json", *arguments))
    with Predictor(tiny_bundle, runtime="onnxruntime") as predictor:
        expected = [result.to_dict() for result in predictor.video(video, options)]
    assert found == json.loads(json.dumps(expected))
    assert ("raw" in found[-1]["faces"][0]["aus"]["AU12"]) is (options.track is True)


def test_smoothing_changes_something(predict, video):
    assert predict(video, "--json").out != predict(video, "--json", "--no-smooth").out


def test_a_baseline_is_saved_and_used(predict, tmp_path):
    video = write_video(tmp_path / "long.avi", 14, rate=2)
    saved = tmp_path / "anna.json"
    called = predict(video, "--baseline", "online", "--save-baseline", saved, "--json")
    assert called.code == 1, "frames half a second apart stand for a quarter each: not enough"
    assert not saved.exists()
    assert "no face was seen well for 5 s" in called.err
    video = write_video(tmp_path / "longer.avi", 30, rate=4)
    called = predict(video, "--baseline", "online", "--save-baseline", saved, "--json")
    assert called.code == 0, called.err
    assert f"--baseline {saved}" in called.err
    assert len(json.loads(saved.read_text())["levels"]) == 5
    (first, *_) = lines(predict(video, "--baseline", saved, "--json"))
    assert "neutral" in first["faces"][0]["aus"]["AU12"], "a saved level holds from the first frame on"


def test_a_baseline_that_is_not_saved_hides_no_other_end(predict, video, tmp_path, monkeypatch):
    whole = FaceStream.__call__

    def call(self, frame):
        signal.raise_signal(signal.SIGTERM)
        return whole(self, frame)

    monkeypatch.setattr(FaceStream, "__call__", call)
    called = predict(video, "--baseline", "online", "--save-baseline", tmp_path / "x.json", "--json")
    assert called.code == 143
    assert "no face was seen well" in called.err


def test_csv_has_columns_that_mean_something(predict, video, tmp_path):
    def columns(*arguments):
        rows = list(csv.DictReader(io.StringIO(predict(*arguments, "--format", "csv").out)))
        return rows[-1]

    assert "AU12_raw" not in columns(PORTRAIT)
    assert "AU12_raw" not in columns(video, "--no-track")
    assert columns(video)["AU12_raw"] != ""
    assert "AU12_neutral" not in columns(video)
    row = columns(video, "--baseline", "online")
    assert row["AU12_neutral"] == "", "not known after 1.6 s"
    mixed = columns(video, PORTRAIT)
    assert mixed["AU12_raw"] == ""


def test_a_live_source(predict):
    """It ends by itself, which it may with --no-reconnect."""
    picture = cv2.imencode(".jpg", cv2.resize(read_image(PORTRAIT), (256, 256)))[1].tobytes()
    with MjpegServer(lambda: iter([picture] * 30)) as server:
        found = lines(predict(server.url, "--json", "--no-reconnect"))
    assert found
    assert all(line["latency_ms"] > 0 for line in found)
    assert found[-1]["faces"][0]["aus"]["AU12"]["raw"] >= 0


WRONG = {
    "detect-every 0": (2, ["--detect-every", "0"], "--detect-every"),
    "detect-every x": (2, ["--detect-every", "x"], "--detect-every"),
    "detect-every without tracking": (2, ["--no-track", "--detect-every", "3"], "--no-track"),
    "smooth without tracking": (2, ["--no-track", "--smooth"], "--no-track"),
    "baseline without tracking": (2, ["--no-track", "--baseline", "online"], "--no-track"),
    "baseline that is not there": (5, ["--baseline", "nobody.json"], "nobody.json"),
    "baseline that is none": (5, ["--baseline", "{portrait}"], "neutral baseline"),
    "save-baseline without one": (2, ["--save-baseline", "x.json"], "--baseline online"),
    "save-baseline with a saved one": (2, ["--save-baseline", "x.json", "--baseline", "y.json"], "--baseline online"),
    "save-baseline over the source": (2, ["--save-baseline", "{video}", "--baseline", "online"], "overwrite"),
    "parquet on stdout": (2, ["--format", "parquet"], "-o NAME.parquet"),
    "json and csv": (2, ["--json", "--format", "csv"], "--format csv"),
    "wait for a video": (2, ["--wait"], "live sources"),
    "reconnect to a video": (2, ["--no-reconnect"], "live sources"),
    "every of live": (2, ["http://127.0.0.1:9/x", "--every", "2"], "--every"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values(predict, video, tmp_path, monkeypatch, name):
    code, arguments, words = WRONG[name]
    monkeypatch.chdir(tmp_path)
    called = predict(video, *(argument.format(portrait=PORTRAIT, video=video) for argument in arguments))
    assert called.code == code, called.err
    assert words in called.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [["--no-track"], ["--detect-every", 3], ["--smooth"], ["--no-smooth"], ["--baseline", "online"], ["--wait"]],
)
def test_pictures_take_no_options_that_would_do_nothing(predict, arguments):
    called = predict(PORTRAIT, *arguments)
    assert called.code == 2
    assert f"{arguments[0]} is about" in called.err


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_progress_tells_rate_and_time_left():
    clock = Clock()
    progress = FrameProgress(wanted=False, clock=clock)
    progress.begin("clip.mp4", lambda: 1000)
    for _ in range(100):
        progress.step()
    assert progress.text(4.0) == "100/1000 frames, 25.0 fps, 0:00:36 left · clip.mp4"
    progress.begin("camera 0", None)
    progress.step()
    assert progress.text(5.0) == "1 frames, 0.2 fps · camera 0"
    progress.begin("lies.mp4", lambda: 1)
    progress.step()
    progress.step()
    assert "left" not in progress.text(10.0), "a container may announce too few"


def test_progress_is_for_terminals(monkeypatch, capsys):
    clock = Clock()
    for terminal in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal, raising=False)
        progress = FrameProgress(wanted=True, clock=clock)
        progress.begin("clip.mp4", lambda: 10)
        clock.now += 1.0
        progress.step()
        assert ("clip.mp4" in capsys.readouterr().err) is terminal


def test_an_empty_picture_list_says_so(predict, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    assert predict(tmp_path, "--json").code == 5


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_live_source(tiny_bundle, tmp_path, number, code):
    """Also one that waits for a camera that gives nothing any more."""
    picture = cv2.imencode(".jpg", cv2.resize(read_image(PORTRAIT), (256, 256)))[1].tobytes()
    hold = threading.Event()

    def parts():
        yield from [picture] * 20
        hold.wait(60)

    with MjpegServer(parts) as server:
        program = [sys.executable, "-c", "from dsrfau_edge.cli.main import predict_main as m; m()"]
        arguments = [server.url, "--bundle", tiny_bundle, "--runtime", "onnxruntime", "--json"]
        outputs = ["--plot", tmp_path / "p.png"]
        process = subprocess.Popen([*program, *arguments, *outputs], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        found = [process.stdout.readline()]
        time.sleep(1.0)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        hold.set()
    found += out.splitlines()
    assert process.returncode == code, err
    assert all(json.loads(line)["latency_ms"] >= 0 for line in found)
    assert (tmp_path / "p.png").exists()


def test_a_reader_that_has_had_enough(tiny_bundle, video):
    program = [sys.executable, "-c", "from dsrfau_edge.cli.main import predict_main as m; m()"]
    arguments = [video, video, video, "--bundle", tiny_bundle, "--runtime", "onnxruntime", "--json"]
    process = subprocess.Popen([*program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert b"Traceback" not in err
    assert b"defect" not in err
