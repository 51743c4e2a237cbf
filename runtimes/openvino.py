"""OpenVINO: Intel CPUs, GPUs and NPUs, for its own models (NNCF's int8 among them) and for ONNX.

Nothing here sends telemetry: in OpenVINO only the model converter does, which no runtime uses.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BundleError, RuntimeUnavailable
from .base import (
    Availability,
    Crops,
    Format,
    ModelFiles,
    Outputs,
    SessionInfo,
    SessionOptions,
    check_crops,
    device_family,
    first_line,
    in_batches,
)
from .engine_cache import cache_folder

_INSTALL = 'Install it: pip install "dsrfau-edge[openvino]".'
_CLOSED = "The session is closed. Load the model again."
_DEVICES = "Devices: cpu, gpu, gpu:N, npu, auto, auto:gpu,cpu (the first that can), hetero:gpu,cpu (split among them)."
_ACCELERATORS = ("GPU", "NPU")
_PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "u8": "int8", "i8": "int8"}
#: Layers of OpenVINO's executable graphs that are weighted sums.
_WEIGHTED = {"Convolution", "Deconvolution", "GroupConvolution", "FullyConnected", "MatMul", "Gemm", "convolution"}


class OpenVinoRuntime:
    """`--runtime openvino`, devices `cpu`, `gpu[:N]`, `npu`, `auto[:LIST]` and `hetero:LIST`."""

    name = "openvino"
    formats: tuple[Format, ...] = ("openvino", "onnx")

    def availability(self, device: str | None = None) -> Availability:
        try:
            openvino = importlib.import_module("openvino")
            version = str(openvino.__version__).split("-")[0]
            present = list(_core(os.getpid()).available_devices)
        except Exception as error:  # a broken native library raises anything
            return Availability(ok=False, reason=_import_reason(error), fix=_INSTALL)
        name = _device(device)
        family = name.split(":")[0].split(".")[0]
        missing = [part for part in _parts(name) if not _is_there(part, present)]
        if family in ("MULTI", "BATCH") or (family == "HETERO" and not _parts(name)):
            return Availability(
                ok=False, reason=f"{name} is not taken as a device of OpenVINO here.", fix=_DEVICES, version=version
            )
        if missing:
            return Availability(
                ok=False,
                reason=f"OpenVINO {version} finds no device {', '.join(missing)} here (it finds "
                f"{', '.join(present) or 'none'}).",
                fix="Name one that it finds, or install the driver of the device (Intel GPU or NPU).",
                version=version,
            )
        return Availability(ok=True, version=version)

    def load(
        self, model: ModelFiles, device: str | None = None, options: SessionOptions | None = None
    ) -> OpenVinoSession:
        self.availability(device).require()
        return OpenVinoSession(model, device, options or SessionOptions())


class OpenVinoSession:
    """One model compiled by OpenVINO.

    A lock keeps concurrent calls off its single request. Several requests were measured to be no faster on a CPU,
    where one inference takes all threads, and splitting the threads into streams made a single call slower.
    """

    def __init__(self, model: ModelFiles, device: str | None, options: SessionOptions) -> None:
        self._openvino: Any = importlib.import_module("openvino")
        self._model = model
        self._threads = options.threads
        self._lock = threading.Lock()
        self._info: SessionInfo | None = None
        core = _core(os.getpid())
        try:
            network = core.read_model(model.path)
        except Exception as error:
            raise _unreadable(model, error) from error
        if not options.heatmaps:
            _drop_heatmaps(network)
        name = _device(device)
        self._batch = model.batch
        if model.batch is None and _parts(name) == ["CPU"]:
            _fix_batch(network)
            self._batch = 1
        kept, self._notes = _cache(name, core, options)
        try:
            self._compiled: Any = core.compile_model(network, name, _properties(model, name, options) | kept)
            self._request: Any = self._compiled.create_infer_request()
        except Exception as error:
            raise RuntimeUnavailable(
                f"OpenVINO cannot compile {model.name} for {name}: {first_line(error)}. "
                "Update openvino, or use --device cpu."
            ) from error
        self._outputs = ("intensities", "heatmaps") if options.heatmaps else ("intensities",)

    @property
    def info(self) -> SessionInfo:
        """What it runs on, from the graph that OpenVINO executes."""
        with self._lock:
            if self._info is None:
                if self._compiled is None:
                    raise RuntimeUnavailable(_CLOSED)
                self._info = self._told(self._compiled)
            return self._info

    def infer(self, crops: Crops) -> Outputs:
        return in_batches(check_crops(crops, self._model.input_size), self._batch, self._run)

    def _run(self, crops: Crops) -> Outputs:
        # OpenVINO borrows the array, and refuses to borrow one that is read-only.
        tensor = self._openvino.Tensor(crops if crops.flags.writeable else crops.copy(), shared_memory=True)
        with self._lock:
            request = self._request
            if request is None:
                raise RuntimeUnavailable(_CLOSED)
            try:
                request.set_input_tensor(0, tensor)
                request.infer(share_outputs=True)
            except Exception as error:
                raise RuntimeUnavailable(
                    f"OpenVINO could not run {len(crops)} crops through {self._model.name}: {first_line(error)}. "
                    "Give fewer crops a call, or another --device."
                ) from error
            # The one copy: the request's own tensors are overwritten by the next call.
            return Outputs(*(np.array(request.get_tensor(name).data, np.float32) for name in self._outputs))

    def close(self) -> None:
        with self._lock:  # a call that is running is waited for
            self._request = self._compiled = None

    def _told(self, compiled: Any) -> SessionInfo:
        layers: dict[str, int] = {}
        notes = self._notes
        try:
            for precision in _executed(compiled.get_runtime_model()):
                layers[precision] = layers.get(precision, 0) + 1
            devices = [str(name).strip("()") for name in compiled.get_property("EXECUTION_DEVICES")]
            core = _core(os.getpid())
            named = " + ".join(f"{name} ({core.get_property(name, 'FULL_DEVICE_NAME')})" for name in devices)
        except Exception as error:  # telling more must not stop what works
            named, notes = "", (*notes, f"OpenVINO does not tell what it executes: {first_line(error)}.")
        return SessionInfo(
            runtime=OpenVinoRuntime.name,
            version=str(self._openvino.__version__).split("-")[0],
            device=named,
            precision=max(layers, key=lambda name: layers[name]) if layers else "",
            layers=layers,
            threads=self._threads,
            notes=notes,
        )


@cache
def _core(process: int) -> Any:
    """OpenVINO's core, one for each process, which loads the plugins of the devices once."""
    del process
    return importlib.import_module("openvino").Core()


