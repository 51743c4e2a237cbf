"""What a stream makes of one face's intensities: smoothed, corrected, present or not, with events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..following import StreamOptions
from .baseline import NeutralBaseline
from .events import AuEvent
from .one_euro import OneEuroFilter
from .presence import PresenceTracker

#: Site intensities to those of AUs, left and right sides, see `results.Assembler`.
Assemble = Callable[[Sequence[float]], tuple[dict[str, float], dict[str, float], dict[str, float]]]


@dataclass(frozen=True, slots=True)
class Signals:
    """Of one frame: intensities by site, smoothed and corrected; the level of rest, where asked for; presence by AU."""

    row: Sequence[float]
    neutral: Sequence[float] | None
    present: Mapping[str, bool]
    events: tuple[AuEvent, ...]


class FaceSignals:
    """Smoothing, baseline and presence of one face. One thread at a time."""

    def __init__(self, assemble: Assemble, sites: Sequence[str], face: int, options: StreamOptions) -> None:
        self._assemble = assemble
        self._smooth = None if options.smoothing is None else OneEuroFilter(options.smoothing)
        self.baseline = None if options.baseline is None else NeutralBaseline(options.baseline, sites)
        self._presence = PresenceTracker(face, options.presence)

    def __call__(self, row: Sequence[float], timestamp: float, trust: float) -> Signals:
        """Take the site intensities of a frame at `timestamp` seconds; `trust` 0..1 is that in the face as a whole."""
        smooth = row if self._smooth is None else self._smooth(row, timestamp)
        neutral = None
        if self.baseline is not None:
            self.baseline.update(smooth, timestamp, trust)
            neutral = self.baseline.level
            smooth = self.baseline.correct(smooth)
        present, events = self._presence(self._assemble(smooth)[0], timestamp)
        return Signals(smooth, neutral, present, tuple(events))

    def restart_time(self) -> None:
        """The next timestamp does not come after the last one; go on from there."""
        if self._smooth is not None:
            self._smooth.restart_time()
        if self.baseline is not None:
            self.baseline.restart_time()

    def end(self) -> list[AuEvent]:
        """The face is gone; what was present on it ends."""
        return self._presence.end()
