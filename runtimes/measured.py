"""What was measured to be fastest on this device, kept in the user's cache folder so that choosing can obey it.

Written only when the user asks for it (`dsrfau-bench --remember`); a file that cannot be read, or that was measured on
another processor or with another version of the runtime, counts as none.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import RuntimeUnavailable
from .base import ModelFiles
from .engine_cache import cache_folder

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """The fastest way to run one model here.

    Attributes:
        runtime: its name.
        version: of the runtime when it was measured.
        precision: `precision` of the model that ran: the bundle's own, or `fp32` for its portable graph.
        native: whether the device computed in its own favourite precision, see `SessionOptions.native_precision`.
        p90_ms: milliseconds of one crop, 90th percentile.
        mean_difference: of an AU's intensity to the portable graph.
        date: ISO 8601 day.
    """

    runtime: str
    version: str
    precision: str
    native: bool
    p90_ms: float
    mean_difference: float
    date: str


def remember(model: ModelFiles, best: Measured, folder: Path | None = None) -> Path:
    """Keep the fastest way to run a model.

    Raises:
        RuntimeUnavailable: the folder cannot be written.
    """
    path = _path(model, folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".measured.", suffix=".part", dir=path.parent)
        part = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"schema": _SCHEMA, "device": _device(), **asdict(best)}, file, indent=1)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise RuntimeUnavailable(
            f"{path.parent} cannot be written: {error.strerror or error}. Free space there, or set XDG_CACHE_HOME to "
            "another folder."
        ) from error
    return path


def recall(model: ModelFiles, folder: Path | None = None) -> Measured | None:
    """What was kept for a model on this device, or None. Never raises."""
    try:
        raw: dict[str, Any] = json.loads(_path(model, folder).read_text(encoding="utf-8"))
        if raw.pop("schema") != _SCHEMA or raw.pop("device") != _device():
            return None
        return Measured(**raw)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError):
        return None


def forget(model: ModelFiles, folder: Path | None = None) -> None:
    """Drop what was kept for a model, if anything was."""
    _path(model, folder).unlink(missing_ok=True)


def _path(model: ModelFiles, folder: Path | None) -> Path:
    return (folder or cache_folder().parent / "measured") / f"{model.digest[:32] or model.name}.json"


def _device() -> str:
    """What the measurement depends on: the processor and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.machine()}, {_processor()}, {cores} cores"


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.lower().startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
