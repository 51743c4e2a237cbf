"""Results over sockets: whoever listens, nobody waits."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
import time

import pytest
from faces import make_face, make_result
from streams import until

from dsrfau_edge.errors import UsageError
from dsrfau_edge.outputs.peer import MAX_DATAGRAM, Peer
from dsrfau_edge.outputs.sockets import Sender, told


class Listener:
    """Takes connections of a stream socket; `lines` are the whole lines of all of them."""

    def __init__(self, address, reads=True):
        outer, self.lines, self.connections, self.gate = self, [], [], threading.Event()
        if reads:
            self.gate.set()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                outer.connections.append(self.connection)
                outer.gate.wait(20)
                for line in self.rfile:
                    outer.lines.append(line)

        unix = isinstance(address, str)
        base = socketserver.ThreadingUnixStreamServer if unix else socketserver.ThreadingTCPServer
        server = type("Server", (base,), {"allow_reuse_address": True, "daemon_threads": True})
        self.server = server(address, Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.peer = f"unix:{address}" if unix else f"tcp://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.gate.set()
        self.server.shutdown()
        self.thread.join()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server.server_close()


@pytest.fixture(params=["tcp", "unix"])
def listener(request, tmp_path):
    made = Listener(("127.0.0.1", 0) if request.param == "tcp" else str(tmp_path / "s"))
    yield made
    made.close()


def result(index, faces=1):
    return make_result(*(make_face(number) for number in range(faces)), index=index, timestamp=index / 30)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_every_result_arrives_as_a_line(listener):
    sender = Sender(listener.peer)
    for index in range(20):
        sender.write(result(index))
    sender.close()
    assert until(lambda: len(listener.lines) == 20)
    assert [json.loads(line)["frame"] for line in listener.lines] == list(range(20))
    assert "image" not in json.loads(listener.lines[0])
    assert sender.counts.sent == 20
    assert told(sender) == f"Sent 20 results to {listener.peer}."


def test_a_peer_that_refuses_holds_nobody_up(caplog):
    sender = Sender(f"tcp://127.0.0.1:{free_port()}", waiting=5, linger=0.1)
    for index in range(50):
        sender.write(result(index))
    assert until(lambda: "cannot be reached" in caplog.text)
    sender.close()
    counts = sender.counts
    assert (counts.sent, counts.dropped, counts.connects) == (0, 50, 0)
    assert "50 dropped; it was never reached" in told(sender)
    assert not sender._thread.is_alive() or until(lambda: not sender._thread.is_alive())


def test_a_peer_that_comes_later_gets_the_newest(tmp_path):
    path = str(tmp_path / "later")
    sender = Sender(f"unix:{path}", waiting=3, backoff=0.02, longest=0.05)
    for index in range(10):
        sender.write(result(index))
    listener = Listener(path)
    assert until(lambda: len(listener.lines) == 3)
    assert [json.loads(line)["frame"] for line in listener.lines] == [7, 8, 9]
    sender.close()
    assert (sender.counts.sent, sender.counts.dropped) == (3, 7)
    listener.close()


def test_a_peer_that_never_reads_holds_nobody_up():
    listener = Listener(("127.0.0.1", 0), reads=False)
    sender = Sender(listener.peer, waiting=10, linger=0.1)
    large = result(0, faces=30)
    for _ in range(400):  # 15 MB, more than the system takes for a connection
        sender.write(large)
        time.sleep(0.001)
    sender.close()
    counts = sender.counts
    assert counts.connects == 1
    assert counts.dropped > 0
    assert counts.sent + counts.dropped >= 399  # one may be on its way
    assert until(lambda: not sender._thread.is_alive())
    assert sender.counts.sent + sender.counts.dropped == 400
    listener.close()


def test_a_lost_connection_is_made_anew_with_whole_lines(caplog):
    first = Listener(("127.0.0.1", 0))
    port = first.server.server_address[1]
    sender = Sender(first.peer, backoff=0.02, longest=0.05)
    sender.write(result(0))
    assert until(lambda: len(first.lines) == 1)
    first.close()
    stop = threading.Event()

    def go_on():
        index = 1
        while not stop.wait(0.005):
            sender.write(result(index))
            index += 1

    thread = threading.Thread(target=go_on)
    thread.start()
    assert until(lambda: "cannot be reached" in caplog.text)
    second = Listener(("127.0.0.1", port))
    assert until(lambda: len(second.lines) > 3)
    stop.set()
    thread.join()
    sender.close()
    assert sender.counts.connects >= 2
    assert all(json.loads(line)["faces"] for line in second.lines)
    assert "is there again" in caplog.text
    second.close()


def test_datagrams(caplog):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inbox:
        inbox.bind(("127.0.0.1", 0))
        inbox.settimeout(10)
        sender = Sender(f"udp://127.0.0.1:{inbox.getsockname()[1]}")
        sender.write(result(0))
        sender.write(result(1, faces=200))
        sender.write(result(2))
        sender.close()
        frames = [json.loads(inbox.recv(MAX_DATAGRAM))["frame"] for _ in range(2)]
    assert frames == [0, 2]
    assert (sender.counts.sent, sender.counts.dropped, sender.counts.too_large) == (2, 1, 1)
    assert "too large for a datagram" in caplog.text
    assert "1 of them too large" in told(sender)


def test_datagrams_to_nobody():
    sender = Sender(f"udp://127.0.0.1:{free_port()}", backoff=0.01, linger=1.0)
    for index in range(20):
        sender.write(result(index))
        time.sleep(0.002)
    sender.close()
    assert sender.counts.sent + sender.counts.dropped == 20


def test_a_name_that_nobody_knows():
    sender = Sender("tcp://nobody.invalid:9", linger=0.1)
    sender.write(result(0))
    sender.close()
    assert sender.counts.dropped == 1


@pytest.mark.parametrize(
    "text",
    ["", "localhost:9", "tcp://", "tcp://host", "tcp://host:0", "tcp://host:99999", "tcp://host:x", "http://host:80",
     "tcp://:80", "udp://host:80/path", "tcp://me@host:80", "unix:", "unix:" + "x" * 108, "tcp://[::1:80", "7"],
)  # fmt: skip
def test_what_is_no_address(text):
    with pytest.raises(UsageError, match="unix:PATH"):
        Peer.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp://host:80", ("tcp", "host", 80)),
        ("udp://[::1]:5000", ("udp", "::1", 5000)),
        ("unix:/run/x.sock", ("unix", "/run/x.sock", 0)),
        ("unix:///run/x.sock", ("unix", "/run/x.sock", 0)),
        ("unix:x", ("unix", "x", 0)),
    ],
)
def test_addresses(text, expected):
    peer = Peer.parse(text)
    assert (peer.kind, peer.host, peer.port) == expected


def test_numbers_that_make_no_sense():
    for wrong in ({"waiting": 0}, {"backoff": 0.0}, {"longest": 0.1}, {"linger": -1.0}):
        with pytest.raises(UsageError, match="makes no sense"):
            Sender("unix:x", **wrong)
