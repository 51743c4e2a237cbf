"""Charts of an evaluation: scores with their intervals, and label against prediction, AU by AU. Needs matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import CATALOGUE, MAX_INTENSITY
from dsrfau_edge.errors import RuntimeUnavailable

from ..synthesis.statistics import BANDS, bands
from .evaluation import Evaluation
from .scores import Estimate

Floats = npt.NDArray[np.floating[Any]]
_COLUMNS, _CELL, _DPI = (5, 4, 6), 2.3, 110  # panels in a row, the first preferred
_BLUE, _ORANGE, _FAINT = "#2f6690", "#c8553d", "#9aa5b1"
_BIN = 0.25  # width of the bins of the density
_STEPS = np.arange(0, MAX_INTENSITY + 0.01, 0.5)  # edges of the calibration's bins
_FEWEST = 5  # samples that a point of the calibration is drawn from


def require_matplotlib() -> None:
    """Turn a missing package into an error that names the command to type.

    Raises:
        RuntimeUnavailable: it is missing.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise RuntimeUnavailable(
            "The report's charts need matplotlib, which is not installed. Install it: "
            '`pip install "dsrfau-edge[synth]"`, or leave --report out.'
        ) from error


def scatter(found: Evaluation) -> bytes:
    """PNG: density of label against prediction, one panel an AU, the line where they agree."""

    def draw(axes: Any, label: Floats, prediction: Floats, au: str) -> None:
        edges = np.arange(0, MAX_INTENSITY + _BIN / 2, _BIN)
        counts, _, _ = np.histogram2d(label, prediction, bins=(edges, edges))
        density = np.ma.masked_equal(np.log10(np.maximum(counts.T, 0.1)), -1.0)
        axes.pcolormesh(edges, edges, density, cmap="viridis", vmin=-0.3)
        _identity(axes)
        axes.set_title(_title(found, au, "icc", "ICC"), fontsize=9)

    return _panels(found, draw, "label against prediction (brighter: more crops, logarithmic)", "label", "prediction")


def calibration(found: Evaluation) -> bytes:
    """PNG: mean prediction per bin of the label, with the middle 80 % of the predictions, one panel an AU."""

    def draw(axes: Any, label: Floats, prediction: Floats, au: str) -> None:
        bins = np.clip(np.digitize(label, _STEPS) - 1, 0, len(_STEPS) - 2)
        points = [
            (label[mask].mean(), prediction[mask].mean(), *np.quantile(prediction[mask], (0.1, 0.9)))
            for number in range(len(_STEPS) - 1)
            if (mask := bins == number).sum() >= _FEWEST
        ]
        _identity(axes)
        if points:
            at, mean, low, high = np.array(points).T
            axes.fill_between(at, low, high, color=_BLUE, alpha=0.2, linewidth=0)
            axes.plot(at, mean, "o-", color=_BLUE, markersize=3.5, linewidth=1.2)
        axes.set_title(_title(found, au, "mae", "MAE"), fontsize=9)

    return _panels(
        found, draw, "mean prediction per bin of the label (shaded: 10 % to 90 % of the predictions)", "label",
        "prediction",
    )  # fmt: skip


def confusion(found: Evaluation) -> bytes:
    """PNG: band of the label against band of the prediction, each row in percent, one panel an AU."""

    def draw(axes: Any, label: Floats, prediction: Floats, au: str) -> None:
        counts = confusion_counts(label, prediction)
        total = counts.sum(1, keepdims=True)
        shares = np.ma.masked_where(np.broadcast_to(total == 0, counts.shape), counts / np.maximum(total, 1))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(*counts.shape):
            if counts[row, column] and total[row, 0]:
                share = counts[row, column] / total[row, 0]
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=6.5,
                          color="white" if share > 0.6 else "black")  # fmt: skip
        axes.set_xticks(range(len(BANDS)), BANDS, fontsize=7)
        axes.set_yticks(range(len(BANDS)), BANDS, fontsize=7)
        axes.set_title(_title(found, au, "f1", "F1"), fontsize=9)

    return _panels(
        found, draw, "band of the label (rows) against band of the prediction, % of the row", "predicted band",
        "labelled band", ticks=False,
    )  # fmt: skip


