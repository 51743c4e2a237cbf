"""Timing a call: when it has warmed up, how often it is timed, and the figures that are told of the times.

The clock is monotonic and counts nanoseconds. Nothing sleeps, no time is left out, and Python's garbage collector stays
on as in a user's program; its runs during the timed calls are counted.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError

#: Gives nanoseconds that never run backwards.
Clock = Callable[[], int]
#: Makes the n-th call, n from 0: the number picks the input, so that no two calls in a row get the same one.
Call = Callable[[int], object]

#: What the figures mean; stands in every report.
DEFINITIONS = {
    "p50, p90, p99": "the smallest measured time that at least this share of the timed calls did not exceed "
    "(nearest rank, nothing interpolated); p90 is the headline",
    "max": "the longest timed call; no call is left out",
    "jitter": "the standard deviation of the timed calls, and p99 - p50",
    "throughput": "crops (or frames) a second of one caller that calls again at once, loop included",
    "load": "from the files to a session that can be called, of frames to a whole Predictor with the face models; "
    "importing the runtime's package is told apart",
    "first call": "the first call of the new session, on a crop",
    "warm-up": "calls until the medians of two windows in a row differ by at most the stated share",
    "cpu": "mean processor time of a call over all cores, which other programs hardly change",
    "clock": "time.perf_counter_ns; Python's garbage collector is on, its runs are counted; preemptions are the times "
    "the system gave the processor to another program during the timed calls",
    "memory": "the high-water mark of the resident memory of a process that measured nothing else",
}

_PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class WarmUpRule:
    """When a call counts as warm: the medians of two windows in a row are as good as equal.

    Attributes:
        tolerance: largest difference of the two medians, as a share of the smaller.
        calls: a window has at least so many calls,
        seconds: and lasts at least so long.
        limit: no new window is begun after so many seconds.
    """

    tolerance: float = 0.05
    calls: int = 10
    seconds: float = 0.1
    limit: float = 20.0

    def __str__(self) -> str:
        """The rule in words."""
        return (
            f"windows of at least {self.calls} calls and {self.seconds:g} s, until two medians in a row differ by at "
            f"most {self.tolerance:.0%}, for at most {self.limit:g} s"
        )


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What the warm-up took, and whether the call became stable within its limit.

    `difference` is that of the last two windows' medians, as a share.
    """

    stable: bool
    calls: int
    windows: int
    seconds: float
    difference: float


@dataclass(frozen=True, slots=True)
class Span:
    """How long calls are timed: until so many are, or so many seconds are over, but at least `least` of them.

    Attributes:
        calls: at most; None for no limit.
        seconds: at most; None for no limit.
        least: calls that are timed however long they take.
    """

    calls: int | None = 1000
    seconds: float | None = 5.0
    least: int = 50

    @classmethod
    def of(cls, calls: int | None, seconds: float | None) -> Span:
        """From what the user asks for: exactly so many calls, or so many seconds, or whichever comes first.

        Raises:
            UsageError: a number that is not positive.
        """
        if calls is not None and calls < 1:
            raise UsageError(f"{calls} calls cannot be timed. Give 1 or more with --iterations.")
        if seconds is not None and not 0 < seconds < float("inf"):
            raise UsageError(f"{seconds} seconds cannot be measured. Give more than 0 with --seconds.")
        if calls is None and seconds is None:
            return cls()
        return cls(calls, seconds, least=calls if calls is not None and seconds is None else 1)

    def over(self, calls: int, nanoseconds: int) -> bool:
        """Whether so many calls in so long are enough."""
        if calls < self.least:
            return False
        full = self.calls is not None and calls >= self.calls
        return full or (self.seconds is not None and nanoseconds >= self.seconds * 1e9)


