"""What long commands that make shards share: a bar with the time left, and an orderly end on SIGTERM."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_TERMINATED = 128 + signal.SIGTERM


class Bar:
    """Counts what is made; what an earlier run made is done but does not count as speed."""

    def __init__(self, show: Callable[[int, str], None], unit: str) -> None:
        self.count, self._done = 0, 0
        self._show, self._unit, self._start, self._first = show, unit, time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._start

    def found(self, count: int) -> None:
        """So many are there already."""
        self._done = count
        self._show(self._done, "")

    def made(self, count: int) -> None:
        """So many more were made."""
        now = time.monotonic()
        if not self.count:
            self._first = now  # workers take seconds to start; the rate is that of the work itself
        self.count += count
        self._done += count
        rate = (self.count - 1) / (now - self._first) if now > self._first else 0.0
        self._show(self._done, f"{rate:.1f} {self._unit}/s" if rate else "")


@contextlib.contextmanager
def bar(total: int, what: str, unit: str = "images") -> Iterator[Bar]:
    """A progress bar on stderr, shown where that is a terminal and -q was not given."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
               TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn())  # fmt: skip
    console = Console(stderr=True)
    wanted = console.is_terminal and logging.getLogger("dsrfau_edge").isEnabledFor(logging.WARNING)
    with Progress(*columns, console=console, disable=not wanted, speed_estimate_period=120) as progress:
        task = progress.add_task(what, total=total, rate="")
        yield Bar(lambda done, rate: progress.update(task, completed=done, rate=rate), unit)


@contextlib.contextmanager
def stops_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does: workers stop, and nothing half written stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        sys.exit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
