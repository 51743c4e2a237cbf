"""The targets: what each can be made in, which options it takes, what it needs installed, and how it is made."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import CalibrationError, RuntimeUnavailable, UsageError
from ..manifest import Precision
from ..manifest import Target as TargetName
from ..runtimes.base import Availability, Crops
from .calibration import CalibrationSet

INSTALL = 'pip install "dsrfau-edge[export]"'
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class Job:
    """One conversion.

    Attributes:
        model: the portable graph, parsed.
        batch: crops per call, or `dynamic`.
        precision: to convert to.
        calibration: crops for int8, if there are any.
        method: how ranges are found for int8.
        folder: an empty folder to write into.
        workspace_gb: memory for TensorRT's builder.
        capabilities: compute capabilities for TensorRT.
    """

    model: Any
    batch: int | Literal["dynamic"]
    precision: Precision
    calibration: CalibrationSet | None
    method: str
    folder: Path
    workspace_gb: float | None = None
    capabilities: tuple[int, ...] = ()

    @property
    def crops(self) -> Crops:
        """Calibration crops.

        Raises:
            CalibrationError: there are none.
        """
        if self.calibration is None:
            raise CalibrationError(
                "int8 needs faces to calibrate on, and this source carries none. Give about 300 pictures of faces as "
                "your cameras see them: --calib DIR."
            )
        return self.calibration.crops


@dataclass(frozen=True, slots=True)
class Converted:
    """What a target made of a job.

    Attributes:
        model: file name of the model in the target's format.
        files: files in the job's folder that belong into the bundle.
        runnable: file name of what is run for the comparison.
        runtime: runtime that runs it.
        quantization: scheme of int8, or None.
        build: additions to the manifest's build environment.
        notes: sentences for the user.
        untested: what the comparison does not cover, or "".
    """

    model: str
    files: tuple[str, ...]
    runnable: str
    runtime: str
    quantization: dict[str, Any] | None = None
    build: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    untested: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of bundle.

    Attributes:
        name: as typed after `--target`.
        title: for people.
        methods: calibration methods for int8, the default first.
        packages: what must be importable, by precision; "" for all of them.
        options: options beyond those that every target takes.
        convert: makes the model.
    """

    name: TargetName
    title: str
    methods: tuple[str, ...]
    packages: dict[str, tuple[str, ...]]
    convert: Callable[[Job], Converted]
    options: frozenset[str] = frozenset()
    precisions: tuple[Precision, ...] = PRECISIONS

    def availability(self, precision: str = "fp32") -> Availability:
        """Whether this machine can convert to it."""
        needed = (*self.packages.get("", ()), *self.packages.get(precision, ()))
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if not missing:
            return Availability(ok=True)
        return Availability(ok=False, reason=f"{', '.join(missing)} not installed.", fix=f"Install: {INSTALL}")

    def require(self, precision: str) -> None:
        """Check the precision and the packages.

        Raises:
            UsageError: the target has no such precision.
            RuntimeUnavailable: a package is missing.
        """
        if precision not in self.precisions:
            raise UsageError(
                f"Target {self.name} has no precision {precision!r}. It has: {', '.join(self.precisions)}."
            )
        availability = self.availability(precision)
        if not availability.ok:
            raise RuntimeUnavailable(f"Target {self.name} cannot be made: {availability.reason} {availability.fix}")


def _convert_onnx(job: Job) -> Converted:
    from . import graph, onnx

    model, quantization = graph.with_batch(job.model, job.batch), None
    if job.precision == "fp16":
        model = onnx.to_fp16(model)
    elif job.precision == "int8":
        model = onnx.to_int8(model, job.crops, onnx.CPU_SCHEME, job.method)
        quantization = onnx.CPU_SCHEME.describe(job.method)
    (job.folder / "model.onnx").write_bytes(onnx.serialized(model))
    return Converted("model.onnx", ("model.onnx",), "model.onnx", "onnxruntime", quantization)


def _convert_openvino(job: Job) -> Converted:
    import openvino as ov

    from . import graph, onnx, openvino

    source = job.folder / "source.onnx"
    source.write_bytes(onnx.serialized(graph.with_batch(job.model, job.batch)))
    model, quantization = openvino.read_model(source), None
    build = {"openvino": str(ov.__version__)}
    if job.precision == "int8":
        model = openvino.to_int8(model, job.crops, job.method)
        quantization, version = openvino.describe(job.method)
        build["nncf"] = version
    openvino.save_model(model, job.folder / "model.xml", half=job.precision == "fp16")
    files = ("model.xml", "model.bin")
    return Converted("model.xml", files, "model.xml", "openvino", quantization, build)


def _convert_tensorrt(job: Job) -> Converted:
    from ..runtimes.registry import runtimes
    from ..runtimes.tensorrt_engine import EngineOptions
    from . import graph, onnx, tensorrt

    model, quantization = graph.cast_first(graph.with_batch(job.model, job.batch)), None
    if job.precision == "fp16":
        model = onnx.to_fp16(model)
    elif job.precision == "int8":
        model = onnx.to_int8(model, job.crops, onnx.GPU_SCHEME, job.method)
        quantization = onnx.GPU_SCHEME.describe(job.method)
    typed = onnx.serialized(model)
    (job.folder / "model.onnx").write_bytes(typed)
    engine = tensorrt.build(typed, EngineOptions(workspace_gb=job.workspace_gb, capabilities=job.capabilities))
    through = "The comparison ran the typed ONNX graph in onnxruntime"
    if engine is None:
        files, notes, untested = ("model.onnx",), (tensorrt.ON_DEVICE,), f"{through}, not in TensorRT."
        return Converted("model.onnx", files, "model.onnx", "onnxruntime", quantization, {}, notes, untested)
    (job.folder / "model.engine").write_bytes(engine.content)
    files, notes = ("model.engine",), (engine.note,)
    if runtimes()["tensorrt"].availability().ok:
        return Converted("model.engine", files, "model.engine", "tensorrt", quantization, engine.build, notes)
    untested = f"{through}, not the engine."
    return Converted("model.engine", files, "model.onnx", "onnxruntime", quantization, engine.build, notes, untested)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "onnx",
            "ONNX Runtime, on any CPU",
            ("minmax", "percentile", "entropy"),
            {"": ("onnx", "onnxruntime"), "int8": ("sympy",), "fp16": ("sympy",)},
            _convert_onnx,
        ),
        Target(
            "openvino",
            "OpenVINO, on Intel CPUs, GPUs and NPUs",
            ("minmax", "mean-minmax", "percentile"),
            {"": ("onnx", "openvino"), "int8": ("nncf",)},
            _convert_openvino,
        ),
        Target(
            "tensorrt",
            "TensorRT, on NVIDIA GPUs and Jetsons",
            ("minmax", "percentile", "entropy"),
            {"": ("onnx", "onnxruntime"), "int8": ("sympy",), "fp16": ("sympy",)},
            _convert_tensorrt,
            frozenset({"workspace_gb", "capabilities"}),
        ),
    )
}


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
