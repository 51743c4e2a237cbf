"""What a set of shards holds: faces per AU and band, AUs that come together, rigs, people, poses, and what it lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import MAX_INTENSITY, PRESENCE_THRESHOLD
from dsrfau_edge.errors import DataError, RuntimeUnavailable
from dsrfau_edge.metrics import sites_to_aus
from dsrfau_edge.shards import Sample, iter_samples, read_index

Counts = npt.NDArray[np.int64]
#: Bands of intensity: absent, then the FACS letters as `action_units.letter` gives them.
BANDS = ("0", "A", "B", "C", "D", "E")
ANGLES = ("yaw", "pitch", "roll")
#: Middles of the histograms of pose, in degrees; the outer bins take what lies beyond.
POSE_STEPS = np.arange(-45, 46, 5)
_ENOUGH = 10  # faces that must show an AU before "always together" is more than chance
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of one set.

    Attributes:
        aus: names of the A units.
        bands: `[A, 6]` faces per unit and band of `BANDS`, by the mean over the unit's sites.
        together: `[A, A]` faces that show the row's and the column's unit (intensity 1 or more).
        comparable: `[A, A]` faces that show the row's unit and whose label for the column's unit is known.
        lopsided: `[A]` faces whose left and right differ by a whole band or more.
        rigs: faces of each rig ("?" where the set does not say).
        identities: identities of each rig.
        poses: `[3, P]` histograms of yaw, pitch and roll over `POSE_STEPS`; empty where the set does not say.
    """

    aus: tuple[str, ...]
    count: int
    bands: Counts
    together: Counts
    comparable: Counts
    lopsided: Counts
    rigs: Mapping[str, int]
    identities: Mapping[str, int]
    poses: Counts

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """`[A, A]` share of the faces with the row's unit that show the column's; NaN where no face shows the row's."""
        return np.where(self.comparable > 0, self.together / np.maximum(self.comparable, 1), np.nan)

    def warnings(self) -> list[str]:
        """What a network could not learn from this set: bands without a face, units that are never apart."""
        empty = [
            f"{au}: no face in band {', '.join(name for name, faces in zip(BANDS, row, strict=True) if faces == 0)}"
            for au, row in zip(self.aus, self.bands, strict=True)
            if (row == 0).any()
        ]
        shares = self.shares
        tied = [
            f"{au} never comes without {other} ({self.comparable[row, column]} faces)"
            for row, au in enumerate(self.aus)
            for column, other in enumerate(self.aus)
            if row != column and self.comparable[row, column] >= _ENOUGH and shares[row, column] == 1
        ]
        return empty + tied

    def pose_lines(self) -> list[str]:
        """For each angle how the faces are spread over it, in words; none where the set says nothing of poses."""
        lines = []
        for angle, row in zip(ANGLES, self.poses, strict=True):
            filled = np.flatnonzero(row)
            if filled.size:
                near = row[np.abs(POSE_STEPS) <= 10].sum() / row.sum()
                low, high = POSE_STEPS[filled[0]], POSE_STEPS[filled[-1]]
                lines.append(f"{angle}: about {low}° to {high}°, {100 * near:.0f}% within 12.5°")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """As plain types, for JSON; a share that is not known is None."""
        shares = [[None if np.isnan(share) else round(float(share), 4) for share in row] for row in self.shares]
        return {
            "faces": self.count,
            "bands": {au: dict(zip(BANDS, map(int, row), strict=True)) for au, row in self._rows(self.bands)},
            "lopsided": {au: int(faces) for au, faces in self._rows(self.lopsided)},
            "together": {au: dict(zip(self.aus, row, strict=True)) for au, row in self._rows(shares)},
            "rigs": dict(self.rigs),
            "identities": dict(self.identities),
            "poses": {
                "steps": POSE_STEPS.tolist(),
                **{angle: row.tolist() for angle, row in zip(ANGLES, self.poses, strict=True)},
            },
            "warnings": self.warnings(),
        }

    def _rows(self, values: Iterable[Any]) -> Iterable[tuple[str, Any]]:
        return zip(self.aus, values, strict=True)


def gather(folder: str | Path) -> Statistics:
    """Count a folder of shards, a batch of labels at a time: memory does not grow with the set.

    Raises:
        DataError: there is no such set, it is damaged, or it is empty.
    """
    index = read_index(folder)
    tally = _Tally(index.aus, index.sites)
    for sample in iter_samples(folder, index):
        tally.add(sample)
    if tally.count == 0:
        raise DataError(f"{folder} holds no faces. Render some with `dsrfau-synth render`.")
    return tally.result()


