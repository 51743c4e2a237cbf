"""The targets, one file each: what it can be made in, which options it takes, what it needs, and how it is made."""

from __future__ import annotations

from ...errors import UsageError
from .base import INSTALL, Converted, Job, Target, TargetOption
from .onnx import TARGET as _ONNX
from .openvino import TARGET as _OPENVINO
from .tensorrt import TARGET as _TENSORRT

__all__ = ["INSTALL", "TARGETS", "Converted", "Job", "Target", "TargetOption", "targets_named"]

TARGETS: dict[str, Target] = {target.name: target for target in (_ONNX, _OPENVINO, _TENSORRT)}


def targets_named(name: str) -> tuple[Target, ...]:
    """The target of a name, or every one for `all`.

    Raises:
        UsageError: there is none.
    """
    if name == "all":
        return tuple(TARGETS.values())
    if name not in TARGETS:
        raise UsageError(f"Unknown target {name!r}. Known: {', '.join(TARGETS)}, all.")
    return (TARGETS[name],)
