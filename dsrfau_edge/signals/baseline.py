"""The neutral baseline: at which level each site of one face rests, learned while it is watched, and taken off.

Faces at rest do not read zero: brows stand low, lips curve, lids are heavy. Over a while a face comes back to rest time
and again, so that a low quantile of each site's intensities is the level of its rest. OpenFace's dynamic calibration
(Baltrušaitis et al., "Cross-dataset learning and person-specific normalisation for automatic Action Unit detection",
2015) does the same over a whole video; here it is done on the way, in constant memory, and old times are forgotten.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..action_units import MAX_INTENSITY
from ..errors import UsageError

_BINS = 100
_STEP = MAX_INTENSITY / _BINS
_REFRESH = 0.25  # seconds between two readings of the quantile
_RECENT = 1.0  # seconds that a held pose is the mean of
_MOST_RECENT = 120  # frames of those at most
_LONGEST_GAP = 0.25  # a frame stands for no more seconds than this


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """How the level of rest is learned.

    Attributes:
        quantile: of a site's intensities over time, which counts as its rest.
        window: seconds after which what was seen counts only a third.
        ready_after: seconds of trusted frames before anything is corrected.
        least_trust: confidence of the face from which on a frame counts.
        highest: a level above is not believed: it is an expression that was held, not rest.
        start: levels by site to begin with, such as those of an earlier recording; correction begins at once.
        learn: go on learning; without it the levels of `start`, or those held, stay.
    """

    quantile: float = 0.2
    window: float = 120.0
    ready_after: float = 3.0
    least_trust: float = 0.3
    highest: float = 2.0
    start: Mapping[str, float] = field(default_factory=dict)
    learn: bool = True

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UsageError: one of them makes no sense.
        """
        ranges = {
            "quantile": (0.0, 1.0),
            "window": (1.0, math.inf),
            "ready_after": (0.0, math.inf),
            "least_trust": (0.0, 1.0),
            "highest": (0.0, MAX_INTENSITY),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high or math.isnan(value):
                raise UsageError(f"{name} of the baseline is {value}; give a number from {low:g} to {high:g}.")
        for site, level in self.start.items():
            if not 0 <= level < MAX_INTENSITY:
                raise UsageError(f"The baseline of {site} is {level}; it must be at least 0 and less than 5.")


class NeutralBaseline:
    """The level of rest of one face. One thread at a time."""

    def __init__(self, settings: Baseline, sites: Sequence[str]) -> None:
        """Learn for the sites of these names.

        Raises:
            UsageError: the levels to start with are of other sites.
        """
        if settings.start and set(settings.start) != set(sites):
            raise UsageError(
                "The baseline is of a network with other sites. Learn it again with the bundle that is in use now."
            )
        self._settings, self._sites = settings, tuple(sites)
        self.reset()

    def reset(self) -> None:
        """Forget what was learned and held; levels to start with stay."""
        start = self._settings.start
        self._held = [start[site] for site in self._sites] if start else None
        self._level = self._held or [0.0] * len(self._sites)
        self._counts = [[0.0] * _BINS for _ in self._sites]
        self._total, self._weight, self._seconds = 0.0, 1.0, 0.0
        self._time: float | None = None
        self._read = -math.inf
        self._recent: deque[tuple[float, list[float]]] = deque(maxlen=_MOST_RECENT)

    @property
    def ready(self) -> bool:
        """Whether there is a level to correct by."""
        return self._held is not None or self._seconds >= self._settings.ready_after

    @property
    def level(self) -> list[float]:
        """Level of rest by site, 0 where none is known yet."""
        return list(self._level) if self.ready else [0.0] * len(self._sites)

    def to_dict(self) -> dict[str, float]:
        """Levels by site, as `Baseline.start` takes them."""
        return {site: round(level, 4) for site, level in zip(self._sites, self.level, strict=True)}

    def hold(self) -> None:
        """Take the present pose, the mean of the last second, for the level of rest; it no longer changes then.

        Raises:
            UsageError: nothing was seen yet.
        """
        if not self._recent:
            raise UsageError("There is no pose to hold: no frame of this face was seen yet.")
        last = self._recent[-1][0]
        rows = [row for time, row in self._recent if last - time <= _RECENT]
        self._level = self._held = [
            min(sum(site) / len(rows), MAX_INTENSITY - _STEP) for site in zip(*rows, strict=True)
        ]

    def restart_time(self) -> None:
        """Keep what was learned, though the next timestamp does not come after the last one."""
        self._time, self._read = None, -math.inf
        self._recent.clear()

    def update(self, values: Sequence[float], timestamp: float, trust: float) -> None:
        """Learn from the intensities of a frame at `timestamp` seconds, if the face can be trusted."""
        passed = 0.0 if self._time is None else min(max(timestamp - self._time, 0.0), _LONGEST_GAP)
        self._time = timestamp
        if not trust >= self._settings.least_trust:
            return
        self._recent.append((timestamp, list(values)))
        if not self._settings.learn or passed <= 0:
            return
        self._seconds += passed
        # Instead of all that was counted growing lighter, what is counted grows heavier.
        self._weight *= math.exp(passed / self._settings.window)
        added = passed * self._weight
        self._total += added
        for counts, value in zip(self._counts, values, strict=True):
            counts[min(int(value / _STEP), _BINS - 1)] += added
        if self._weight > 1e9:
            self._rescale()
        if timestamp - self._read >= _REFRESH and self._held is None:
            self._read = timestamp
            highest = self._settings.highest
            self._level = [min(self._quantile(counts), highest) for counts in self._counts]

    def correct(self, values: Sequence[float]) -> list[float]:
        """Intensities above the level of rest, stretched so that the scale still ends at 5."""
        if not self.ready:
            return list(values)
        return [
            max(value - level, 0.0) * MAX_INTENSITY / (MAX_INTENSITY - level)
            for value, level in zip(values, self._level, strict=True)
        ]

    def _rescale(self) -> None:
        self._total /= self._weight
        self._counts = [[count / self._weight for count in counts] for counts in self._counts]
        self._weight = 1.0

    def _quantile(self, counts: Sequence[float]) -> float:
        """The quantile, interpolated within its bin."""
        wanted, seen = self._settings.quantile * self._total, 0.0
        for place, count in enumerate(counts):
            if seen + count >= wanted and count > 0:
                return (place + max(wanted - seen, 0.0) / count) * _STEP
            seen += count
        return 0.0
