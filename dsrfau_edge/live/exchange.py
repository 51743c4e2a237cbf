"""Where the thread that captures and the one that predicts meet: room for one frame, the newest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from ..stream import Frame
from .feeds import Origin
from .stats import Counters


class Demand:
    """Whether a frame is worth decoding: not if the consumer will be busy until the next one is there.

    Both the frames' distance and the consumer's time are running means, so that this is a guess; a wrong one costs a
    decoding, or lets the consumer wait for one more frame.
    """

    def __init__(self) -> None:
        self._interval = self._busy = 0.0
        self._grabbed: float | None = None
        self._taken: float | None = None

    def grabbed(self, now: float) -> None:
        """A frame is there."""
        if self._grabbed is not None:
            self._interval += (now - self._grabbed - self._interval) / 8
        self._grabbed = now

    def taken(self, now: float) -> None:
        """The consumer goes off with a frame."""
        self._taken = now

    def back(self, now: float) -> None:
        """The consumer wants the next one."""
        if self._taken is not None:
            self._busy += (now - self._taken - self._busy) / 4

    def wanted(self, now: float) -> bool:
        """Whether it may come for this frame before the next."""
        return self._taken is None or now + self._interval >= self._taken + self._busy


class Exchange:
    """The newest frame, and the counts and state of the capturing side; any thread may use it.

    `owner` is the reader that may put frames here: a reader that hangs in its driver loses that to the next one.
    """

    def __init__(self, origin: Origin, clock: Callable[[], float] = time.monotonic) -> None:
        self.origin, self.clock = origin, clock
        # Reentrant, so that a signal handler may call `stop` whatever the main thread was doing.
        self.condition = threading.Condition(threading.RLock())
        self.counters = Counters()
        self.owner: object | None = None
        self.opened = self.stopped = self.over = False
        self._failure: BaseException | None = None
        self._demand = Demand()
        self._frame: Frame | None = None
        self._dropped = self._waiting = 0
        self._began = clock()

    @property
    def ended(self) -> bool:
        """Whether no more frames come here."""
        return self.over or self.stopped

    def stats(self) -> Counters:
        """The counts as they are now."""
        with self.condition:
            return replace(self.counters)

    # The capturing side

    def mine(self, reader: object) -> bool:
        """Whether a reader is to go on."""
        with self.condition:
            return self.owner is reader and not self.stopped

    def rest(self, reader: object, seconds: float) -> bool:
        """Let time pass; whether the reader is to go on then."""
        until = self.clock() + seconds
        with self.condition:
            while self.mine(reader) and (left := until - self.clock()) > 0:
                self.condition.wait(left)
            return self.mine(reader)

    def has_opened(self, reader: object) -> None:
        """The source is open."""
        with self.condition:
            if not self.mine(reader):
                return
            if self.opened:
                self.counters.reconnects += 1
            self.opened = True
            self.condition.notify_all()

    def grabbed(self, reader: object) -> int | None:
        """A frame is there, with this number; None if the reader is to stop."""
        with self.condition:
            if not self.mine(reader):
                return None
            self.counters.state = "running"
            self.counters.captured += 1
            self._demand.grabbed(self.clock())
            return self.counters.captured - 1

    def wanted(self) -> bool:
        """Whether to decode the frame that is there; where not, it is counted as dropped."""
        with self.condition:
            if self._waiting or self.origin.keeps or self._demand.wanted(self.clock()):
                return True
            self._drop()
            return False

    def put(self, reader: object, frame: Frame, arrival: float) -> None:
        """Lay a frame down, in place of an older one, or after that was taken if none may be lost.

        `arrival`, on the clock, is when it was grabbed: decoding counts as latency. It is the frame's time too where it
        has none of its own.
        """
        with self.condition:
            while self.origin.keeps and self._frame is not None and self.mine(reader):
                self.condition.wait()
            if not self.mine(reader):
                return
            if self._frame is not None:
                self._drop()
            self._frame = replace(
                frame,
                timestamp=arrival - self._began if frame.timestamp is None else frame.timestamp,
                arrival=arrival if frame.arrival is None else frame.arrival,
            )
            self.condition.notify_all()

    def damaged(self, error: Exception) -> None:
        """A frame is no picture."""
        with self.condition:
            self.counters.corrupt += 1
            self.counters.last_error = str(error)

    def lost(self, reader: object, error: BaseException) -> None:
        """The source is gone for now."""
        with self.condition:
            if self.mine(reader):
                self.counters.last_error = str(error)
                if self.counters.state == "running":
                    self.counters.state = "reconnecting"

    def end(self, reader: object, error: BaseException | None) -> None:
        """No more frames come; the consumer gets those that are there, then the error."""
        with self.condition:
            if self.mine(reader):
                self.over, self._failure, self.owner = True, error, None
                self.counters.state = "ended"
                self.counters.last_error = str(error) if error else self.counters.last_error
                self.condition.notify_all()

    # The consuming side

    def take(self, watch: Callable[[], float]) -> tuple[Frame, int] | None:
        """Wait for a frame: it, and how many were dropped since the last one; None when there are no more.

        `watch` is called before each waiting and says how many seconds it may last.

        Raises:
            DsrfauError: why there are no more, once.
        """
        with self.condition:
            self._demand.back(self.clock())
            self._waiting += 1
            try:
                while self._frame is None and not self.ended:
                    self.condition.wait(watch())
            finally:
                self._waiting -= 1
            if self.stopped or self._frame is None:
                self.raise_failure()
                return None
            found, self._frame = (self._frame, self._dropped), None
            self._dropped = 0
            self._demand.taken(self.clock())
            self.condition.notify_all()
            return found

    def raise_failure(self) -> None:
        """Raise why the stream ended, if for a reason and not raised yet."""
        failure, self._failure = self._failure, None
        if failure is not None and not self.stopped:
            raise failure

    def stop(self) -> None:
        """Wake all who wait here, and have them end."""
        with self.condition:
            self.stopped, self._frame = True, None
            self.counters.state = "ended"
            self.condition.notify_all()

    def _drop(self) -> None:
        self.counters.dropped += 1
        self._dropped += 1
