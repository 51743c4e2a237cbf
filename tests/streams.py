"""Live sources for tests: a predictor that sees no faces, scripted cameras, and a real MJPEG server."""

from __future__ import annotations

import contextlib
import itertools
import socket
import socketserver
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import numpy as np

from dsrfau_edge.errors import InputError
from dsrfau_edge.live.feeds import Origin
from dsrfau_edge.results import FrameResult
from dsrfau_edge.stream import Frame


def picture(level, size=(64, 48)):
    return np.full((size[1], size[0], 3), level, np.uint8)


class FakePredictor:
    """Follows streams without looking for faces; `calls` are the frames it was given, `resets` counts."""

    def __init__(self, each=None):
        self.calls, self.resets, self.each, self.options = [], 0, each, None

    def stream(self, options):
        self.options = options
        return _FakeStream(self)


class _FakeStream:
    def __init__(self, owner):
        self.owner = owner

    def __call__(self, frame):
        self.owner.calls.append(frame)
        if self.owner.each:
            self.owner.each(frame)
        height, width = frame.image.shape[:2]
        return FrameResult(frame.source, frame.index, frame.timestamp, (width, height), (), image=frame.image)

    def reset(self):
        self.owner.resets += 1


class Camera:
    """A camera by script: one list of steps a session; a step is a grey level, an error, or a function to call.

    A session that is itself an exception does not open. After the last session the camera gives `last` for ever.
    """

    def __init__(self, *sessions, last=200):
        self.sessions, self.last = list(sessions), last
        self.opened, self.released, self.retrieved = 0, 0, 0

    def origin(self, **changes):
        settings = {"lasts": True, "reopens": True, "paced": False, "keeps": True, "opening": 0.05}
        return Origin("a camera", self.open, **{**settings, **changes})

    def open(self):
        self.opened += 1
        session = self.sessions.pop(0) if self.sessions else None
        if callable(session):
            session = session()
        if isinstance(session, BaseException):
            raise session
        return _Session(self, session)


class _Session:
    time = None

    def __init__(self, camera, steps):
        self.camera, self.steps, self.now = camera, steps, None

    def grab(self):
        if self.steps is None:
            time.sleep(0.001)
            self.now = self.camera.last
            return True
        if not self.steps:
            return False
        self.now = self.steps.pop(0)
        if callable(self.now):
            self.now = self.now()
        if isinstance(self.now, BaseException) and not isinstance(self.now, InputError):
            raise self.now
        return True

    def retrieve(self, index):
        self.camera.retrieved += 1
        if isinstance(self.now, InputError):
            raise self.now
        return Frame("a camera", index, None, picture(self.now))

    def release(self):
        self.camera.released += 1


def jpeg(level, size=(64, 48)):
    return cv2.imencode(".jpg", picture(level, size))[1].tobytes()


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class MjpegServer:
    """An HTTP camera; `parts()` gives the bytes of one connection's frames, 50 a second."""

    def __init__(self, parts, port=0):
        self._connections, self._closing = set(), threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                outer._connections.add(self.connection)
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    for part in parts():
                        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(part)
                        self.wfile.write(head + part + b"\r\n")
                        time.sleep(0.02)
                        if outer._closing.is_set():
                            return
                except OSError:
                    pass  # the client is gone, or this server is being killed

        self._server = _Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/camera"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def kill(self):
        """Stop listening and cut all connections."""
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.kill()


class RtspServer:
    """An RTSP camera: an MPEG transport stream in RTP (RFC 2250) in RTSP's own connection (RFC 2326, 10.12)."""

    def __init__(self, transport, port=0):
        self._packets = [transport[start : start + 7 * 188] for start in range(0, len(transport), 7 * 188)]
        self._connections, self._closing, self.paths = [], threading.Event(), []
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port = self._listening.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/head"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                peer, _ = self._listening.accept()
                self._connections.append(peer)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        with contextlib.suppress(OSError, ValueError), peer, peer.makefile("rb") as requests:
            while line := requests.readline():
                method, path, _ = line.split(b" ")
                self.paths.append((method, path))
                while (head := requests.readline()) not in (b"\r\n", b""):
                    if head.lower().startswith(b"cseq"):
                        number = head.split(b":")[1].strip()
                extra, body = self._answer(method)
                answer = b"RTSP/1.0 200 OK\r\nCSeq: %s\r\n%sContent-Length: %d\r\n\r\n" % (number, extra, len(body))
                peer.sendall(answer + body)
                if method == b"PLAY":
                    self._play(peer)

    def _answer(self, method):
        session = b"Session: 7\r\n"
        if method == b"OPTIONS":
            return b"Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", b""
        if method == b"DESCRIBE":
            described = (
                b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=head\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"
            )
            return b"Content-Type: application/sdp\r\n", described
        if method == b"SETUP":
            return session + b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", b""
        return session, b""

    def _play(self, peer):
        for number in itertools.count():
            if self._closing.is_set():
                return
            content = self._packets[number % len(self._packets)]
            rtp = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 1800 & 0xFFFFFFFF, 1) + content
            peer.sendall(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
            time.sleep(0.005)

    def kill(self):
        """Stop listening and cut all connections."""
        self._closing.set()
        for connection in (self._listening, *self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.kill()


def forever(level=100):
    content = jpeg(level)
    while True:
        yield content


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def until(condition, seconds=20.0):
    """Wait for a condition of another thread; whether it came."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()
