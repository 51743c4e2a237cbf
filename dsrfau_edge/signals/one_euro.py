"""The One-Euro filter: smooth where a value rests, quick where it moves.

Source: Casiez, Roussel, Vogel, "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive
Systems", CHI 2012.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True, slots=True)
class OneEuro:
    """Settings of the filter.

    Attributes:
        min_cutoff: cut-off frequency at rest in Hz; lower is smoother.
        beta: how much the cut-off rises, in Hz for each unit a second; higher follows faster.
        derivative_cutoff: cut-off frequency of the speed itself in Hz.
    """

    min_cutoff: float = 1.0
    beta: float = 0.6
    derivative_cutoff: float = 4.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UsageError: one of them makes no sense.
        """
        for name in ("min_cutoff", "beta", "derivative_cutoff"):
            value = getattr(self, name)
            if not (math.isfinite(value) and (value >= 0 if name == "beta" else value > 0)):
                least = "0 or more" if name == "beta" else "more than 0"
                raise UsageError(f"{name} of the One-Euro filter is {value}; give a number of {least}.")


class OneEuroFilter:
    """Filters several values that come at the same times. One thread at a time.

    It works on plain numbers: for a few dozen values that is faster than numpy right after a network has run.
    """

    __slots__ = ("_settings", "_speeds", "_time", "_values")

    def __init__(self, settings: OneEuro) -> None:
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Begin anew: the next values go through as they are."""
        self._values: list[float] = []
        self._speeds: list[float] = []
        self._time = -math.inf

    def restart_time(self) -> None:
        """Keep the values, though the next timestamp does not come after the last one."""
        self._time = math.inf

    def __call__(self, values: Sequence[float], timestamp: float) -> list[float]:
        """Smoothed values; `timestamp` in seconds. A time that does not pass changes nothing.

        Raises:
            ValueError: another number of values than before.
        """
        if not self._values:
            self._values, self._speeds, self._time = list(values), [0.0] * len(values), timestamp
            return list(values)
        passed, self._time = timestamp - self._time, timestamp
        if not passed > 0 or math.isinf(passed):
            return list(self._values)
        settings, turn = self._settings, 2 * math.pi * passed
        weight = _weight(turn * settings.derivative_cutoff)
        slowest, beta, rate = turn * settings.min_cutoff, turn * settings.beta, 1 / passed
        for place, (new, old, speed) in enumerate(zip(values, self._values, self._speeds, strict=True)):
            speed += weight * ((new - old) * rate - speed)
            self._speeds[place] = speed
            self._values[place] = old + _weight(slowest + beta * abs(speed)) * (new - old)
        return list(self._values)


def _weight(turn: float) -> float:
    """Weight of a new value, from the angle in radians that the cut-off turns through since the last one."""
    return turn / (turn + 1)
