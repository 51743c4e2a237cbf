"""The capture threads of a live stream: they open its source, read it, and open it again when it is lost."""

from __future__ import annotations

import contextlib
import logging
import math
import random
import threading
from typing import TYPE_CHECKING

from ..errors import InputError
from .exchange import Exchange
from .feeds import Feed, IteratorDone, Origin
from .options import Backoff, LiveOptions

if TYPE_CHECKING:
    from ..stream import Frame

_log = logging.getLogger(__name__)

#: More threads than these do not hang in a driver at a time: the source is then left alone until one returns.
_MOST_STUCK = 3
# Times `stall_after`: what has a timeout of its own shall end by that, and not be left behind.
_HANGS = 1.5
_LOOK = 1.0
_JOIN = 2.0


class Reader:
    """A daemon thread that reads a source until it ends, or the exchange belongs to another."""

    def __init__(self, exchange: Exchange, options: LiveOptions, backoff: Backoff) -> None:
        self._exchange, self._options, self._backoff = exchange, options, backoff
        self._origin = exchange.origin
        self._beat, self._patience = exchange.clock(), math.inf
        self.thread = threading.Thread(target=self._run, name=f"live {self._origin.name}", daemon=True)

    def overdue(self) -> float:
        """Seconds until this thread counts as stuck; 0 or less if it does."""
        return self._patience - (self._exchange.clock() - self._beat)

    def _run(self) -> None:
        exchange = self._exchange
        try:
            while exchange.mine(self):
                error = self._session()
                if not self._again(error):
                    return
        except BaseException as error:  # told to the consumer, who raises it
            exchange.end(self, error)

    def _session(self) -> InputError | None:
        """Open, read and release the source once: why it was lost, None at its end."""
        self._step(self._origin.opening + self._options.stall_after)
        try:
            feed = self._origin.open()
        except InputError as error:
            return error
        try:
            self._exchange.has_opened(self)
            return self._read(feed)
        except InputError as error:
            return error
        finally:
            self._step(math.inf)
            with contextlib.suppress(InputError):
                feed.release()

    def _read(self, feed: Feed) -> InputError | None:
        exchange, clock = self._exchange, self._exchange.clock
        first: float | None = None
        good = clock()
        while True:
            self._step(_HANGS * self._options.stall_after)
            if not feed.grab():
                return None
            index = exchange.grabbed(self)
            if index is None:
                return None
            if self._origin.paced and feed.time is not None:
                first = clock() - feed.time if first is None else first
                self._step(math.inf)
                exchange.rest(self, first + feed.time - clock())
            arrival = clock()
            if not exchange.wanted():
                good = clock()
            elif (frame := self._frame(feed, index)) is not None:
                self._step(math.inf)
                self._backoff.reset()
                exchange.put(self, frame, arrival)
                good = clock()
            elif self._origin.lasts and clock() - good > self._options.stall_after:
                return InputError(f"{self._origin.name} has given only damaged frames for a while.")

    def _frame(self, feed: Feed, index: int) -> Frame | None:
        try:
            return feed.retrieve(index)
        except InputError as error:
            _log.debug("%s", error)
            self._exchange.damaged(error)
            return None

    def _again(self, error: InputError | None) -> bool:
        """Whether to open the source again, after waiting."""
        exchange, origin = self._exchange, self._origin
        if not exchange.mine(self):
            return False
        if error is None and not origin.lasts:
            none = exchange.stats().captured == 0
            exchange.end(self, InputError(f"{origin.name} gave no frames. Check what it reads.") if none else None)
            return False
        if isinstance(error, IteratorDone) or (not exchange.opened and not self._options.wait):
            exchange.end(self, error)
            return False
        if exchange.opened and self._backoff.spent:
            clean = self._options.attempts == 0 and error is None and exchange.stats().captured
            exchange.end(self, None if clean else InputError(self._given_up(error)))
            return False
        level = logging.DEBUG if self._backoff.failures else logging.WARNING  # a camera may be gone for days
        pause = self._backoff.next(random.random())
        reason = error or InputError(f"{origin.name} ended or was cut off.")
        exchange.lost(self, reason)
        _log.log(level, "%s Trying again in %.1f s.", reason, pause)
        self._step(math.inf)
        return exchange.rest(self, pause)

    def _given_up(self, error: InputError | None) -> str:
        reason = str(error or f"{self._origin.name} ended or was cut off.")
        if not self._options.attempts:
            return reason
        return f"{reason} {self._backoff.failures} attempts to open it again failed; LiveOptions.attempts limits them."

    def _step(self, patience: float) -> None:
        """Begin something that may take so many seconds."""
        self._beat, self._patience = self._exchange.clock(), patience


class Capture:
    """Reads a source in a thread of its own, and puts another one in its place when that hangs."""

    def __init__(self, origin: Origin, options: LiveOptions) -> None:
        self.exchange = Exchange(origin)
        self._origin, self._options = origin, options
        self._backoff = Backoff(options)
        self._reader: Reader | None = None
        self._stuck: list[Reader] = []
        self._told = False

    def start(self) -> None:
        """Begin, if that was not done yet; wait until the source is open, unless `LiveOptions.wait`.

        Raises:
            InputError: it cannot be opened, or does not answer.
            RuntimeUnavailable: it needs what is not installed.
        """
        exchange = self.exchange
        with exchange.condition:
            if exchange.ended or self._reader is not None:
                return
            self._begin()
            while not (self._options.wait or exchange.opened or exchange.ended):
                exchange.condition.wait(self._watch())
            if not exchange.opened:
                exchange.raise_failure()

    def take(self) -> tuple[Frame, int] | None:
        """The next frame, see `Exchange.take`."""
        return self.exchange.take(self._watch)

    def stop(self) -> None:
        """End it without waiting for anything; a signal handler may call this."""
        self.exchange.stop()

    def close(self) -> None:
        """End it, and wait for the thread, but not for one that hangs."""
        self.stop()
        reader, self._reader = self._reader, None
        if reader is not None and reader.thread is not threading.current_thread():
            reader.thread.join(_JOIN)
            if reader.thread.is_alive():
                with self.exchange.condition:
                    self.exchange.counters.abandoned += 1

    def _begin(self) -> None:
        self._reader = Reader(self.exchange, self._options, self._backoff)
        self.exchange.owner = self._reader
        self._reader.thread.start()

    def _watch(self) -> float:
        """See to it that a thread is reading; seconds until that is to be looked at again."""
        reader, exchange = self._reader, self.exchange
        if reader is None:
            return _LOOK
        left = reader.overdue()
        if left > 0:
            return min(left, _LOOK)
        if not self._origin.reopens:
            if not self._told:
                self._told = True
                _log.warning("%s has given no frame for %g s.", self._origin.name, self._options.stall_after)
            return _LOOK
        self._stuck = [one for one in self._stuck if one.thread.is_alive()]
        if len(self._stuck) >= _MOST_STUCK:
            return _LOOK
        silent = InputError(f"{self._origin.name} is silent: it has neither answered nor failed in time.")
        if not exchange.opened and not self._options.wait:
            exchange.end(reader, silent)
            return _LOOK
        _log.warning("%s It is opened anew, and its thread left behind.", silent)
        exchange.lost(reader, silent)
        exchange.counters.abandoned += 1
        self._stuck.append(reader)
        self._begin()
        return _LOOK
