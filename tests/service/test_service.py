"""The whole service in this process: cameras by script, real sockets, real files, a real notification socket."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from faces import SITES, make_face
from streams import FakePredictor, descriptors, picture, until

from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable
from dsrfau_edge.following import StreamOptions
from dsrfau_edge.live.options import LiveOptions
from dsrfau_edge.service import service as module
from dsrfau_edge.service.notify import Notifier
from dsrfau_edge.service.outlet import Outlet
from dsrfau_edge.service.service import Service
from dsrfau_edge.service.settings import CameraSettings, OutputSettings, ServiceSettings
from dsrfau_edge.signals.baseline import Baseline, NeutralBaseline

LIVE = LiveOptions(wait=True, backoff=0.001, longest_backoff=0.01, stall_after=0.2, open_timeout=0.2)
NAMES = tuple(site.name for site in SITES)


def endless():
    for number in itertools.count():
        time.sleep(0.003)
        yield picture(number % 200)


def camera(name="front", source=endless, **stream):
    return CameraSettings(name=name, source=source, live=LIVE, stream=StreamOptions(**stream))


def sent(address, name="send", **more):
    return OutputSettings(name=name, kind="send", to=address, **more)


class Peer:
    """Listens on a Unix socket; reads every line, or never anything."""

    def __init__(self, path, *, deaf=False):
        self.path, self.address, self.lines, self.deaf = path, f"unix:{path}", [], deaf
        self._held = []
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._held.append(connection)
                if not self.deaf:
                    threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection):
        with contextlib.suppress(OSError), connection.makefile("rb") as lines:
            self.lines += (json.loads(line) for line in lines)

    def sources(self):
        return {line["source"] for line in list(self.lines)}

    def close(self):
        self._listening.close()
        for connection in self._held:
            connection.close()


@pytest.fixture
def peer(tmp_path):
    found = Peer(tmp_path / "peer.sock")
    yield found
    found.close()


@pytest.fixture
def deaf(tmp_path):
    found = Peer(tmp_path / "deaf.sock", deaf=True)
    yield found
    found.close()


@pytest.fixture
def serving(monkeypatch):
    """Starts a service in a thread; ends it when the test is over."""
    monkeypatch.setattr(module, "TICK", 0.02)
    monkeypatch.setattr(module, "END_CAMERAS", 1.0)
    monkeypatch.setattr(module, "END_OUTPUTS", 0.3)
    running = []

    def start(cameras, outputs=(), predictor=None, notifier=None, **more):
        settings = ServiceSettings(cameras=tuple(cameras), outputs=tuple(outputs), **more)
        service = Service(settings, predictor or FakePredictor(), notifier=notifier)
        thread = threading.Thread(target=service.run)
        thread.start()
        running.append((service, thread))
        return service, thread

    yield start
    for service, thread in running:
        service.stop()
        thread.join(30)
        assert not thread.is_alive()


def health(service):
    host, port = service.http.address
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_results_of_all_cameras_reach_the_peer(serving, peer):
    service, _ = serving([camera("front"), camera("rear")], [sent(peer.address)])
    assert until(lambda: peer.sources() == {"front", "rear"})
    assert service.progresses()


def test_an_output_gets_the_cameras_that_it_asks_for(serving, peer, tmp_path):
    other = Peer(tmp_path / "other.sock")
    outputs = [sent(peer.address, cameras=("rear",)), sent(other.address, "other")]
    serving([camera("front"), camera("rear")], outputs)
    assert until(lambda: other.sources() == {"front", "rear"})
    assert peer.sources() <= {"rear"}
    other.close()


def test_pictures_go_only_where_they_are_asked_for(serving, monkeypatch):
    got = {"with": [], "without": []}

    def outlets(settings):
        class Keeper:
            def __init__(self, name):
                self.name = name

            def write(self, result):
                got[self.name].append(result.image is not None)

            def close(self):
                pass

        return [(Outlet(name, lambda name=name: Keeper(name)), frozenset(["front"]), name == "with") for name in got]

    monkeypatch.setattr(module, "outlets_of", outlets)
    serving([camera()], listen=("127.0.0.1", 0))
    assert until(lambda: all(len(seen) > 3 for seen in got.values()))
    assert set(got["with"]) == {True}
    assert set(got["without"]) == {False}


def test_a_dead_a_silent_and_a_lost_camera_leave_the_others_alone(serving, peer):
    silence = threading.Event()

    def dead():
        raise OSError("no such device")

    def silent():
        silence.wait()
        return iter([])

    def lost():
        yield picture(1)
        raise OSError("unplugged")

    cameras = [camera("dead", dead), camera("silent", silent), camera("lost", lost), camera("good")]
    service, _ = serving(cameras, [sent(peer.address)], listen=("127.0.0.1", 0))
    try:
        assert until(lambda: sum(line["source"] == "good" for line in list(peer.lines)) > 100)
        status, told = health(service)
        assert status == 503
        assert told["cameras"]["good"]["ok"]
        assert told["cameras"]["dead"]["state"] == "connecting"
        assert "no such device" in told["cameras"]["dead"]["last_error"]
        assert not told["cameras"]["silent"]["ok"]
        assert until(lambda: health(service)[1]["cameras"]["lost"]["reconnects"] > 2)
        assert service.progresses()
    finally:
        silence.set()


def test_a_peer_that_never_reads_a_full_disk_and_a_missing_peer_leave_the_others_alone(serving, peer, deaf, tmp_path):
    outputs = [
        sent(peer.address),
        sent(deaf.address, "deaf", queue=4),
        sent(f"unix:{tmp_path / 'nobody'}", "nobody", queue=4),
        OutputSettings(name="nowhere", kind="record", to=str(tmp_path / "no-folder/a-{time}.jsonl"), queue=4),
    ]
    service, thread = serving([camera()], outputs, listen=("127.0.0.1", 0))
    assert until(lambda: service.snapshot().outputs["deaf"].dropped > 5)
    assert until(lambda: service.snapshot().outputs["nobody"].dropped > 5)
    seen = len(peer.lines)
    assert until(lambda: len(peer.lines) > seen + 50)
    told = health(service)[1]["outputs"]
    assert told["send"]["ok"]
    assert told["send"]["dropped"] == 0
    assert told["nobody"]["state"] == "retrying"
    assert "cannot be reached" in told["nobody"]["last_error"]
    assert told["nowhere"]["state"] == "retrying"
    service.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert service.snapshot().outputs["deaf"].state == "closed"


def test_a_recording_is_whole_when_the_service_ends(serving, tmp_path):
    service, thread = serving(
        [camera()], [OutputSettings(name="record", kind="record", to=str(tmp_path / "a-{time}.jsonl"))]
    )
    assert until(lambda: service.snapshot().outputs["record"].written > 20)
    service.stop()
    thread.join(30)
    (path,) = tmp_path.glob("a-*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == service.snapshot().outputs["record"].written == service.snapshot().cameras["front"].frames


def test_the_service_ends_with_its_cameras(serving, peer):
    def thrice():
        yield from [picture(1)] * 3

    _, thread = serving([camera("file", source=thrice)], [sent(peer.address)])
    assert until(lambda: len(peer.lines) >= 3)
    assert thread.is_alive()  # a function's source is opened again


def test_no_camera_left_is_an_error():
    class Broken(FakePredictor):
        def stream(self, options):
            raise RuntimeUnavailable("no such thing")

    settings = ServiceSettings(cameras=(camera(),), outputs=(), listen=("127.0.0.1", 0))
    with pytest.raises(DsrfauError, match=r"No camera is left: no such thing"):
        Service(settings, Broken()).run()


def test_no_output_left_is_an_error(monkeypatch, tmp_path):
    settings = ServiceSettings(cameras=(camera(),), outputs=(OutputSettings(name="x", kind="zenoh", to="not/a//key"),))
    with pytest.raises(DsrfauError, match=r"No output is left: .*no Zenoh key"):
        Service(settings, FakePredictor()).run()


def test_systemd_hears_of_start_progress_and_end(serving, peer, tmp_path, monkeypatch):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(20)
    gate, closed = threading.Event(), threading.Event()
    gate.set()

    def each(frame):
        if not gate.is_set():
            closed.set()
            gate.wait()

    monkeypatch.setattr(module, "PATIENCE", 0.2)
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"})
    service, thread = serving([camera()], [sent(peer.address)], FakePredictor(each), notifier)
    assert manager.recv(4096).startswith(b"READY=1\nSTATUS=")
    assert until(lambda: manager.recv(4096) == b"WATCHDOG=1\nSTATUS=1 of 1 cameras running")
    gate.clear()  # a prediction hangs
    assert closed.wait(20)
    assert until(lambda: not service.progresses())
    drained = until(lambda: b"WATCHDOG" not in manager.recv(4096))
    assert drained
    for _ in range(5):
        assert b"WATCHDOG" not in manager.recv(4096)
    gate.set()
    assert until(lambda: manager.recv(4096).startswith(b"WATCHDOG=1"))
    service.stop()
    thread.join(30)
    manager.setblocking(False)
    told = []
    with contextlib.suppress(BlockingIOError):
        while True:
            told.append(manager.recv(4096))
    assert told[-1] == b"STOPPING=1"
    manager.close()


def test_the_watchdog_is_fed_while_a_camera_is_away(serving, peer, tmp_path):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(20)

    def dead():
        raise OSError("no such device")

    serving([camera(source=dead)], [sent(peer.address)], notifier=Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}))
    for _ in range(5):
        assert until(lambda: manager.recv(4096) == b"WATCHDOG=1\nSTATUS=0 of 1 cameras running")
    manager.close()


class Resting(FakePredictor):
    """One face in one place, whose baseline has learned `level`."""

    def __init__(self, level):
        super().__init__()
        self.level, self.streams = level, []

    def stream(self, options):
        found = RestingStream(super().stream(options), options, self.level)
        self.streams.append(found)
        return found


class RestingStream:
    def __init__(self, inner, options, level):
        self._inner, self.baselines = inner, {7: NeutralBaseline(options.baseline, NAMES)}
        for step in range(100 if level is not None else 0):
            self.baselines[7].update([level] * len(NAMES), 0.1 * step)
        self.reset = inner.reset

    def __call__(self, frame):
        return replace(self._inner(frame), faces=(make_face(7),))


def test_a_neutral_baseline_outlasts_a_restart(serving, peer, tmp_path):
    learning = {"baseline": Baseline(ready_after=2.0)}
    state = tmp_path / "state"
    service, thread = serving([camera(**learning)], [sent(peer.address)], Resting(1.5), state=state)
    assert until(lambda: service.cameras[0].memory.faces)
    service.stop()
    thread.join(30)
    second = Resting(None)
    service, _ = serving([camera(**learning)], [sent(peer.address)], second, state=state)
    assert until(lambda: service.snapshot().cameras["front"].restored == 1)
    assert second.streams[0].baselines[7].level == pytest.approx([1.5] * len(NAMES))


def test_the_state_is_stored_while_it_runs_too(serving, peer, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAVE_EVERY", 0.05)
    serving([camera(baseline=Baseline(ready_after=2.0))], [sent(peer.address)], Resting(1.5), state=tmp_path / "state")
    assert until(lambda: (tmp_path / "state/baselines.json").is_file())


def test_nothing_is_stored_and_nothing_listens_unless_asked(serving, peer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    service, _ = serving([camera(baseline=Baseline())], [sent(peer.address)], Resting(1.5))
    assert until(lambda: peer.lines)
    assert service.http is None
    assert set(tmp_path.iterdir()) == before


def test_health_without_prometheus_says_what_is_missing(serving, monkeypatch, caplog):
    def missing(*arguments):
        raise RuntimeUnavailable("pip install 'dsrfau-edge[serve]'")

    monkeypatch.setattr(module, "metrics_page", missing)
    service, _ = serving([camera()], listen=("127.0.0.1", 0))
    assert until(lambda: health(service)[0] == 200)
    host, port = service.http.address
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=20)
    assert told.value.code == 501
    assert b"dsrfau-edge[serve]" in told.value.read()
    assert "Health is served without it" in caplog.text


def test_services_one_after_another_leave_nothing_behind(serving, peer, deaf):
    def once():
        service, thread = serving([camera()], [sent(peer.address), sent(deaf.address, "deaf", queue=2)])
        assert until(lambda: service.snapshot().cameras["front"].frames > 5)
        service.stop()
        thread.join(30)
        while peer._held:
            peer._held.pop().close()
        while deaf._held:
            deaf._held.pop().close()

    once()
    gc.collect()
    files, threads = descriptors(), threading.active_count()
    for _ in range(3):
        once()
    gc.collect()
    assert until(lambda: descriptors() <= files and threading.active_count() <= threads)
