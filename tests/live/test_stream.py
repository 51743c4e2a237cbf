"""`LiveStream` over files, folders, iterators, a real HTTP camera that is killed and restarted, TCP and UDP."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

import cv2
import numpy as np
import pytest
from streams import FakePredictor, MjpegServer, RtspServer, descriptors, forever, jpeg, picture, until

from dsrfau_edge import Predictor
from dsrfau_edge.errors import InputError, RuntimeUnavailable, UsageError
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.network import ASSETS
from dsrfau_edge.following import StreamOptions
from dsrfau_edge.live import LiveOptions, LiveStream
from dsrfau_edge.stream import Frame

ROOT = Path(__file__).resolve().parents[2]
PORTRAIT = ASSETS.parent / "portrait.jpg"
EVERY = LiveOptions(realtime=False)
QUICK = LiveOptions(backoff=0.02, longest_backoff=0.1)


def live(source, options=None, predictor=None):
    return LiveStream(predictor or FakePredictor(), source, None, options)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Thirty frames at 100 a second, each 8 grey levels brighter than the last."""
    path = tmp_path_factory.mktemp("video") / "ramp.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 100, (64, 48))
    for index in range(30):
        writer.write(picture(8 * index))
    writer.release()
    return path


# Sources


def test_a_file_at_its_own_pace_in_its_own_time(video):
    with live(video) as stream:
        results = list(stream)
    assert [result.timestamp for result in results] == pytest.approx([result.index / 100 for result in results])
    assert results == sorted(results, key=lambda result: result.index)
    assert all(result.latency_ms >= 0 for result in results)
    stats = stream.stats
    assert stats.captured == 30 == stats.frames + stats.dropped
    assert (stats.state, stats.last_error, stats.reconnects) == ("ended", None, 0)
    assert sum(result.dropped for result in results) <= stats.dropped


@pytest.mark.parametrize("busy", [0, 0.002])
def test_every_frame_of_a_file(video, busy):
    with live(video, EVERY, FakePredictor(lambda frame: time.sleep(busy))) as stream:
        results = list(stream)
    assert [result.index for result in results] == list(range(30))
    assert not any(result.dropped for result in results)
    assert all(abs(int(result.image.mean()) - 8 * result.index) < 6 for result in results)


def test_a_consumer_slower_than_the_camera_gets_the_newest(video):
    with MjpegServer(forever) as server, live(server.url, QUICK) as stream:
        first = next(stream)
        assert until(lambda: stream.stats.captured >= first.index + 12)
        found = next(stream)
        assert found.dropped == found.index - first.index - 1 > 5
        assert stream.stats.dropped >= found.dropped


def test_a_folder_a_picture_and_a_rate(tmp_path):
    for index in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture(index))
    (tmp_path / "3.png").write_bytes(b"nonsense")
    with live(tmp_path, LiveOptions(realtime=False, rate=4)) as stream:
        results = list(stream)
    assert [result.timestamp for result in results] == [0, 0.25, 0.75]
    assert [Path(result.source).name for result in results] == ["1.png", "2.png", "10.png"]
    assert stream.stats.corrupt == 1
    with live(tmp_path / "1.png") as stream:
        assert len(list(stream)) == 1


def test_iterators_of_pictures_pairs_and_frames():
    pictures = list(live(iter([picture(1), picture(2)]), EVERY))
    assert [result.index for result in pictures] == [0, 1]
    assert 0 <= pictures[0].timestamp < pictures[1].timestamp
    pairs = list(live([(5.0, picture(1)), (np.float64(7), picture(2)[:, :, 0])], EVERY))
    assert [result.timestamp for result in pairs] == [5, 7]
    frames = list(live((Frame("robot", 40 + step, step / 10, picture(step), arrival=1.0) for step in range(2)), EVERY))
    assert [(result.source, result.index, result.timestamp) for result in frames] == [
        ("robot", 40, 0),
        ("robot", 41, 0.1),
    ]
    assert all(result.latency_ms > 0 for result in frames)  # from the arrival that the frame states


def test_the_newest_of_an_iterator():
    taken = threading.Event()

    def frames():
        for level in range(20):
            yield picture(level)
        taken.set()

    with live(frames()) as stream:
        stream.__enter__()
        assert taken.wait(20)
        assert until(lambda: stream.stats.captured == 20)
        last = list(stream)[-1]
    assert stream.stats.dropped > 0
    assert last.dropped > 0


