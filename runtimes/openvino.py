"""OpenVINO: Intel CPUs, GPUs and NPUs, for its own models (NNCF's int8 among them) and for ONNX.

Nothing here sends telemetry: in OpenVINO only the model converter does, which no runtime uses.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BundleError, DsrfauError, RuntimeUnavailable
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
#: Up to so many crops a call go through one by one, which is no slower and needs nothing compiled.
_FEW = 3
_ACCELERATORS = ("GPU", "NPU")
_PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "u8": "int8", "i8": "int8"}
#: While OpenVINO keeps a compiled model it sets the process's locale to "C" and then back; two that do so at a time may
#: leave it at "C", in which Python reads and writes ASCII only.
_KEEPING = threading.Lock()
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
            present = list(shared_core().available_devices)
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

    It is compiled for one crop, which makes a call of one a seventh (fp32) to a third (int8) shorter than if it took
    any number; more than a few crops a call go through a second one that does. It is compiled in the background when
    they first come, which may take a second; until then they go one by one, so that a live stream does not stand still.

    A lock keeps concurrent calls off its requests. Several requests were measured to be no faster on a CPU, where one
    inference takes all threads, and splitting the threads into streams made a single call slower.
    """

    def __init__(self, model: ModelFiles, device: str | None, options: SessionOptions) -> None:
        self._openvino: Any = importlib.import_module("openvino")
        self._model = model
        self._name = _device(device)
        self._options = options
        self._lock = threading.Lock()
        self._info: SessionInfo | None = None
        core = shared_core()
        kept, self._notes = _cache(self._name, core, options)
        self._properties = _properties(model, self._name, options) | kept
        self._one: _Compiled | None = self._compile(_read(core, model), one=model.batch is None)
        self._many: _Compiled | None = None
        self._compiling: threading.Thread | None = None
        self._limit = model.batch if model.batch is not None else 1
        #: An NPU takes fixed shapes only.
        self._any_number = model.batch is None and "NPU" not in self._name

    @property
    def info(self) -> SessionInfo:
        """What it runs on, from the graph that OpenVINO executes."""
        with self._lock:
            if self._info is None:
                if self._one is None:
                    raise RuntimeUnavailable(_CLOSED)
                self._info = self._told(self._one.compiled)
            return self._info

    def infer(self, crops: Crops) -> Outputs:
        checked = check_crops(crops, self._model.input_size)
        many = len(checked) > _FEW and self._any_number and self._has_many()
        return in_batches(checked, None if many else self._limit, self._run)

    def _run(self, crops: Crops) -> Outputs:
        with self._lock:
            if self._one is None:
                raise RuntimeUnavailable(_CLOSED)
            try:
                if len(crops) == self._limit:
                    return self._one.run(crops)
                return (self._many or self._one).run(crops)
            except DsrfauError:
                raise
            except Exception as error:
                raise RuntimeUnavailable(
                    f"OpenVINO could not run {len(crops)} crops through {self._model.name}: {first_line(error)}. "
                    "Give fewer crops a call, or another --device."
                ) from error

    def close(self) -> None:
        with self._lock:  # a call that is running is waited for
            self._one = self._many = None
            compiling = self._compiling
        if compiling is not None:
            compiling.join()

    def _has_many(self) -> bool:
        """Whether the network for any number is there; if not, it will be."""
        with self._lock:
            if self._compiling is None and self._one is not None:
                self._compiling = threading.Thread(target=self._compile_many, name="OpenVINO compiles")
                self._compiling.start()
            compiling = self._compiling
        if "CACHE_DIR" in self._properties and compiling is not None:
            compiling.join()  # not beside anything else, see `_KEEPING`
        return self._many is not None

    def _compile_many(self) -> None:
        try:
            compiled = self._compile(_read(shared_core(), self._model), one=False)
        except DsrfauError as error:  # one by one they go through all the same
            self._notes = (*self._notes, f"Several crops a call go one by one: {error}")
            return
        with self._lock:
            if self._one is not None:
                self._many = compiled

    def _compile(self, network: Any, *, one: bool) -> _Compiled:
        if not self._options.heatmaps:
            _drop_heatmaps(network)
        size = self._model.input_size
        try:
            if one:
                network.reshape([1, size, size, 3])
            with _KEEPING if "CACHE_DIR" in self._properties else contextlib.nullcontext():
                compiled = shared_core().compile_model(network, self._name, self._properties)
            return _Compiled(self._openvino, compiled, heatmaps=self._options.heatmaps)
        except Exception as error:
            raise RuntimeUnavailable(
                f"OpenVINO cannot compile {self._model.name} for {self._name}: {first_line(error)}. "
                "Update openvino, or use --device cpu."
            ) from error

    def _told(self, compiled: Any) -> SessionInfo:
        layers: dict[str, int] = {}
        notes = self._notes
        try:
            for precision in _executed(compiled.get_runtime_model()):
                layers[precision] = layers.get(precision, 0) + 1
            devices = [str(name).strip("()") for name in compiled.get_property("EXECUTION_DEVICES")]
            core = shared_core()
            named = " + ".join(f"{name} ({core.get_property(name, 'FULL_DEVICE_NAME')})" for name in devices)
        except Exception as error:  # telling more must not stop what works
            named, notes = "", (*notes, f"OpenVINO does not tell what it executes: {first_line(error)}.")
        return SessionInfo(
            runtime=OpenVinoRuntime.name,
            version=str(self._openvino.__version__).split("-")[0],
            device=named,
            precision=max(layers, key=lambda name: layers[name]) if layers else "",
            layers=layers,
            threads=self._options.threads,
            notes=notes,
        )


class _Compiled:
    """A compiled network with its request."""

    def __init__(self, openvino: Any, compiled: Any, *, heatmaps: bool) -> None:
        self.compiled = compiled
        self._openvino = openvino
        self._fixed = bool(compiled.input(0).get_partial_shape().is_static)
        self._request = compiled.create_infer_request()
        self._outputs = ("intensities", "heatmaps") if heatmaps else ("intensities",)

    def run(self, crops: Crops) -> Outputs:
        request = self._request
        if self._fixed:
            # A copy into the request's own memory: to hand over another array each time takes OpenVINO longer.
            np.copyto(request.get_input_tensor(0).data, crops)
        else:
            # It borrows the array, and refuses to borrow one that is read-only.
            borrowed = crops if crops.flags.writeable else crops.copy()
            request.set_input_tensor(0, self._openvino.Tensor(borrowed, shared_memory=True))
        request.infer(share_outputs=True)
        # Copies, since the request's own tensors are overwritten by the next call.
        return Outputs(*(np.array(request.get_tensor(name).data, np.float32) for name in self._outputs))


def shared_core() -> Any:
    """OpenVINO's core, one for each process, which loads the plugins of the devices once."""
    return _core_of(os.getpid())


@cache
def _core_of(process: int) -> Any:
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


def _read(core: Any, model: ModelFiles) -> Any:
    try:
        return core.read_model(model.path)
    except Exception as error:
        raise BundleError(
            f"OpenVINO cannot read {model.path.name} of {model.name}: {first_line(error)}. Export the bundle again."
        ) from error


def _import_reason(error: Exception) -> str:
    if importlib.util.find_spec("openvino") is None:
        return "openvino is not installed."
    return f"openvino is installed but cannot be used: {first_line(error)}."
