"""When a frame was taken, on the clock that robots share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .messages import Time

if TYPE_CHECKING:
    from dsrfau_edge.results import FrameResult

_BILLION = 1_000_000_000


class Stamps:
    """The stamp of each result.

    Of a live source that is now less the result's latency. A video is stamped as if it had begun to play with its first
    result, so that recordings of it keep its own time, however fast it was read. A picture is stamped now.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        """Take a clock that gives nanoseconds since 1970."""
        self._clock = clock
        self._source: str | None = None
        self._origin = 0
        self._last = 0

    def now(self) -> Time:
        """The present, or the last stamp where that is later."""
        return Time.from_ns(max(self._clock(), self._last))

    def __call__(self, result: FrameResult) -> Time:
        """The stamp; of a video it never goes back, also where the next video follows."""
        if result.timestamp is None or result.latency_ms is not None:
            return Time.from_ns(self._clock() - round((result.latency_ms or 0.0) * 1e6))
        offset = round(result.timestamp * _BILLION)
        if result.source != self._source or self._origin + offset < self._last:
            self._source = result.source
            self._origin = max(self._clock(), self._last + 1) - offset
        self._last = self._origin + offset
        return Time.from_ns(self._last)
