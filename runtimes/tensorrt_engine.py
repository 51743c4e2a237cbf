"""NVIDIA's parser and builder: from an ONNX graph to an engine, the same for TensorRT 10, 11 and TensorRT for RTX.

Networks are strongly typed: the precision stands in the graph (fp16 tensors, int8 Q/DQ pairs), never in builder flags,
which is the one way that all three understand.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import RuntimeUnavailable, UsageError

_log = logging.getLogger(__name__)

MODULES = ("tensorrt", "tensorrt_rtx")
INPUT = "crops"
INSTALL = (
    "On a Jetson it comes with JetPack (make the virtual environment with --system-site-packages); elsewhere install "
    "NVIDIA's tensorrt or, for GeForce RTX GPUs, pip install tensorrt-rtx."
)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine is built.

    Attributes:
        max_batch: largest batch of a graph with a dynamic batch axis.
        workspace_gb: memory the builder may use, or None for all.
        capabilities: compute capabilities to build for where no GPU is at hand, such as 86 (TensorRT for RTX only).
        tf32: let fp32 layers round their inputs to tf32.
    """

    max_batch: int = 8
    workspace_gb: float | None = None
    capabilities: tuple[int, ...] = ()
    tf32: bool = False


def find_module() -> Any | None:
    """TensorRT's module, or TensorRT for RTX's, or None where neither can be imported."""
    for name in MODULES:
        if importlib.util.find_spec(name) is None:
            continue
        try:
            module = importlib.import_module(name)
        except Exception as error:  # missing or mismatched native libraries raise anything
            _log.debug("%s is installed but cannot be imported: %s", name, error)
            continue
        if hasattr(module, "Builder"):  # the stubs on package indices import, and hold nothing
            return module
    return None


def is_rtx(trt: Any) -> bool:
    """Whether it is TensorRT for RTX, whose engines name the GPUs they are for."""
    return bool(trt.__name__ == "tensorrt_rtx")


def make_logger(trt: Any) -> Any:
    """A logger that hands TensorRT's messages to ours and keeps the errors in `errors` for our own messages."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)
            level = logging.DEBUG if severity != trt.ILogger.WARNING else logging.INFO
            _log.log(level, "%s", message)

    return Logger()


def build_engine(trt: Any, graph: bytes, options: EngineOptions) -> bytes:
    """Parse a typed ONNX graph and build an engine.

    Raises:
        RuntimeUnavailable: the parser or the builder refuses it.
        UsageError: an option does not suit this TensorRT.
    """
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise RuntimeUnavailable(_refused(trt, "parser", errors or logger.errors))
    config = _config(trt, builder, options)
    _add_profile(builder, network, config, options.max_batch)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise RuntimeUnavailable(_refused(trt, "builder", logger.errors))
    return bytes(engine)


def _config(trt: Any, builder: Any, options: EngineOptions) -> Any:
    config = builder.create_builder_config()
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_gb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options.workspace_gb * (1 << 30)))
    if options.capabilities:
        _set_capabilities(trt, config, options.capabilities)
    return config


def _set_capabilities(trt: Any, config: Any, capabilities: Sequence[int]) -> None:
    known = getattr(trt, "ComputeCapability", None)
    if known is None or not is_rtx(trt):
        raise UsageError(
            f"{trt.__name__} {trt.__version__} builds for the GPU it runs on and takes no list of "
            "compute capabilities. Leave out --sm, or install tensorrt-rtx to build for other GPUs."
        )
    members = {name: member for name, member in known.__members__.items() if name.startswith("SM")}
    missing = [number for number in capabilities if f"SM{number}" not in members]
    if missing:
        raise UsageError(
            f"{trt.__name__} {trt.__version__} has no compute capability {', '.join(map(str, missing))}. "
            f"It has: {', '.join(name[2:] for name in members)}."
        )
    config.num_compute_capabilities = len(capabilities)
    for position, number in enumerate(capabilities):
        config.set_compute_capability(members[f"SM{number}"], position)


def _add_profile(builder: Any, network: Any, config: Any, max_batch: int) -> None:
    """A dynamic batch axis needs the range it may take."""
    shape = tuple(network.get_input(0).shape)
    if -1 not in shape:
        return
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, (1, *shape[1:]), (1, *shape[1:]), (max_batch, *shape[1:]))
    config.add_optimization_profile(profile)


def _refused(trt: Any, part: str, errors: Sequence[str]) -> str:
    why = "; ".join(dict.fromkeys(errors)) or "it gives no reason"
    return (
        f"The {part} of {trt.__name__} {trt.__version__} refuses the graph: {why}. Try another precision (--fp16), or "
        "update TensorRT."
    )
