"""ICC(3,1), PCC, MAE and MSE per action unit, over pooled predictions. No torch.

Labels and predictions are clipped to 0–5 and unlabelled (NaN) values left out, per unit. ICC(3,1) after Shrout and
Fleiss (1979): two-way mixed, consistency, single rater; the label and the prediction are the two raters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import MAX_INTENSITY, canonical_au
from dsrfau_edge.errors import DataError

Floats = npt.NDArray[np.floating[Any]]
NAMES = ("icc", "pcc", "mae", "mse")


def icc_3_1(labels: Floats, predictions: Floats) -> float:
    """`(BMS - EMS) / (BMS + (k - 1) EMS)` with k = 2 raters, of `[n]` labels and `[n]` predictions.

    Where one of the two does not vary, the formula gives exactly 0: nothing was told apart. Where neither does it is
    0 / 0, and NaN here, as it is for fewer than two targets.
    """
    ratings = np.stack([labels, predictions], 1).astype(np.float64)
    count, raters = ratings.shape
    if count < 2:
        return float("nan")
    ratings -= ratings[0]  # an offset changes nothing, and what is constant becomes exactly zero
    by_target = ratings.mean(1, keepdims=True)
    between = raters * np.square(by_target - ratings.mean()).sum() / (count - 1)
    residual = ratings - by_target - ratings.mean(0) + ratings.mean()
    error = np.square(residual).sum() / ((count - 1) * (raters - 1))
    total = between + (raters - 1) * error
    if not total > 0:
        return float("nan")
    return float((between - error) / total) if ratings.any(0).all() else 0.0


def varies(values: Floats) -> bool:
    """Whether `[n]` values are not all the same."""
    return len(values) > 0 and bool((values != values[0]).any())


def pcc(labels: Floats, predictions: Floats) -> float:
    """Pearson's correlation of `[n]` labels and `[n]` predictions; NaN where one of the two does not vary."""
    first, second = labels.astype(np.float64), predictions.astype(np.float64)
    if len(first) < 2:
        return float("nan")
    first, second = first - first[0], second - second[0]  # what is constant becomes exactly zero
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt(np.square(first).sum() * np.square(second).sum())
    return float((first * second).sum() / scale) if scale > 0 else float("nan")


def evaluate(labels: Floats, predictions: Floats, names: Sequence[str]) -> dict[str, Any]:
    """Metrics per column and their means.

    Args:
        labels: `[n, A]`, NaN = unlabelled.
        predictions: `[n, A]`.
        names: the A columns' names.

    Returns:
        `{"per_au": {name: {icc, pcc, mae, mse, count}}, "mean": {icc, pcc, mae, mse}}`; a metric that is not defined is
        `None` and left out of the mean. So is the ICC of a unit whose label is the same in all samples: it would be 0
        however good the predictions are.

    Raises:
        DataError: a prediction is not finite.
    """
    if not np.isfinite(predictions).all():
        raise DataError("The network predicts values that are not finite. Train it again with a lower learning rate.")
    labels, predictions = np.clip(labels, 0, MAX_INTENSITY), np.clip(predictions, 0, MAX_INTENSITY)
    per_au = {name: _column(labels[:, column], predictions[:, column]) for column, name in enumerate(names)}
    mean = {}
    for metric in NAMES:
        defined = [value for scores in per_au.values() if (value := scores[metric]) is not None]
        mean[metric] = round(float(np.mean(defined)), 4) if defined else None
    return {"per_au": per_au, "mean": mean}


def _column(labels: Floats, predictions: Floats) -> dict[str, float | int | None]:
    known = ~np.isnan(labels)
    labels, predictions = labels[known], predictions[known]
    difference = predictions.astype(np.float64) - labels
    scores = {
        "icc": icc_3_1(labels, predictions) if varies(labels) else float("nan"),
        "pcc": pcc(labels, predictions),
        "mae": float(np.abs(difference).mean()) if len(labels) else float("nan"),
        "mse": float(np.square(difference).mean()) if len(labels) else float("nan"),
    }
    rounded = {name: None if np.isnan(value) else round(value, 4) for name, value in scores.items()}
    return {**rounded, "count": len(labels)}


def sites_to_aus(values: Floats, sites: Sequence[str], aus: Sequence[str]) -> Floats:
    """Mean over each unit's sites: `[n, S]` to `[n, A]`; unlabelled sites are left out, all unlabelled gives NaN."""
    owner = np.asarray([canonical_au(site.split("_")[0]) for site in sites])
    columns = []
    for au in aus:
        mine = values[:, owner == au]
        known = ~np.isnan(mine)
        count = known.sum(1)
        total = np.where(known, mine, 0).sum(1)
        columns.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    return np.stack(columns, 1)


def markdown_table(scores: dict[str, Any]) -> str:
    """The result of `evaluate` as a Markdown table."""
    lines = ["| AU | ICC(3,1) | PCC | MAE | MSE |", "|---|---|---|---|---|"]
    for name, row in [*scores["per_au"].items(), ("**mean**", scores["mean"])]:
        cells = ["–" if row[metric] is None else f"{row[metric]:.3f}" for metric in NAMES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
