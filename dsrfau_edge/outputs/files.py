"""Files that results are written to: whole lines only, and under their names once they are closed."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MODE = 0o666


class LineFile:
    """A text file that never holds half a line.

    It grows beside its name and takes that name when it is closed, unless nothing was written: what a camera gave in
    hours is kept whatever ended it. A name that is no file (a pipe, a device) is written to directly.
    """

    encoding = "utf-8"

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError: it cannot be written.
        """
        self._path = path
        self._direct = path.exists() and not path.is_file()
        self._part = path if self._direct else part_of(path)
        self._stream = self._part.open("wb", buffering=0)

    def write(self, text: str) -> int:
        """Write whole lines.

        Raises:
            OSError: they cannot be written; what was written of them is taken back where the file allows it.
        """
        content = memoryview(text.encode("utf-8"))
        start = 0 if self._direct else self._stream.tell()
        try:
            while content:
                content = content[self._stream.write(content) :]
        except OSError:
            if not self._direct:
                with contextlib.suppress(OSError):
                    self._stream.truncate(start)
            raise
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Give the file its name."""
        if self._stream.closed:
            return
        if self._direct:
            self._stream.close()
            return
        self._stream.close()
        keep(self._part, self._path)


@contextlib.contextmanager
def kept(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to; it takes that name when it is whole, and is removed where that fails."""
    part = part_of(path)
    try:
        yield part
        keep(part, path)
    finally:
        part.unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """A new empty file beside `path`, with its ending.

    Raises:
        OSError: none can be made there.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".part{path.suffix}", dir=path.parent)
    os.close(handle)
    return Path(name)


def keep(part: Path, path: Path) -> None:
    """Let a part take its name, unless it is empty."""
    try:
        if part.stat().st_size:
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
            umask = os.umask(0)
            os.umask(umask)
            part.chmod(_MODE & ~umask)  # a temporary file is its owner's alone
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def room_for(part: Path) -> float:
    """Bytes that may still be written to a file, as far as the system tells."""
    left = float("inf")
    if hasattr(os, "statvfs"):
        disk = os.statvfs(part)
        left = float(disk.f_bavail * disk.f_frsize)
    if sys.platform != "win32":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if limit != resource.RLIM_INFINITY:
            left = min(left, float(limit - part.stat().st_size))
    return left
