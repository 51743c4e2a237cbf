"""An orderly end on Ctrl-C and SIGTERM: the frame in work is finished and written, then all outputs are closed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

TERMINATED = 128 + signal.SIGTERM


class Stopped(KeyboardInterrupt):
    """A signal asked for the end, and the place was a good one."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Stopper:
    """While entered, the first signal is remembered until `check`; a second one interrupts at once."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._wake: Callable[[], None] | None = None
        self._before: dict[int, object] = {}

    def waking(self, wake: Callable[[], None] | None) -> None:
        """What a signal is to call, where something waits that would not come to `check`."""
        self._wake = wake

    def check(self) -> None:
        """A good place to end.

        Raises:
            Stopped: a signal has come.
        """
        if self._received is not None:
            raise Stopped(self._received)

    def __enter__(self) -> Stopper:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # what signal.signal gave

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._received is not None:
            raise Stopped(number)
        self._received = number
        if self._wake is not None:
            self._wake()
