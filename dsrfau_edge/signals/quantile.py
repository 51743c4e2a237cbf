"""Running quantile of a row of values, in constant memory, which forgets what lies long back."""

from __future__ import annotations

from collections.abc import Sequence

from ..action_units import MAX_INTENSITY

_BINS = 50
_PER_UNIT = _BINS / MAX_INTENSITY
_RESCALE_AT = 1e12


class RunningQuantile:
    """Quantile of each of `count` values, from a histogram over 0 to 5 for each.

    Every bin keeps its weight and the weighted sum of what fell into it. The quantile is interpolated between the bins'
    means, so it is exact for a value that stays, never leaves the range of what came in and has no steps. Instead of
    all older weights shrinking, each new one is larger than the one before; rarely all are scaled back.
    """

    def __init__(self, count: int, half_life: float) -> None:
        """Take the number of values, and the weight after which what came before counts half."""
        self._half_life = half_life
        self._scale = 1.0
        self._weights = [[0.0] * _BINS for _ in range(count)]
        self._sums = [[0.0] * _BINS for _ in range(count)]

    def add(self, values: Sequence[float], weight: float) -> None:
        """Count a row `[count]`, for instance by the seconds that it stands for."""
        self._scale *= 2 ** (weight / self._half_life)
        share = weight * self._scale
        for value, weights, sums in zip(values, self._weights, self._sums, strict=True):
            place = min(max(int(value * _PER_UNIT), 0), _BINS - 1)
            weights[place] += share
            sums[place] += share * value
        if self._scale > _RESCALE_AT:
            self._rescale()

    def level(self, share: float) -> list[float]:
        """The values `[count]` below which `share` of the weight lies; 0 before anything was counted."""
        return [_quantile(weights, sums, share) for weights, sums in zip(self._weights, self._sums, strict=True)]

    def _rescale(self) -> None:
        for row in (*self._weights, *self._sums):
            row[:] = [value / self._scale for value in row]
        self._scale = 1.0


def _quantile(weights: list[float], sums: list[float], share: float) -> float:
    """Each bin stands at the middle of its weight; below the first and above the last there is nothing to go to."""
    target = share * sum(weights)
    passed, before, level = 0.0, 0.0, 0.0
    for weight, total in zip(weights, sums, strict=True):
        if not weight:
            continue
        middle, mean = passed + weight / 2, total / weight
        if middle >= target:
            return level + (mean - level) * (target - before) / (middle - before) if passed else mean
        passed, before, level = passed + weight, middle, mean
    return level
