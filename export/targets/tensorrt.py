"""`--target tensorrt`: a typed ONNX graph, and an engine of it where NVIDIA's builder is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import RuntimeUnavailable, UsageError
from ...runtimes.base import Progress
from ...runtimes.cuda_driver import Gpu, driver
from ...runtimes.tensorrt_engine import (
    HARDWARE_LEVELS,
    PROFILE,
    EngineOptions,
    build_engine,
    check_options,
    find_module,
    is_rtx,
    last_error,
    make_logger,
    needed_capabilities,
)
from ...runtimes.tensorrt_inspector import inspect_engine
from ...runtimes.timing_cache import check as check_timing_cache
from .base import Converted, Job, Target, TargetOption, positive

ON_DEVICE = (
    "The bundle holds the typed ONNX graph; a device with TensorRT builds its engine from it at first use "
    "(dsrfau-predict --bundle NAME.dsrfau --runtime tensorrt) and keeps it."
)
_LEVELS = range(6)


@dataclass(frozen=True, slots=True)
class Engine:
    """A built engine, what the manifest says of it, and what the user is told."""

    content: bytes
    build: dict[str, Any]
    note: str


def convert(job: Job) -> Converted:
    """The typed graph, and its engine where it can be built here.

    Raises:
        UsageError: an option that does not suit the precision, the batch or the TensorRT that is here.
        RuntimeUnavailable: an option for building an engine where none can be built, or TensorRT refuses the graph.
        CalibrationError: int8 without faces to calibrate on.
    """
    from ...runtimes.registry import runtimes
    from .. import graph, onnx

    options = EngineOptions(**job.options)
    check(job, options)  # before calibration, which takes longest
    model, quantization = graph.cast_first(graph.with_batch(job.model, job.batch)), None
    if job.precision == "fp16":
        model = onnx.to_fp16(model)
    elif job.precision == "int8":
        model = onnx.to_int8(model, job.crops, onnx.GPU_SCHEME, job.method, keep=job.keep)
        quantization = onnx.GPU_SCHEME.describe(job.method, job.keep)
    graph.set_metadata(model, job.metadata)
    typed = onnx.serialized(model)
    (job.folder / "model.onnx").write_bytes(typed)
    made = build(typed, options, job.progress)
    profile = {"profile": list(options.profile or PROFILE)} if job.batch == "dynamic" else {}
    through = "The comparison ran the typed ONNX graph in onnxruntime"
    scheme: dict[str, Any] = {"quantization": quantization}
    if made is None:
        scheme |= {"build": profile, "notes": (ON_DEVICE,), "untested": f"{through}, not in TensorRT."}
        return Converted("model.onnx", ("model.onnx",), "model.onnx", "onnxruntime", **scheme)
    (job.folder / "model.engine").write_bytes(made.content)
    files = ("model.engine", "model.onnx")
    scheme |= {"graph": "model.onnx", "build": {**profile, **made.build}, "notes": (made.note,)}
    if runtimes()["tensorrt"].availability().ok and _runs_here(made.build):
        return Converted("model.engine", files, "model.engine", "tensorrt", **scheme)
    return Converted(
        "model.engine", files, "model.onnx", "onnxruntime", untested=f"{through}, not the engine.", **scheme
    )


def check(job: Job, options: EngineOptions) -> None:
    """Refuse what cannot be honoured for this precision and batch, and by the TensorRT of this machine.

    Raises:
        UsageError: an option that does not suit them.
        RuntimeUnavailable: an option for building an engine where none can be built.
    """
    trt = find_module()
    if options.profile is not None and job.batch != "dynamic":
        raise UsageError("--profile is for any number of crops per call. Add --dynamic-batch, or leave it out.")
    if options.dla is not None:
        _check_dla(trt, job)
    if options.timing_cache is not None:
        check_timing_cache(options.timing_cache)
    if _builds(trt):
        check_options(trt, options)
    else:
        _refuse_options(trt, options)


def _check_dla(trt: Any, job: Job) -> None:
    if job.precision == "fp32":
        raise UsageError("A DLA computes in fp16 and int8, not in fp32. Add --fp16, or leave out --dla.")
    if job.batch == "dynamic":
        raise UsageError("A DLA takes a fixed number of crops per call. Leave out --dynamic-batch, or --dla.")
    if job.precision == "int8" and trt is not None and str(trt.__version__).startswith("10."):
        raise UsageError(
            f"A DLA under TensorRT {trt.__version__} takes no Q/DQ pairs, in which a strongly typed network has its "
            "int8; all of it would run on the GPU. Use --fp16 with --dla, or leave out --dla."
        )


def build(graph: bytes, options: EngineOptions, progress: Progress | None = None) -> Engine | None:
    """Build an engine of a typed graph with the TensorRT of this machine.

    Returns:
        None where there is no TensorRT, or none that builds without the GPU that is missing.

    Raises:
        RuntimeUnavailable: TensorRT refuses the graph, or is asked for options and cannot build here.
        UsageError: options that this TensorRT or this machine does not have.
    """
    trt = find_module()
    if not _builds(trt):
        _refuse_options(trt, options)
        return None
    gpu = driver().gpus[0] if driver().ok else None
    if gpu is not None and not options.capabilities:
        options = replace(options, capabilities=needed_capabilities(trt, gpu.capability))
    built = build_engine(trt, graph, options, progress)
    described = _describe(trt, gpu, options)
    described["engine"] = {"network": dict(built.network), **_summary(trt, gpu, built.content, options)}
    return Engine(built.content, described, _note(trt, gpu, options))


def _builds(trt: Any) -> bool:
    """Whether an engine can be built on this machine."""
    return trt is not None and (driver().ok or is_rtx(trt))


def _runs_here(build: Mapping[str, Any]) -> bool:
    """Whether the engine that was just built is for the GPU of this machine."""
    capabilities = build.get("compute_capabilities", ())
    return not capabilities or any(gpu.capability in capabilities for gpu in driver().gpus[:1])


def _refuse_options(trt: Any, options: EngineOptions) -> None:
    """The batches of a profile travel with the bundle; all else is lost where no engine is built."""
    given = {
        "--sm": options.capabilities or None,
        "--workspace-gb": options.workspace_gb,
        "--timing-cache": options.timing_cache,
        "--dla": options.dla,
        "--hardware-compatible": options.hardware_compatible,
        "--optimization-level": options.optimization_level,
    }
    flags = [flag for flag, value in given.items() if value is not None]
    if not flags:
        return
    why = "there is no TensorRT here" if trt is None else f"{trt.__name__} builds only where it has a GPU"
    raise RuntimeUnavailable(
        f"{' and '.join(flags)}: for building an engine, and {why}. Leave out {'it' if len(flags) == 1 else 'them'} to "
        "write the ONNX graph that the device builds from, export on the device itself, or pip install tensorrt-rtx, "
        "which builds without a GPU (and takes --sm and --workspace-gb)."
    )


def _describe(trt: Any, gpu: Gpu | None, options: EngineOptions) -> dict[str, Any]:
    described: dict[str, Any] = {"tensorrt_module": trt.__name__, "tensorrt": trt.__version__}
    if options.capabilities:
        described["compute_capabilities"] = list(options.capabilities)
    elif gpu is not None and not is_rtx(trt):  # whose engines are for all of Ampere and newer
        described["compute_capabilities"] = [gpu.capability]
    if gpu is not None:
        described |= {"gpu": gpu.name, "cuda": driver().cuda}
    chosen = {
        "workspace_gb": options.workspace_gb,
        "dla_core": options.dla,
        "hardware_compatible": options.hardware_compatible,
        "optimization_level": options.optimization_level,
    }
    return described | {name: value for name, value in chosen.items() if value is not None}


def _summary(trt: Any, gpu: Gpu | None, content: bytes, options: EngineOptions) -> dict[str, Any]:
    """What the engine inspector tells, or why it tells nothing. Without a driver no runtime object may be made."""
    if gpu is None:
        return {"not_inspected": "An engine opens only where there is an NVIDIA GPU, and there was none."}
    logger = make_logger(trt)
    runtime = trt.Runtime(logger)
    if options.dla is not None:
        runtime.DLA_core = options.dla
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        return {"not_inspected": f"The engine does not open on {gpu.name}: {last_error(logger)}."}
    try:
        return inspect_engine(trt, engine).to_dict()
    except ValueError as error:
        return {"not_inspected": f"The engine inspector's answer is not understood: {error}."}


def _note(trt: Any, gpu: Gpu | None, options: EngineOptions) -> str:
    built = f"The engine was built by {trt.__name__} {trt.__version__}"
    if options.capabilities:
        built += f" for compute capability {', '.join(map(str, options.capabilities))}"
    elif gpu is not None:
        built += f" for {gpu.name}"
    if gpu is not None:
        return f"{built}."
    return f"{built} but neither run nor inspected, since there is no NVIDIA GPU here."


def _capabilities(text: str) -> tuple[int, ...]:
    """`75,86,8.9` → (75, 86, 89)."""
    parts = [part.strip().replace(".", "") for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"{text!r} is not a list of compute capabilities such as 75,86,89")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _profile(text: str) -> tuple[int, int, int]:
    """`1,4,8` → (1, 4, 8)."""
    parts = [part.strip() for part in text.split(",")]
    numbers = [int(part) for part in parts if part.isdecimal()]
    if len(parts) != 3 or len(numbers) != 3 or numbers != sorted(numbers) or numbers[0] < 1:
        raise ValueError(f"{text!r} is not the smallest, usual and largest number of crops, such as 1,1,8")
    return numbers[0], numbers[1], numbers[2]


def _number(text: str, allowed: range, what: str) -> int:
    if not text.strip().isdecimal() or int(text) not in allowed:
        raise ValueError(f"{text!r} is not {what}")
    return int(text)


def _dla(text: str) -> int:
    return _number(text, range(2), "a DLA core: 0 or 1")


def _level(text: str) -> int:
    return _number(text, _LEVELS, f"a level from {_LEVELS[0]} to {_LEVELS[-1]}")


def _hardware(text: str) -> str:
    if text not in HARDWARE_LEVELS:
        raise ValueError(f"{text!r} is none of {', '.join(HARDWARE_LEVELS)}")
    return text


def _file(text: str) -> Path:
    path = Path(text).expanduser()
    if not text.strip() or path.is_dir():
        raise ValueError(f"{text!r} is not a file")
    return path


TARGET = Target(
    "tensorrt",
    "TensorRT, on NVIDIA GPUs and Jetsons",
    ("minmax", "percentile", "entropy"),
    {"": ("onnx", "onnxruntime"), "int8": ("sympy",), "fp16": ("sympy",)},
    convert,
    (
        TargetOption("workspace_gb", "--workspace-gb", "Memory for TensorRT's builder.", positive, "GB"),
        TargetOption(
            "profile", "--profile", "Crops per call with --dynamic-batch; 1,1,8 by default.", _profile, "MIN,OPT,MAX"
        ),
        TargetOption("capabilities", "--sm", "GPUs to build for (TensorRT RTX).", _capabilities, "75,86,…"),
        TargetOption(
            "hardware_compatible",
            "--hardware-compatible",
            f"Also run on other GPUs, maybe slower: {' or '.join(HARDWARE_LEVELS)} (not RTX).",
            _hardware,
            "LEVEL",
        ),
        TargetOption("dla", "--dla", "Jetson's DLA core to compute on; the GPU does the rest.", _dla, "CORE"),
        TargetOption(
            "timing_cache", "--timing-cache", "Timings of layers, read and written, for faster builds.", _file, "FILE"
        ),
        TargetOption(
            "optimization_level", "--optimization-level", "0 builds fast, 5 searches longest (not RTX).", _level, "0-5"
        ),
    ),
)
