"""Whether a confidence means what it says: reliability curve, calibration error, Brier score, and AUC of "wrong"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Readings whose confidences lie in one tenth: their weight, mean confidence and share of right ones."""

    weight: float
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How good confidences are.

    Attributes:
        right: share of the readings that are right.
        ece: expected calibration error, the mean distance of confidence and share right over ten bins (0 is best).
        brier: mean squared difference of confidence and outcome (0 is best; always saying `right` gives its variance).
        auc: probability that a wrong reading has a lower confidence than a right one (0.5 is chance).
        bins: the reliability curve, empty tenths left out.
    """

    right: float
    ece: float
    brier: float
    auc: float
    bins: tuple[Bin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        curve = [[round(value, 4) for value in (one.weight, one.confidence, one.right)] for one in self.bins]
        named = {name: round(getattr(self, name), 4) for name in ("right", "ece", "brier", "auc")}
        return {**named, "curve": curve}


def calibration(confidence: Floats, right: npt.NDArray[np.bool_], weights: Floats) -> Calibration:
    """Score confidences `[n]` of readings that are right or wrong `[n]` under weights `[n]`."""
    share = weights / weights.sum()
    numbers = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    bins = []
    for number in range(BINS):
        inside = numbers == number
        weight = float(share[inside].sum())
        if weight > 0:
            part = share[inside] / weight
            bins.append(Bin(weight, float(part @ confidence[inside]), float(part @ right[inside])))
    return Calibration(
        right=float(share @ right),
        ece=sum(one.weight * abs(one.confidence - one.right) for one in bins),
        brier=float(share @ (confidence - right) ** 2),
        auc=_auc(confidence, right, share),
        bins=tuple(bins),
    )


def _auc(confidence: Floats, right: npt.NDArray[np.bool_], share: Floats) -> float:
    """Weighted, ties counting half; NaN where all are right or all wrong."""
    levels, place = np.unique(confidence, return_inverse=True)
    good = np.bincount(place, share * right, len(levels))
    bad = np.bincount(place, share * ~right, len(levels))
    below = np.cumsum(bad) - bad
    total = good.sum() * bad.sum()
    return float((good * (below + bad / 2)).sum() / total) if total > 0 else float("nan")
