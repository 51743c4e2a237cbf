"""One camera's thread: what it counts, what it survives, when it counts as hanging."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace

import pytest
from faces import make_face
from streams import FakePredictor, picture, until

from dsrfau_edge.errors import RuntimeUnavailable
from dsrfau_edge.live import LiveStream
from dsrfau_edge.live.options import LiveOptions
from dsrfau_edge.service.camera import Camera
from dsrfau_edge.service.settings import CameraSettings

QUICK = LiveOptions(backoff=0.001, longest_backoff=0.002)


def endless():
    for number in itertools.count():
        time.sleep(0.002)
        yield picture(number % 200)


def settings(source=lambda: endless()):
    live = LiveOptions(wait=True, backoff=0.001, longest_backoff=0.01, stall_after=0.3)
    return CameraSettings(name="front", source=source, live=live)


@pytest.fixture
def made():
    cameras = []

    def make(source=endless, predictor=None, **options):
        results = []
        camera = Camera(settings(source), predictor or FakePredictor(), results.append, retry=QUICK, **options)
        camera.start()
        cameras.append(camera)
        return camera, results

    yield make
    for camera in cameras:
        camera.stop()
    for camera in cameras:
        camera.join(20.0)


def test_results_carry_the_cameras_name_and_are_counted(made):
    camera, results = made()
    assert until(lambda: len(results) >= 20)
    stats = camera.stats
    assert {result.source for result in results} == {"front"}
    assert stats.state == "running"
    assert stats.frames >= 20
    assert stats.age is not None
    counts, total = camera.latencies.read()
    assert counts[-1] >= 20
    assert total > 0
    camera.stop()
    assert camera.join(20.0)
    assert camera.stats.state == "ended"
    assert camera.stats.captured >= camera.stats.frames >= 20


def test_an_error_in_prediction_begins_the_stream_anew_and_the_counts_go_on(made):
    fails = iter([None] * 5 + [ZeroDivisionError("odd frame")] + [None] * 10_000)

    def each(frame):
        error = next(fails)
        if error:
            raise error

    camera, results = made(predictor=FakePredictor(each))
    assert until(lambda: len(results) >= 10)
    stats = camera.stats
    assert (stats.failures, stats.state) == (1, "running")
    assert stats.frames >= 10
    assert camera.progresses(30.0)


def test_what_time_does_not_heal_fails_and_is_told(made, caplog):
    class Broken(FakePredictor):
        def stream(self, options):
            raise RuntimeUnavailable("no GStreamer here")

    camera, _ = made(predictor=Broken())
    assert camera.join(20.0)
    assert (camera.stats.state, camera.stats.last_error) == ("failed", "no GStreamer here")
    assert "the others go on" in caplog.text
    assert camera.progresses(0.0)  # a restart would not help


def test_a_lost_source_comes_back(made):
    sessions = [iter([picture(1)] * 3), None]

    def source():
        found = sessions.pop(0) if sessions else endless()
        if found is None:
            raise OSError("unplugged")
        return found

    camera, results = made(source)
    assert until(lambda: len(results) >= 10)
    assert camera.stats.reconnects >= 1
    assert camera.stats.state == "running"
    assert camera.stats.failures == 0


def test_a_camera_that_is_silent_waits_and_does_not_hang(made):
    silence = threading.Event()

    def source():
        silence.wait()
        return endless()

    camera, results = made(source)
    try:
        time.sleep(0.1)
        assert camera.stats.state == "connecting"
        assert camera.progresses(0.0)
        assert camera.stats.age is None
    finally:
        silence.set()
    assert until(lambda: results)


def test_a_frame_that_takes_too_long_counts_as_hanging(made):
    gate, now = threading.Event(), [0.0]
    camera, results = made(predictor=FakePredictor(lambda frame: gate.wait()), clock=lambda: now[0])
    assert until(lambda: camera._busy_since is not None)
    assert camera.progresses(30.0)
    now[0] = 31.0
    assert not camera.progresses(30.0)
    gate.set()
    assert until(lambda: results)
    assert until(lambda: camera.progresses(30.0))


def test_a_thread_that_is_gone_without_a_word_counts_as_hanging(made):
    camera, _ = made()
    camera.stop()
    assert camera.join(20.0)
    camera._state = "running"
    assert not camera.progresses(30.0)


def test_faces_count_while_it_runs(made):
    class Faces(FakePredictor):
        def stream(self, options):
            inner = super().stream(options)

            class WithFaces:
                reset = inner.reset

                def __call__(self, frame):
                    return replace(inner(frame), faces=(make_face(), make_face(1)))

            return WithFaces()

    camera, results = made(predictor=Faces())
    assert until(lambda: results)
    assert camera.stats.faces == 2
    camera.stop()
    assert camera.join(20.0)
    assert camera.stats.faces == 0


def test_a_source_with_an_end_ends(made):
    camera, results = made(lambda: [picture(1)] * 3)
    camera.stop()
    assert camera.join(20.0)
    assert camera.over


def test_a_stream_that_is_stopped_before_it_begins_has_not_failed(made, monkeypatch):
    begin, cameras, made_one = LiveStream.__enter__, [], threading.Event()

    def stopped_first(stream):
        assert made_one.wait(20)
        cameras[0].stop()
        return begin(stream)

    monkeypatch.setattr(LiveStream, "__enter__", stopped_first)
    cameras.append(made()[0])
    made_one.set()
    assert cameras[0].join(20.0)
    assert (cameras[0].stats.state, cameras[0].stats.last_error) == ("ended", None)


def test_stopping_before_the_source_is_there_takes_no_time(made):
    def source():
        raise OSError("not there")

    camera, results = made(source)
    assert until(lambda: camera.stats.last_error)
    camera.stop()
    assert camera.join(20.0)
    assert (results, camera.stats.state) == ([], "ended")
