"""Ctrl-C and SIGTERM as a request to stop, for as long as that is wanted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

# Those installed now, and the handlers from before the first of them. Several streams of one process may come and go in
# any order, so that each restoring what it found would leave a handler of one that is gone. Main thread only.
_installed: list[StopOnSignals] = []
_before: dict[int, Any] = {}


class StopOnSignals:
    """Calls a function at the first SIGINT or SIGTERM; the next one acts as before.

    Only the main thread may set handlers: elsewhere this does nothing.

    Attributes:
        received: the signal that came, if one did.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.received: int | None = None
        self._stop = stop

    def install(self) -> None:
        """Begin to listen."""
        if threading.current_thread() is not threading.main_thread() or self in _installed:
            return
        if not _installed:
            for number in (signal.SIGINT, signal.SIGTERM):
                _before[number] = signal.signal(number, _handle)
        _installed.append(self)

    def restore(self) -> None:
        """Listen no longer; the last one puts back the handlers that were there."""
        if threading.current_thread() is threading.main_thread() and self in _installed:
            _installed.remove(self)
            if not _installed:
                _put_back()

    def receive(self, number: int) -> None:
        """A signal came."""
        self.received = number
        self._stop()


def _handle(number: int, frame: FrameType | None) -> None:
    del frame
    told = list(_installed)
    _installed.clear()
    _put_back()
    for one in told:
        one.receive(number)


def _put_back() -> None:
    while _before:
        number, handler = _before.popitem()
        if signal.getsignal(number) is _handle:  # or somebody has set another one since
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
