"""`--target tensorrt`: a typed ONNX graph, and an engine of it where NVIDIA's builder is at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import RuntimeUnavailable
from ...runtimes.cuda_driver import Gpu, driver
from ...runtimes.tensorrt_engine import EngineOptions, build_engine, find_module, is_rtx
from .base import Converted, Job, Target, TargetOption, positive

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


def convert(job: Job) -> Converted:
    """The typed graph, and its engine where it can be built here."""
    from ...runtimes.registry import runtimes
    from .. import graph, onnx

    model, quantization = graph.cast_first(graph.with_batch(job.model, job.batch)), None
    if job.precision == "fp16":
        model = onnx.to_fp16(model)
    elif job.precision == "int8":
        model = onnx.to_int8(model, job.crops, onnx.GPU_SCHEME, job.method, keep=job.keep)
        quantization = onnx.GPU_SCHEME.describe(job.method, job.keep)
    graph.set_metadata(model, job.metadata)
    typed = onnx.serialized(model)
    (job.folder / "model.onnx").write_bytes(typed)
    engine = build(typed, EngineOptions(**job.options))
    through = "The comparison ran the typed ONNX graph in onnxruntime"
    scheme: dict[str, Any] = {"quantization": quantization}
    if engine is None:
        untested = f"{through}, not in TensorRT."
        scheme |= {"notes": (ON_DEVICE,), "untested": untested}
        return Converted("model.onnx", ("model.onnx",), "model.onnx", "onnxruntime", **scheme)
    (job.folder / "model.engine").write_bytes(engine.content)
    files = ("model.engine", "model.onnx")
    scheme |= {"graph": "model.onnx", "build": engine.build, "notes": (engine.note,)}
    if runtimes()["tensorrt"].availability().ok:
        return Converted("model.engine", files, "model.engine", "tensorrt", **scheme)
    return Converted(
        "model.engine", files, "model.onnx", "onnxruntime", untested=f"{through}, not the engine.", **scheme
    )


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


def _capabilities(text: str) -> tuple[int, ...]:
    """`75,86,8.9` → (75, 86, 89)."""
    parts = [part.strip().replace(".", "") for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"{text!r} is not a list of compute capabilities such as 75,86,89")
    return tuple(dict.fromkeys(int(part) for part in parts))


TARGET = Target(
    "tensorrt",
    "TensorRT, on NVIDIA GPUs and Jetsons",
    ("minmax", "percentile", "entropy"),
    {"": ("onnx", "onnxruntime"), "int8": ("sympy",), "fp16": ("sympy",)},
    convert,
    (
        TargetOption("workspace_gb", "--workspace-gb", "Memory for TensorRT's builder.", positive, "GB"),
        TargetOption("capabilities", "--sm", "GPUs to build for (TensorRT RTX).", _capabilities, "75,86,…"),
    ),
)
