"""A picture of the AU intensities of a video over time: a row an AU, a column a face, events marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..action_units import MAX_INTENSITY, PRESENCE_THRESHOLD
from ..errors import RuntimeUnavailable, UsageError
from .files import kept
from .series import Series

if TYPE_CHECKING:
    from ..results import FrameResult
    from ..signals.events import AuEvent

SUFFIXES = (".png", ".svg")
_FACES = 32  # whose values are kept at a time
_COLUMNS = 4  # that are drawn
_EVENTS = 5000
_MARKS = {"onset": ("^", "tab:green"), "apex": ("o", "tab:red"), "offset": ("v", "tab:gray")}


class Plot:
    """Collects a video's results, in memory that does not grow with its length, and draws them when closed."""

    def __init__(self, path: Path, aus: Sequence[str]) -> None:
        """Prepare to draw to `path`, a PNG or SVG by its ending.

        Raises:
            UsageError: it has another ending.
            RuntimeUnavailable: matplotlib is not installed.
        """
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"A plot cannot be written as {path.name!r}. Give a name ending in .png or .svg.")
        _import_figure()
        self._path, self._aus = path, tuple(aus)
        self._source: str | None = None
        self._series: dict[int, Series] = {}
        self._events: list[AuEvent] = []
        self._more_faces = self._more_events = 0

    def write(self, result: FrameResult) -> None:
        """Take one frame of a video."""
        if result.timestamp is None:
            return
        self._source = result.source
        present = {face.id for face in result.faces}
        for face in result.faces:
            if face.id not in self._series:
                self._series[face.id] = Series(self._aus)
                self._limit(present)
            self._series[face.id].add(result.timestamp, face.aus)
        room = max(_EVENTS - len(self._events), 0)
        self._events += result.events[:room]
        self._more_events += len(result.events[room:])

    def close(self) -> None:
        """Draw; nothing where no frame came.

        Raises:
            OSError: it cannot be written; a picture that was there before stays.
        """
        if self._source is None:
            return
        figure = self._draw(Path(self._source).name or self._source)
        with kept(self._path) as part:
            about = {"Date": None} if self._path.suffix.lower() == ".svg" else None  # the same input, the same file
            figure.savefig(part, format=self._path.suffix[1:].lower(), dpi=80, metadata=about)

    def _limit(self, present: set[int]) -> None:
        """Let go of the face that was seen least of those that are gone, where there are too many."""
        gone = [number for number in self._series if number not in present]
        if len(self._series) > _FACES and gone:
            del self._series[min(gone, key=lambda number: self._series[number].frames)]
            self._more_faces += 1

    def _draw(self, title: str) -> Any:
        figure_type = _import_figure()
        ordered = sorted(self._series, key=lambda number: -self._series[number].frames)
        faces = sorted(ordered[:_COLUMNS])
        more = len(self._series) - len(faces) + self._more_faces
        columns, rows = max(len(faces), 1), len(self._aus)
        width, height = 1.0 + 5.5 * columns, 1.3 + 0.55 * rows  # inches, of which the edges take fixed parts
        figure = figure_type(figsize=(width, height))
        figure.subplots_adjust(0.7 / width, 0.5 / height, 1 - 0.2 / width, 1 - 0.7 / height, 0.08, 0.3)
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        if more:
            title += f" · {more} more face{'s' if more > 1 else ''} seen for shorter"
        if self._more_events:
            title += f" · {self._more_events} later events not marked"
        if not faces:
            title += " · no face"
        figure.suptitle(title.removeprefix(" · "), fontsize=11, y=1 - 0.12 / height, va="top")
        for column, number in enumerate(faces):
            axes[0, column].set_title(f"face {number}", fontsize=10)
            for row, au in enumerate(self._aus):
                self._draw_one(axes[row, column], number, au)
        for row, au in enumerate(self._aus):
            axes[row, 0].set_ylabel(au, rotation=0, ha="right", va="center", fontsize=9)
            axes[row, 0].set_ylim(0, MAX_INTENSITY)
            axes[row, 0].set_yticks([0, MAX_INTENSITY])
        for axis in axes[-1]:
            axis.set_xlabel("seconds")
        return figure

    def _draw_one(self, axis: Any, number: int, au: str) -> None:
        series = self._series[number]
        low, high = series.bounds(au)
        times = _broken(series.times)
        lows, highs = (np.insert(np.repeat(values, 2), times[1], np.nan) for values in (low, high))
        axis.axhline(PRESENCE_THRESHOLD, color="0.85", linewidth=0.8)
        axis.fill_between(times[0], lows, highs, color="tab:blue", alpha=0.35, linewidth=0)
        axis.plot(times[0], (lows + highs) / 2, color="tab:blue", linewidth=1)
        for kind, (marker, colour) in _MARKS.items():
            found = [event for event in self._events if (event.face, event.au, event.kind) == (number, au, kind)]
            x, y = [event.timestamp for event in found], [event.intensity for event in found]
            axis.plot(x, y, marker, color=colour, markersize=4, linestyle="none", clip_on=False)
        axis.tick_params(labelsize=7, bottom=axis.get_subplotspec().is_last_row())
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)


def _broken(times: Any) -> tuple[Any, Any]:
    """Times `[2n + gaps]` with NaN where a face was away, and where these NaNs stand in `[2n]`."""
    steps = times[1:, 0] - times[:-1, 1]
    usual = float(np.median(steps)) if len(steps) else 0.0
    gaps = 2 * (np.flatnonzero(steps > max(5 * usual, 1.0)) + 1)
    return np.insert(times.reshape(-1), gaps, np.nan), gaps


def _import_figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeUnavailable(
            "A plot needs matplotlib, which is not installed or does not load. Install it: pip install "
            "'dsrfau-edge[viz]'"
        ) from error
    return Figure
