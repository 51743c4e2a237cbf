"""ONNX Runtime: the default, for ONNX models of every precision, on the CPU and through any of its execution providers.

What runs is what was asked for: a provider that does not start, or that cannot take a part of the model, is an error
and not a slow CPU, unless the CPU was named too (`cuda+cpu`).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import platform
import threading
from typing import Any

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
    first_line,
    in_batches,
)
from .executed import RECORD, Executed, assigned, examine
from .execution_providers import CPU, Asked, UnknownDevice, options_of, parse, session_entries

_INSTALL = 'Install it: pip install "dsrfau-edge" (CPU) or pip install onnxruntime-gpu (NVIDIA).'
_CLOSED = "The session is closed. Load the model again."


class OnnxRuntime:
    """`--runtime onnxruntime`; devices: see `execution_providers`."""

    name = "onnxruntime"
    formats: tuple[Format, ...] = ("onnx",)

    def availability(self, device: str | None = None) -> Availability:
        try:
            ort = importlib.import_module("onnxruntime")
            present = list(ort.get_available_providers())
        except Exception as error:  # a broken native library raises anything
            return Availability(ok=False, reason=_import_reason(error), fix=_INSTALL)
        version = str(getattr(ort, "__version__", ""))
        try:
            asked = parse(device, present)
        except UnknownDevice as error:
            return Availability(ok=False, reason=error.reason, fix=error.fix, version=version)
        for one in asked:
            if one.kind.provider not in present:
                reason = f"onnxruntime {version} was built without {one.kind.provider} (it has {', '.join(present)})."
                return Availability(ok=False, reason=reason, fix=one.kind.install, version=version)
        return Availability(ok=True, version=version)

    def load(self, model: ModelFiles, device: str | None = None, options: SessionOptions | None = None) -> OnnxSession:
        self.availability(device).require()
        return OnnxSession(model, device, options or SessionOptions())


class OnnxSession:
    """One ONNX model in ONNX Runtime.

    Its `run` is safe to call from several threads on the CPU and on the providers whose makers say so; a lock keeps
    the calls of the others apart.
    """

    def __init__(self, model: ModelFiles, device: str | None, options: SessionOptions) -> None:
        self._ort: Any = importlib.import_module("onnxruntime")
        self._ort.disable_telemetry_events()
        self._model = model
        self._options = options
        self._device = device
        self._asked = parse(device, self._ort.get_available_providers())
        self._with_cpu = any(one.kind.provider == CPU for one in self._asked)
        self._outputs = ["intensities", "heatmaps"] if options.heatmaps else ["intensities"]
        shared = all(one.kind.concurrent for one in self._asked)
        self._guard: Any = contextlib.nullcontext() if shared else threading.Lock()
        self._examining = threading.Lock()
        self._info: SessionInfo | None = None
        try:
            self._session: Any = self._make(self._session_options())
        except Exception as error:
            raise self._why_not(error) from error
        self._require_started(self._session)
        self._input = self._session.get_inputs()[0].name

    @property
    def info(self) -> SessionInfo:
        """What it runs on; where that is first asked, the model is loaded once more beside it and run once."""
        with self._examining:
            if self._info is None:
                session = self._session
                if session is None:
                    raise RuntimeUnavailable(_CLOSED)
                self._info = self._examined(session)
            return self._info

    def infer(self, crops: Crops) -> Outputs:
        return in_batches(check_crops(crops, self._model.input_size), self._model.batch, self._run)

    def _run(self, crops: Crops) -> Outputs:
        session = self._session
        if session is None:
            raise RuntimeUnavailable(_CLOSED)
        try:
            with self._guard:
                return Outputs(*session.run(self._outputs, {self._input: crops}))
        except Exception as error:
            raise RuntimeUnavailable(
                f"ONNX Runtime could not run {len(crops)} crops through {self._model.name} on "
                f"{self._device or 'cpu'}: {first_line(error)}. Give fewer crops a call, or another --device."
            ) from error

    def close(self) -> None:
        self._session = None  # a call that is running keeps its own hold on it until it is done

    def _make(self, session_options: Any, *more: str) -> Any:
        providers: list[Any] = []
        for one in self._asked:
            found = options_of(one, self._model, self._options)
            providers.append((one.kind.provider, found) if found else one.kind.provider)
        # Its own fallback would print a line and compute on the CPU.
        return self._ort.InferenceSession(
            str(self._model.path), sess_options=session_options, providers=[*providers, *more], enable_fallback=0
        )

    def _session_options(self, *, strict: bool = True) -> Any:
        session = self._ort.SessionOptions()
        session.log_severity_level = 3
        if self._options.threads is not None:
            session.intra_op_num_threads = self._options.threads
        session.inter_op_num_threads = 1
        if any(one.kind.provider == "DmlExecutionProvider" for one in self._asked):
            session.enable_mem_pattern = False  # DirectML refuses to start with it
        strict = strict and not self._with_cpu
        for name, value in session_entries(platform.machine(), self._options, strict=strict).items():
            session.add_session_config_entry(name, value)
        return session

    def _examined(self, session: Any) -> SessionInfo:
        shape = session.get_inputs()[0].shape
        sizes = tuple(size if isinstance(size, int) and size > 0 else 1 for size in shape)
        notes: tuple[str, ...] = ()
        try:
            executed = examine(self._make, self._session_options(), sizes)
        except Exception as error:  # telling more must not stop what works
            executed, notes = Executed(), (f"ONNX Runtime does not tell what it executes: {first_line(error)}.",)
        used = [one for one in self._asked if executed.nodes.get(one.kind.provider, 0) > 0] or self._asked
        if self._options.native_precision and any(one.kind.provider == "CUDAExecutionProvider" for one in used):
            notes = (*notes, "CUDA may compute fp32 as TF32: native precision was asked for.")
        return SessionInfo(
            runtime=OnnxRuntime.name,
            version=str(self._ort.__version__),
            device=" + ".join(one.label for one in used),
            precision=executed.precision,
            layers=executed.layers,
            threads=self._options.threads,
            notes=(*executed.notes(), *notes),
        )

    def _require_started(self, session: Any) -> None:
        """ONNX Runtime leaves out a provider that does not start, with a mere log line."""
        for one in self._asked:
            if one.kind.provider not in session.get_providers():
                raise _not_started(one)

    def _why_not(self, error: Exception) -> BundleError | RuntimeUnavailable:
        """Whether the model cannot be read, or a provider does not start, or it cannot take all of it: by trying."""
        unreadable = BundleError(
            f"ONNX Runtime {self._ort.__version__} cannot load {self._model.path.name} of {self._model.name}: "
            f"{first_line(error)}. Update onnxruntime, or export the bundle again."
        )
        if [one.kind.provider for one in self._asked] == [CPU]:
            return unreadable
        try:
            options = self._session_options(strict=False)
            self._ort.InferenceSession(str(self._model.path), sess_options=options, providers=[CPU])
        except Exception:
            return unreadable
        named = " + ".join(one.label for one in self._asked)
        what = f"ONNX Runtime {self._ort.__version__} cannot run {self._model.name} on {named}"
        if not self._with_cpu:
            options = self._session_options(strict=False)
            options.add_session_config_entry(RECORD, "1")
            try:
                relaxed = self._make(options, CPU)
                self._require_started(relaxed)
            except RuntimeUnavailable as reason:
                return reason
            except Exception as reason:
                return RuntimeUnavailable(f"{what}: {first_line(reason)}. Use another --device, such as cpu.")
            left = (assigned(relaxed) or {}).get(CPU, [])
            which = f"{len(left)} of its nodes ({', '.join(sorted(set(left)))})" if left else "a part of it"
            return RuntimeUnavailable(
                f"{what} alone, which cannot take {which}. Let the CPU compute the rest with --device "
                f"{self._device}+cpu, or all of it with --device cpu."
            )
        return RuntimeUnavailable(f"{what}: {first_line(error)}. Use another --device, such as cpu.")


def _not_started(one: Asked) -> RuntimeUnavailable:
    return RuntimeUnavailable(
        f"ONNX Runtime could not start {one.label} and would have used the CPU instead, most often because the "
        "device is not there, or because its libraries are missing or of another version (CUDA and cuDNN for "
        "onnxruntime-gpu). Install matching ones, or use --device cpu."
    )


def _import_reason(error: Exception) -> str:
    if importlib.util.find_spec("onnxruntime") is None:
        return f"onnxruntime is not installed (Python {platform.python_version()}, {platform.machine()})."
    return f"onnxruntime is installed but cannot be imported: {first_line(error)}."
