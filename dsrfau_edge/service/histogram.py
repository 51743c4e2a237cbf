"""Counts of latencies in fixed buckets, as Prometheus takes them."""

from __future__ import annotations

import threading
from bisect import bisect_left

#: Upper bounds in seconds; the last bucket has none.
BOUNDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)


class Histogram:
    """Any thread may use it."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        """Count one."""
        with self._lock:
            self._counts[bisect_left(BOUNDS, seconds)] += 1
            self._sum += seconds

    def read(self) -> tuple[tuple[int, ...], float]:
        """How many are at or below each bound, the last of all, and their sum in seconds."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        for place in range(1, len(counts)):
            counts[place] += counts[place - 1]
        return tuple(counts), total