@pytest.mark.parametrize("source", [3.5, None, True, b"x", {}, object(), np.zeros((4, 4, 3)), -1, ""])
def test_what_gives_no_frames_is_refused(source):
    with pytest.raises(UsageError):
        live(source)


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="no file or folder"):
        live(tmp_path / "missing.mp4")
    for source, words in (
        (977, "no such camera"),
        ("/dev/video977", "no camera at this path"),
        (tmp_path, "no pictures"),
    ):
        with pytest.raises(InputError, match=words), live(source):
            pass
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="cannot be opened"):
        next(live(tmp_path / "a.mp4"))
    with pytest.raises(UsageError, match="does not wait"):
        live(0, EVERY)


def test_a_pipeline_needs_gstreamer():
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pipeline = "videotestsrc num-buffers=20 ! videoconvert ! video/x-raw,format=BGR,width=64,height=48 ! appsink"
        with live(pipeline, LiveOptions(attempts=0)) as stream:
            assert list(stream)[0].size == (64, 48)
    else:
        with pytest.raises(RuntimeUnavailable, match="WITH_GSTREAMER"), live("videotestsrc ! appsink"):
            pass


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0}, {"rate": float("nan")}, {"attempts": -1}, {"backoff": 0}, {"stall_after": float("inf")},
        {"open_timeout": -1}, {"backoff": 5, "longest_backoff": 1}, {"rate": "30"}, {"attempts": 1.5},
        {"backoff": None}, {"stall_after": 10**400}, {"realtime": "no"}, {"wait": 1}, {"signals": None},
    ],
)  # fmt: skip
def test_options_out_of_range(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        LiveOptions(**wrong)


def test_options_of_another_kind():
    with pytest.raises(UsageError, match="StreamOptions"):
        LiveStream(FakePredictor(), 0, LiveOptions())
    with pytest.raises(UsageError, match="LiveOptions"):
        LiveStream(FakePredictor(), 0, None, {"realtime": False})


@pytest.mark.parametrize("wrap", [lambda image: image, lambda image: Frame("", 0, None, image)])
def test_an_iterator_may_fill_the_same_memory_again(wrap):
    def frames():
        memory = picture(0)
        for level in range(60):
            memory[:] = level
            yield wrap(memory)

    with live(frames(), EVERY) as stream:
        seen = [int(result.image.max()) for result in stream]
    assert seen == list(range(60))


# Faults


def test_a_camera_that_is_killed_and_comes_back():
    first = MjpegServer(lambda: forever(60))
    with live(first.url, QUICK) as stream:
        before = [next(stream) for _ in range(5)]
        first.kill()
        got = []
        going_on = threading.Thread(target=lambda: got.extend(itertools.islice(stream, 40)))
        going_on.start()
        assert until(lambda: stream.stats.state == "reconnecting")
        with MjpegServer(lambda: forever(180), first.port):
            going_on.join(30)
            assert len(got) == 40
            assert abs(int(got[-1].image.mean()) - 180) < 3
    stats = stream.stats
    assert stats.reconnects >= 1
    assert "ended or was cut off" in stats.last_error or "cannot be opened" in stats.last_error
    times = [result.timestamp for result in before + got]
    assert times == sorted(times)  # the stream's time and numbers go on
    assert len({result.index for result in before + got}) == 45


def test_a_camera_that_stalls_is_opened_anew():
    stalling = threading.Event()

    def parts():
        yield from itertools.islice(forever(50), 12)
        if not stalling.is_set():
            stalling.set()
            time.sleep(60)

    with MjpegServer(parts) as server:
        options = LiveOptions(backoff=0.02, longest_backoff=0.1, stall_after=1)
        with live(server.url, options) as stream:
            for result in stream:
                if stalling.is_set() and stream.stats.reconnects and result.index > 12:
                    break
        assert (stream.stats.state, stream.stats.abandoned) == ("ended", 0)  # by FFmpeg's own timeout


def test_damaged_frames_in_the_middle_of_a_live_stream():
    def parts():
        yield from itertools.islice(forever(50), 10)
        yield from [b"garbage" * 30] * 3
        yield from forever(150)

    with MjpegServer(parts) as server, live(server.url, QUICK) as stream:
        assert any(abs(int(result.image.mean()) - 150) < 3 for result in itertools.islice(stream, 60))
    assert (stream.stats.corrupt, stream.stats.reconnects) == (3, 0)
    assert "damaged" in stream.stats.last_error


def test_more_damage_than_that_is_a_loss():
    def parts():
        yield from itertools.islice(forever(50), 10)
        yield from [b"garbage" * 30] * 20

    with MjpegServer(parts) as server, live(server.url, QUICK) as stream:
        assert any(stream.stats.reconnects for _ in itertools.islice(stream, 60))


def test_a_damaged_frame_in_the_middle_of_a_file(video, tmp_path):
    content = bytearray(video.read_bytes())
    begins = [found.start() for found in re.finditer(b"\xff\xd8\xff", bytes(content))]
    content[begins[15] : begins[16] - 16] = bytes(begins[16] - 16 - begins[15])
    (tmp_path / "damaged.avi").write_bytes(content)
    with live(tmp_path / "damaged.avi", EVERY) as stream:
        results = list(stream)
    assert [result.index for result in results] == [*range(15), *range(16, 30)]
    assert [result.timestamp for result in results] == pytest.approx([result.index / 100 for result in results])
    assert stream.stats.corrupt == 1


def test_another_size_in_mid_stream_of_an_iterator():
    results = list(live([picture(1), picture(2), picture(3, (32, 24)), picture(4, (32, 24))], EVERY))
    assert [result.size for result in results] == [(64, 48), (64, 48), (32, 24), (32, 24)]


def test_another_size_in_mid_stream_of_an_address():
    """OpenCV's FFmpeg scales to the size that it found when the stream was opened."""

    def parts():
        yield from itertools.islice(forever(50), 5)
        while True:
            yield jpeg(150, (128, 96))

    with MjpegServer(parts) as server, live(server.url, QUICK) as stream:
        for result in stream:
            assert result.size == (64, 48)
            if abs(int(result.image.mean()) - 150) < 3:
                break
    assert stream.stats.reconnects == 0


def test_zero_frames_a_second(video, monkeypatch):
    real = cv2.VideoCapture.get
    no_rate = {cv2.CAP_PROP_FPS: 0.0, cv2.CAP_PROP_POS_MSEC: 0.0}

    class Mute:
        def __init__(self, *arguments):
            self._capture = cv2_capture(*arguments)

        def get(self, key):
            return no_rate.get(key, real(self._capture, key))

        def __getattr__(self, name):
            return getattr(self._capture, name)

    cv2_capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Mute)
    results = list(live(video, EVERY))
    assert [result.timestamp for result in results] == pytest.approx(np.arange(30) / 30)
    results = list(live(video, LiveOptions(realtime=False, rate=10)))
    assert [result.timestamp for result in results] == pytest.approx(np.arange(30) / 10)


