"""Results as JSON lines in a file that grows under its own name, so that it can be followed and outlives a kill."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dsrfau_edge.outputs.lines import line

if TYPE_CHECKING:
    from dsrfau_edge.results import FrameResult


class LineRecording:
    """A new file, never an old one, which holds whole lines only."""

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
