"""Presence of AUs with hysteresis, and the events that it makes: onset, apex, offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..action_units import MAX_INTENSITY, PRESENCE_THRESHOLD
from ..errors import InputError, UsageError
from .checks import check_setting
from .events import AuEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Hysteresis:
    """When an AU counts as present.

    Attributes:
        on: an absent AU becomes present at this intensity; that of the letters by default.
        off: a present one becomes absent below this.
        apex_fall: a peak is an apex once the intensity lies so far below it; at the offset in any case.
    """

    on: float = PRESENCE_THRESHOLD
    off: float = 0.75 * PRESENCE_THRESHOLD
    apex_fall: float = 0.5

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UsageError: one of them makes no sense.
        """
        check_setting("on", self.on, 1e-6, MAX_INTENSITY, f"an intensity above 0 and up to {MAX_INTENSITY:g}")
        check_setting("off", self.off, 0, MAX_INTENSITY, f"an intensity from 0 to {MAX_INTENSITY:g}")
        check_setting("apex_fall", self.apex_fall, 1e-6, MAX_INTENSITY, "an intensity above 0, such as 0.5")
        if self.off > self.on:
            raise UsageError(f"off is {self.off}, above on, {self.on}. Give an off that is lower, or the same.")


class _Course:
    """One AU between its onset and its offset.

    Attributes:
        rising: towards a peak that has not been told; else past one, towards the next.
        peak: highest intensity while rising, at `time`.
        low: lowest since the last apex.
    """

    __slots__ = ("low", "peak", "rising", "time")

    def __init__(self, intensity: float, timestamp: float) -> None:
        self.peak, self.time = intensity, timestamp
        self.low, self.rising = intensity, True


class PresenceTracker:
    """Presence of the AUs of one face from frame to frame.

    Between onset and offset there is at least one apex: a peak that the intensity has since fallen from by `apex_fall`.
    It is told then, with the time of the peak. After it the intensity must rise by as much again before another peak
    counts. A peak that nothing has followed yet is told together with the offset.
    """

    def __init__(self, aus: Sequence[str], settings: Hysteresis) -> None:
        self.settings = settings
        self._courses: dict[str, _Course | None] = dict.fromkeys(aus)
        self._last: Mapping[str, float] = {}
        self._time = 0.0

    def __call__(
        self, intensities: Mapping[str, float], timestamp: float, face: int
    ) -> tuple[dict[str, bool], tuple[AuEvent, ...]]:
        """Presence by AU, and the events that this frame brings, in the order in which they are to be read.

        Args:
            intensities: by AU, 0 to 5, finite.
            timestamp: seconds, not before the last.
            face: the id that the events are to carry.

        Raises:
            InputError: an AU is missing.
        """
        missing = self._courses.keys() - intensities.keys()
        if missing:
            raise InputError(f"{', '.join(sorted(missing))} missing. Give the intensity of every AU of the tracker.")
        events: list[AuEvent] = []
        present = {}
        on, off = self.settings.on, self.settings.off
        for au, course in self._courses.items():
            intensity = intensities[au]
            if course is None:
                if intensity >= on:
                    self._courses[au] = _Course(intensity, timestamp)
                    events.append(AuEvent("onset", face, au, timestamp, intensity))
            elif intensity < off:
                self._close(au, course, (intensity, timestamp), face, events)
            else:
                self._follow(au, course, (intensity, timestamp), face, events)
            present[au] = self._courses[au] is not None
        self._last, self._time = intensities, timestamp
        return present, tuple(events)

    def end(self, face: int) -> tuple[AuEvent, ...]:
        """Close what is open, as of the last frame: the face is gone, or its clock starts anew."""
        events: list[AuEvent] = []
        for au, course in self._courses.items():
            if course is not None:
                self._close(au, course, (self._last[au], self._time), face, events)
        return tuple(events)

    def _close(self, au: str, course: _Course, now: tuple[float, float], face: int, events: list[AuEvent]) -> None:
        self._courses[au] = None
        if course.rising:
            events.append(AuEvent("apex", face, au, course.time, course.peak))
        events.append(AuEvent("offset", face, au, now[1], now[0]))

    def _follow(self, au: str, course: _Course, now: tuple[float, float], face: int, events: list[AuEvent]) -> None:
        intensity, timestamp = now
        if course.rising:
            if intensity > course.peak:
                course.peak, course.time = intensity, timestamp
            elif intensity <= course.peak - self.settings.apex_fall:
                events.append(AuEvent("apex", face, au, course.time, course.peak))
                course.rising, course.low = False, intensity
        elif intensity < course.low:
            course.low = intensity
        elif intensity >= course.low + self.settings.apex_fall:
            course.rising, course.peak, course.time = True, intensity, timestamp
