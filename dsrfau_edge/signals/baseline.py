"""Neutral baseline: at which level a face rests, so that it can be taken off.

A face at rest does not read zero: brows stand low, lips curve, lids are heavy. OpenFace takes an AU's level from a low
part of all its values in a video (Baltrušaitis et al., "Cross-dataset learning and person-specific normalisation for
automatic Action Unit detection", FG 2015); here it is learned while the video runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..action_units import MAX_INTENSITY
from ..errors import UsageError
from .baseline_file import levels_of, read_levels, to_content, write_levels
from .checks import check_row, check_setting
from .quantile import RunningQuantile

Mode = Literal["online", "held"]
_LONGEST = 0.25  # seconds that one frame stands for at most, so that a gap in the stream counts for nothing
_SAMPLE = 0.08  # seconds between two frames that are looked at; the values are smooth, and every frame costs time
_GAIN = 2.0  # what is above a level is never stretched by more: close to 5 there is nothing but noise to stretch
_REFRESH = 0.5  # seconds of trusted time after which the level is worked out anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """How a face's neutral level is found; `docs/signals.md` tells why so, and when not to use one.

    Attributes:
        mode: `online` learns the level as a low quantile of what is seen; `held` takes the pose at the time of
            `NeutralBaseline.hold`, or the level given here, and until then corrects nothing.
        quantile: share of the time that an AU is at its level or below. One that is active for more than the rest of
            the time is taken for a resting one.
        half_life: seconds of trusted frames after which what came before counts half.
        ready_after: seconds of trusted frames before an online level is used.
        min_trust: frames trusted less teach nothing; of a face that looks elsewhere none is trusted.
        hold_over: seconds that a held pose is averaged over.
        level: intensity by site of a face that is known, of the mode `held`; see `from_file`.
    """

    mode: Mode = "online"
    quantile: float = 0.3
    half_life: float = 120.0
    ready_after: float = 5.0
    min_trust: float = 0.5
    hold_over: float = 1.0
    level: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UsageError: one of them makes no sense.
        """
        if self.mode not in get_args(Mode):
            raise UsageError(f"Unknown baseline mode {self.mode!r}. Known: {', '.join(get_args(Mode))}.")
        check_setting("quantile", self.quantile, 0, 1, "a share from 0 to 1, such as 0.3")
        check_setting("half_life", self.half_life, 1, 1e9, "seconds, 1 or more")
        check_setting("ready_after", self.ready_after, 0, 1e9, "seconds, 0 or more")
        check_setting("min_trust", self.min_trust, 0, 1, "a share from 0 to 1, such as 0.5")
        check_setting("hold_over", self.hold_over, 0.01, 1e3, "seconds above 0, such as 1")
        if self.level is not None:
            if self.mode != "held":
                raise UsageError("A level is given to a baseline that learns its own. Set mode='held' with it.")
            if not isinstance(self.level, Mapping) or not self.level:
                raise UsageError(f"level is {self.level!r}; give an intensity by site, or leave it out.")
            for site, value in self.level.items():
                check_setting(f"The level of {site}", value, 0, MAX_INTENSITY, f"an intensity 0 to {MAX_INTENSITY:g}")
            object.__setattr__(self, "level", dict(self.level))

    @staticmethod
    def from_file(path: str | Path) -> Baseline:
        """The level in a file that `NeutralBaseline.save` wrote, held for every face of the stream.

        Raises:
            DataError: there is no such file, or it is none of these.
        """
        return Baseline(mode="held", level=read_levels(Path(path)))

    def check_sites(self, sites: Sequence[str]) -> None:
        """Refuse a level of other sites than these.

        Raises:
            DataError: so it is.
        """
        if self.level is not None:
            levels_of(self.level, sites)


