"""Metrics of all columns at once, from sums per identity, and of as many resamples of the identities as one wants.

Frames of one person resemble each other, so that it is persons who are drawn with replacement, never frames (Efron and
Tibshirani, 1993, chapter 8: the unit that was sampled is the unit that is resampled). ICC, PCC, MAE, MSE and F1 are
functions of sums over samples: a resample of the identities is a weighted sum of theirs. The area under the ROC curve
is not, and goes through the ranks. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import MAX_INTENSITY, PRESENCE_THRESHOLD
from dsrfau_edge.errors import DataError, UsageError

Floats = npt.NDArray[np.float64]
METRICS = ("icc", "pcc", "mae", "mse", "f1", "auc")
_VARIES = 1e-9  # share of the sum of squares that must be about the mean and not rounding
_AT_ONCE = 4_000_000  # values of one array while areas are computed
_FEW = 500  # identities up to which areas are made of pairs of identities
_PARTS = 11


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """Whose each sample is, and how often each resample draws each identity.

    Attributes:
        codes: `[n]` number of each sample's identity.
        weights: `[B, J]` times that each of the J identities is drawn; B is 0 where no intervals are wanted or there
            are fewer than two identities.
    """

    codes: npt.NDArray[np.intp]
    weights: Floats

    def take(self, chosen: npt.NDArray[Any]) -> Resampling:
        """For some of the samples (positions or mask): the same draws, so that parts can be compared in pairs."""
        return Resampling(self.codes[chosen], self.weights)

    @property
    def identities(self) -> int:
        """Identities that have a sample here."""
        return len(np.unique(self.codes))


def resample(identities: Sequence[str] | npt.NDArray[Any], *, count: int, seed: int = 0) -> Resampling:
    """Draw whole identities with replacement, `count` times as many as there are.

    Raises:
        UsageError: `count` is negative.
    """
    if count < 0:
        raise UsageError(f"{count} resamples cannot be drawn. Give a number from 0 (no intervals) on.")
    names, codes = np.unique(np.asarray(identities), return_inverse=True)
    people = len(names)
    drawn = count if people >= 2 else 0
    shares = np.full(max(people, 1), 1 / max(people, 1))
    weights = np.random.default_rng(seed).multinomial(people, shares, size=drawn)
    return Resampling(codes.reshape(-1).astype(np.intp), weights.astype(np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Metrics per column: of the samples as they are `[C]` and of every resample `[B, C]`; NaN = not defined.

    Attributes:
        counts: `[C]` labelled samples.
        positives: `[C]` of these with the unit present by the label.
        samples: samples in all.
        identities: identities in all.
    """

    point: Mapping[str, Floats]
    replicates: Mapping[str, Floats]
    counts: npt.NDArray[np.intp]
    positives: npt.NDArray[np.intp]
    samples: int
    identities: int


def measure(
    labels: npt.NDArray[np.floating[Any]],
    predictions: npt.NDArray[np.floating[Any]],
    resampling: Resampling,
    metrics: Sequence[str] = METRICS,
) -> Measured:
    """Metrics of `[n, C]` labels (NaN = unlabelled) and predictions, both clipped to 0–5.

    Raises:
        DataError: shapes do not fit together, or a prediction is not finite.
    """
    labels, predictions = _checked(labels, predictions, len(resampling.codes))
    known = ~np.isnan(labels)
    sums = _sums(np.nan_to_num(labels), predictions, known, resampling)
    # Without the intervals' sense, there is nothing to draw: all samples are one person's.
    weights = resampling.weights if resampling.identities >= 2 else resampling.weights[:0]
    point, replicates = _from_sums(sums.sum(0)), _from_sums(np.tensordot(weights, sums, 1))
    if "auc" in metrics:
        areas = [
            _areas(labels[mask, column], predictions[mask, column], resampling.codes[mask], weights)
            for column, mask in enumerate(known.T)
        ]
        point["auc"] = np.array([area for area, _ in areas])
        replicates["auc"] = np.stack([drawn for _, drawn in areas], 1) if areas else np.empty((len(weights), 0))
    return Measured(
        point={name: point[name] for name in metrics},
        replicates={name: replicates[name] for name in metrics},
        counts=known.sum(0),
        positives=(np.nan_to_num(labels) >= PRESENCE_THRESHOLD).sum(0),
        samples=len(labels),
        identities=resampling.identities,
    )


def _checked(labels: npt.NDArray[Any], predictions: npt.NDArray[Any], count: int) -> tuple[Floats, Floats]:
    if labels.ndim != 2 or labels.shape != predictions.shape or len(labels) != count:
        raise DataError(
            f"Labels {list(labels.shape)}, predictions {list(predictions.shape)} and {count} identities do not fit "
            "together: give [n, C], [n, C] and n."
        )
    if not np.isfinite(predictions).all():
        raise DataError("The network predicts values that are not finite. Train it again with a lower learning rate.")
    low_to_high = (np.clip(values.astype(np.float64), 0, MAX_INTENSITY) for values in (labels, predictions))
    first, second = low_to_high
    return first, second