def test_a_clock_that_goes_back_or_is_none():
    times = [1.0, 2.0, 2.0, float("nan"), "soon", 3.0, 0.5, 0.6]
    with live([(stamp, picture(5)) for stamp in times], EVERY) as stream:
        assert [result.timestamp for result in stream] == [1, 2, 3, 0.5, 0.6]
    assert (stream.stats.rejected, stream.stats.restarts) == (3, 1)


def test_the_wall_clock_does_not_matter(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: -1e9)
    times = [result.timestamp for result in live([picture(1), picture(2)], EVERY)]
    assert 0 <= times[0] < times[1] < 1e6


def test_wrong_shapes_from_an_iterator_are_passed_over():
    frames = [picture(1), np.zeros((4, 5, 7)), "no picture", None, np.zeros((0, 4, 3), np.uint8), picture(2)]
    with live(frames, EVERY) as stream:
        assert [result.index for result in stream] == [0, 5]
    assert stream.stats.corrupt == 4


def test_an_iterator_that_raises_and_goes_on():
    class Driver:
        count = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.count += 1
            if self.count == 3:
                raise TimeoutError("no frame")
            if self.count == 6:
                raise StopIteration
            return picture(self.count)

    with live(Driver(), LiveOptions(realtime=False, backoff=0.001)) as stream:
        assert [int(result.image[0, 0, 0]) for result in stream] == [1, 2, 4, 5]
    assert (stream.stats.reconnects, stream.stats.last_error) == (
        1,
        "The iterator that gives frames raised TimeoutError: no frame",
    )


