"""`dsrfau-serve`: its options and exit codes, and the whole command as a process that signals end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request

import cv2
import pytest
from calling import call
from streams import MjpegServer, until

from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.network import ASSETS

PORTRAIT = ASSETS.parent / "portrait.jpg"
COMMAND = "from dsrfau_edge.cli.main import serve_main as main; main()"
PLENTY = 60.0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Which camera?"),
        (["0"], 2, "Choose an output"),
        (["0", "--send", "http://x"], 2, "no address to send to"),
        (["0", "--send", "tcp://x"], 2, "no address to send to"),
        (["0", "--record", "aus.jsonl"], 2, "has no {time}"),
        (["0", "--mcap", "aus.mcap"], 2, "has no {time}"),
        (["0", "--stdout", "--mcap-images"], 2, "give --mcap FILE too"),
        (["0", "--stdout", "--domain", "3"], 2, "give --dds too"),
        (["0", "--stdout", "--dds-interface", "lo"], 2, "give --dds too"),
        (["0", "--stdout", "--zenoh-connect", "tcp/x:1"], 2, "give --zenoh KEY too"),
        (["0", "--stdout", "--state", "x"], 2, "no camera learns a neutral baseline"),
        (["0", "--stdout", "--baseline", "none.json"], 5, "There is no file none.json"),
        (["0", "--stdout", "--listen", "x:y"], 2, "no address to listen at"),
        (["0", "--stdout", "--max-faces", "0"], 2, "max-faces"),
        (["0", "--stdout", "--runtime", "abacus"], 2, "abacus"),
        (["0", "--stdout", "--bundle", "nowhere.dsrfau"], 5, "nowhere.dsrfau"),
        (["nowhere.mp4", "--stdout"], 5, "There is no file or folder nowhere.mp4"),
        (["", "--stdout"], 2, "is empty"),
        (["--config", "none.toml"], 2, "none.toml cannot be read"),
        (["--config", "none.toml", "0"], 2, "a SOURCE was given too"),
        (["--config", "none.toml", "--send", "udp://x:1"], 2, "--send was given too"),
        (["--config", "none.toml", "--no-smooth"], 2, "--no-smooth was given too"),
        (["--nonsense"], 2, "No such option"),
    ],
)
def test_mistakes_end_with_their_code_and_words(arguments, code, words):
    called = call("serve", *arguments)
    assert called.code == code
    assert words in called.err
    assert "Traceback" not in called.err


def test_an_address_in_use_ends_it(tiny_bundle):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        called = call("serve", "0", "--bundle", tiny_bundle, "--runtime", "onnxruntime", "--listen", listen)
    assert called.code == 1
    assert "--listen" in called.err


def test_the_help_tells_the_exit_codes():
    called = call("serve", "--help")
    assert called.code == 0
    assert "0 ended by SIGTERM" in called.out


def test_a_file_is_served_to_its_end(tiny_bundle, tmp_path):
    path = tmp_path / "face.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (256, 256))
    image = cv2.resize(read_image(PORTRAIT), (256, 256), interpolation=cv2.INTER_AREA)
    for _ in range(6):
        writer.write(image)
    writer.release()
    called = call(
        "serve", path, "--bundle", tiny_bundle, "--runtime", "onnxruntime", "--record", tmp_path / "a-{time}.jsonl"
    )
    assert called.code == 0, called.err
    (recorded,) = tmp_path.glob("a-*.jsonl")
    results = [json.loads(line) for line in recorded.read_text().splitlines()]
    assert results
    assert {result["source"] for result in results} == {"face.avi"}
    assert list(results[0]["faces"][0]["aus"]) == ["AU04", "AU12", "AU25"]


@pytest.fixture
def camera():
    content = cv2.imencode(".jpg", cv2.resize(read_image(PORTRAIT), (256, 256)))[1].tobytes()

    def parts():
        while True:
            yield content

    with MjpegServer(parts) as server:
        yield server


@pytest.fixture
def served(tiny_bundle, tmp_path):
    """Starts `dsrfau-serve` as a process."""
    running = []

    def start(*arguments, **environment):
        command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def config(tmp_path, tiny_bundle, camera, more=""):
    path = tmp_path / "serve.toml"
    path.write_text(f"""
[predictor]
bundle = "{tiny_bundle}"
runtime = "onnxruntime"
[[camera]]
name = "front"
source = "{camera.url.replace("http://", "http://user:secret@")}"
baseline = "online"
[[output]]
kind = "record"
to = "{tmp_path}/a-{{time}}.jsonl"
{more}""")
    return path


def recorded(tmp_path):
    return [json.loads(line) for path in tmp_path.glob("a-*.jsonl") for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_order(served, tmp_path, tiny_bundle, camera, number, code):
    path = config(tmp_path, tiny_bundle, camera)
    process = served("--config", path, "--state", tmp_path / "state", "--listen", "127.0.0.1:0")
    assert until(lambda: len(recorded(tmp_path)) > 20, PLENTY)
    process.send_signal(number)
    _, err = process.communicate(timeout=PLENTY)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert all(result["source"] == "front" for result in recorded(tmp_path))  # every line is whole
    assert "secret" not in err
    assert (tmp_path / "state/baselines.json").is_file()


def test_health_metrics_and_notifications_of_the_process(served, tmp_path, tiny_bundle, camera):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.create_server(("127.0.0.1", 0)) as probe:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PLENTY)
        port = probe.getsockname()[1]
        probe.close()
        served(
            "--config", config(tmp_path, tiny_bundle, camera), "--listen", f"127.0.0.1:{port}",
            NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="3000000",
        )  # fmt: skip
        assert manager.recv(4096).startswith(b"READY=1")
        assert until(lambda: manager.recv(4096) == b"WATCHDOG=1\nSTATUS=1 of 1 cameras running", PLENTY)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=PLENTY) as answer:
            told = answer.read().decode()
        assert json.loads(told)["cameras"]["front"]["state"] == "running"
        assert "secret" not in told
        pytest.importorskip("prometheus_client", reason="of the serve extra")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PLENTY) as answer:
            assert b'dsrfau_camera_frames_total{camera="front"}' in answer.read()


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(served, tmp_path, tiny_bundle, camera):
    """The first one waits for a peer that does not read."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        deaf.listen()
        more = f'[[output]]\nname = "deaf"\nkind = "send"\nto = "unix:{tmp_path}/deaf"\n'
        process = served("--config", config(tmp_path, tiny_bundle, camera, more), "-v")
        assert until(lambda: len(recorded(tmp_path)) > 500, PLENTY)  # by then the deaf one's buffer is full
        process.send_signal(signal.SIGTERM)
        assert not until(lambda: process.poll() is not None, 0.5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PLENTY)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_the_unit_is_understood_by_systemd(tmp_path):
    unit = ASSETS.parents[2] / "systemd/dsrfau-serve.service"
    if not unit.is_file():
        pytest.skip("no source tree with the unit")
    copy = tmp_path / "dsrfau-serve.service"
    copy.write_text(unit.read_text().replace("/opt/dsrfau-edge/bin/dsrfau-serve", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    wrong = [line for line in done.stderr.splitlines() if "dsrfau-serve" in line]
    assert not wrong, done.stderr
