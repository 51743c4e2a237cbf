"""`dsrfau-predict` to several outputs at once, and what of them is kept whatever happens."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest
from calling import call

from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.network import ASSETS

PORTRAIT = ASSETS.parent / "portrait.jpg"
MAIN = [sys.executable, "-c", "from dsrfau_edge.cli.main import predict_main as m; m()"]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "face.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, (256, 256))
    image = cv2.resize(read_image(PORTRAIT), (256, 256), interpolation=cv2.INTER_AREA)
    for _ in range(6):
        writer.write(image)
    writer.release()
    return path


@pytest.fixture
def predict(tiny_bundle):
    return lambda *arguments: call("predict", "--bundle", tiny_bundle, "--runtime", "onnxruntime", *arguments)


class Inbox:
    """A TCP server that keeps what one client sends."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.content = b""
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        self.peer = f"tcp://127.0.0.1:{self.server.getsockname()[1]}"

    def _serve(self):
        connection, _ = self.server.accept()
        with connection:
            while part := connection.recv(65536):
                self.content += part

    def lines(self):
        self.thread.join(20)
        self.server.close()
        return [json.loads(line) for line in self.content.splitlines()]


def test_everything_at_once(predict, video, tmp_path):
    pytest.importorskip("rerun")
    inbox = Inbox()
    called = predict(
        video, "-o", tmp_path / "out.csv", "--send", inbox.peer, "--draw", tmp_path / "out.mp4",
        "--plot", tmp_path / "out.svg", "--rerun", tmp_path / "out.rrd",
    )  # fmt: skip
    assert (called.code, called.out) == (0, ""), called.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.mp4", "out.rrd", "out.svg"]
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 7, "CSV by the name's ending"
    assert [line["frame"] for line in inbox.lines()] == list(range(6))
    for words in ("6 frames as csv", f"Sent 6 results to {inbox.peer}.", "Drew", "Plotted", "rerun "):
        assert words in called.err


@pytest.mark.parametrize(
    ("name", "begins"),
    [("out.jsonl", b'{"schema"'), ("out.json", b'{"schema"'), ("out.csv", b"source,"), ("out.parquet", b"PAR1"),
     ("out.txt", b"frame "), ("out", b"frame ")],
)  # fmt: skip
def test_the_ending_says_the_form(predict, video, tmp_path, name, begins):
    assert predict(video, "-o", tmp_path / name).code == 0
    assert (tmp_path / name).read_bytes().startswith(begins)
    assert predict(video, "-o", tmp_path / name, "--format", "csv").code == 0
    assert (tmp_path / name).read_bytes().startswith(b"source,")


def test_rerun_alone_starts_a_viewer(predict, video, monkeypatch):
    pytest.importorskip("rerun")
    started = []
    monkeypatch.setattr("rerun.RecordingStream.spawn", lambda self, **named: started.append(os.environ.get("CI")))
    monkeypatch.delenv("CI", raising=False)
    assert predict(video, "--rerun", "--json").code == 0
    assert started == ["1"], "told to send no usage data"
    assert "CI" not in os.environ


def test_a_viewer_that_does_not_start(predict, video, monkeypatch):
    rerun = pytest.importorskip("rerun")

    def fails(self, **named):
        raise RuntimeError("no screen")

    monkeypatch.setattr(rerun.RecordingStream, "spawn", fails)
    called = predict(video, "--rerun", "spawn")
    assert called.code == 1
    assert "--rerun NAME.rrd" in called.err


def test_a_peer_that_is_not_there_changes_nothing_else(predict, video, tmp_path):
    called = predict(video, "--json", "--send", f"unix:{tmp_path / 'nobody'}", "--send", "udp://127.0.0.1:9")
    assert called.code == 0
    assert len(called.out.splitlines()) == 6
    assert "6 dropped; it was never reached" in called.err


def test_plots_of_several_videos(predict, video, tmp_path):
    assert predict(video, video, PORTRAIT, "--plot", tmp_path / "plots").code == 0
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["face-2.png", "face.png"]


def test_no_image_draws_on_black(predict, tmp_path):
    for name, arguments in (("with.png", []), ("without.png", ["--no-image"])):
        assert predict(PORTRAIT, "--draw", tmp_path / name, *arguments).code == 0
    pictures = [cv2.imread(str(tmp_path / name)) for name in ("with.png", "without.png")]
    assert pictures[0].shape == pictures[1].shape
    left = [picture[:, :400] for picture in pictures]
    assert (left[1] == 0).mean() > 0.5, "black but for boxes and heatmaps"
    assert left[1].any()
    assert (left[0] == 0).mean() < 0.3


def test_no_image_leaves_rerun_without_frames(predict, video, tmp_path):
    pytest.importorskip("rerun")
    sizes = []
    for name, arguments in (("with.rrd", []), ("without.rrd", ["--no-image"])):
        assert predict(video, "--rerun", tmp_path / name, *arguments).code == 0
        content = (tmp_path / name).read_bytes()
        sizes.append(content.count(b"\xff\xd8\xff"))
    assert sizes[0] > 0
    assert sizes[1] == 0


