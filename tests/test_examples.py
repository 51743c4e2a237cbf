"""The examples do what they say; those under examples/robotics have tests of their own."""

from __future__ import annotations

import importlib.util
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces import make_face, make_result

from dsrfau_edge import LiveOptions, Predictor
from dsrfau_edge.errors import InputError
from dsrfau_edge.signals.events import AuEvent

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PORTRAIT = cv2.imread(str(ROOT / "dsrfau_edge/assets/portrait.jpg"))


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"examples/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def film(path, frames):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture
def quick(monkeypatch):
    """The smaller student, on one thread."""
    from dsrfau_edge.predictor import Predictor as Whole

    def made(**options):
        return Whole("dsrfau-nano", **{"runtime": "onnxruntime", "threads": 1, **options})

    return lambda module: monkeypatch.setattr(module, "Predictor", made)


def run(module, monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", [module.__name__, *map(str, arguments)])
    module.main()
    return capsys.readouterr().out


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_is_short_and_has_help(path, monkeypatch, capsys):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80
    with pytest.raises(SystemExit, match="0"):
        run(load(path.stem), monkeypatch, capsys, "--help")
    assert "usage:" in capsys.readouterr().out
    assert f"({path.name})" in (ROOT / "examples/README.md").read_text(encoding="utf-8")


def smiles_of(events, intensities, *, eyes=(), strength=1.5):
    """The counter over one face; `events` by frame."""
    counter = load("smile_counter").SmileCounter(strength)
    ended = []
    for index, intensity in enumerate(intensities):
        face = make_face(3)
        aus = {**face.aus, "AU12": intensity, "AU06": 2.0 if index in eyes else 0.0}
        face = replace(face, aus=aus, present={"AU12": True, "AU06": index in eyes})
        found = tuple(AuEvent(kind, 3, au, index / 10, intensity) for kind, au in events.get(index, ()))
        ended += counter.update(replace(make_result(face, index=index, timestamp=index / 10), events=found))
    counter.finish()
    return counter.smiles[3], counter.with_eyes[3], ended


def test_one_rise_and_fall_is_one_smile():
    events = {1: [("onset", "AU12")], 2: [("apex", "AU12")], 4: [("offset", "AU12")]}
    assert smiles_of(events, [0, 1, 3, 2, 0.2], eyes={2}) == (1, 1, [3])
    assert smiles_of(events, [0, 1, 3, 2, 0.2]) == (1, 0, [3])


def test_weak_smiles_other_aus_and_falls_without_a_rise_do_not_count():
    weak = {1: [("onset", "AU12")], 3: [("offset", "AU12")]}
    assert smiles_of(weak, [0, 0.8, 1.0, 0.2]) == (0, 0, [])
    assert smiles_of(weak, [0, 0.8, 1.0, 0.2], strength=0.9)[0] == 1
    assert smiles_of({1: [("onset", "AU06")], 2: [("offset", "AU06")]}, [3, 3, 3]) == (0, 0, [])
    assert smiles_of({2: [("offset", "AU12")]}, [3, 3, 0]) == (0, 0, [])


def test_a_smile_that_goes_on_at_the_end_counts():
    assert smiles_of({1: [("onset", "AU12")]}, [0, 3, 3]) == (1, 0, [])


def test_nodding_makes_no_second_smile(monkeypatch, capsys, tmp_path, quick):
    """The portrait smiles all the time while it moves up and down."""
    module = load("smile_counter")
    quick(module)
    shift = (25 * np.sin(np.arange(30) / 3)).astype(int)
    frames = [
        cv2.warpAffine(
            PORTRAIT, np.float32([[1, 0, 0], [0, 1, y]]), PORTRAIT.shape[1::-1], borderMode=cv2.BORDER_REFLECT
        )
        for y in shift
    ]
    shown = run(module, monkeypatch, capsys, film(tmp_path / "nod.avi", frames))
    assert shown.splitlines()[-1].startswith("face 0: 1 smiles")


class SlowStream:
    """A camera and network that give a result only when the test lets them."""

    def __init__(self):
        self._go, self.given, self._closed = threading.Semaphore(0), threading.Semaphore(0), False
        self.error = None
        self.count = 0

    def give(self, error=None):
        """One more result, or this error."""
        self.error = error
        self._go.release()
        assert self.given.acquire(timeout=20)

    def close(self):
        self._closed = True
        self._go.release()

    def __iter__(self):
        while True:
            if self.count:
                self.given.release()  # the last one has been taken in
            self._go.acquire()
            if self._closed:
                return
            if self.error:
                self.given.release()
                raise self.error
            self.count += 1
            yield replace(make_result(make_face(self.count), timestamp=self.count / 10), latency_ms=50.0)


def test_the_loop_never_waits_and_sees_no_stale_face():
    module, now, stream = load("control_loop"), [100.0], SlowStream()
    faces = module.LatestFaces(stream, clock=lambda: now[0])
    for _ in range(100):  # a second of the loop; the camera gives nothing at all
        assert module.control(faces, 0.15) == 0.0
        now[0] += 0.01
    stream.give()
    smiles = []
    for _ in range(100):
        smiles.append(module.control(faces, 0.15))
        now[0] += 0.01
    # The frame was 50 ms old when its result came, so that 100 ms are left, and its first moment.
    assert [smile > 0 for smile in smiles] == [True] * smiles.index(0.0) + [False] * (100 - smiles.index(0.0))
    assert smiles.index(0.0) in (10, 11)  # the sum of hundredths is not exact
    stream.give()
    assert faces.look(0.15).faces[0].id == 2
    faces.close()
    assert faces.failure is None


def test_the_loop_learns_why_the_camera_is_gone():
    module, stream = load("control_loop"), SlowStream()
    faces = module.LatestFaces(stream)
    stream.give(InputError("unplugged"))
    faces.close()
    assert str(faces.failure) == "unplugged"
    assert module.control(faces, 0.15) == 0.0


def test_late_frames_are_dropped_rather_than_queued():
    """A camera that is faster than the network, through the real thing."""
    module = load("control_loop")
    frames = 40
    with (
        Predictor("dsrfau-nano", runtime="onnxruntime", threads=1) as predictor,
        predictor.live(lambda: iter([PORTRAIT] * frames), live=LiveOptions(attempts=0)) as stream,
    ):
        faces = module.LatestFaces(stream)
        faces._thread.join(60)
        stats = stream.stats
        assert stats.captured == frames
        assert stats.frames + stats.dropped == frames
        assert faces.look(float("inf")) is not None
        faces.close()


def test_the_control_loop_runs(monkeypatch, capsys, tmp_path, quick):
    module = load("control_loop")
    quick(module)
    shown = run(
        module, monkeypatch, capsys, film(tmp_path / "a.avi", [PORTRAIT] * 12), "--seconds", 1.5, "--deadline", 99
    )
    assert [line.split()[0] for line in shown.splitlines()] == ["0.0", "1.0"]


def test_several_cameras_share_one_network(monkeypatch, capsys, tmp_path, quick):
    module = load("multi_camera")
    quick(module)
    paths = [film(tmp_path / name, [PORTRAIT] * 4) for name in ("left.avi", "right.avi")]
    shown = run(module, monkeypatch, capsys, *paths)
    for path in paths:
        assert any(line.split()[0] == str(path) and "face 0: AU12" in line for line in shown.splitlines())
        (last,) = [line for line in shown.splitlines() if line.startswith(f"{path}: ")]
        frames, dropped = (int(word) for word in last[len(str(path)) :].split() if word.isdigit())
        assert frames + dropped == 4


def test_one_camera_that_is_not_there_does_not_stop_the_others(monkeypatch, capsys, tmp_path, quick):
    module = load("multi_camera")
    quick(module)
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"no video")
    whole = film(tmp_path / "whole.avi", [PORTRAIT] * 3)
    real = module.LiveOptions
    monkeypatch.setattr(module, "LiveOptions", lambda **_: real(attempts=0))
    monkeypatch.setattr("sys.argv", ["multi_camera", str(broken), str(whole)])
    module.main()
    captured = capsys.readouterr()
    assert any(line.startswith(f"{broken}: ") for line in captured.out.splitlines())
    assert "face 0" in captured.out
    assert f"{whole}: ended" in captured.out


def test_examples_end_with_a_message_where_the_source_is_missing(tmp_path):
    import subprocess

    for path in (path for path in EXAMPLES if path.stem != "multi_camera"):  # which goes on with the other cameras
        done = subprocess.run(
            [sys.executable, str(path), str(tmp_path / "none.mp4")],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        assert "error: There is no file or folder" in done.stderr