def test_a_generator_that_raises_is_at_its_end():
    def frames():
        yield picture(1)
        raise OSError("unplugged")

    stream = live(frames(), LiveOptions(realtime=False, backoff=0.001))
    assert next(stream).index == 0
    with pytest.raises(InputError, match="OSError: unplugged") as raised:
        next(stream)
    assert isinstance(raised.value.__cause__, OSError)
    with pytest.raises(StopIteration):
        next(stream)


def test_a_function_is_called_again():
    sessions = iter([[picture(1)], OSError("not yet"), [picture(2)]])

    def camera():
        session = next(sessions)
        if isinstance(session, Exception):
            raise session
        return session

    options = LiveOptions(realtime=False, backoff=0.001, attempts=5)
    with live(camera, options) as stream:
        assert [int(next(stream).image[0, 0, 0]) for _ in range(2)] == [1, 2]
    with pytest.raises(InputError, match="StopIteration|not yet|RuntimeError"):
        next(live(lambda: next(iter([])), options))


@pytest.mark.parametrize("empty", [[], iter(()), (frame for frame in ())])
def test_an_empty_iterator_is_an_error(empty):
    with pytest.raises(InputError, match="gave no frames"):
        list(live(empty))


def test_an_error_of_the_predictor_is_raised_and_the_stream_goes_on():
    def fails(frame):
        if frame.index == 1:
            raise ValueError("bug")

    with live([picture(level) for level in range(3)], EVERY, FakePredictor(fails)) as stream:
        assert next(stream).index == 0
        with pytest.raises(ValueError, match="bug"):
            next(stream)
        assert next(stream).index == 2


@pytest.fixture(scope="module")
def transport(tmp_path_factory):
    """Sixty frames as an MPEG transport stream."""
    path = tmp_path_factory.mktemp("video") / "ramp.ts"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no MPEG-TS")
    for index in range(60):
        writer.write(picture(4 * index))
    writer.release()
    return path.read_bytes()


def packets(content):
    return [content[start : start + 7 * 188] for start in range(0, len(content), 7 * 188)]


def test_tcp(transport):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            for _ in range(2):  # the stream is opened again after its end
                peer, _ = listening.accept()
                with peer:
                    peer.sendall(transport)

        threading.Thread(target=serve, daemon=True).start()
        with live(f"tcp://127.0.0.1:{listening.getsockname()[1]}", QUICK) as stream:
            for _ in stream:
                if stream.stats.captured > 60:
                    break
        assert stream.stats.reconnects >= 1


def test_rtsp_that_is_killed_and_comes_back(transport):
    first = RtspServer(transport)
    options = LiveOptions(backoff=0.05, longest_backoff=0.2, stall_after=2)
    with live(first.url, options) as stream:
        assert [next(stream).size for _ in range(5)] == [(64, 48)] * 5
        assert {method for method, _ in first.paths} >= {b"DESCRIBE", b"SETUP", b"PLAY"}
        first.kill()
        for _ in stream:  # what was on its way
            if stream.stats.state == "reconnecting" or stream.stats.reconnects:
                break
            if until(lambda: stream.stats.state == "reconnecting", seconds=0.5):
                break
        with RtspServer(transport, first.port):
            assert any(stream.stats.reconnects for _ in stream)


def test_udp(transport):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = threading.Event()

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            while not done.is_set():
                for packet in packets(transport):
                    peer.sendto(packet, ("127.0.0.1", port))
                    time.sleep(0.005)

    sending = threading.Thread(target=send)
    sending.start()
    try:
        with live(f"udp://127.0.0.1:{port}", QUICK) as stream:
            assert [next(stream).size for _ in range(5)] == [(64, 48)] * 5
    finally:
        done.set()
        sending.join()


# Ending


