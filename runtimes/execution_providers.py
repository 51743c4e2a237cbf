"""Execution providers of ONNX Runtime: their names, what is typed for them, and the options that they need.

cuda            the CUDA provider and nothing else
cuda:1          on its second GPU
cuda+cpu        what it cannot take is computed on the CPU
tensorrt+cuda   several, the first that can take a node gets it
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .base import ModelFiles, SessionOptions
from .engine_cache import cache_folder

CPU = "CPUExecutionProvider"
SUFFIX = "ExecutionProvider"
_VENDOR = "Install the build of onnxruntime that the device's vendor gives."


class UnknownDevice(Exception):
    """A device's name that says nothing to ONNX Runtime: `reason` and `fix`, for an `Availability`."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason, self.fix = reason, fix


@dataclass(frozen=True, slots=True)
class Kind:
    """One execution provider.

    Attributes:
        provider: ONNX Runtime's name for it.
        install: how to get a build that has it.
        option: the provider's option that is set by what is typed after the colon; "" where nothing may be.
        values: what may be typed there and what it means; empty for a number.
        default: the value where nothing is typed.
        concurrent: whether its makers say that several threads may run one session.
    """

    provider: str
    install: str = _VENDOR
    option: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None
    concurrent: bool = False


_QNN = "Qnn{}.dll" if os.name == "nt" else "libQnn{}.so"
KINDS: Mapping[str, Kind] = {
    "cpu": Kind(CPU, "Install it: pip install onnxruntime.", concurrent=True),
    "cuda": Kind("CUDAExecutionProvider", "Install it: pip install onnxruntime-gpu.", "device_id", concurrent=True),
    "tensorrt": Kind(
        "TensorrtExecutionProvider",
        "Install it: pip install onnxruntime-gpu, and TensorRT itself.",
        "device_id",
        concurrent=True,
    ),
    "openvino": Kind(
        "OpenVINOExecutionProvider",
        "Install it: pip install onnxruntime-openvino in an environment of its own, or use --runtime openvino.",
        "device_type",
        {"cpu": "CPU", "gpu": "GPU", "npu": "NPU", **{f"gpu.{number}": f"GPU.{number}" for number in range(8)}},
        "CPU",
        concurrent=True,
    ),
    "qnn": Kind(
        "QNNExecutionProvider",
        "Install it: pip install onnxruntime-qnn.",
        "backend_path",
        {"htp": _QNN.format("Htp"), "gpu": _QNN.format("Gpu"), "cpu": _QNN.format("Cpu")},
        _QNN.format("Htp"),
    ),
    "dml": Kind("DmlExecutionProvider", "Install it: pip install onnxruntime-directml (Windows).", "device_id"),
    "coreml": Kind(
        "CoreMLExecutionProvider",
        "It is part of onnxruntime on macOS: pip install onnxruntime.",
        "MLComputeUnits",
        {"all": "ALL", "cpu": "CPUOnly", "gpu": "CPUAndGPU", "npu": "CPUAndNeuralEngine"},
        "ALL",
    ),
    "xnnpack": Kind("XnnpackExecutionProvider"),
    "migraphx": Kind("MIGraphXExecutionProvider", "Install it: pip install onnxruntime-migraphx.", "device_id"),
    "rocm": Kind("ROCMExecutionProvider", "Install it: pip install onnxruntime-rocm.", "device_id"),
    "cann": Kind("CANNExecutionProvider", "Install it: pip install onnxruntime-cann.", "device_id"),
    "webgpu": Kind("WebGpuExecutionProvider", "Install it: pip install onnxruntime-webgpu."),
    "nnapi": Kind("NnapiExecutionProvider"),
    "acl": Kind("ACLExecutionProvider"),
    "armnn": Kind("ArmNNExecutionProvider"),
    "dnnl": Kind("DnnlExecutionProvider"),
    "vitisai": Kind("VitisAIExecutionProvider"),
    "rknpu": Kind("RknpuExecutionProvider"),
    "vsinpu": Kind("VSINPUExecutionProvider"),
}
_ALIASES = {"gpu": "cuda"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One provider that was asked for, with the value of the option that was typed with it."""

    kind: Kind
    value: str | None = None

    @property
    def label(self) -> str:
        """Its name, with what it computes on where that was said or matters."""
        return self.kind.provider if self.value is None else f"{self.kind.provider} ({self.value})"


def parse(device: str | None, reported: Iterable[str]) -> tuple[Asked, ...]:
    """What a device's name asks for, in the order in which the providers are to take nodes.

    Args:
        device: such as `cuda:1+cpu`; None is the CPU.
        reported: names of providers that this build of ONNX Runtime knows, which may be typed as they are.

    Raises:
        UnknownDevice: it says nothing, or contradicts itself.
    """
    names = tuple(reported)
    asked = tuple(_one(part.strip(), device, names) for part in ("cpu" if device is None else device).split("+"))
    providers = [one.kind.provider for one in asked]
    if len(set(providers)) < len(providers):
        raise UnknownDevice(f"The device {device!r} names {_twice(providers)} twice.", "Name each provider once.")
    if CPU in providers[:-1]:
        raise UnknownDevice(
            f"The device {device!r} leaves nothing for what comes after the CPU, which takes everything.",
            "Name the CPU last, as in cuda+cpu.",
        )
    return asked


def _one(part: str, device: str | None, reported: tuple[str, ...]) -> Asked:
    name, colon, value = part.partition(":")
    kind = _kind(name.strip().lower(), reported)
    if kind is None:
        raise UnknownDevice(
            f"onnxruntime has no device {part!r}" + ("." if part == device else f" (in {device!r})."),
            f"Devices: {', '.join(KINDS)}, or a provider's own name; with +cpu behind it to let the CPU take the rest.",
        )
    if not colon:
        return Asked(kind, kind.default)
    return Asked(kind, _value(kind, part, value.strip()))


def _kind(name: str, reported: tuple[str, ...]) -> Kind | None:
    known = KINDS.get(_ALIASES.get(name, name))
    if known is not None:
        return known
    by_provider = {kind.provider.lower(): kind for kind in KINDS.values()}
    exact = {provider.lower(): provider for provider in reported}
    if name in by_provider:
        return by_provider[name]
    return Kind(exact[name], option="device_id") if name in exact else None


def _value(kind: Kind, part: str, value: str) -> str:
    if not kind.option:
        raise UnknownDevice(f"{kind.provider} has one device only, and {part!r} names a part of it.", "Leave it out.")
    if not kind.values:
        if not value.isascii() or not value.isdecimal():
            raise UnknownDevice(
                f"{part!r} names no device of {kind.provider}, which numbers them.", "Type a number from 0, as in :0."
            )
        return str(int(value))
    if value.lower() in kind.values:
        return kind.values[value.lower()]
    if kind.option.endswith("_path") and Path(value).is_file():
        return value
    shown = [name for name in kind.values if "." not in name]
    raise UnknownDevice(f"{kind.provider} has nothing called {value!r}.", f"It has: {', '.join(shown)}.")


def _twice(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def options_of(one: Asked, model: ModelFiles, options: SessionOptions) -> dict[str, str]:
    """Options of a provider for a model, in the provider's own names."""
    found = {} if one.value is None else {one.kind.option: one.value}
    special = _SPECIAL.get(one.kind.provider)
    return found if special is None else found | special(one, model, options)


def _cuda(one: Asked, model: ModelFiles, options: SessionOptions) -> dict[str, str]:
    del one, model
    # By itself it rounds fp32 to TF32 on GPUs that have it.
    return {"use_tf32": "1" if options.native_precision else "0"}


def _tensorrt(one: Asked, model: ModelFiles, options: SessionOptions) -> dict[str, str]:
    del one
    found = {"trt_fp16_enable": str(model.precision == "fp16"), "trt_int8_enable": str(model.precision == "int8")}
    folder = options.cache or cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return found  # it builds the engine each time, which is slow and not wrong
    cached = {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(folder)}
    return found | cached | {"trt_timing_cache_enable": "True", "trt_timing_cache_path": str(folder)}


def _openvino(one: Asked, model: ModelFiles, options: SessionOptions) -> dict[str, str]:
    found: dict[str, str] = {}
    if str(one.value).startswith("GPU") and not options.native_precision:
        found["precision"] = "FP16" if model.precision == "fp16" else "FP32"
    if options.threads is not None and one.value == "CPU":
        found["num_of_threads"] = str(options.threads)
    if options.cache is not None:
        found["cache_dir"] = str(options.cache)
    return found


def _xnnpack(one: Asked, model: ModelFiles, options: SessionOptions) -> dict[str, str]:
    del one, model
    return {} if options.threads is None else {"intra_op_num_threads": str(options.threads)}


def _coreml(one: Asked, model: ModelFiles, options: SessionOptions) -> dict[str, str]:
    del one, model
    return {"ModelFormat": "MLProgram"} | ({"ModelCacheDirectory": str(options.cache)} if options.cache else {})


_SPECIAL: Mapping[str, Any] = {
    "CUDAExecutionProvider": _cuda,
    "TensorrtExecutionProvider": _tensorrt,
    "OpenVINOExecutionProvider": _openvino,
    "XnnpackExecutionProvider": _xnnpack,
    "CoreMLExecutionProvider": _coreml,
}


def session_entries(machine: str, options: SessionOptions, *, strict: bool) -> dict[str, str]:
    """Entries of a session's configuration.

    Args:
        machine: `platform.machine()`.
        options: what was asked for.
        strict: what the providers cannot take is an error, not the CPU's work.
    """
    # Idle threads that spin take the cores from the face detector, which runs between two inferences: on two cores a
    # whole frame took twice as long with it, and inference itself was no slower without.
    entries = {"session.intra_op.allow_spinning": "0"}
    if strict:
        entries["session.disable_cpu_ep_fallback"] = "1"
    if options.native_precision and machine == "aarch64" and sys.platform == "linux":
        entries["mlas.enable_gemm_fastmath_arm64_bfloat16"] = "1"
    return entries
