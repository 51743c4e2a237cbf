"""NVIDIA's parser and builder: from an ONNX graph to an engine, the same for TensorRT 10, 11 and TensorRT for RTX.

Networks are strongly typed: the precision stands in the graph (fp16 tensors, int8 Q/DQ pairs), never in builder flags,
which is the one way that all three understand.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RuntimeUnavailable, UsageError
from .base import Progress
from .tensorrt_progress import interruptible, make_monitor
from .timing_cache import attach, keep

_log = logging.getLogger(__name__)

MODULES = ("tensorrt", "tensorrt_rtx")
INPUT = "crops"
INSTALL = (
    "On a Jetson it comes with JetPack (make the virtual environment with --system-site-packages); elsewhere install "
    "NVIDIA's tensorrt or, for GeForce RTX GPUs, pip install tensorrt-rtx."
)
#: Smallest, usual and largest batch of a graph with a dynamic batch axis.
PROFILE = (1, 1, 8)
#: Compute capability from which on engines may be for several GPUs.
AMPERE = 80
#: What is typed, and TensorRT's name for it.
HARDWARE_LEVELS = {"ampere+": "AMPERE_PLUS", "same-cc": "SAME_COMPUTE_CAPABILITY"}


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine is built.

    Attributes:
        profile: smallest, usual and largest batch of a graph with a dynamic batch axis; `PROFILE` by default.
        workspace_gb: memory the builder may use, or None for all.
        capabilities: compute capabilities to build for where no GPU is at hand, such as 86 (TensorRT for RTX only).
        tf32: let fp32 layers round their inputs to tf32.
        timing_cache: file with the timings of layers, read if it is there and written after the build.
        dla: core of the Deep Learning Accelerator that computes what it can; the GPU computes the rest.
        hardware_compatible: `ampere+` or `same-cc`, GPUs beside this one that the engine is to run on.
        optimization_level: 0 (built fast) to 5 (searches longest), or None for TensorRT's default, 3.
    """

    profile: tuple[int, int, int] | None = None
    workspace_gb: float | None = None
    capabilities: tuple[int, ...] = ()
    tf32: bool = False
    timing_cache: Path | None = None
    dla: int | None = None
    hardware_compatible: str | None = None
    optimization_level: int | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """An engine, and the layers of the network it was built from, by kind, as they were before they were merged."""

    content: bytes
    network: Mapping[str, int] = field(default_factory=dict)


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


def needed_capabilities(trt: Any, capability: int) -> tuple[int, ...]:
    """What to name for an engine that is to run on this GPU: RTX leaves Turing out unless it is named."""
    return (capability,) if is_rtx(trt) and capability < AMPERE else ()