def _executed(graph: Any) -> list[str]:
    """The precision of each weighted sum in an executable graph."""
    found = []
    for node in graph.get_ops():
        info = node.get_rt_info()
        if "layerType" in info and _text(info["layerType"]) in _WEIGHTED:
            name = _text(info["runtimePrecision"]) if "runtimePrecision" in info else ""
            found.append(_PRECISIONS.get(name, name))
    return found


def _text(value: Any) -> str:
    return str(getattr(value, "value", value))


def _drop_heatmaps(network: Any) -> None:
    """Take the output away, so that its map is neither kept nor copied."""
    for result in network.get_results():
        if "heatmaps" in result.input_value(0).get_names():
            network.remove_result(result)


def _fix_batch(network: Any) -> None:
    """Let a network take one crop a call. On a CPU that makes a call a quarter shorter than an open batch does.

    Several crops then take a call each, about a tenth longer than in one; a frame most often has one face.
    """
    shape = network.input(0).get_partial_shape()
    shape[0] = 1
    network.reshape(shape)


def _properties(model: ModelFiles, name: str, options: SessionOptions) -> dict[str, Any]:
    """Properties to compile with for a device by OpenVINO's name."""
    family = name.split(":")[0].split(".")[0]
    computing = [part.split(".")[0] for part in _parts(name)] or ["CPU"]
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if "CPU" in computing and options.threads is not None:
        properties["INFERENCE_NUM_THREADS"] = options.threads
    # By itself OpenVINO computes in bf16 or fp16 where the device has it, whatever the model's own type. An NPU has
    # nothing else.
    if not options.native_precision and computing != ["NPU"]:
        half = model.precision == "fp16" and family == "GPU"
        properties["INFERENCE_PRECISION_HINT"] = "f16" if half else "f32"
    return properties


def _cache(name: str, core: Any, options: SessionOptions) -> tuple[dict[str, str], tuple[str, ...]]:
    """The property that keeps compiled models, where that is worth it or asked for, and a note where it cannot."""
    parts = _parts(name) or list(core.available_devices)
    slow = any(part.startswith(_ACCELERATORS) for part in parts)
    if options.cache is None and not slow:
        return {}, ()  # a CPU compiles in a fraction of a second, and OpenVINO does not notice a damaged file
    folder: Path = options.cache or cache_folder().parent / "openvino"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return {}, (f"Nothing is kept in {folder}, which cannot be written: {error.strerror or error}.",)
    return {"CACHE_DIR": str(folder)}, ()


def _device(device: str | None) -> str:
    """OpenVINO's name of a device: `gpu:1` → `GPU.1`, `auto:gpu,cpu` → `AUTO:GPU,CPU`."""
    name = ("cpu" if device is None else device).strip().upper()
    return name if device_family(name) in ("auto", "hetero", "multi", "batch") else name.replace(":", ".")


def _parts(name: str) -> list[str]:
    """Devices that a name by OpenVINO stands for; none for a plain `AUTO`."""
    family, colon, rest = name.partition(":")
    if family in ("AUTO", "HETERO", "MULTI", "BATCH"):
        return [part.strip() for part in rest.split(",")] if colon else []
    return [name]


def _is_there(name: str, present: list[str]) -> bool:
    if name in present:
        return True
    family, _, number = name.partition(".")
    numbered = any(other.startswith(f"{family}.") for other in present)
    return (numbered and not number) or (family in present and family != "CPU" and number == "0")


def _unreadable(model: ModelFiles, error: Exception) -> BundleError:
    return BundleError(
        f"OpenVINO cannot read {model.path.name} of {model.name}: {first_line(error)}. Export the bundle again."
    )


def _import_reason(error: Exception) -> str:
    if importlib.util.find_spec("openvino") is None:
        return "openvino is not installed."
    return f"openvino is installed but cannot be used: {first_line(error)}."
