"""Recordings of a service: each in a new file of its own, so that no restart and no retry meets an old one."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dsrfau_edge.outputs.lines import line

if TYPE_CHECKING:
    from dsrfau_edge.outputs.base import Output
    from dsrfau_edge.results import FrameResult


#: Stands for the time at which a recording begins.
TIME = "{time}"


class Recording:
    """An output that writes one file, which does not stay if it is empty: a full disk would fill with names."""

    def __init__(self, pattern: str, opened: Callable[[Path], Output]) -> None:
        """Open the output with a file of this second.

        Raises:
            OSError, DsrfauError: it cannot be made.
        """
        self.path = new_file(pattern)
        try:
            self._output = opened(self.path)
        except BaseException:
            self._clear()
            raise

    def write(self, result: FrameResult) -> None:
        """As the output."""
        self._output.write(result)

    def close(self) -> None:
        """As the output."""
        try:
            self._output.close()
        finally:
            self._clear()

    def _clear(self) -> None:
        with contextlib.suppress(OSError):
            if self.path.stat().st_size == 0:
                self.path.unlink()


def new_file(pattern: str) -> Path:
    """A name that is not taken: of this second, and with a number if need be."""
    path = Path(pattern.replace(TIME, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())))
    number, free = 2, path
    while free.exists():
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return free


class LineRecording:
    """JSON lines in a new file, which holds whole lines only and grows under its own name."""

    def __init__(self, path: Path) -> None:
        """Make the file.

        Raises:
            OSError: it exists already, or cannot be made.
        """
        self._stream = path.open("xb", buffering=0)
        self._end = 0

    def write(self, result: FrameResult) -> None:
        """Append one line.

        Raises:
            OSError: it cannot be written, such as on a full disk; what was written of it is taken back.
        """
        rest = memoryview(line(result).encode())
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._stream.truncate(self._end)
            raise
        self._end = self._stream.tell()

    def close(self) -> None:
        """See it to the disk.

        Raises:
            OSError: it did not get there.
        """
        try:
            os.fsync(self._stream.fileno())
        finally:
            self._stream.close()
