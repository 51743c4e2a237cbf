"""ONNX Runtime: the default, for ONNX models of every precision, on the CPU and through CUDA where it has it."""

from __future__ import annotations

import importlib
import importlib.util
import platform
from typing import Any

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

_PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
_ALIASES = {"gpu": "cuda"}
_INSTALL = 'Install it: pip install "dsrfau-edge" (CPU) or pip install onnxruntime-gpu (NVIDIA).'


class OnnxRuntime:
    """`--runtime onnxruntime`, devices `cpu`, `cuda[:N]`, and `tensorrt[:N]` for its TensorRT execution provider."""

    name = "onnxruntime"
    formats: tuple[Format, ...] = ("onnx",)

    def availability(self, device: str | None = None) -> Availability:
        try:
            ort = importlib.import_module("onnxruntime")
        except Exception as error:  # a broken native library raises anything
            return Availability(ok=False, reason=_import_reason(error), fix=_INSTALL)
        version = str(getattr(ort, "__version__", ""))
        family = _family(device)
        if family not in _PROVIDERS:
            return Availability(
                ok=False,
                reason=f"onnxruntime has no device {device!r}.",
                fix=f"Devices: {', '.join(_PROVIDERS)}.",
                version=version,
            )
        wanted, present = _PROVIDERS[family][0], ort.get_available_providers()
        if wanted not in present:
            return Availability(
                ok=False,
                reason=f"onnxruntime {version} was built without {wanted} (it has {', '.join(present)}).",
                fix="Install a build that has it: pip install onnxruntime-gpu, or the device vendor's wheel.",
                version=version,
            )
        return Availability(ok=True, version=version)

    def load(self, model: ModelFiles, device: str | None = None, options: SessionOptions | None = None) -> OnnxSession:
        self.availability(device).require()
        return OnnxSession(model, device, options or SessionOptions())


class OnnxSession:
    """One ONNX model in ONNX Runtime, whose `run` is itself safe to call from several threads."""

    def __init__(self, model: ModelFiles, device: str | None, options: SessionOptions) -> None:
        ort = importlib.import_module("onnxruntime")
        ort.disable_telemetry_events()
        self._model = model
        self._outputs = ["intensities", "heatmaps"] if options.heatmaps else ["intensities"]
        providers = _providers(device)
        try:
            self._session: Any = ort.InferenceSession(
                str(model.path), sess_options=_session_options(ort, options), providers=providers
            )
        except Exception as error:
            raise BundleError(
                f"ONNX Runtime {ort.__version__} cannot load {model.path.name} of {model.name}: {first_line(error)}. "
                "Update onnxruntime, or export the bundle again."
            ) from error
        wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
        # ONNX Runtime falls back to the CPU with a mere log line when a provider's libraries do not load.
        if wanted not in self._session.get_providers():
            raise RuntimeUnavailable(
                f"ONNX Runtime could not start {wanted} and would have used the CPU instead, most often because the "
                "CUDA or cuDNN libraries are missing or of another version. Install matching ones, or use --device cpu."
            )
        self._input = self._session.get_inputs()[0].name

    def infer(self, crops: Crops) -> Outputs:
        return in_batches(check_crops(crops, self._model.input_size), self._model.batch, self._run)

    def _run(self, crops: Crops) -> Outputs:
        session = self._session
        if session is None:
            raise RuntimeUnavailable("The session is closed. Load the model again.")
        return Outputs(*session.run(self._outputs, {self._input: crops}))

    def close(self) -> None:
        self._session = None


def _family(device: str | None) -> str:
    family = device_family(device or "cpu")
    return _ALIASES.get(family, family)


def _providers(device: str | None) -> list[Any]:
    index = (device or "").partition(":")[2]
    names = _PROVIDERS[_family(device)]
    if not index:
        return list(names)
    return [(name, {"device_id": index}) if name != "CPUExecutionProvider" else name for name in names]


def _session_options(ort: Any, options: SessionOptions) -> Any:
    session = ort.SessionOptions()
    session.log_severity_level = 3
    if options.threads is not None:
        session.intra_op_num_threads = options.threads
    session.inter_op_num_threads = 1
    # Idle threads that spin take the cores from the face detector, which runs between two inferences: on two cores a
    # whole frame took twice as long with it, and inference itself was no slower without.
    session.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return session


def _import_reason(error: Exception) -> str:
    if importlib.util.find_spec("onnxruntime") is None:
        return f"onnxruntime is not installed (Python {platform.python_version()}, {platform.machine()})."
    return f"onnxruntime is installed but cannot be imported: {first_line(error)}."
