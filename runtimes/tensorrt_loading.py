"""An engine for this GPU: the bundle's own, one kept from an earlier start, or one built from the typed graph."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import EngineMismatch
from .base import ModelFiles, SessionOptions
from .cuda_driver import Gpu
from .engine_cache import EngineCache
from .tensorrt_engine import AMPERE, EngineOptions, build_engine, last_error, make_logger, needed_capabilities

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class LoadedEngine:
    """TensorRT's objects of one engine.

    Attributes:
        trt: the module.
        logger: collects TensorRT's errors.
        runtime: must outlive the engine.
        engine: None once it is released.
        notes: where the engine is from.
    """

    trt: Any
    logger: Any
    runtime: Any
    engine: Any
    notes: tuple[str, ...] = ()

    def release(self) -> None:
        """Free both, in the order that TensorRT demands."""
        self.engine = None
        self.runtime = None


def load_engine(trt: Any, model: ModelFiles, gpu: Gpu, options: SessionOptions) -> LoadedEngine:
    """Load the model's engine, or build one. The GPU's context must be current.

    Raises:
        EngineMismatch: the engine was built for something else, and the model has no graph to build another from.
        RuntimeUnavailable: TensorRT refuses the graph.
    """
    logger = make_logger(trt)
    runtime = trt.Runtime(logger)
    if model.path.suffix != ".engine":
        return _build(trt, logger, runtime, model, gpu, options)
    core = model.build.get("dla_core")
    if core is not None:
        runtime.DLA_core = int(core)
    why = origin_mismatch(trt, model, gpu)
    if not why:
        engine = runtime.deserialize_cuda_engine(model.path.read_bytes())
        if engine is not None:
            return LoadedEngine(trt, logger, runtime, engine)
        why = (
            f"{model.name} holds an engine that {trt.__name__} {trt.__version__} on {gpu.name} does not load: "
            f"{last_error(logger)}"
        )
    if model.graph is None or core is not None:  # what was made for a DLA is not moved to the GPU unasked
        raise EngineMismatch(f"{why}. {rebuild_command(model)}")
    _log.warning("%s; one for %s comes from its typed graph instead.", why, gpu.name)
    return _build(trt, logger, runtime, model, gpu, options)


def _build(trt: Any, logger: Any, runtime: Any, model: ModelFiles, gpu: Gpu, options: SessionOptions) -> LoadedEngine:
    graph = (model.graph or model.path).read_bytes()
    wanted = EngineOptions(
        profile=_profile(model.build) if model.batch is None else None,
        capabilities=needed_capabilities(trt, gpu.capability),
        tf32=options.native_precision,
    )
    found = EngineCache(options.cache).load(
        (trt.__name__, trt.__version__, gpu.name, gpu.capability, wanted),
        graph,
        lambda: build_engine(trt, graph, wanted, options.progress).content,
        runtime.deserialize_cuda_engine,
    )
    if found.engine is None:
        raise EngineMismatch(
            f"{trt.__name__} {trt.__version__} built {model.name} for {gpu.name} and then refused it: "
            f"{last_error(logger)}. Check that one version of TensorRT is installed, not two."
        )
    return LoadedEngine(trt, logger, runtime, found.engine, (found.note,))


def _profile(build: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """The batches that the model was exported for."""
    numbers = build.get("profile")
    if not isinstance(numbers, list) or len(numbers) != 3 or not all(isinstance(number, int) for number in numbers):
        return None
    return numbers[0], numbers[1], numbers[2]


def origin_mismatch(trt: Any, model: ModelFiles, gpu: Gpu) -> str:
    """Why an engine is not for this device, as its manifest tells (TensorRT's refusal explains less); else ""."""
    build = model.build
    module, version = build.get("tensorrt_module"), build.get("tensorrt")
    if version is not None and (module, version) != (trt.__name__, trt.__version__):
        return (
            f"{model.name} holds an engine built by {module} {version}, here is {trt.__name__} {trt.__version__}, and "
            "an engine runs only in the version that built it"
        )
    capabilities = [int(number) for number in build.get("compute_capabilities", ())]
    if not capabilities or gpu.capability in capabilities:
        return ""
    if build.get("hardware_compatible") == "ampere+" and gpu.capability >= AMPERE:
        return ""
    return (
        f"The engine in {model.name} was built for compute capability {', '.join(map(str, capabilities))}, and "
        f"{gpu.name} has {gpu.capability}"
    )


def rebuild_command(model: ModelFiles) -> str:
    """What to type on this device."""
    folder = model.path.parent
    batch = {None: " --dynamic-batch", 1: ""}.get(model.batch, f" --batch {model.batch}")
    return (
        f"Build it for this device: dsrfau-export {shlex.quote(str(folder))} --target tensorrt --precision "
        f"{model.precision}{batch} -o {shlex.quote(f'{folder.stem}-here.dsrfau')}"
    )
