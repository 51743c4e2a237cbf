"""One output of the service in a thread of its own, behind a queue that never makes a camera wait."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.live.options import Backoff, LiveOptions

if TYPE_CHECKING:
    from dsrfau_edge.outputs.base import Output
    from dsrfau_edge.results import FrameResult

_log = logging.getLogger(__name__)

State = Literal["opening", "ok", "blocked", "retrying", "failed", "closed"]
#: A single write that lasts longer counts as blocked.
BLOCKED_AFTER = 5.0
_INTERRUPTION = 1.0
#: Seconds without a failure after which an output counts as mended; until then it is not told again that it fails.
STEADY_AFTER = 10.0
_RETRY = LiveOptions(backoff=1.0, longest_backoff=10.0)


@dataclass(frozen=True, slots=True)
class OutletStats:
    """An output until now.

    Attributes:
        state: `opening` until it is open, `ok`, `blocked` while a write does not return, `retrying` between a failure
            and the next attempt, `failed` for good, `closed`.
        written: results that it took.
        dropped: results that it was offered and did not get: the queue was full, or a write failed.
        errors: failures to open it or to write.
        queued: results that wait.
        last_error: the last of these failures.
    """

    state: State
    written: int
    dropped: int
    errors: int
    queued: int
    last_error: str | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


class Outlet:
    """Offers never wait: where the output is slower than the cameras, the oldest results are dropped and counted."""

    def __init__(
        self,
        name: str,
        opened: Callable[[], Output],
        *,
        capacity: int = 64,
        reopens: bool = True,
        retry: LiveOptions = _RETRY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is opened yet.

        Args:
            name: as health and metrics call it.
            opened: opens the output; again after each failure.
            capacity: results that wait at most.
            reopens: try again after a failure; otherwise the first one is for good.
            retry: whose back-off is used.
            clock: seconds.
        """
        self.name = name
        self._open_output, self._reopens, self._clock = opened, reopens, clock
        self._backoff = Backoff(retry)
        self._queue: deque[FrameResult] = deque(maxlen=capacity)
        self._condition = threading.Condition()
        self._state: State = "opening"
        self._written = self._dropped = self._errors = 0
        self._last_error: str | None = None
        self._output: Output | None = None
        self._retry_at = self._until = self._opened_at = 0.0
        self._since: float | None = None  # since when a call into the output has been running
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"output {name}", daemon=True)

    @property
    def stats(self) -> OutletStats:
        """How it goes."""
        with self._condition:
            blocked = self._since is not None and self._clock() - self._since > BLOCKED_AFTER
            state = "blocked" if blocked and self._state in ("opening", "ok", "retrying") else self._state
            return OutletStats(state, self._written, self._dropped, self._errors, len(self._queue), self._last_error)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def offer(self, result: FrameResult) -> None:
        """Give a result, without waiting; from any thread."""
        with self._condition:
            if self._state in ("failed", "closed"):
                self._dropped += 1
                return
            if len(self._queue) == self._queue.maxlen:
                self._dropped += 1
            self._queue.append(result)
            self._condition.notify()

    def stop(self, seconds: float) -> None:
        """Have it write what waits, for at most so many seconds, and close; without waiting for that, see `join`."""
        with self._condition:
            self._stopping, self._until = True, self._clock() + seconds
            self._condition.notify_all()

    def join(self, seconds: float) -> bool:
        """Wait for the end; whether it came.

        An output whose writes may wait can have a method `interrupt`, called then; a thread that hangs is left behind.
        """
        if self._thread.ident is None:
            return True
        self._thread.join(max(seconds, 0.0))
        interrupt = getattr(self._output, "interrupt", None)
        if self._thread.is_alive() and interrupt is not None:
            interrupt()
            self._thread.join(_INTERRUPTION)
        if self._thread.is_alive():
            _log.warning("Output %s does not return; it is left behind with %d results.", self.name, len(self._queue))
        return not self._thread.is_alive()

    def _run(self) -> None:
        self._open()
        while (result := self._next()) is not None:
            if self._output is None and not self._open():
                self._lost()
                continue
            self._write(result)
        with self._condition:
            self._dropped += len(self._queue)
            self._queue.clear()
        self._close()
        self._set_state("failed" if self._state == "failed" else "closed")

    def _next(self) -> FrameResult | None:
        """The next result, once it can be tried to write it; None at the end."""
        with self._condition:
            while True:
                now = self._clock()
                pausing = self._output is None and now < self._retry_at
                if self._state == "failed" or (self._stopping and (not self._queue or pausing or now > self._until)):
                    return None
                if self._queue and not pausing:
                    return self._queue.popleft()
                self._condition.wait(self._retry_at - now if pausing else None)

    def _open(self) -> bool:
        """Whether the output could be opened."""
        self._since = self._clock()
        try:
            self._output = self._open_output()
        except (RuntimeUnavailable, UsageError) as error:  # which time does not heal
            self._failed(error, for_good=True)
        except Exception as error:  # whatever a library of an output raises is not to end the service
            self._failed(error, for_good=not self._reopens)
        finally:
            self._since = None
        if self._output is None:
            return False
        self._opened_at = self._clock()
        self._set_state("ok")
        return True

    def _write(self, result: FrameResult) -> None:
        assert self._output is not None
        self._since = self._clock()
        try:
            self._output.write(result)
        except Exception as error:  # as above
            self._lost()
            self._failed(error, for_good=not self._reopens)
            self._close()
            return
        finally:
            self._since = None
        if self._backoff.failures and self._clock() - self._opened_at >= STEADY_AFTER:
            _log.warning("Output %s works again.", self.name)
            self._backoff.reset()
        with self._condition:
            self._written += 1

    def _close(self) -> None:
        output, self._output = self._output, None
        if output is None:
            return
        self._since = self._clock()
        try:
            output.close()
        except Exception as error:  # as above; a full disk is told once more by the last bytes of a file
            _log.warning("Output %s could not be closed: %s", self.name, _told(error))
            with self._condition:
                self._errors += 1
                self._last_error = _told(error)
        finally:
            self._since = None

    def _failed(self, error: Exception, *, for_good: bool) -> None:
        level = logging.DEBUG if self._backoff.failures and not for_good else logging.WARNING
        pause = self._backoff.next(0.0)
        with self._condition:
            self._errors += 1
            self._last_error = _told(error)
            self._state = "failed" if for_good else "retrying"
            self._retry_at = self._clock() + pause
            if for_good:
                self._dropped += len(self._queue)
                self._queue.clear()
        then = "It is given up." if for_good else f"Trying again in {pause:.0f} s."
        _log.log(level, "Output %s: %s %s", self.name, _told(error), then)

    def _lost(self) -> None:
        with self._condition:
            self._dropped += 1

    def _set_state(self, state: State) -> None:
        with self._condition:
            self._state = state


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
