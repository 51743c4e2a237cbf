"""One-Euro filter: less lag the faster a value changes, less jitter the slower.

Casiez, Roussel, Vogel: "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems",
CHI 2012, algorithms 1 and 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from .checks import check_row, check_setting


@dataclass(frozen=True, slots=True, kw_only=True)
class OneEuro:
    """Settings of the filter. `docs/signals.md` tells how the defaults were chosen.

    Attributes:
        min_cutoff: cutoff in Hz for a value that rests: lower is calmer, and slower to start moving.
        beta: by how many Hz the cutoff rises for each unit per second at which the value changes.
        derivative_cutoff: cutoff in Hz of the speed that `beta` acts on.
    """

    min_cutoff: float = 0.2
    beta: float = 0.2
    derivative_cutoff: float = 2.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UsageError: one of them makes no sense.
        """
        check_setting("min_cutoff", self.min_cutoff, 1e-6, 1e6, "a frequency in Hz above 0, such as 0.2")
        check_setting("beta", self.beta, 0, 1e6, "0 (the same smoothing at every speed) or more")
        check_setting("derivative_cutoff", self.derivative_cutoff, 1e-6, 1e6, "a frequency in Hz above 0, such as 2")


class OneEuroFilter:
    """The filter for a row of values that come at the same times; the times may lie apart unevenly.

    It works on plain numbers, see `results.Assembler` for why.

    Example:
        >>> smooth = OneEuroFilter(OneEuro())
        >>> smooth([0.0, 2.0], 0.0), smooth([0.1, 2.1], 0.033)
    """

    def __init__(self, settings: OneEuro) -> None:
        self.settings = settings
        self._time: float | None = None
        self._values: list[float] = []
        self._speeds: list[float] = []

    def __call__(self, values: Sequence[float], timestamp: float) -> list[float]:
        """The smoothed row `[S]`, within the range of what came in so far; the first row is given back as it is.

        Args:
            values: `[S]`, the same number each time.
            timestamp: seconds. Where no time has passed since the last row, that row's result is given again.

        Raises:
            InputError: another number of values, one that is not finite, or a time before the last. The filter is then
                as it was.
        """
        check_row(values, len(values) if self._time is None else len(self._values), timestamp)
        if self._time is None:
            self._values, self._speeds = [float(value) for value in values], [0.0] * len(values)
        elif timestamp < self._time:
            raise InputError(f"The time {timestamp:.6g} s lies before the last, {self._time:.6g} s. Reset the filter.")
        elif timestamp > self._time:
            self._step(values, timestamp - self._time)
        self._time = timestamp
        return list(self._values)

    def reset(self) -> None:
        """Forget what came in; the next row is the first."""
        self._time = None

    def _step(self, values: Sequence[float], interval: float) -> None:
        """Two low-pass filters; each keeps 1 / (1 + 2 pi cutoff interval) of what it was (the paper's 1 - alpha).

        The interval is cancelled where the speed is fed, so that even the shortest overflows nothing.
        """
        turn = 2 * math.pi * interval
        settings = self.settings
        kept = 1 / (1 + turn * settings.derivative_cutoff)
        fed = 2 * math.pi * settings.derivative_cutoff * kept
        low, beta = settings.min_cutoff, settings.beta
        smoothed, speeds = [], []
        for value, last, speed in zip(values, self._values, self._speeds, strict=True):
            change = value - last
            speed = speed * kept + fed * change
            speeds.append(speed)
            smoothed.append(last + change * (1 - 1 / (1 + turn * (low + beta * abs(speed)))))
        self._values, self._speeds = smoothed, speeds
