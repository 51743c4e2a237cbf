"""AU intensities over time in memory that does not grow: of each stretch the lowest and the highest value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


class Series:
    """One face's intensities. Peaks are never lost: halving the number of stretches keeps their extremes."""

    def __init__(self, aus: Sequence[str], stretches: int = 2048) -> None:
        """Start empty; `stretches` is an even number, the most that are kept."""
        self._aus = tuple(aus)
        self._times = np.zeros((stretches, 2), np.float64)
        self._low = np.zeros((stretches, len(self._aus)), np.float32)
        self._high = np.zeros_like(self._low)
        self._length = self._filled = 0
        self._per = 1
        self.frames = 0

    def add(self, timestamp: float, values: Mapping[str, float]) -> None:
        """Take one frame; times only grow."""
        row = np.array([values[au] for au in self._aus], np.float32)
        if self._length and self._filled < self._per:
            at = self._length - 1
            self._times[at, 1] = timestamp
            self._low[at] = np.minimum(self._low[at], row)
            self._high[at] = np.maximum(self._high[at], row)
        else:
            if self._length == len(self._times):
                self._halve()
            at, self._filled = self._length, 0
            self._length += 1
            self._times[at], self._low[at], self._high[at] = timestamp, row, row
        self._filled += 1
        self.frames += 1

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """First and last time of each stretch, `[n, 2]` in seconds."""
        return self._times[: self._length]

    def bounds(self, au: str) -> tuple[Array, Array]:
        """Lowest and highest intensity of each stretch, `[n]` each."""
        column = self._aus.index(au)
        return self._low[: self._length, column], self._high[: self._length, column]

    def _halve(self) -> None:
        half = self._length // 2
        self._times[:half, 0], self._times[:half, 1] = self._times[::2, 0], self._times[1::2, 1]
        self._low[:half] = np.minimum(self._low[::2], self._low[1::2])
        self._high[:half] = np.maximum(self._high[::2], self._high[1::2])
        self._length = half
        self._per *= 2
