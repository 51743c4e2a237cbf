"""The line on stderr that says how far a prediction is: frames, their rate, and of a file the time left."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

import click

_SECONDS = 0.5


class FrameProgress:
    """Counts frames; silent where stderr is no terminal, or where it would run into the data."""

    def __init__(self, *, wanted: bool, clock: Callable[[], float] = time.monotonic) -> None:
        terminal = sys.stderr.isatty() and logging.getLogger("dsrfau_edge").isEnabledFor(logging.WARNING)
        self._shown = wanted and terminal
        self._clock = clock
        self._last = clock()
        self.begin("", None)

    def begin(self, what: str, total: Callable[[], int | None] | None) -> None:
        """A source begins; `total` tells how many frames it will give, which of videos is known only later."""
        self._what, self._total = what, total
        self._start, self._count = self._clock(), 0

    def step(self) -> None:
        """Count one more frame."""
        self._count += 1
        now = self._clock()
        if self._shown and now - self._last >= _SECONDS:
            self._last = now
            click.echo(f"\r\x1b[K{self.text(now)}", nl=False, err=True)

    def text(self, now: float) -> str:
        """The line."""
        rate = self._count / max(now - self._start, 1e-9)
        total = self._total() if self._total else None
        if not total or total < self._count:  # a container may announce too few
            return f"{self._count} frames, {rate:.1f} fps · {self._what}"
        left = round((total - self._count) / rate)
        ahead = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
        return f"{self._count}/{total} frames, {rate:.1f} fps, {ahead} left · {self._what}"

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)