class _Tally:
    """Adds up samples."""

    def __init__(self, aus: Sequence[str], sites: Sequence[str]) -> None:
        units = len(aus)
        self._aus, self._sites, self.count = tuple(aus), tuple(sites), 0
        self._bands = np.zeros((units, len(BANDS)), np.int64)
        self._together, self._comparable = np.zeros((units, units), np.int64), np.zeros((units, units), np.int64)
        self._lopsided = np.zeros(units, np.int64)
        self._rigs: Counter[str] = Counter()
        self._identities: dict[str, set[str]] = {}
        self._poses = np.zeros((len(ANGLES), len(POSE_STEPS)), np.int64)
        self._waiting: list[npt.NDArray[np.float32]] = []

    def add(self, sample: Sample) -> None:
        self.count += 1
        rig = str(sample.meta.get("rig", "?"))
        self._rigs[rig] += 1
        self._identities.setdefault(rig, set()).add(sample.identity)
        pose = sample.meta.get("pose")
        if pose is not None:
            bins = np.rint((np.asarray(pose, np.float64) - POSE_STEPS[0]) / 5).astype(int)
            self._poses[np.arange(len(ANGLES)), np.clip(bins, 0, len(POSE_STEPS) - 1)] += 1
        self._waiting.append(sample.intensities)
        if len(self._waiting) == _BATCH:
            self._count()

    def result(self) -> Statistics:
        self._count()
        identities = {rig: len(names) for rig, names in sorted(self._identities.items())}
        return Statistics(
            self._aus, self.count, self._bands, self._together, self._comparable, self._lopsided,
            dict(sorted(self._rigs.items())), identities, self._poses,
        )  # fmt: skip

    def _count(self) -> None:
        if not self._waiting:
            return
        values = np.stack(self._waiting).astype(np.float64)
        self._waiting.clear()
        levels = sites_to_aus(values, self._sites, self._aus)
        known, present = ~np.isnan(levels), np.nan_to_num(levels) >= PRESENCE_THRESHOLD
        for unit, column in enumerate(levels.T):
            chosen = bands(column[known[:, unit]])
            self._bands[unit] += np.bincount(chosen, minlength=len(BANDS))
        self._together += present.T.astype(np.int64) @ present
        self._comparable += present.T.astype(np.int64) @ known
        for unit, au in enumerate(self._aus):
            pair = [self._sites.index(name) for name in (f"{au}_left", f"{au}_right") if name in self._sites]
            if len(pair) == 2:  # a comparison with NaN is False
                self._lopsided[unit] += int((np.abs(values[:, pair[0]] - values[:, pair[1]]) >= 1).sum())


def bands(intensities: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
    """Row of `BANDS` for each intensity."""
    steps = np.clip((np.clip(intensities, 0, MAX_INTENSITY) + 0.5).astype(np.int64), 0, len(BANDS) - 1)
    return np.where(intensities >= PRESENCE_THRESHOLD, steps, 0)


def picture(statistics: Statistics) -> bytes:
    """PNG of the counts: AU by band, AU by AU, rigs and poses.

    Raises:
        RuntimeUnavailable: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeUnavailable(
            'The picture needs matplotlib, which is not installed. Install it: `pip install "dsrfau-edge[synth]"`, '
            "or leave -o out."
        ) from error
    units = len(statistics.aus)
    side = max(0.36 * units, 3.0)
    figure = Figure(figsize=(2 * side + 4, side + 3.6), layout="constrained", dpi=110)
    parts: Any = figure.subfigures(2, 1, height_ratios=(side + 0.8, 2.4))
    upper, lower = parts
    left, right = upper.subplots(1, 2, width_ratios=(len(BANDS) * 1.5, max(units, 8)))
    _draw_bands(left, statistics)
    _draw_together(right, statistics)
    for axes, draw in zip(lower.subplots(1, 4), (_draw_rigs, *(_pose_drawer(row) for row in range(3))), strict=True):
        draw(axes, statistics)
    stream = BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _draw_bands(axes: Any, statistics: Statistics) -> None:
    counts = statistics.bands
    axes.imshow(np.log10(np.maximum(counts, 0.5)), cmap="viridis", aspect="auto")
    axes.set_title(f"faces per AU and band, {statistics.count} in all")
    axes.set_xticks(range(len(BANDS)), BANDS)
    axes.set_yticks(range(len(statistics.aus)), statistics.aus)
    bright = np.sqrt(max(counts.max(), 1))
    for row, column in np.ndindex(*counts.shape):
        empty = counts[row, column] == 0
        colour = "red" if empty else "black" if counts[row, column] > bright else "white"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8,
                  weight="bold" if empty else "normal")  # fmt: skip


def _draw_together(axes: Any, statistics: Statistics) -> None:
    shares = statistics.shares
    axes.imshow(np.ma.masked_invalid(shares), cmap="magma", vmin=0, vmax=1, aspect="auto")
    axes.set_title("% of the faces with the row's AU that show the column's")
    axes.set_xticks(range(len(statistics.aus)), [au.removeprefix("AU") for au in statistics.aus])
    axes.set_yticks(range(len(statistics.aus)), statistics.aus)
    for row, column in np.ndindex(*shares.shape):
        if row != column and not np.isnan(shares[row, column]):
            colour = "black" if shares[row, column] > 0.6 else "white"
            axes.text(column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center", color=colour,
                      fontsize=7)  # fmt: skip


def _draw_rigs(axes: Any, statistics: Statistics) -> None:
    names = list(statistics.rigs)
    bars = axes.bar(names, list(statistics.rigs.values()), color="#4a78a8")
    axes.bar_label(bars, [f"{statistics.identities[name]} identities" for name in names], fontsize=8)
    axes.margins(y=0.2)
    axes.set_title("faces per rig", fontsize=10)


def _pose_drawer(row: int) -> Any:
    def draw(axes: Any, statistics: Statistics) -> None:
        axes.bar(POSE_STEPS, statistics.poses[row], width=5, color="#b07a3c")
        axes.set_title(f"{ANGLES[row]} in degrees", fontsize=10)
        axes.set_yticks([])

    return draw