def _sums(labels: Floats, predictions: Floats, known: npt.NDArray[np.bool_], resampling: Resampling) -> Floats:
    """What the metrics are made of, added up over each identity's samples: `[J, C, 11]`."""
    counts = np.maximum(known.sum(0), 1)
    # About the mean of all: sums of squares lose no digits that way.
    x = labels - np.where(known, labels, 0).sum(0) / counts
    y = predictions - np.where(known, predictions, 0).sum(0) / counts
    people = max(resampling.weights.shape[1], int(resampling.codes.max(initial=-1)) + 1)
    sums = np.zeros((people, x.shape[1], _PARTS))
    order = np.argsort(resampling.codes, kind="stable")
    present, starts = np.unique(resampling.codes[order], return_index=True)
    for number, part in enumerate(_parts(x, y, labels, predictions)):
        if len(present):
            sums[present, :, number] = np.add.reduceat(np.where(known, part, 0.0)[order], starts, axis=0)
    return sums


def _parts(x: Floats, y: Floats, labels: Floats, predictions: Floats) -> Iterator[npt.NDArray[Any]]:
    """What is added up, `[n, C]` each, one at a time: a large set has room for few such."""
    yield np.ones_like(x)
    yield from (x, y)
    yield x * x
    yield y * y
    yield x * y
    apart = np.abs(predictions - labels)
    yield apart
    yield apart * apart
    shown, seen = labels >= PRESENCE_THRESHOLD, predictions >= PRESENCE_THRESHOLD
    yield shown & seen
    yield ~shown & seen
    yield shown & ~seen


def _from_sums(sums: Floats) -> dict[str, Floats]:
    """Metrics of `[..., C, 11]` sums, `[..., C]` each."""
    count, x, y, xx, yy, xy, distance, squares, hits, false, missed = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_labels, of_predictions, common = xx - x * x / count, yy - y * y / count, xy - x * y / count
        labels_vary, predictions_vary = of_labels > _VARIES * xx, of_predictions > _VARIES * yy
        shown = hits + missed
        return {
            # (BMS - EMS) / (BMS + EMS) of two raters, written out.
            "icc": np.where(
                labels_vary, np.where(predictions_vary, 2 * common / (of_labels + of_predictions), 0.0), np.nan
            ),
            "pcc": np.where(labels_vary & predictions_vary, common / np.sqrt(of_labels * of_predictions), np.nan),
            "mae": distance / count,
            "mse": squares / count,
            "f1": np.where(shown > 0, hits / (shown + (false - missed) / 2), np.nan),
        }


def _areas(labels: Floats, predictions: Floats, codes: npt.NDArray[np.intp], weights: Floats) -> tuple[float, Floats]:
    """Area under the ROC curve of one column, and that of every resample `[B]`; NaN where a class is missing.

    The share of pairs of a sample with the unit and one without in which the first has the higher prediction; equal
    predictions count half (Mann and Whitney).
    """
    shown = labels >= PRESENCE_THRESHOLD
    if weights.shape[1] <= _FEW:
        return _areas_of_pairs(shown, predictions, codes, weights)
    order = np.argsort(predictions, kind="stable")
    shown, codes = shown[order], codes[order]
    starts = np.flatnonzero(np.diff(predictions[order], prepend=-np.inf) > 0)
    point = float(_area(np.ones((1, len(order))), shown, starts)[0])
    step = max(_AT_ONCE // max(len(order), 1), 1)
    parts = [_area(weights[first : first + step][:, codes], shown, starts) for first in range(0, len(weights), step)]
    return point, np.concatenate(parts) if parts else np.empty(0)


def _areas_of_pairs(
    shown: npt.NDArray[np.bool_], predictions: Floats, codes: npt.NDArray[np.intp], weights: Floats
) -> tuple[float, Floats]:
    """The same from the pairs that each two identities' samples win, which resamples only weigh: few persons, fast."""
    people = weights.shape[1]
    won = np.zeros((people, people))
    higher, owners = predictions[shown], codes[shown]
    for other in np.unique(codes[~shown]):
        lower = np.sort(predictions[~shown & (codes == other)])
        count = (np.searchsorted(lower, higher, "left") + np.searchsorted(lower, higher, "right")) / 2
        won[:, other] = np.bincount(owners, weights=count, minlength=people)
    with_unit, without = (np.bincount(codes[mask], minlength=people).astype(np.float64) for mask in (shown, ~shown))
    every = np.concatenate([np.ones((1, people)), weights])
    with np.errstate(divide="ignore", invalid="ignore"):
        areas = ((every @ won) * every).sum(1) / ((every @ with_unit) * (every @ without))
    return float(areas[0]), areas[1:]


def _area(weights: Floats, shown: npt.NDArray[np.bool_], starts: npt.NDArray[np.intp]) -> Floats:
    """Areas `[B]` for weights `[B, n]` of samples in order of their predictions, equal ones from `starts` on."""
    if not shown.any() or shown.all():
        return np.full(len(weights), np.nan)
    with_unit = np.add.reduceat(weights * shown, starts, axis=1)
    without = np.add.reduceat(weights * ~shown, starts, axis=1)
    below = np.cumsum(without, axis=1) - without / 2
    pairs = with_unit.sum(1) * without.sum(1)
    with np.errstate(invalid="ignore"):
        return np.asarray((with_unit * below).sum(1) / pairs, np.float64)
