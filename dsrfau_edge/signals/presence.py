"""Presence with hysteresis, and the events that follow from it.

An AU becomes present at the threshold of the letters, so that the two never contradict each other, and stays present
until it has fallen clearly below. Each stretch of presence gives an onset, an apex and an offset.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..action_units import PRESENCE_THRESHOLD
from ..errors import UsageError
from .events import AuEvent

#: An apex is told once the intensity has fallen by so much; a higher one later is told again.
_FALL = 0.5


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """An AU stays present until its intensity falls below `off`; it becomes present at 1, where letters begin."""

    off: float = 0.7

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            UsageError: it makes no sense.
        """
        if not (math.isfinite(self.off) and 0 <= self.off <= PRESENCE_THRESHOLD):
            raise UsageError(f"An AU cannot cease at {self.off}; give a number from 0 to {PRESENCE_THRESHOLD:g}.")


@dataclass(slots=True)
class _Stretch:
    """One stretch of presence: its highest point, and whether that has been told."""

    intensity: float
    timestamp: float
    told: bool = False


class PresenceTracker:
    """Which AUs of one face are present. One thread at a time."""

    def __init__(self, face: int, settings: Hysteresis) -> None:
        self._face, self._off = face, settings.off
        self._present: dict[str, _Stretch] = {}
        self._last: tuple[Mapping[str, float], float] = ({}, 0.0)

    def __call__(self, intensities: Mapping[str, float], timestamp: float) -> tuple[dict[str, bool], list[AuEvent]]:
        """Presence by AU, and what happened since the last time; `timestamp` in seconds."""
        events: list[AuEvent] = []
        self._last = (intensities, timestamp)
        for au, value in intensities.items():
            stretch = self._present.get(au)
            if stretch is None:
                if value >= PRESENCE_THRESHOLD:
                    self._present[au] = _Stretch(value, timestamp)
                    events.append(AuEvent("onset", self._face, au, timestamp, value))
            elif value < self._off:
                events += self._ended(au, stretch, value, timestamp)
            elif value > stretch.intensity:
                self._present[au] = _Stretch(value, timestamp)
            elif not stretch.told and value <= stretch.intensity - _FALL:
                stretch.told = True
                events.append(self._apex(au, stretch))
        return {au: au in self._present for au in intensities}, events

    def end(self) -> list[AuEvent]:
        """The face is gone: what was present on it ends at the time and intensity last seen."""
        intensities, timestamp = self._last
        events: list[AuEvent] = []
        for au, stretch in list(self._present.items()):
            events += self._ended(au, stretch, intensities[au], timestamp)
        return events

    def _apex(self, au: str, stretch: _Stretch) -> AuEvent:
        return AuEvent("apex", self._face, au, stretch.timestamp, stretch.intensity)

    def _ended(self, au: str, stretch: _Stretch, value: float, timestamp: float) -> list[AuEvent]:
        del self._present[au]
        offset = AuEvent("offset", self._face, au, timestamp, value)
        return [offset] if stretch.told else [self._apex(au, stretch), offset]