def test_close_from_another_thread_wakes_the_iteration():
    never = threading.Event()

    def frames():
        yield picture(1)
        never.wait(60)

    stream = live(frames(), LiveOptions(realtime=False))
    next(stream)
    threading.Timer(0.05, stream.close).start()
    assert list(stream) == []
    assert stream.stats.state == "ended"
    stream.close()
    with pytest.raises(UsageError, match="closed"), stream:
        pass
    never.set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_iteration_and_the_handlers_are_as_before(number):
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with live(forever_pictures(), LiveOptions(signals=True)) as stream:
        next(stream)
        os.kill(os.getpid(), number)
        assert len(list(stream)) <= 1
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    assert stream.stopped_by == number
    with live(forever_pictures(), LiveOptions(signals=True)):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_signals_end_all_streams_that_listen_whatever_the_order_they_end_in():
    before = signal.getsignal(signal.SIGTERM)
    first, second, third = (live(forever_pictures(), LiveOptions(signals=True)) for _ in range(3))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    third.__enter__()
    os.kill(os.getpid(), signal.SIGTERM)
    assert len(list(second)) <= 1
    assert len(list(third)) <= 1
    assert [stream.stopped_by for stream in (first, second, third)] == [None, signal.SIGTERM, signal.SIGTERM]
    third.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_handler_that_was_set_meanwhile_is_kept():
    before = signal.getsignal(signal.SIGTERM)
    try:
        with live(forever_pictures(), LiveOptions(signals=True)):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_camera_that_hangs_does_not_keep_the_process():
    code = """
import itertools, time
from streams import FakePredictor, MjpegServer, forever
from dsrfau_edge.live import LiveOptions, LiveStream

def parts():
    yield from itertools.islice(forever(), 10)
    time.sleep(600)

server = MjpegServer(parts)
stream = LiveStream(FakePredictor(), server.url, None, LiveOptions(stall_after=500))
print(next(stream).size)
time.sleep(0.5)  # by now a thread waits in FFmpeg, and nobody has closed the stream
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, "(64, 48)"), done.stderr


def test_signal_handlers_are_left_alone_by_other_threads_and_failed_starts():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def elsewhere():
        with live(forever_pictures(), LiveOptions(signals=True)) as stream:
            seen.extend([next(stream), signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(30)
    assert seen[1] == before
    with pytest.raises(InputError), live([], LiveOptions(signals=True)) as stream:
        next(stream)
    assert signal.getsignal(signal.SIGTERM) == before


def test_ctrl_c_is_not_swallowed():
    never = threading.Event()
    stream = live(iter(lambda: never.wait(60), 1))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored
    try:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt), stream:
            next(stream)
    finally:
        signal.signal(signal.SIGINT, before)
    assert stream.stats.state == "ended"
    never.set()


def forever_pictures():
    while True:
        time.sleep(0.002)
        yield picture(9)


def test_nothing_is_left_after_200_streams(video):
    with MjpegServer(forever) as server:

        def once(number):
            with live(server.url if number % 10 == 0 else video, QUICK) as stream:
                next(stream)
            if number % 10 == 1:
                asyncio.run(first_of(live(video)))

        for number in range(12):
            once(number)
        assert until(lambda: threads() == [])
        before = descriptors()
        for number in range(200):
            once(number)
        assert until(lambda: threads() == [])
        assert until(lambda: descriptors() <= before)


def test_memory_does_not_grow_with_the_frames():
    """Two thousand frames of 0.9 MB would be 1.8 GB."""

    def frames(count):
        return (np.full((480, 640, 3), step % 251, np.uint8) for step in range(count))

    predictor = FakePredictor()
    predictor.calls = deque(maxlen=1)

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with live(frames(100), EVERY, predictor) as stream:
        assert sum(1 for _ in stream) == 100
    before = resident()
    for options in (EVERY, LiveOptions()):
        with live(frames(1000), options, predictor) as stream:
            assert sum(1 for _ in stream) == 1000 - stream.stats.dropped
    assert resident() - before < 50e6


def threads():
    return [one.name for one in threading.enumerate() if one.name.startswith("live ")]


def test_a_stream_that_is_forgotten_is_closed():
    stream = live(forever_pictures())
    next(stream)
    assert threads()
    del stream
    assert until(lambda: threads() == [])


# asyncio


async def first_of(stream):
    async with stream:
        async for result in stream:
            return result
    return None


def test_several_streams_in_one_event_loop(video):
    async def count(stream):
        async with stream:
            return [result.index async for result in stream]

    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        found = await asyncio.gather(
            *(count(live(video, EVERY, FakePredictor(lambda _: time.sleep(0.002)))) for _ in range(8))
        )
        ticking.cancel()
        return found, ticks

    found, ticks = asyncio.run(main())
    assert found == [list(range(30))] * 8
    assert ticks > 10  # the loop was free meanwhile
    assert threads() == []


def test_a_cancelled_wait_loses_no_frame():
    go = threading.Event()

    def frames():
        yield picture(1)
        go.wait(30)
        yield picture(2)

    async def main():
        async with live(frames(), EVERY) as stream:
            first = await stream.__anext__()
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await asyncio.wait_for(stream.__anext__(), 0.05)
            go.set()
            return [first.index, *[result.index async for result in stream]]

    assert asyncio.run(main()) == [0, 1]


def test_a_cancelled_task_ends_cleanly():
    async def consume(stream, begun):
        async with stream:
            async for _ in stream:
                begun.set()

    async def main():
        begun = asyncio.Event()
        stream = live(forever_pictures())
        task = asyncio.create_task(consume(stream, begun))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return stream.stats.state

    assert asyncio.run(main()) == "ended"
    assert until(lambda: threads() == [])


def test_a_signal_ends_async_for():
    async def main():
        async with live(forever_pictures(), LiveOptions(signals=True)) as stream:
            asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
            results = [result async for result in stream]
        return results, stream.stopped_by

    before = signal.getsignal(signal.SIGTERM)
    results, stopped_by = asyncio.run(main())
    assert results
    assert stopped_by == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_close_by_another_task_ends_async_for():
    async def main():
        stream = live(forever_pictures())
        asyncio.get_running_loop().call_later(0.05, stream.stop)
        return [result async for result in stream]

    assert asyncio.run(main())
    assert threads() == []


def test_a_forgotten_async_stream_leaves_no_thread():
    async def main():
        return await live(forever_pictures()).__anext__()

    assert asyncio.run(main()).index >= 0
    assert until(lambda: threads() == [])


def test_errors_reach_async_code():
    async def main(source):
        await first_of(live(source))

    with pytest.raises(InputError, match="no such camera"):
        asyncio.run(main(977))
    with pytest.raises(InputError, match="gave no frames"):
        asyncio.run(main([]))
    assert threads() == []


# With the real predictor


@pytest.fixture(scope="module")
def predictor():
    with Predictor("dsrfau-nano", threads=1) as opened:
        yield opened


def test_a_face_keeps_its_id_and_is_found_again_at_another_size(predictor):
    portrait = read_image(PORTRAIT)
    small = cv2.resize(portrait, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
    frames = [(step / 30, portrait if step < 4 else small) for step in range(8)]
    with predictor.live(iter(frames), live=EVERY) as stream:
        results = list(stream)
    assert [len(result.faces) for result in results] == [1] * 8
    ids = [result.faces[0].id for result in results]
    assert len(set(ids[:4])) == len(set(ids[4:])) == 1
    widths = [result.faces[0].box[2] - result.faces[0].box[0] for result in results]
    assert widths[-1] == pytest.approx(0.75 * widths[0], rel=0.1)


def test_time_that_goes_back_keeps_the_face(predictor):
    portrait = read_image(PORTRAIT)
    with predictor.live([(stamp, portrait) for stamp in (5.0, 5.1, 1.0, 1.1)], live=EVERY) as stream:
        assert {face.id for result in stream for face in result.faces} == {0}
    assert stream.stats.restarts == 1


def test_options_reach_the_stream(predictor):
    results = list(predictor.live([read_image(PORTRAIT)], StreamOptions(keep_images=True), EVERY))
    assert results[0].image is not None


def test_a_closed_predictor_says_so():
    closed = Predictor("dsrfau-nano", threads=1)
    stream = closed.live([picture(1)])
    closed.close()
    with pytest.raises(UsageError, match="closed"):
        next(stream)
    stream.close()


def test_the_documented_code_runs(video, tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/live.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 3
    shutil.copy(video, tmp_path / "clip.avi")
    monkeypatch.chdir(tmp_path)
    real = LiveStream.__init__

    def recorded(self, predictor, source, options=None, live=None):
        real(self, predictor, "clip.avi", options, live)  # there is no camera here

    monkeypatch.setattr(LiveStream, "__init__", recorded)
    for block in blocks:
        exec(compile(block, "live.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out
