"""`dsrfau-serve` under everything that goes wrong at once, for minutes.

    python benchmarks/service_soak.py VIDEO --minutes 10 --kills 20 [--full-disk DIR]

A video, played over and over, is the picture of two cameras over HTTP (MJPEG). One camera is killed and restored again
and again; the other is left alone. The results go to a peer that reads, to one that connects and never reads, and into
a recording on a disk that is full after a megabyte (a tmpfs mounted for this, which takes root; or any small file
system by `--full-disk`). Meanwhile health and metrics are read, memory and descriptors watched, and in the end the
service is told to stop by SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import cv2

_COMMAND = "from dsrfau_edge.cli.main import serve_main; serve_main()"
_LOOK = 2.0
_MEGABYTE = 1 << 20


def encoded(video: Path) -> list[bytes]:
    """The frames of a video as JPEG."""
    capture, frames = cv2.VideoCapture(str(video)), []
    while True:
        more, image = capture.read()
        if not more:
            break
        frames.append(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    capture.release()
    if not frames:
        raise SystemExit(f"{video} gave no frames")
    return frames


class _Threads(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class MjpegCamera:
    """A camera over HTTP that can be killed, and comes back at the same address."""

    def __init__(self, frames: Sequence[bytes], rate: float) -> None:
        self._frames, self._rate = frames, rate
        self._server: _Threads | None = None
        self.port = 0
        self.restore()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/camera.mjpeg"

    def restore(self) -> None:
        """Listen, and send the frames from the first to everyone who connects."""
        self._connections: list[socket.socket] = []
        self._gone = threading.Event()
        server = _Threads(("127.0.0.1", self.port), self._handler(self._connections, self._gone))
        self._server, self.port = server, server.server_port
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def kill(self) -> None:
        """Cut all connections and listen no longer."""
        if self._server is None:
            return
        self._gone.set()
        self._server.shutdown()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._server = None

    def _handler(self, connections: list[socket.socket], gone: threading.Event) -> type[BaseHTTPRequestHandler]:
        frames, pause = self._frames, 1 / self._rate

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                connections.append(self.connection)
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                due, number = time.monotonic(), 0
                with contextlib.suppress(OSError):
                    while not gone.is_set():
                        part = frames[number % len(frames)]
                        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(part)
                        self.wfile.write(head + part + b"\r\n")
                        number, due = number + 1, due + pause
                        time.sleep(max(0.0, due - time.monotonic()))

        return Handler


class Peers:
    """Two peers on Unix sockets: one reads every line, the other only accepts."""

    def __init__(self, folder: Path) -> None:
        self.lines = self.broken = 0
        self.reader, self.deaf = folder / "reader.sock", folder / "deaf.sock"
        self._open: list[socket.socket] = []
        for path, serve in ((self.reader, self._read), (self.deaf, self._open.append)):
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.bind(str(path))
            listening.listen()
            threading.Thread(target=self._accept, args=(listening, serve), daemon=True).start()

    def _accept(self, listening: socket.socket, serve: Any) -> None:
        while True:
            serve(listening.accept()[0])

    def _read(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                self.lines += 1
                self.broken += not json.loads(line)["source"]


@dataclass
class Watched:
    """What was seen of the service while it ran."""

    memory: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    answers: int = 0
    unanswered: int = 0
    well: int = 0
    slowest_answer: float = 0.0

    def look(self, address: str) -> None:
        """Read both pages once."""
        started = time.monotonic()
        try:
            page = fetched(f"{address}/metrics")[1]
            status = fetched(f"{address}/healthz")[0]
        except OSError:
            self.unanswered += 1
            return
        self.slowest_answer = max(self.slowest_answer, time.monotonic() - started)
        self.answers += 1
        self.well += status == 200
        self.memory.append(sample(page, "dsrfau_resident_memory_bytes") / _MEGABYTE)
        self.descriptors.append(int(sample(page, "dsrfau_open_descriptors")))


def fetched(url: str) -> tuple[int, str]:
    """Status and text of a page."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def sample(page: str, name: str) -> float:
    """The value of a metric without labels."""
    found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


@contextlib.contextmanager
def full_disk(given: Path | None, folder: Path) -> Iterator[Path]:
    """A file system that is full after a megabyte."""
    if given is not None:
        yield given
        return
    place = folder / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=False)


