"""One face's signals in a stream: smoothing, neutral baseline, presence and events, in one call a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .baseline import NeutralBaseline
from .events import AuEvent
from .one_euro import OneEuroFilter
from .presence import PresenceTracker

if TYPE_CHECKING:
    from ..following import StreamOptions
    from ..results import Assembler


@dataclass(frozen=True, slots=True)
class Signals:
    """What a stream makes of the site intensities of one frame.

    Attributes:
        row: site intensities `[S]`, smoothed and corrected as far as that was asked for.
        smoothed: `[S]` before the correction.
        neutral: the level `[S]` that was taken off; None where none was, because it was not asked for or is not ready.
        present: by AU.
        events: of this frame.
    """

    row: list[float]
    smoothed: list[float]
    neutral: list[float] | None
    present: dict[str, bool]
    events: tuple[AuEvent, ...]


class FaceSignals:
    """The filter, baseline and presence of one face.

    Attributes:
        baseline: the neutral baseline, where one was asked for.
    """

    def __init__(self, assemble: Assembler, number: int, options: StreamOptions) -> None:
        """Take how sites become AUs, the id of the face, and what is to be done.

        Raises:
            DataError: the baseline's level is of other sites.
        """
        self._assemble, self._number = assemble, number
        self._filter = None if options.smoothing is None else OneEuroFilter(options.smoothing)
        self.baseline = None if options.baseline is None else NeutralBaseline(options.baseline, assemble.sites)
        self._presence = PresenceTracker(assemble.aus, options.presence)
        self._pending: tuple[AuEvent, ...] = ()

    def __call__(self, row: list[float], timestamp: float, trust: float) -> Signals:
        """The signals of the next frame.

        Args:
            row: site intensities `[S]` of this frame alone.
            timestamp: seconds, after the last.
            trust: how far to trust the frame, 0 to 1; only the baseline asks.

        Raises:
            InputError: another number of values, or one that is not finite.
        """
        smoothed = row if self._filter is None else self._filter(row, timestamp)
        corrected, neutral = smoothed, None
        if self.baseline is not None:
            self.baseline.update(smoothed, timestamp, trust)
            if self.baseline.ready:
                corrected, neutral = self.baseline.correct(smoothed), self.baseline.level
        present, events = self._presence(self._assemble(corrected)[0], timestamp, self._number)
        pending, self._pending = self._pending, ()
        return Signals(corrected, smoothed, neutral, present, pending + events)

    def restart_time(self) -> None:
        """The clock starts anew: the filter too, and what is present ends with the old time, told by the next frame."""
        if self._filter is not None:
            self._filter.reset()
        self._pending += self._presence.end(self._number)

    def end(self) -> tuple[AuEvent, ...]:
        """The face is gone: the events that close what is open."""
        pending, self._pending = self._pending, ()
        return pending + self._presence.end(self._number)