def test_no_image_gives_no_result_a_picture(predict, video, tmp_path, monkeypatch):
    pytest.importorskip("rerun")
    from dsrfau_edge.outputs.base import Outputs

    seen = []
    monkeypatch.setattr(Outputs, "write", lambda self, result: seen.append(result))
    predict(video, PORTRAIT, "--no-image", "--rerun", tmp_path / "x.rrd")
    assert len(seen) == 7
    assert all(result.image is None for result in seen)


SEALED = """
import socket, sys
def forbidden(*arguments, **named):
    raise AssertionError("a connection was made")
for name in ("connect", "connect_ex", "sendto", "bind"):
    setattr(socket.socket, name, forbidden)
sys.addaudithook(lambda event, data: forbidden() if event in ("socket.connect", "socket.getaddrinfo") else None)
from dsrfau_edge.cli.main import predict_main
predict_main()
"""


def test_nothing_is_sent(tiny_bundle, video, tmp_path):
    command = [sys.executable, "-c", SEALED, video, PORTRAIT, "--bundle", tiny_bundle, "--runtime", "onnxruntime"]
    outputs = ["-o", "out.csv", "--draw", "drawn", "--plot", "plots"]
    done = subprocess.run([*command, *outputs], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sealed = subprocess.run(
        [*command, "--send", "tcp://127.0.0.1:9"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "a connection was made" in sealed.stderr, "the seal would have told"


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (8_600_000, 8_600_000))  # of which a recording leaves 8 MiB
from dsrfau_edge.cli.main import predict_main
predict_main()
"""


def test_a_disk_that_is_full_ends_the_recording_only(tiny_bundle, tmp_path):
    noise = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    for _ in range(30):
        writer.write(noise.integers(0, 255, (240, 320, 3), np.uint8))
    writer.release()
    command = [sys.executable, "-c", LIMITED, "in.avi", "--bundle", tiny_bundle, "--runtime", "onnxruntime"]
    done = subprocess.run(
        [*command, "--json", "-o", "out.jsonl", "--draw", "out.mp4"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "the recording stops after" in done.stderr
    assert "What it had before is kept" in done.stderr
    assert "Drew" not in done.stderr, "it was said that it failed"
    assert "Wrote out.jsonl: 30 frames" in done.stderr
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 30, "the others go on"
    frames = cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)
    assert 0 < frames < 30


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
def test_a_signal_leaves_whole_files(tiny_bundle, tmp_path, video, signal_name):
    """A real process, at an endless pipe of results that is read slowly."""
    import signal

    big = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(big), cv2.VideoWriter.fourcc(*"MJPG"), 25, (256, 256))
    image = cv2.resize(read_image(PORTRAIT), (256, 256), interpolation=cv2.INTER_AREA)
    for _ in range(2000):
        writer.write(image)
    writer.release()
    fifo = tmp_path / "results"
    os.mkfifo(fifo)
    command = [*MAIN, big, "--bundle", tiny_bundle, "--runtime", "onnxruntime", "--json", "-o", fifo]
    process = subprocess.Popen([*command, "--plot", tmp_path / "p.png"], stderr=subprocess.PIPE, text=True)
    with fifo.open() as results:
        lines = [results.readline()]
        process.send_signal(getattr(signal, signal_name))
        lines += results.readlines()
    _, err = process.communicate(timeout=60)
    assert process.returncode == {"SIGTERM": 143, "SIGINT": 130}[signal_name], err
    assert 1 <= len(lines) < 2000
    assert [json.loads(line)["frame"] for line in lines] == list(range(len(lines)))
    assert cv2.imread(str(tmp_path / "p.png")) is not None


WRONG = {
    "no image, but images": (2, ["--no-image", "--mcap", "x.mcap", "--mcap-images"], "leave out --mcap-images"),
    "send nowhere": (2, ["--send", "somewhere"], "unix:PATH"),
    "send without a port": (2, ["--send", "tcp://host"], "unix:PATH"),
    "second send wrong": (2, ["--send", "unix:x", "--send", "http://host:80"], "unix:PATH"),
    "plot as a JPEG": (2, ["--plot", "x.jpg"], ".svg"),
    "plot into a folder that is not there": (1, ["--plot", "no/x.png"], "No such file"),
    "one plot of two": (2, ["{video}", "--plot", "x.png"], "folder"),
    "rerun before the source": (2, ["--rerun", "{video}"], "sources before --rerun"),
    "rerun in a viewer without a port": (2, ["--rerun", "viewer"], "NAME.rrd"),
    "rerun at nobody's": (1, ["--rerun", "127.0.0.1:1"], "No Rerun viewer answers"),
    "rerun into a folder that is not there": (1, ["--rerun", "no/x.rrd"], "No such file"),
    "unknown format": (2, ["--format", "xml"], "parquet"),
    "output in a folder that is not there": (1, ["-o", "no/x.csv"], "No such file"),
    "parquet in a folder that is not there": (1, ["-o", "no/x.parquet"], "No such file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values(predict, video, tmp_path, monkeypatch, name):
    code, arguments, words = WRONG[name]
    monkeypatch.chdir(tmp_path)
    called = predict(video, *(argument.format(video=video) for argument in arguments))
    assert called.code == code, called.err
    assert words in called.err
    assert not list(tmp_path.iterdir())


def test_plots_of_pictures_make_no_sense(predict, tmp_path):
    called = predict(PORTRAIT, "--plot", tmp_path / "x.png")
    assert called.code == 2
    assert "only pictures" in called.err
