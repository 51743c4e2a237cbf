"""Engines compiled on this device, kept in the user's cache folder so that the next start is instant.

A kept engine begins with the hash of what follows, since TensorRT may crash on bytes that are no engine of its own. It
is written beside its place and then moved there, so that whoever is killed while writing leaves no half of one, only a
`.part` that the next build sweeps away.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

_log = logging.getLogger(__name__)
_MARK = b"dsrfau engine 1 "
_HEAD = len(_MARK) + hashlib.sha256().digest_size
Loaded = TypeVar("Loaded")


def cache_folder() -> Path:
    """Where this user's programs keep what they can make again."""
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "dsrfau-edge" / "engines"


@dataclass(frozen=True, slots=True)
class Found(Generic[Loaded]):
    """An engine in use.

    Attributes:
        engine: what the caller made of its bytes, None where it could not use the newly built one either.
        note: where it is from, as a sentence.
    """

    engine: Loaded | None
    note: str


class EngineCache:
    """A folder of engines, each named by all that it depends on. Several processes and threads may use it at once."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_folder()

    def load(
        self,
        key: Sequence[object],
        graph: bytes,
        build: Callable[[], bytes],
        use: Callable[[bytes], Loaded | None],
    ) -> Found[Loaded]:
        """The kept engine if it can be used, else a newly built one, which is kept. Who comes meanwhile waits for it.

        Where the folder cannot be locked or written, or the disk is full, the engine is built and used all the same,
        and a warning says that it was not kept.

        Args:
            key: everything besides the graph that the engine depends on.
            graph: the ONNX it is compiled from.
            build: compiles it; takes seconds to minutes.
            use: loads it; gives None where it cannot.
        """
        path = self._folder / f"{_digest(key, graph)}.engine"
        refused = None
        kept = _read(path)
        if kept is not None:
            engine = use(kept)
            if engine is not None:
                return Found(engine, f"The engine kept in {path} is used.")
            _log.warning("The engine kept in %s cannot be used any more; it is built again.", path)
            refused = kept
        with self._locked(path) as problem:
            kept = _read(path)
            if kept is not None and kept != refused:  # by another process, meanwhile
                engine = use(kept)
                if engine is not None:
                    return Found(engine, f"The engine kept in {path} is used.")
            _log.warning("Building an engine for this GPU. It takes a while, once; it is kept in %s.", path)
            start = time.monotonic()
            content = build()
            took = f"The engine was built on this device in {time.monotonic() - start:.0f} s"
            problem = problem or self._write(path, content)
        if problem:
            _log.warning(
                "%s but could not be kept in %s: %s. It is built again at the next start. Free space there, or set "
                "XDG_CACHE_HOME to another folder.",
                took, self._folder, problem,
            )  # fmt: skip
        note = f"{took} and is kept in {path}." if not problem else f"{took} and could not be kept: {problem}."
        return Found(use(content), note)

    def _write(self, path: Path, content: bytes) -> str:
        """Keep an engine, and sweep away what killed processes have left. Returns what went wrong, or ""."""
        try:
            self._sweep(path)
            _write(path, content)
        except OSError as error:
            return str(error.strerror or error)
        return ""

    def _sweep(self, own: Path) -> None:
        """Remove what killed processes have left: parts and locks of engines that no living one is building."""
        for part in self._folder.glob(f".{own.stem}.*.part"):  # ours to build, so nobody writes it
            part.unlink(missing_ok=True)
        left = {path.name[1:].partition(".")[0] for path in self._folder.glob(".*.part")}
        left |= {path.stem for path in self._folder.glob("*.lock")} - {own.stem}
        for name in left:
            with contextlib.suppress(OSError), _lock(self._folder / f"{name}.engine", wait=False) as free:
                for part in self._folder.glob(f".{name}.*.part") if free else ():
                    part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[str]:
        """Hold the engine's lock. Gives why there is none, or "": then the engine is built without."""
        with contextlib.ExitStack() as stack:
            problem = ""
            try:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                if not stack.enter_context(_lock(path, wait=False)):
                    _log.warning("Another process builds the engine %s; waiting for it.", path)
                    stack.enter_context(_lock(path, wait=True))
            except OSError as error:
                problem = str(error.strerror or error)
            yield problem


def _digest(key: Sequence[object], graph: bytes) -> str:
    return hashlib.sha256(repr(tuple(key)).encode() + b"\0" + graph).hexdigest()[:32]


def _read(path: Path) -> bytes | None:
    """A kept engine, or None where there is none or it is not whole."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("The engine kept in %s cannot be read: %s.", path, error.strerror or error)
        return None
    engine = content[_HEAD:]
    if content[:_HEAD] == _MARK + hashlib.sha256(engine).digest():
        return engine
    _log.warning("The engine kept in %s is damaged and is not loaded; it is built again.", path)
    return None


def _write(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_MARK + hashlib.sha256(content).digest())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(engine: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of an engine, or give False where another holds it and `wait` is not set.

    The operating system lets go of it when a process dies, however it does. The file goes with the last holder.
    """
    path = engine.with_suffix(".lock")
    file = _acquire(path, wait=wait)
    try:
        yield file is not None
    finally:
        if file is not None:
            with contextlib.suppress(OSError):  # on Windows an open file stays
                path.unlink()
            file.close()


def _acquire(path: Path, *, wait: bool) -> Any:
    """The open and locked file, or None."""
    while True:
        file = path.open("a+b")
        try:
            locked = _take(file, wait=wait)
            # Its last holder may have removed the file while we waited: then that is the lock of nobody.
            if locked and _is(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()
        if not locked:
            return None


def _is(file: Any, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _take(file: Any, *, wait: bool) -> bool:
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        while True:
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            except OSError:
                if not wait:
                    return False
                time.sleep(0.1)
            else:
                return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
