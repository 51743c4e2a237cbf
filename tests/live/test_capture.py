"""The capture threads of a live stream, with cameras by script: what is lost, comes back, hangs or is damaged."""

from __future__ import annotations

import threading

import pytest
from streams import Camera, picture, until

from dsrfau_edge.errors import InputError, RuntimeUnavailable
from dsrfau_edge.live.capture import Capture
from dsrfau_edge.live.exchange import Demand, Exchange
from dsrfau_edge.live.options import Backoff, LiveOptions
from dsrfau_edge.stream import Frame

QUICK = {"backoff": 0.001, "longest_backoff": 0.002, "stall_after": 30.0}
GONE = InputError("gone")


def capture_of(camera, *, origin=None, **options):
    return Capture(camera.origin(**(origin or {})), LiveOptions(**{**QUICK, **options}))


def levels(capture, count):
    """Grey levels of the next frames, and the numbers of these."""
    capture.start()
    frames = [capture.take()[0] for _ in range(count)]
    return [int(frame.image[0, 0, 0]) for frame in frames], [frame.index for frame in frames]


@pytest.fixture
def closing():
    """Captures to close at the end of the test."""
    opened = []
    yield lambda capture: opened.append(capture) or capture
    for capture in opened:
        capture.close()


def test_backoff_doubles_to_its_end_and_begins_anew():
    backoff = Backoff(LiveOptions(backoff=1, longest_backoff=5, attempts=5))
    assert [backoff.next(0) for _ in range(4)] == [1, 2, 4, 5]
    assert not backoff.spent
    assert backoff.next(1) == 2.5  # at random down to half
    assert backoff.spent
    backoff.reset()
    assert backoff.next(0) == 1
    assert not Backoff(LiveOptions(attempts=None)).spent
    assert Backoff(LiveOptions(attempts=0)).spent
    long = Backoff(LiveOptions())
    assert max(long.next(0) for _ in range(5000)) == 10  # and no overflow


def test_demand_passes_over_frames_that_a_busy_consumer_will_not_see():
    demand = Demand()
    assert demand.wanted(0)
    for step in range(30):  # frames every 0.1 s, the consumer takes 0.5 s
        now = step / 10
        demand.grabbed(now)
        if step % 5 == 0:
            demand.back(now)
            demand.taken(now)
    wanted = [demand.wanted(2.5 + step / 10) for step in range(1, 6)]
    assert wanted[:2] == [False, False]
    assert wanted[-1]


def test_the_newest_frame_wins_and_the_others_are_counted():
    times = iter(range(10, 100))
    exchange = Exchange(Camera().origin(keeps=False), clock=lambda: next(times))
    exchange.owner = self = object()
    for index in range(3):
        exchange.grabbed(self)
        exchange.put(self, Frame("x", index, None, picture(index)), 50 + index)
    frame, dropped = exchange.take(lambda: 1)
    assert (frame.index, dropped) == (2, 2)
    assert exchange.counters.dropped == 2
    assert (frame.arrival, frame.timestamp) == (52, 42)  # the stream began when the clock showed 10
    exchange.put(object(), Frame("x", 9, None, picture(9)), 99)  # a reader that has lost its place
    exchange.end(self, None)
    assert exchange.take(lambda: 1) is None


def test_a_frame_that_is_not_wanted_is_not_decoded(closing):
    camera = Camera()
    capture = closing(capture_of(camera, origin={"keeps": False}))
    capture.start()
    for _ in range(6):
        assert capture.take() is not None
        seen = capture.exchange.stats().captured
        assert until(lambda seen=seen: capture.exchange.stats().captured >= seen + 30)  # a slow consumer
    counters = capture.exchange.stats()
    assert counters.dropped >= 100
    assert camera.retrieved < counters.captured - 20


def test_unplugged_and_back(closing):
    camera = Camera([1, 2, 3], InputError("no device"), InputError("no device"), [4, 5])
    capture = closing(capture_of(camera))
    assert levels(capture, 6) == ([1, 2, 3, 4, 5, 200], [0, 1, 2, 3, 4, 5])
    counters = capture.exchange.stats()
    assert (counters.reconnects, counters.state, camera.opened) == (2, "running", 5)
    assert "ended or was cut off" in counters.last_error


def test_while_it_is_gone_the_state_says_so(closing):
    back = threading.Event()
    camera = Camera([1], lambda: back.wait(30) and [2])
    capture = closing(capture_of(camera, open_timeout=60, origin={"opening": 60}))
    assert levels(capture, 1)[0] == [1]
    assert until(lambda: capture.exchange.stats().state == "reconnecting")
    back.set()
    assert levels(capture, 1)[0] == [2]
    assert until(lambda: capture.exchange.stats().state == "running")


