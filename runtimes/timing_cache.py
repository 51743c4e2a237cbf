"""TensorRT's timings of layers, kept in a file, so that the next build on this GPU need not take them again."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from ..errors import UsageError

_log = logging.getLogger(__name__)


def check(path: Path) -> None:
    """Find out before a build of minutes whether the file can be read and written.

    Raises:
        UsageError: it cannot.
    """
    try:
        if path.exists():
            path.read_bytes()
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(0, f"the folder {path.parent} is missing or cannot be written")  # noqa: TRY301
    except OSError as error:
        raise UsageError(
            f"--timing-cache {path} cannot be used: {error.strerror or error}. Name a file in a folder of yours."
        ) from error


def attach(config: Any, path: Path, logger: Any) -> Any:
    """Give the builder the timings in `path`, or an empty set of them where there is no such file.

    Args:
        config: the builder's.
        path: as TensorRT and trtexec write it.
        logger: of `make_logger`; TensorRT tells it, and nobody else, that it leaves a file's content out.

    Returns:
        The cache, which must live as long as the builder works.

    Raises:
        UsageError: the file holds no timings of this GPU and this TensorRT.
    """
    check(path)
    content = path.read_bytes() if path.exists() else b""
    before = len(logger.errors) + len(logger.warnings)
    cache = config.create_timing_cache(content)
    left_out = bool(content) and len(logger.errors) + len(logger.warnings) > before  # then it begins with an empty one
    if cache is None or left_out or not config.set_timing_cache(cache, False):  # noqa: FBT003 - no other GPU's
        said = [*logger.warnings, *logger.errors]
        why = said[-1].rstrip(".") if said else "it gives no reason"
        raise UsageError(
            f"--timing-cache {path} holds no timings that TensorRT can use on this GPU: {why}. Timings are of one GPU "
            "and one version of TensorRT: name another file, or one that is not there yet."
        )
    return cache


def keep(cache: Any, path: Path) -> None:
    """Write the timings back, whole or not at all. A full disk costs no engine: it is only logged."""
    part: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        part = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(bytes(cache.serialize()))
        part.replace(path)
    except OSError as error:
        _log.warning("The timing cache %s was not written: %s. The engine is complete.", path, error)
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink()
