"""Neutral baselines that outlast a restart: whose they are is told by the place of the face alone."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsrfau_edge.errors import DataError
from dsrfau_edge.signals.baseline_file import from_content

if TYPE_CHECKING:
    from dsrfau_edge.results import FrameResult
    from dsrfau_edge.signals.baseline import NeutralBaseline

_log = logging.getLogger(__name__)

#: A face found within so many seconds after it was last seen, and at the same place, is taken for the same one.
WITHIN = 60.0
#: Smallest overlap of two boxes, as intersection over union, that counts as the same place.
OVERLAP = 0.5
_LOOK = 1.0
_MOST_FACES = 64

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Remembered:
    """The baseline of one face.

    Attributes:
        box: where the face was last, x0, y0, x1, y1 as parts of the picture's width and height.
        seen: when, in seconds since 1970.
        seconds: trusted time that the level was learned from.
        levels: intensity by site.
    """

    box: Box
    seen: float
    seconds: float
    levels: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As in the state file."""
        return {
            "box": [round(value, 4) for value in self.box],
            "seen": self.seen,
            "seconds": round(self.seconds, 1),
            "levels": {site: round(value, 6) for site, value in self.levels.items()},
        }

    @staticmethod
    def from_dict(raw: Any) -> Remembered:
        """Read it back, checked.

        Raises:
            DataError: it is none.
        """
        if not isinstance(raw, dict):
            raise DataError("A remembered face is not a table.")
        box, times = raw.get("box"), [raw.get("seen"), raw.get("seconds")]
        if not (isinstance(box, list) and len(box) == 4 and all(_finite(value) for value in [*box, *times])):
            raise DataError("A remembered face has no box of four numbers, or no times.")
        seen, seconds = (float(value or 0) for value in times)
        levels = from_content({"schema": 1, "kind": "neutral baseline", "levels": raw.get("levels")}, "the state file")
        return Remembered((box[0], box[1], box[2], box[3]), seen, max(seconds, 0.0), levels)


class BaselineMemory:
    """What one camera's stream learned, ready to be stored, and what an earlier run learned, ready to be applied.

    `look` is for the camera's own thread; `faces` may be read from any.
    """

    def __init__(
        self, earlier: tuple[Remembered, ...] = (), *, within: float = WITHIN, clock: Callable[[], float] = time.time
    ) -> None:
        """Take what an earlier run left, and a clock in seconds since 1970."""
        self._earlier = list(earlier)
        self._within, self._clock = within, clock
        self._now: dict[int, Remembered] = {}
        self._met: set[int] = set()
        self._looked = -math.inf
        self.restored = 0
        #: Faces seen lately, those of the earlier run that were not found again included.
        self.faces: tuple[Remembered, ...] = tuple(earlier)

    def look(self, result: FrameResult, baselines: Callable[[], Mapping[int, NeutralBaseline]]) -> None:
        """See who is there, after each frame."""
        now = self._clock()
        ids = {face.id for face in result.faces}
        new = ids - self._met
        if not new and abs(now - self._looked) < _LOOK:
            return
        self._looked = now
        found = baselines()
        boxes = {face.id: _relative(face.box, result.size) for face in result.faces}
        for number in sorted(new & found.keys()):
            self._meet(found[number], boxes[number], now)
        self._met = (self._met | ids) & found.keys()
        for number in ids & found.keys():
            baseline = found[number]
            if baseline.ready:
                levels = dict(zip(baseline.sites, baseline.level, strict=True))
                self._now[number] = Remembered(boxes[number], now, baseline.learned, levels)
        self._now = {number: one for number, one in self._now.items() if self._fresh(one, now)}
        self._earlier = [one for one in self._earlier if self._fresh(one, now)]
        self.faces = (*self._now.values(), *self._earlier)[:_MOST_FACES]

    def _meet(self, baseline: NeutralBaseline, box: Box, now: float) -> None:
        """Give a face that has come the level of the one that was in its place before the restart."""
        near = [one for one in self._earlier if self._fresh(one, now) and overlap(one.box, box) >= OVERLAP]
        if not near:
            return
        best = max(near, key=lambda one: overlap(one.box, box))
        self._earlier.remove(best)
        try:
            baseline.resume(best.levels, best.seconds)
        except DataError as error:
            _log.warning("A neutral baseline from before the restart is not used: %s", error)
            return
        self.restored += 1

    def _fresh(self, one: Remembered, now: float) -> bool:
        return 0 <= now - one.seen <= self._within


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return shared / (areas - shared)


def _relative(box: Box, size: tuple[int, int]) -> Box:
    width, height = size
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
