"""Engines compiled on this device, kept in the user's cache folder so that the next start is instant."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..errors import RuntimeUnavailable

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where this user's programs keep what they can make again."""
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "dsrfau-edge" / "engines"


class EngineCache:
    """A folder of engines, each named by all that it depends on. Several processes may use it at once."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_folder()

    def candidates(self, key: Sequence[object], graph: bytes, build: Callable[[], bytes]) -> Iterator[bytes]:
        """The kept engine if there is one, then a newly built one for a caller that could not use the first.

        Args:
            key: everything besides the graph that the engine depends on.
            graph: the ONNX it is compiled from.
            build: compiles it; takes seconds to minutes.

        Raises:
            RuntimeUnavailable: the folder cannot be written.
        """
        path = self._folder / f"{_digest(key, graph)}.engine"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with _locked(path.with_suffix(".lock")):
                if path.is_file():
                    yield path.read_bytes()
                    _log.warning("The engine kept in %s cannot be used any more; it is built again.", path)
                else:
                    _log.warning("Building an engine for this GPU. It takes a while, once; it is kept in %s.", path)
                engine = build()
                _write(path, engine)
                yield engine
        except OSError as error:
            raise RuntimeUnavailable(
                f"The engine cache {self._folder} cannot be written: {error.strerror or error}. Free space there, or "
                "set XDG_CACHE_HOME to another folder."
            ) from error


def _digest(key: Sequence[object], graph: bytes) -> str:
    return hashlib.sha256(repr(tuple(key)).encode() + b"\0" + graph).hexdigest()[:32]


def _write(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that other processes wait for; the operating system lets go of it when a process dies."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
            yield
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
            yield
