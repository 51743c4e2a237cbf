"""Warm-up, timing and figures, with a clock that runs by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dsrfau_edge.bench.timing import Span, WarmUpRule, figures, interleaved, timed, warm_up
from dsrfau_edge.errors import UsageError

MS = 1_000_000
RULE = WarmUpRule(tolerance=0.05, calls=4, seconds=0.0, limit=1.0)


class Clock:
    """Stands still but for what calls add to it."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def call(self, milliseconds):
        """A call whose n-th time takes so long."""

        def made(index: int) -> None:
            self.now += int(milliseconds(index) * MS)

        return made


def test_steady_calls_are_warm_after_two_windows():
    clock = Clock()
    found = warm_up(clock.call(lambda index: 2), RULE, clock)
    assert (found.stable, found.windows, found.calls, found.difference) == (True, 2, 8, 0)
    assert found.seconds == pytest.approx(0.016)


def test_it_goes_on_until_two_medians_agree():
    clock = Clock()
    found = warm_up(clock.call(lambda index: {0: 9, 1: 6, 2: 4}.get(index // 4, 3)), RULE, clock)
    assert (found.stable, found.windows) == (True, 5)


def test_one_slow_call_of_a_window_does_not_matter_but_a_slow_window_does():
    clock = Clock()
    assert warm_up(clock.call(lambda index: 50 if index == 5 else 2), RULE, clock).windows == 2
    clock = Clock()
    assert warm_up(clock.call(lambda index: 4 if 4 <= index < 8 else 2), RULE, clock).windows == 4


def test_what_never_becomes_stable_ends_at_the_limit_and_says_so():
    clock = Clock()
    found = warm_up(clock.call(lambda index: 10 * 1.1 ** (index // 4)), RULE, clock)
    assert not found.stable
    assert found.difference == pytest.approx(0.1, rel=1e-3)
    assert 1.0 <= found.seconds < 1.2


def test_a_window_lasts_its_seconds_too():
    clock = Clock()
    found = warm_up(clock.call(lambda index: 1), WarmUpRule(calls=4, seconds=0.05, limit=1), clock)
    assert found.calls == 100


def test_calls_slower_than_the_limit_still_have_two_windows():
    clock = Clock()
    assert warm_up(clock.call(lambda index: 2000), RULE, clock).calls == 8


def test_percentiles_are_times_that_were_measured():
    found = figures(np.arange(1, 101) * MS, 5050 * MS)
    assert (found.p50, found.p90, found.p99, found.max, found.spread) == (50, 90, 99, 100, 49)
    assert found.mean == 50.5
    assert found.std == pytest.approx(np.arange(1, 101).std())
    assert found.throughput == pytest.approx(100 / 5.05)
    few = figures(np.array([1, 2, 3, 400]) * MS, 406 * MS)
    assert (few.p50, few.p90, few.p99, few.max) == (2, 400, 400, 400)


def test_no_call_is_left_out_and_the_loop_counts():
    clock = Clock()
    found = timed(clock.call(lambda index: 500 if index == 3 else 1), Span(10, None, least=1), items=4, clock=clock)
    assert (found.calls, found.max, found.p50) == (10, 500, 1)
    assert found.throughput == pytest.approx(40 / 0.509)
    assert found.collections >= 0


def test_every_call_has_its_number():
    clock, seen = Clock(), []

    def call(index: int) -> None:
        seen.append(index)
        clock.now += MS

    timed(call, Span(5, None, least=1), clock=clock)
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("calls", "seconds", "milliseconds", "expected"),
    [
        (None, None, 1, 1000),  # a thousand calls
        (None, None, 20, 250),  # five seconds
        (None, None, 1000, 50),  # at least fifty calls
        (7, None, 1000, 7),
        (None, 0.5, 100, 5),
        (3, 60, 1, 3),
        (1000, 0.01, 5, 2),
    ],
)
def test_how_long_is_timed(calls, seconds, milliseconds, expected):
    clock = Clock()
    assert timed(clock.call(lambda index: milliseconds), Span.of(calls, seconds), clock=clock).calls == expected


@pytest.mark.parametrize(
    ("calls", "seconds"), [(0, None), (-1, 1), (None, 0), (None, -2), (None, float("nan")), (None, float("inf"))]
)
def test_spans_that_make_no_sense(calls, seconds):
    with pytest.raises(UsageError):
        Span.of(calls, seconds)


def test_two_calls_in_turn_share_what_drifts():
    clock, order = Clock(), []

    def make(name, milliseconds):
        def call(index: int) -> None:
            order.append((name, index))
            clock.now += int((milliseconds + len(order) * 0.01) * MS)

        return call

    ours, bare = interleaved(make("ours", 1.1), make("bare", 1.0), Span(6, None, least=1), clock, lambda: clock.now)
    assert order[:4] == [("ours", 0), ("bare", 0), ("bare", 1), ("ours", 1)]
    assert len(ours.wall) == len(bare.wall) == 6
    assert np.median(ours.wall - bare.wall) / MS == pytest.approx(0.1, abs=0.011)
    assert ours.cpu.tolist() == ours.wall.tolist()