def confusion_counts(label: Floats, prediction: Floats) -> npt.NDArray[np.int64]:
    """Samples `[6, 6]` by band of the label (rows) and of the prediction, in the order of `BANDS`."""
    flat = bands(label) * len(BANDS) + bands(prediction)
    return np.bincount(flat, minlength=len(BANDS) ** 2).reshape(len(BANDS), -1).astype(np.int64)


def overview(found: Evaluation) -> bytes:
    """PNG: ICC of each AU with its interval, best first; beside it means of groups and under nuisances, if any."""
    rows = sorted(found.per_au.rows.items(), key=lambda item: item[1].metrics["icc"].value or -1.0)
    left = [(f"{CATALOGUE[au].title}  {au}", row.metrics["icc"]) for au, row in rows]
    right = _means(found)
    height = 0.27 * max(len(left), len(right)) + 1.3
    figure = _figure((12.0 if right else 6.6, height))
    columns = figure.subplots(1, 2 if right else 1, squeeze=False)[0]
    _forest(columns[0], left, found.per_au.mean["icc"], "ICC(3,1) per AU; dashed: mean")
    if right:
        _forest(columns[1], right[::-1], found.per_au.mean["icc"], "mean ICC(3,1); dashed: all samples")
    return _png(figure)


def _means(found: Evaluation) -> list[tuple[str, Estimate]]:
    lines = [
        (f"{grouping.key}: {group.name}  (n={group.samples})", group.scores.mean["icc"])
        for grouping in found.groups
        for group in grouping.groups
        if group.scores
    ]
    lines += [(f"under {one.name}  (n={one.samples})", one.scores.mean["icc"]) for one in found.effects if one.scores]
    return lines


def _forest(axes: Any, lines: Sequence[tuple[str, Estimate]], mean: Estimate, title: str) -> None:
    for place, (_, one) in enumerate(lines):
        if one.value is None:
            continue
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [place, place], color=_BLUE, alpha=0.45, linewidth=3.5)
        axes.plot(one.value, place, "o", color=_BLUE, markersize=5)
        axes.annotate(f"{one.value:.2f}", (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    if mean.value is not None:
        axes.axvline(mean.value, color=_ORANGE, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(lines)), [name for name, _ in lines], fontsize=8)
    axes.set_ylim(-0.7, len(lines) - 0.3)
    lowest = min((end for _, one in lines if (end := one.low if one.low is not None else one.value) is not None),
                 default=0.0)  # fmt: skip
    axes.set_xlim(min(0.0, lowest - 0.02), 1.0)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(title, fontsize=10)


def _panels(
    found: Evaluation,
    draw: Callable[[Any, Floats, Floats, str], None],
    title: str,
    across: str,
    up: str,
    *,
    ticks: bool = True,
) -> bytes:
    """One panel an AU, drawn from its labelled samples."""
    aus = found.pooled.common.aus
    labels = np.clip(found.pooled.labels, 0, MAX_INTENSITY)
    predictions = np.clip(found.pooled.predictions(), 0, MAX_INTENSITY)
    columns = min(min(_COLUMNS, key=lambda width: -len(aus) % width), len(aus))
    rows = math.ceil(len(aus) / columns)
    figure = _figure((columns * _CELL + 0.4, rows * (_CELL + 0.15) + 0.7))
    figure.suptitle(_wrapped(title, columns), fontsize=10)
    figure.supxlabel(across, fontsize=9)
    figure.supylabel(up, fontsize=9)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, axes in enumerate(panels):
        if place >= len(aus):
            axes.set_visible(False)
            continue
        known = ~np.isnan(labels[:, place])
        if ticks:
            axes.set(xlim=(0, MAX_INTENSITY), ylim=(0, MAX_INTENSITY), aspect="equal")
            axes.set_xticks(range(6))
            axes.set_yticks(range(6))
            axes.tick_params(labelsize=7)
        draw(axes, labels[known, place], predictions[known, place], aus[place])
    return _png(figure)


def _wrapped(title: str, columns: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(title, 22 * columns))


def _identity(axes: Any) -> None:
    axes.plot([0, MAX_INTENSITY], [0, MAX_INTENSITY], color=_FAINT, linewidth=0.8, zorder=3)


def _title(found: Evaluation, au: str, metric: str, name: str) -> str:
    return f"{au}  {name} {found.per_au.rows[au].metrics[metric].text(2, interval=False)}"


def _figure(size: tuple[float, float]) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained", dpi=_DPI)


def _png(figure: Any) -> bytes:
    stream = BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