def make_logger(trt: Any) -> Any:
    """A logger that hands TensorRT's messages to ours and keeps `errors` and `warnings` for our own messages."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(message)
            level = logging.DEBUG if severity != trt.ILogger.WARNING else logging.INFO
            _log.log(level, "%s", message)

    return Logger()


def last_error(logger: Any) -> str:
    """The last error that TensorRT has logged, without its full stop."""
    return str(logger.errors[-1]).rstrip(".") if logger.errors else "it gives no reason"


def check_options(trt: Any, options: EngineOptions) -> None:
    """Refuse what this TensorRT would ignore or does not have.

    Raises:
        UsageError: an option that does not suit it.
    """
    name = f"{trt.__name__} {trt.__version__}"
    if not is_rtx(trt):
        if options.capabilities:
            raise UsageError(
                f"{name} builds for the GPU it runs on and takes no list of compute capabilities. Leave out --sm, or "
                "install tensorrt-rtx to build for other GPUs."
            )
        if options.hardware_compatible is not None:
            _hardware_level(trt, options.hardware_compatible)
        return
    refused = (
        (options.timing_cache, "--timing-cache", "times no layers when it builds: its kernels are chosen on the GPU"),
        (options.dla, "--dla", "is for GPUs alone, and a DLA is on Jetson Orin, under TensorRT"),
        (options.hardware_compatible, "--hardware-compatible", "has no such level: name the GPUs with --sm 75,86,89"),
        (options.optimization_level, "--optimization-level", "builds the same engine at every level"),
    )
    for value, flag, why in refused:
        if value is not None:
            raise UsageError(f"{name} {why}. Leave out {flag}.")
    _missing_capabilities(trt, options.capabilities)


def build_engine(trt: Any, graph: bytes, options: EngineOptions, progress: Progress | None = None) -> Built:
    """Parse a typed ONNX graph and build an engine.

    Args:
        trt: TensorRT's module.
        graph: ONNX.
        options: how.
        progress: told while it builds; an error that it raises stops the build and comes out of here.

    Raises:
        RuntimeUnavailable: the parser or the builder refuses it.
        UsageError: an option does not suit this TensorRT, this machine or this graph.
    """
    check_options(trt, options)
    with interruptible() as interrupted:
        return _build(trt, graph, options, progress, interrupted)


def _build(
    trt: Any, graph: bytes, options: EngineOptions, progress: Progress | None, interrupted: Callable[[], bool]
) -> Built:
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise RuntimeUnavailable(_refused(trt, "parser", errors or logger.errors, options))
    config = _config(trt, builder, options)
    _add_profile(builder, network, config, options)
    cache = None if options.timing_cache is None else attach(config, options.timing_cache, logger)
    monitor = config.progress_monitor = make_monitor(trt, progress, interrupted)
    engine = builder.build_serialized_network(network, config)
    if monitor.error is not None:
        raise monitor.error
    if engine is None:
        raise RuntimeUnavailable(_refused(trt, "builder", logger.errors, options))
    if options.timing_cache is not None:
        keep(cache, options.timing_cache)
    return Built(bytes(engine), _kinds(network))


def _config(trt: Any, builder: Any, options: EngineOptions) -> Any:
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the inspector; costs a few names in the engine
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_gb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options.workspace_gb * (1 << 30)))
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.hardware_compatible is not None:
        config.hardware_compatibility_level = _hardware_level(trt, options.hardware_compatible)
    if options.dla is not None:
        _use_dla(trt, builder, config, options.dla)
    if options.capabilities:
        _set_capabilities(trt, config, options.capabilities)
    return config


def _hardware_level(trt: Any, level: str) -> Any:
    found = getattr(trt.HardwareCompatibilityLevel, HARDWARE_LEVELS[level], None)
    if found is None:
        raise UsageError(
            f"{trt.__name__} {trt.__version__} has no hardware compatibility {level!r}. Leave out "
            "--hardware-compatible, or update TensorRT."
        )
    return found


def _use_dla(trt: Any, builder: Any, config: Any, core: int) -> None:
    """Give all layers to a DLA core, and those that it cannot take to the GPU."""
    cores = int(builder.num_DLA_cores)
    if core >= cores:
        have = f"has DLA cores 0 to {cores - 1}" if cores else "finds no DLA on this machine"
        raise UsageError(
            f"{trt.__name__} {trt.__version__} {have}, so --dla {core} cannot be had. A DLA is on Jetson Orin and "
            "Xavier (not Orin Nano, not Thor), under TensorRT 10 up to 10.7 or 11.4.1 and newer. Leave out --dla."
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _missing_capabilities(trt: Any, capabilities: Sequence[int]) -> None:
    members = [name[2:] for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    missing = [str(number) for number in capabilities if str(number) not in members]
    if missing:
        raise UsageError(
            f"{trt.__name__} {trt.__version__} has no compute capability {', '.join(missing)}. "
            f"It has: {', '.join(members)}."
        )


def _set_capabilities(trt: Any, config: Any, capabilities: Sequence[int]) -> None:
    config.num_compute_capabilities = len(capabilities)
    for position, number in enumerate(capabilities):
        config.set_compute_capability(trt.ComputeCapability.__members__[f"SM{number}"], position)


def _add_profile(builder: Any, network: Any, config: Any, options: EngineOptions) -> None:
    """A dynamic batch axis needs the range it may take."""
    shape = tuple(network.get_input(0).shape)
    if -1 not in shape:
        if options.profile is not None:
            raise UsageError("--profile is for any number of crops per call. Add --dynamic-batch, or leave it out.")
        return
    if options.dla is not None:
        raise UsageError("A DLA takes a fixed number of crops per call. Leave out --dynamic-batch, or --dla.")
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, *((batch, *shape[1:]) for batch in options.profile or PROFILE))
    config.add_optimization_profile(profile)


def _kinds(network: Any) -> dict[str, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        names = [str(network.get_layer(index).type).rpartition(".")[2] for index in range(network.num_layers)]
    return dict(Counter(name.lower() for name in names).most_common())


def _refused(trt: Any, part: str, errors: Sequence[str], options: EngineOptions) -> str:
    why = "; ".join(dict.fromkeys(errors)) or "it gives no reason"
    small = part == "builder" and options.workspace_gb is not None
    more = "Give it more memory than --workspace-gb does, try" if small else "Try"
    return (
        f"The {part} of {trt.__name__} {trt.__version__} refuses the graph: {why}. {more} another precision (--fp16), "
        "or update TensorRT."
    )
