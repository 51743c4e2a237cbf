"""How a live source is read: the options of `Predictor.live`."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..signals.checks import check_count, check_setting, check_type
from ..video_feed import OPEN_TIMEOUT, READ_TIMEOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """What is done about time, and about sources that fail. All times in seconds.

    Attributes:
        realtime: the newest frame wins, and files and folders are played at their own pace; without it every frame of a
            file, a folder or an iterator is taken, as fast as they are predicted.
        rate: frames per second of folders, and of videos that do not tell theirs; where None 30.
        wait: try without end where the source is not there at the start, instead of raising at once.
        attempts: how often in a row to try to open a lost source again before an error is raised; without end where
            None. 0 takes its first end for the end of the stream.
        backoff: before the first of these attempts; before each further one twice as long, at random up to half less.
        longest_backoff: where that doubling ends.
        stall_after: without a frame, after which a source is opened anew, even if it is stuck in its driver.
        open_timeout: that opening may take.
        signals: as context manager in the main thread, end the iteration on Ctrl-C (SIGINT) and SIGTERM; a second one
            acts as it would without.
    """

    realtime: bool = True
    rate: float | None = None
    wait: bool = False
    attempts: int | None = None
    backoff: float = 0.5
    longest_backoff: float = 10.0
    stall_after: float = READ_TIMEOUT
    open_timeout: float = OPEN_TIMEOUT
    signals: bool = False

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            UsageError: one of them makes no sense.
        """
        if self.rate is not None:
            check_setting("rate", self.rate, 1e-6, 1000, "frames per second, above 0 and up to 1000")
        if self.attempts is not None:
            check_count("attempts", self.attempts, 0, "0 or more, or None to try without end")
        for name in ("backoff", "longest_backoff", "stall_after", "open_timeout"):
            check_setting(name, getattr(self, name), 1e-6, 86400, "seconds, above 0 and up to a day")
        for name in ("realtime", "wait", "signals"):
            check_type(name, getattr(self, name), (bool,), "True or False")
        if self.longest_backoff < self.backoff:
            raise UsageError(
                f"longest_backoff is {self.longest_backoff}, shorter than backoff, {self.backoff}. Give it as long or "
                "longer."
            )


class Backoff:
    """How long to wait before the next attempt: doubling, and at random so that many do not come at once."""

    def __init__(self, options: LiveOptions) -> None:
        self._options = options
        self.failures = 0

    @property
    def spent(self) -> bool:
        """Whether there are no more attempts."""
        return self._options.attempts is not None and self.failures >= self._options.attempts

    def next(self, chance: float) -> float:
        """Seconds to wait now; `chance` is a random number of 0 to 1."""
        doubled = self._options.backoff * 2.0 ** min(self.failures, 60)
        self.failures += 1
        return min(doubled, self._options.longest_backoff) * (1 - chance / 2)

    def reset(self) -> None:
        """It works again."""
        self.failures = 0
