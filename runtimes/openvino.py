"""OpenVINO: Intel CPUs, GPUs and NPUs, for its own models (NNCF's int8 among them) and for ONNX."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from typing import Any

import numpy as np

from ..errors import BundleError, RuntimeUnavailable
from .base import (
    Availability,
    Crops,
    Format,
    ModelFiles,
    Outputs,
    SessionOptions,
    check_crops,
    device_family,
    first_line,
    in_batches,
)

_INSTALL = 'Install it: pip install "dsrfau-edge[openvino]".'


class OpenVinoRuntime:
    """`--runtime openvino`, devices `cpu`, `gpu[:N]`, `npu`."""

    name = "openvino"
    formats: tuple[Format, ...] = ("openvino", "onnx")

    def availability(self, device: str | None = None) -> Availability:
        try:
            openvino = importlib.import_module("openvino")
            version = str(openvino.__version__).split("-")[0]
            present = list(openvino.Core().available_devices)
        except Exception as error:  # a broken native library raises anything
            return Availability(ok=False, reason=_import_reason(error), fix=_INSTALL)
        wanted = device_family(device or "cpu").upper()
        if wanted not in {name.split(".")[0] for name in present}:
            return Availability(
                ok=False,
                reason=f"OpenVINO {version} finds no device {wanted} here (it finds {', '.join(present) or 'none'}).",
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
    """One model compiled by OpenVINO; a lock keeps concurrent calls off its single request."""

    def __init__(self, model: ModelFiles, device: str | None, options: SessionOptions) -> None:
        openvino = importlib.import_module("openvino")
        self._model = model
        self._lock = threading.Lock()
        self._heatmaps = options.heatmaps
        core = openvino.Core()
        try:
            network = core.read_model(model.path)
        except Exception as error:
            raise _unreadable(model, error) from error
        if not options.heatmaps:
            _drop_heatmaps(network)
        try:
            compiled = core.compile_model(network, _device(device), _properties(model, device, options))
            self._request: Any = compiled.create_infer_request()
        except Exception as error:
            raise RuntimeUnavailable(
                f"OpenVINO cannot compile {model.name} for {_device(device)}: {first_line(error)}. "
                "Update openvino, or use --device cpu."
            ) from error

    def infer(self, crops: Crops) -> Outputs:
        return in_batches(check_crops(crops, self._model.input_size), self._model.batch, self._run)

    def _run(self, crops: Crops) -> Outputs:
        with self._lock:
            if self._request is None:
                raise RuntimeUnavailable("The session is closed. Load the model again.")
            self._request.infer({0: crops}, share_inputs=True)
            # Copies: the request's own tensors are overwritten by the next call.
            intensities = np.array(self._request.get_tensor("intensities").data, np.float32)
            heatmaps = np.array(self._request.get_tensor("heatmaps").data, np.float32) if self._heatmaps else None
        return Outputs(intensities, heatmaps)

    def close(self) -> None:
        with self._lock:
            self._request = None


def _drop_heatmaps(network: Any) -> None:
    """Take the output away, so that its map is neither kept nor copied."""
    for result in network.get_results():
        if "heatmaps" in result.input_value(0).get_names():
            network.remove_result(result)


def _properties(model: ModelFiles, device: str | None, options: SessionOptions) -> dict[str, Any]:
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    on_cpu = device_family(device or "cpu") == "cpu"
    if on_cpu and options.threads is not None:
        properties["INFERENCE_NUM_THREADS"] = options.threads
    # By itself OpenVINO computes in bf16 or fp16 where the device has it, whatever the model's own type. An NPU has
    # nothing else.
    if not options.native_precision and device_family(device or "cpu") != "npu":
        properties["INFERENCE_PRECISION_HINT"] = "f16" if model.precision == "fp16" and not on_cpu else "f32"
    return properties


def _device(device: str | None) -> str:
    return (device or "cpu").upper().replace(":", ".")


def _unreadable(model: ModelFiles, error: Exception) -> BundleError:
    return BundleError(
        f"OpenVINO cannot read {model.path.name} of {model.name}: {first_line(error)}. Export the bundle again."
    )


def _import_reason(error: Exception) -> str:
    if importlib.util.find_spec("openvino") is None:
        return "openvino is not installed."
    return f"openvino is installed but cannot be used: {first_line(error)}."
