"""TensorRT: a typed ONNX graph that holds the precision, and an engine of it where NVIDIA's builder is at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import RuntimeUnavailable
from ..runtimes.cuda_driver import Gpu, driver
from ..runtimes.tensorrt_engine import EngineOptions, build_engine, find_module, is_rtx

ON_DEVICE = (
    "The bundle holds the typed ONNX graph; a device with TensorRT builds its engine from it at first use "
    "(dsrfau-predict --bundle NAME.dsrfau --runtime tensorrt) and keeps it."
)


@dataclass(frozen=True, slots=True)
class Engine:
    """A built engine, what the manifest says of it, and what the user is told."""

    content: bytes
    build: dict[str, Any]
    note: str


def build(graph: bytes, options: EngineOptions) -> Engine | None:
    """Build an engine of a typed graph with the TensorRT of this machine.

    Returns:
        None where there is no TensorRT, or none that builds without the GPU that is missing.

    Raises:
        RuntimeUnavailable: TensorRT refuses the graph, or is asked for options and cannot build here.
        UsageError: compute capabilities that this TensorRT does not take.
    """
    trt = find_module()
    gpu = driver().gpus[0] if driver().ok else None
    if trt is None or (gpu is None and not is_rtx(trt)):
        _refuse_options(trt, options)
        return None
    content = build_engine(trt, graph, options)
    return Engine(content, _describe(trt, gpu, options), _note(trt, gpu, options))


def _refuse_options(trt: Any, options: EngineOptions) -> None:
    if options.capabilities or options.workspace_gb is not None:
        why = "there is no TensorRT here" if trt is None else f"{trt.__name__} builds only where it has a GPU"
        raise RuntimeUnavailable(
            f"--sm and --workspace-gb are for building an engine, and {why}. Leave them out to write the ONNX graph "
            "that the device builds from, or pip install tensorrt-rtx, which builds without a GPU."
        )


def _describe(trt: Any, gpu: Gpu | None, options: EngineOptions) -> dict[str, Any]:
    described: dict[str, Any] = {"tensorrt_module": trt.__name__, "tensorrt": trt.__version__}
    if options.capabilities:
        described["compute_capabilities"] = list(options.capabilities)
    elif gpu is not None:
        described["compute_capabilities"] = [gpu.capability]
    if gpu is not None:
        described |= {"gpu": gpu.name, "cuda": driver().cuda}
    return described


def _note(trt: Any, gpu: Gpu | None, options: EngineOptions) -> str:
    built = f"The engine was built by {trt.__name__} {trt.__version__}"
    if options.capabilities:
        built += f" for compute capability {', '.join(map(str, options.capabilities))}"
    elif gpu is not None:
        built += f" for {gpu.name}"
    return f"{built}." if gpu is not None else f"{built} but not run, since there is no NVIDIA GPU here."