def test_absent_at_the_start():
    with pytest.raises(InputError, match="gone"):
        capture_of(Camera(GONE)).start()
    waiting = capture_of(Camera(GONE, GONE, [7]), wait=True)
    assert levels(waiting, 1)[0] == [7]
    assert waiting.exchange.stats().reconnects == 0  # that was the first time
    waiting.close()


def test_what_no_waiting_helps_is_raised_even_if_waiting_was_asked_for():
    capture = capture_of(Camera(RuntimeUnavailable("no GStreamer")), wait=True)
    capture.start()
    with pytest.raises(RuntimeUnavailable, match="GStreamer"):
        capture.take()
    assert capture.take() is None


def test_attempts_end():
    capture = capture_of(Camera([1], GONE, GONE, GONE, GONE), attempts=3)
    assert levels(capture, 1)[0] == [1]
    with pytest.raises(InputError, match=r"gone 3 attempts .* LiveOptions.attempts"):
        capture.take()
    assert capture.take() is None
    assert capture.exchange.stats().state == "ended"


def test_no_attempts_take_the_first_end_as_the_end():
    capture = capture_of(Camera([1, 2]), attempts=0)
    assert levels(capture, 2)[0] == [1, 2]
    assert capture.take() is None


def test_no_attempts_wait_for_the_beginning_all_the_same():
    capture = capture_of(Camera(GONE, GONE, [1]), attempts=0, wait=True)
    assert levels(capture, 1)[0] == [1]
    assert capture.take() is None


def test_without_attempts_a_loss_that_is_no_end_is_raised():
    capture = capture_of(Camera([1, lambda: (_ for _ in ()).throw(InputError("cable"))]), attempts=0)
    assert levels(capture, 1)[0] == [1]
    with pytest.raises(InputError, match="^cable$"):
        capture.take()


def test_a_read_that_hangs_in_the_driver_is_left_behind(closing):
    hang = threading.Event()
    camera = Camera([1, lambda: hang.wait(60) and 66, 67])
    capture = closing(capture_of(camera, stall_after=0.05))
    assert levels(capture, 3)[0] == [1, 200, 200]
    assert capture.exchange.stats().abandoned == 1
    assert (camera.opened, camera.released) == (2, 0)
    hang.set()  # the driver returns: its thread frees what it holds, and its frame is nobody's
    assert until(lambda: camera.released == 1)
    assert levels(capture, 2)[0] == [200, 200]


def test_threads_that_hang_do_not_pile_up():
    hang = threading.Event()
    camera = Camera(*([lambda: hang.wait(60) and 66] for _ in range(20)))
    capture = capture_of(camera, stall_after=0.02)
    capture.start()
    ended = threading.Thread(target=capture.take)
    ended.start()
    assert until(lambda: camera.opened == 4)
    assert not until(lambda: camera.opened > 4, seconds=0.3)
    capture.stop()
    ended.join(20)
    assert not ended.is_alive()
    hang.set()
    assert until(lambda: not [one for one in threading.enumerate() if one.name == "live a camera"])
    assert camera.released == camera.opened


def test_opening_that_hangs_at_the_start():
    hang = threading.Event()
    camera = Camera(lambda: hang.wait(60) and [])
    capture = capture_of(camera, stall_after=0.02)
    with pytest.raises(InputError, match="silent"):
        capture.start()
    hang.set()


def test_a_damaged_frame_is_passed_over(closing):
    capture = closing(capture_of(Camera([1, InputError("bits"), *range(2, 99)])))
    assert levels(capture, 2) == ([1, 2], [0, 2])
    counters = capture.exchange.stats()
    assert (counters.corrupt, counters.last_error, counters.reconnects) == (1, "bits", 0)


def test_nothing_but_damaged_frames_is_a_loss(closing):
    camera = Camera()
    camera.last = InputError("bits")
    capture = closing(capture_of(camera, stall_after=0.05))
    capture.start()
    assert until(lambda: camera.opened >= 3)  # a reader leaves a session without end for this reason alone
    assert capture.exchange.stats().abandoned == 0


def test_what_is_no_error_but_an_exit_reaches_the_consumer():
    capture = capture_of(Camera([1, KeyboardInterrupt()]))
    assert levels(capture, 1)[0] == [1]
    with pytest.raises(KeyboardInterrupt):
        capture.take()


def test_stop_wakes_who_waits():
    hang = threading.Event()
    capture = capture_of(Camera([lambda: hang.wait(60) and 1]))
    capture.start()
    got = []
    waiting = threading.Thread(target=lambda: got.append(capture.take()))
    waiting.start()
    capture.stop()
    waiting.join(20)
    assert got == [None]
    hang.set()


def test_no_frame_is_lost_where_none_may_be(closing):
    capture = closing(capture_of(Camera(list(range(50))), origin={"lasts": False, "reopens": False}))
    assert levels(capture, 50)[0] == list(range(50))
    assert capture.take() is None
    assert capture.exchange.stats().dropped == 0
