"""Running quantile of a row of values, in constant memory, which forgets what lies long back."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..action_units import MAX_INTENSITY

_BINS = 50
_PER_UNIT = _BINS / MAX_INTENSITY
_RESCALE_AT = 1e9  # by which an older weight has become meaningless


class _Histogram:
    """Of one value: weight, lowest and highest of each bin from 0 to 5."""

    __slots__ = ("highs", "lows", "weights")

    def __init__(self) -> None:
        self.weights = [0.0] * _BINS
        self.lows = [math.inf] * _BINS
        self.highs = [-math.inf] * _BINS

    def rescale(self, scale: float) -> None:
        """Divide the weights; a bin of which nothing is left forgets its ends as well."""
        for place, weight in enumerate(self.weights):
            if weight > 1.0:
                self.weights[place] = weight / scale
            else:
                self.weights[place], self.lows[place], self.highs[place] = 0.0, math.inf, -math.inf

    def level(self, share: float) -> float:
        """Within a bin all values between its lowest and its highest count as equally frequent."""
        target, passed, level = share * sum(self.weights), 0.0, 0.0
        for weight, low, high in zip(self.weights, self.lows, self.highs, strict=True):
            if not weight:
                continue
            level = high
            if passed + weight >= target:
                return low + (high - low) * (target - passed) / weight
            passed += weight
        return level


class RunningQuantile:
    """Quantile of each of `count` values, from a histogram for each.

    It is exact for a value that stays, and never leaves the range of what came in. Instead of all older weights
    shrinking, each new one is larger than the one before; rarely all are scaled back.
    """

    def __init__(self, count: int, half_life: float) -> None:
        """Take the number of values, and the weight after which what came before counts half."""
        self._half_life = half_life
        self._scale = 1.0
        self._histograms = [_Histogram() for _ in range(count)]

    def add(self, values: Sequence[float], weight: float) -> None:
        """Count a row `[count]`, for instance by the seconds that it stands for."""
        self._scale *= 2 ** (weight / self._half_life)
        share = weight * self._scale
        for value, histogram in zip(values, self._histograms, strict=True):
            place = min(max(int(value * _PER_UNIT), 0), _BINS - 1)
            histogram.weights[place] += share
            if value < histogram.lows[place]:
                histogram.lows[place] = value
            if value > histogram.highs[place]:
                histogram.highs[place] = value
        if self._scale > _RESCALE_AT:
            for histogram in self._histograms:
                histogram.rescale(self._scale)
            self._scale = 1.0

    def level(self, share: float) -> list[float]:
        """The values `[count]` below which `share` of the weight lies; 0 before anything was counted."""
        return [histogram.level(share) for histogram in self._histograms]