@dataclass(frozen=True, slots=True)
class Figures:
    """What is told of the timed calls; times in milliseconds, see `DEFINITIONS`.

    Attributes:
        calls: that were timed.
        p50: half of the calls took at most so long; `p90` and `p99` likewise.
        p90: the headline.
        p99: see `p50`.
        max: the longest.
        mean: of all.
        std: standard deviation of all.
        spread: p99 - p50.
        throughput: crops or frames a second.
        cpu: mean time of all processor cores that a call took, milliseconds; other programs hardly change it.
        collections: runs of Python's garbage collector meanwhile.
        preemptions: times the system took the processor away from this process meanwhile; None where it does not tell.
    """

    calls: int
    p50: float
    p90: float
    p99: float
    max: float
    mean: float
    std: float
    spread: float
    throughput: float
    cpu: float | None = None
    collections: int = 0
    preemptions: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As reported, with four significant digits."""
        return {
            key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in asdict(self).items()
        }


def warm_up(call: Call, rule: WarmUpRule, clock: Clock = time.perf_counter_ns) -> WarmUp:
    """Call until the rule is met or its limit reached."""
    start = now = clock()
    calls, windows, before, difference = 0, 0, None, float("inf")
    while windows < 2 or (difference > rule.tolerance and now - start < rule.limit * 1e9):
        times: list[int] = []
        begun = now
        while len(times) < rule.calls or now - begun < rule.seconds * 1e9:
            call(calls)
            calls += 1
            ended = clock()
            times.append(ended - now)
            now = ended
        median, windows = float(np.median(times)), windows + 1
        if before is not None:
            difference = abs(median - before) / max(min(median, before), 1.0)
        before = median
    return WarmUp(difference <= rule.tolerance, calls, windows, (now - start) / 1e9, difference)


def timed(call: Call, span: Span, *, items: int = 1, clock: Clock = time.perf_counter_ns) -> Figures:
    """Time calls one after another; each does `items` crops or frames."""
    times: list[int] = []
    collections, preemptions, cpu = _collections(), _preemptions(), time.process_time_ns()
    start = clock()
    ended = start
    while not span.over(len(times), ended - start):
        begun = clock()
        call(len(times))
        ended = clock()
        times.append(ended - begun)
    found = figures(np.array(times, np.int64), ended - start, items)
    spent, after = time.process_time_ns() - cpu, _preemptions()
    return replace(
        found,
        cpu=spent / 1e6 / len(times),
        collections=_collections() - collections,
        preemptions=None if preemptions is None or after is None else after - preemptions,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Nanoseconds of calls: by the clock on the wall, and of processor time over all threads."""

    wall: npt.NDArray[np.int64]
    cpu: npt.NDArray[np.int64]


def interleaved(
    one: Call, other: Call, span: Span, clock: Clock = time.perf_counter_ns, cpu: Clock = time.process_time_ns
) -> tuple[Series, Series]:
    """Times of two calls made in turn, so that what drifts meets both; each goes first every other time."""
    calls = (one, other)
    walls: tuple[list[int], list[int]] = ([], [])
    cpus: tuple[list[int], list[int]] = ([], [])
    start = clock()
    ended = start
    while not span.over(len(walls[1]), ended - start):
        index = len(walls[1])
        for which in (0, 1) if index % 2 == 0 else (1, 0):
            spent = cpu()
            begun = clock()
            calls[which](index)
            ended = clock()
            cpus[which].append(cpu() - spent)
            walls[which].append(ended - begun)
    first, second = (
        Series(np.array(wall, np.int64), np.array(used, np.int64)) for wall, used in zip(walls, cpus, strict=True)
    )
    return first, second


def figures(nanoseconds: npt.NDArray[np.int64], elapsed: int, items: int = 1) -> Figures:
    """Figures of the times of calls that did `items` each, in `elapsed` nanoseconds together."""
    milliseconds = nanoseconds / 1e6
    p50, p90, p99 = (float(np.percentile(milliseconds, share, method="inverted_cdf")) for share in _PERCENTILES)
    return Figures(
        calls=len(milliseconds),
        p50=p50,
        p90=p90,
        p99=p99,
        max=float(milliseconds.max()),
        mean=float(milliseconds.mean()),
        std=float(milliseconds.std()),
        spread=p99 - p50,
        throughput=len(milliseconds) * items / (max(elapsed, 1) / 1e9),
    )


def _collections() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())


def _preemptions() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