class NeutralBaseline:
    """The neutral level of one face. It needs the same memory however long it runs.

    Example:
        >>> stream.baselines[0].hold()                  # this person looks neutral now
        >>> stream.baselines[0].save("anna.json")       # later: StreamOptions(baseline=Baseline.from_file("anna.json"))
    """

    def __init__(self, settings: Baseline, sites: Sequence[str]) -> None:
        """Start without a level, or with that of the settings; `sites` are names in the order of the values.

        Raises:
            DataError: the settings hold a level of other sites.
        """
        self.settings, self.sites = settings, tuple(sites)
        self._recent: list[float]
        self._time: float | None
        self._passed: float
        self.reset()

    @property
    def level(self) -> list[float]:
        """The level `[S]` as far as it is known; 0 before anything was learned."""
        return list(self._level)

    @property
    def ready(self) -> bool:
        """Whether the level is used: it is held, or enough was seen to learn it."""
        return self._held or (
            self.settings.mode == "online" and self._seconds > 0 and self._seconds >= self.settings.ready_after
        )

    def update(self, values: Sequence[float], timestamp: float, trust: float = 1.0) -> None:
        """Learn from one frame.

        Args:
            values: site intensities `[S]`.
            timestamp: seconds. A time before the last starts the clock anew and changes nothing else.
            trust: how far to trust the frame, 0 to 1.

        Raises:
            InputError: another number of values, or one that is not finite. Nothing has changed then.
        """
        check_row(values, len(self.sites), timestamp)
        last, self._time = self._time, timestamp
        if not trust >= self.settings.min_trust:
            return
        self._passed += 0.0 if last is None else min(max(timestamp - last, 0.0), _LONGEST)
        if self._recent and self._passed < _SAMPLE:
            return
        passed, self._passed = self._passed, 0.0
        self._recent = self._averaged(values, passed)
        if passed and not self._held and self.settings.mode == "online":
            self._learn(values, passed)

    def hold(self) -> None:
        """Take the pose of the last moments (`Baseline.hold_over`) for neutral, until `reset`; learning stops.

        Raises:
            UsageError: no trusted frame has been seen yet.
        """
        if not self._recent:
            raise UsageError(
                "There is no pose to hold: no frame of this face could be trusted yet. Hold it once the face was seen "
                "from the front for a moment, or lower Baseline.min_trust."
            )
        self._held = True
        self._set_level(self._recent)

    @property
    def learned(self) -> float:
        """Seconds of trusted frames that an online level comes from."""
        return self._seconds

    def resume(self, levels: Mapping[str, float], seconds: float) -> None:
        """Go on from a level that was learned of this face before, as if from so many seconds of trusted frames.

        An online level goes on being learned; more than a `half_life` is not taken for known.

        Raises:
            DataError: the level is of other sites. Nothing has changed then.
        """
        level = levels_of(levels, self.sites)
        self._held = self._held or self.settings.mode == "held"
        if not self._held and seconds > 0:
            self._seconds = min(seconds, self.settings.half_life)
            self._quantile = RunningQuantile(len(self.sites), self.settings.half_life)
            self._quantile.add(level, self._seconds)
        self._set_level(level)

    def correct(self, values: Sequence[float]) -> list[float]:
        """The values `[S]` above the level, 0 to 5 and never more than they were; as they are where it is not ready."""
        if not self.ready:
            return list(values)
        return [
            0.0 if value <= level else above if (above := (value - level) * gain) < value else value
            for value, level, gain in zip(values, self._level, self._gains, strict=True)
        ]

    def reset(self) -> None:
        """Forget everything learned or held since the start.

        Raises:
            DataError: the settings hold a level of other sites.
        """
        given, count = self.settings.level, len(self.sites)
        self._held = given is not None
        self._set_level([0.0] * count if given is None else levels_of(given, self.sites))
        self._recent = []
        self._quantile = RunningQuantile(count, self.settings.half_life)
        self._time = None
        self._passed, self._seconds, self._stale = 0.0, 0.0, 0.0

    def to_dict(self) -> dict[str, Any]:
        """As in the file.

        Raises:
            UsageError: there is no level yet.
        """
        if not self.ready:
            raise UsageError(
                "This baseline has no level to save yet. Wait until `ready`, or call hold() while the face is neutral."
            )
        return to_content(dict(zip(self.sites, self.level, strict=True)))

    def save(self, path: str | Path) -> None:
        """Write the level as JSON, whole or not at all; `Baseline.from_file` reads it.

        Raises:
            UsageError: there is no level yet.
            DataError: the file cannot be written.
        """
        write_levels(Path(path), self.to_dict())

    def _set_level(self, level: list[float]) -> None:
        """What a value is above the level counts as a part of what it could be, so that 5 remains 5, up to a limit."""
        self._gains = [MAX_INTENSITY / max(MAX_INTENSITY - low, MAX_INTENSITY / _GAIN) for low in level]
        self._level = level

    def _averaged(self, values: Sequence[float], passed: float) -> list[float]:
        """Running mean whose weights fall by 1/e in `hold_over` seconds."""
        if not self._recent:
            return [float(value) for value in values]
        fresh = 1 - math.exp(-passed / self.settings.hold_over)
        return [last + fresh * (value - last) for value, last in zip(values, self._recent, strict=True)]

    def _learn(self, values: Sequence[float], passed: float) -> None:
        self._quantile.add(values, passed)
        was_ready = self.ready
        self._seconds += passed
        self._stale += passed
        if self._stale >= _REFRESH or not was_ready:
            self._set_level(self._quantile.level(self.settings.quantile))
            self._stale = 0.0
