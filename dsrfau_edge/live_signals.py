"""Ctrl-C and SIGTERM as a request to stop, for as long as that is wanted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class StopOnSignals:
    """Calls a function at the first SIGINT or SIGTERM; the next one acts as before.

    Only the main thread may set handlers: elsewhere this does nothing.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.received: int | None = None
        self._stop = stop
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Set the handlers."""
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        """Put back those that were there."""
        if threading.current_thread() is not threading.main_thread():
            return
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = number
        self.restore()
        self._stop()