def configuration(folder: Path, disk: Path, steady: MjpegCamera, killed: MjpegCamera, peers: Peers, port: int) -> Path:
    """The service's file."""
    path = folder / "serve.toml"
    path.write_text(f"""
listen = "127.0.0.1:{port}"
state = "{folder / "state"}"
[[camera]]
name = "steady"
source = "{steady.url}"
baseline = "online"
[[camera]]
name = "killed"
source = "{killed.url}"
baseline = "online"
longest_backoff = 2
[[output]]
name = "reader"
kind = "send"
to = "unix:{peers.reader}"
[[output]]
name = "deaf"
kind = "send"
to = "unix:{peers.deaf}"
[[output]]
name = "full-disk"
kind = "record"
to = "{disk}/aus-{{time}}.jsonl"
""")
    return path


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def soak(video: Path, seconds: float, kills: int, rate: float, disk: Path | None) -> dict[str, Any]:
    """Run it all; what is reported."""
    frames = encoded(video)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    steady, killed = MjpegCamera(frames, rate), MjpegCamera(frames, rate)
    try:
        with full_disk(disk, folder) as place:
            peers = Peers(folder)
            port = free_port()
            path = configuration(folder, place, steady, killed, peers, port)
            log = (folder / "log").open("wb")
            process = subprocess.Popen([sys.executable, "-c", _COMMAND, "--config", str(path)], stderr=log)
            watched = Watched()
            try:
                story = _run(process, f"http://127.0.0.1:{port}", watched, killed, seconds, kills)
            finally:
                process.terminate()
                code = process.wait(60)
                log.close()
            recorded = sum(file.stat().st_size for file in place.iterdir())
        return {
            "frames": len(frames),
            "rate": rate,
            **story,
            "exit_code": code,
            "recorded_bytes": recorded,
            "read_lines": peers.lines,
            "state_written": (folder / "state" / "baselines.json").is_file(),
            **_flatness(watched),
            "log_lines": (folder / "log").read_bytes().count(b"\n"),
        }
    finally:
        steady.kill()
        killed.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _run(
    process: subprocess.Popen[bytes], address: str, watched: Watched, killed: MjpegCamera, seconds: float, kills: int
) -> dict[str, Any]:
    """Let time pass, kill and restore; health in the end."""
    started = time.monotonic()
    while time.monotonic() - started < 60:
        with contextlib.suppress(OSError):
            fetched(f"{address}/healthz")
            break
        time.sleep(0.2)
    each, start = seconds / (kills + 1), time.monotonic()
    done = 0
    while (passed := time.monotonic() - start) < seconds:
        if done < kills and passed >= (done + 1) * each:
            killed.kill()
            time.sleep(min(3.0, each / 3))
            killed.restore()
            done += 1
        if process.poll() is not None:
            raise SystemExit(f"the service ended with {process.returncode}")
        watched.look(address)
        time.sleep(min(_LOOK, each / 4))
    for _ in range(100):  # the last restart of the camera has its time too
        health = json.loads(fetched(f"{address}/healthz")[1])
        if health["cameras"]["killed"]["state"] == "running":
            break
        time.sleep(0.2)
    return {"killed": done, "uptime": health["uptime"], "cameras": health["cameras"], "outputs": health["outputs"]}


def _flatness(watched: Watched) -> dict[str, Any]:
    """Memory, as the median of each tenth of the time, and descriptors."""
    tenth = max(len(watched.memory) // 10, 1)
    memory = [statistics.median(watched.memory[at : at + tenth]) for at in range(0, len(watched.memory), tenth)]
    return {
        "answers": watched.answers,
        "unanswered": watched.unanswered,
        "all_well": watched.well,
        "slowest_answer_s": round(watched.slowest_answer, 3),
        "memory_mb": [round(value, 1) for value in memory[:10]],
        "descriptors": {"lowest": min(watched.descriptors), "highest": max(watched.descriptors),
                        "last": watched.descriptors[-1]},
    }  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rate", type=float, default=25.0, help="frames a second of each camera")
    parser.add_argument("--full-disk", type=Path, help="a folder on a small file system, instead of mounting one")
    arguments = parser.parse_args()
    report = soak(arguments.video, 60 * arguments.minutes, arguments.kills, arguments.rate, arguments.full_disk)
    print(json.dumps({"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), **report}, indent=1))


if __name__ == "__main__":
    main()
