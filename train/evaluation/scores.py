"""Scores with intervals: what `bootstrap` measures, per column and as means, ready to be written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .bootstrap import METRICS, Floats, Measured, measure, resample

LEVEL = 0.95
_DEFINED = 0.5  # share of the resamples in which a metric must be defined to have an interval
_DIGITS = 4
_NO_INTERVALS = "fewer than two identities: no intervals"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the ends of its 95 % interval; None where it is not defined or there is no interval."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> list[float] | None:
        """Both ends, where there are any."""
        return None if self.low is None or self.high is None else [self.low, self.high]

    def text(self, digits: int = 3, *, interval: bool = True) -> str:
        """As in a table: `0.760 (0.741–0.778)`; `–` where it is not defined."""
        if self.value is None:
            return "–"
        words = f"{self.value:.{digits}f}"
        if interval and self.low is not None and self.high is not None:
            separator = "–" if self.low >= 0 else " to "
            words += f" ({self.low:.{digits}f}{separator}{self.high:.{digits}f})"
        return words.replace("-", "−")


@dataclass(frozen=True, slots=True)
class Row:
    """One column's scores, the labelled samples they are of, and in how many of these the unit is present."""

    metrics: Mapping[str, Estimate]
    count: int
    positives: int

    def to_dict(self) -> dict[str, Any]:
        """As plain types: the metrics by name, and their intervals where there are any."""
        return {**_plain(self.metrics), "count": self.count, "positives": self.positives}


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores per column (an AU or a site) and their means over the columns for which a metric is defined."""

    rows: Mapping[str, Row]
    mean: Mapping[str, Estimate]
    samples: int
    identities: int
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """As plain types, for JSON."""
        rows = {name: row.to_dict() for name, row in self.rows.items()}
        return {"samples": self.samples, "identities": self.identities, "mean": _plain(self.mean), "per_au": rows}


def score(
    labels: npt.NDArray[np.floating[Any]],
    predictions: npt.NDArray[np.floating[Any]],
    names: Sequence[str],
    identities: Sequence[str] | npt.NDArray[Any],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    metrics: Sequence[str] = METRICS,
) -> Scores:
    """Score predictions, with 95 % intervals over identities.

    Args:
        labels: `[n, C]`, 0–5, NaN = unlabelled.
        predictions: `[n, C]`.
        names: of the C columns.
        identities: whose each sample is, `[n]`; whole identities are resampled.
        bootstrap: resamples; 0 = no intervals. Fewer than two identities have none either.
        seed: of the resamples.
        metrics: which, of `icc` (ICC(3,1)), `pcc`, `mae`, `mse`, `f1` and `auc` (of presence, label and for F1
            prediction of 1 or more).

    Raises:
        DataError: shapes do not fit together, or a prediction is not finite.
    """
    resampling = resample(identities, count=bootstrap, seed=seed)
    return scores_of(measure(labels, predictions, resampling, metrics), names, wanted=bootstrap > 0)


def compare(
    labels: npt.NDArray[np.floating[Any]],
    first: npt.NDArray[np.floating[Any]],
    second: npt.NDArray[np.floating[Any]],
    names: Sequence[str],
    identities: Sequence[str] | npt.NDArray[Any],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    metrics: Sequence[str] = METRICS,
) -> Scores:
    """By how much the second predictions score higher than the first on the same samples, `second - first`.

    Both are scored on the same resamples of identities, so that an interval without 0 is a difference that holds for
    other persons too; arguments as for `score`.
    """
    resampling = resample(identities, count=bootstrap, seed=seed)
    one, other = (measure(labels, predictions, resampling, metrics) for predictions in (first, second))
    return difference(one, other, names)


def scores_of(measured: Measured, names: Sequence[str], *, wanted: bool = True) -> Scores:
    """Scores of what was measured; `wanted` says whether a lack of intervals is worth a note."""
    notes = (_NO_INTERVALS,) if wanted and measured.identities < 2 else ()
    return _scores(measured.point, measured.replicates, measured, names, notes)


def difference(first: Measured, second: Measured, names: Sequence[str]) -> Scores:
    """`second - first`, resample by resample; both must be of the same draws. Counts are the second's."""
    point = {name: second.point[name] - first.point[name] for name in first.point}
    drawn = min(len(next(iter(one.replicates.values()))) for one in (first, second))
    replicates = {name: second.replicates[name][:drawn] - first.replicates[name][:drawn] for name in first.replicates}
    notes = () if min(first.identities, second.identities) >= 2 else (_NO_INTERVALS,)
    return _scores(point, replicates, second, names, notes)


def _scores(
    point: Mapping[str, Floats],
    replicates: Mapping[str, Floats],
    measured: Measured,
    names: Sequence[str],
    notes: tuple[str, ...],
) -> Scores:
    rows = {
        name: Row(
            {metric: _estimate(point[metric][column], replicates[metric][:, column]) for metric in point},
            int(measured.counts[column]),
            int(measured.positives[column]),
        )
        for column, name in enumerate(names)
    }
    mean = {metric: _mean(point[metric], replicates[metric]) for metric in point}
    return Scores(rows, mean, measured.samples, measured.identities, notes)


def _estimate(value: float, drawn: Floats) -> Estimate:
    """The value with its percentile interval."""
    if np.isnan(value):
        return Estimate(None)
    defined = drawn[np.isfinite(drawn)]
    if not len(defined) or len(defined) < _DEFINED * len(drawn):
        return Estimate(float(value))
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(low), float(high))


def _mean(point: Floats, drawn: Floats) -> Estimate:
    """Mean over the columns that are defined; a resample that lacks one is the mean over the others."""
    defined = np.isfinite(point)
    if not defined.any():
        return Estimate(None)
    drawn = drawn[:, defined]
    there = np.isfinite(drawn)
    with np.errstate(invalid="ignore"):
        means = np.where(there, drawn, 0).sum(1) / there.sum(1)
    return _estimate(float(point[defined].mean()), means)


def _plain(metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    values: dict[str, Any] = {name: _rounded(one.value) for name, one in metrics.items()}
    intervals = {
        name: [_rounded(end) for end in one.interval] for name, one in metrics.items() if one.interval is not None
    }
    return {**values, "intervals": intervals} if intervals else values


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
