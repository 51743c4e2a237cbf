"""TensorRT: NVIDIA GPUs and Jetsons, through TensorRT 10, TensorRT 11 or TensorRT for RTX, whichever is installed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import EngineMismatch, RuntimeUnavailable
from . import cuda_memory
from .base import (
    Availability,
    Crops,
    Format,
    ModelFiles,
    Outputs,
    SessionOptions,
    check_crops,
    device_family,
    in_batches,
)
from .cuda_driver import Gpu, driver
from .cuda_memory import CudaMemory
from .engine_cache import EngineCache
from .tensorrt_engine import INPUT, INSTALL, EngineOptions, build_engine, find_module, is_rtx, make_logger

_REBUILD = "Build it for this device: dsrfau-export BUNDLE --target tensorrt -o NAME.dsrfau"


class TensorRtRuntime:
    """`--runtime tensorrt`, devices `cuda[:N]`. An ONNX graph is compiled for the GPU at first use and kept."""

    name = "tensorrt"
    formats: tuple[Format, ...] = ("tensorrt",)

    def availability(self, device: str | None = None) -> Availability:
        try:
            return self._availability(device)
        except Exception as error:  # a look must never stop the program
            return Availability(ok=False, reason=f"TensorRT cannot be examined: {error}.", fix=INSTALL)

    def _availability(self, device: str | None) -> Availability:
        trt = find_module()
        if trt is None:
            return Availability(ok=False, reason="Neither tensorrt nor tensorrt_rtx can be imported.", fix=INSTALL)
        version = f"{trt.__version__}{' (RTX)' if is_rtx(trt) else ''}"
        if device_family(device or "cuda") not in ("cuda", "gpu"):
            reason = f"TensorRT has no device {device!r}."
            return Availability(ok=False, reason=reason, fix="Use --device cuda.", version=version)
        found = driver()
        if not found.ok:
            return Availability(ok=False, reason=found.reason, fix=found.fix, version=version)
        if _index(device) not in {gpu.index for gpu in found.gpus}:
            reason = f"There is no device {device!r} among {', '.join(f'cuda:{gpu.index}' for gpu in found.gpus)}."
            return Availability(ok=False, reason=reason, fix="Use --device cuda:0.", version=version)
        if cuda_memory.provider() is None:
            reason = "Neither pycuda nor cuda-python is installed."
            return Availability(ok=False, reason=reason, fix=cuda_memory.INSTALL, version=version)
        return Availability(ok=True, version=version)

    def load(
        self, model: ModelFiles, device: str | None = None, options: SessionOptions | None = None
    ) -> TensorRtSession:
        self.availability(device).require()
        trt = find_module()
        gpu = next(gpu for gpu in driver().gpus if gpu.index == _index(device))
        memory = cuda_memory.open_memory(gpu.index)
        try:
            return TensorRtSession(trt, model, gpu, memory, options or SessionOptions())
        except BaseException:
            memory.close()
            raise


class TensorRtSession:
    """One engine with its buffers on the GPU; a lock keeps concurrent calls off its single execution context."""

    def __init__(self, trt: Any, model: ModelFiles, gpu: Gpu, memory: CudaMemory, options: SessionOptions) -> None:
        self._model, self._memory, self._lock = model, memory, threading.Lock()
        self._wanted = ("intensities", "heatmaps") if options.heatmaps else ("intensities",)
        self._logger = make_logger(trt)
        with memory.current():
            self._runtime = trt.Runtime(self._logger)
            self._engine = self._load(trt, gpu, options)
            self._context: Any = self._engine.create_execution_context()
            if self._context is None:
                raise RuntimeUnavailable(
                    f"TensorRT cannot start {model.name} on {gpu.name}: {_last(self._logger)}. Free memory on the GPU."
                )
            self._limit = self._largest_batch()
            self._addresses = self._allocate(trt)

    def infer(self, crops: Crops) -> Outputs:
        checked = check_crops(crops, self._model.input_size)
        return in_batches(checked, self._limit, self._run, pad=self._model.batch is not None)

    def close(self) -> None:
        with self._lock:
            if self._context is None:
                return
            # The engine's own memory on the GPU goes with its objects, in this order, before ours.
            with self._memory.current():
                self._context = self._engine = self._runtime = None
            self._memory.close()

    def _run(self, crops: Crops) -> Outputs:
        with self._lock:
            if self._context is None:  # first of all: a closed session's memory cannot be made current any more
                raise RuntimeUnavailable("The session is closed. Load the model again.")
            with self._memory.current():
                return self._run_locked(crops)

    def _run_locked(self, crops: Crops) -> Outputs:
        memory, context, results = self._memory, self._context, {}
        context.set_input_shape(INPUT, crops.shape)
        memory.copy_in(self._addresses[INPUT], crops)
        if not context.execute_async_v3(memory.stream):
            raise RuntimeUnavailable(f"TensorRT could not run {self._model.name}: {_last(self._logger)}.")
        for name in self._wanted:
            results[name] = np.empty(tuple(context.get_tensor_shape(name)), np.float32)
            memory.copy_out(results[name], self._addresses[name])
        memory.synchronize()
        return Outputs(results["intensities"], results.get("heatmaps"))

    def _load(self, trt: Any, gpu: Gpu, options: SessionOptions) -> Any:
        if self._model.path.suffix == ".engine":
            _check_origin(trt, self._model, gpu)
            engine = self._runtime.deserialize_cuda_engine(self._model.path.read_bytes())
            if engine is None:
                raise EngineMismatch(
                    f"{self._model.name} holds an engine that TensorRT {trt.__version__} on {gpu.name} does not load: "
                    f"{_last(self._logger)}. {_REBUILD}"
                )
            return engine
        tf32 = options.native_precision
        key = (trt.__name__, trt.__version__, gpu.name, gpu.capability, tf32, self._model.name, self._model.digest)
        cache = EngineCache(options.cache)
        graph = self._model.path.read_bytes()
        for engine in cache.candidates(key, graph, _builder(trt, graph, tf32=tf32)):
            loaded = self._runtime.deserialize_cuda_engine(engine)
            if loaded is not None:
                return loaded
        raise EngineMismatch(
            f"TensorRT {trt.__version__} built {self._model.name} for {gpu.name} and then refused it: "
            f"{_last(self._logger)}. Check that one version of TensorRT is installed, not two."
        )

    def _largest_batch(self) -> int:
        if self._model.batch is not None:
            return self._model.batch
        shape = tuple(self._engine.get_tensor_shape(INPUT))
        return int(shape[0] if shape[0] > 0 else self._engine.get_tensor_profile_shape(INPUT, 0)[2][0])

    def _allocate(self, trt: Any) -> dict[str, int]:
        """A buffer for each tensor at the largest batch; all need one, also those that nobody reads."""
        addresses = {}
        for position in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(position)
            shape = (self._limit, *tuple(self._engine.get_tensor_shape(name))[1:])
            kind: npt.DTypeLike = trt.nptype(self._engine.get_tensor_dtype(name))
            addresses[name] = self._memory.allocate(int(np.prod(shape)) * np.dtype(kind).itemsize)
            self._context.set_tensor_address(name, addresses[name])
        return addresses


def _builder(trt: Any, graph: bytes, *, tf32: bool) -> Callable[[], bytes]:
    return lambda: build_engine(trt, graph, EngineOptions(tf32=tf32))


def _check_origin(trt: Any, model: ModelFiles, gpu: Gpu) -> None:
    """Compare what the manifest says of an engine with this device, which explains more than TensorRT's refusal."""
    build = model.build
    module, version = build.get("tensorrt_module"), build.get("tensorrt")
    if version is not None and (module, version) != (trt.__name__, trt.__version__):
        raise EngineMismatch(
            f"{model.name} holds an engine built by {module} {version}, here is {trt.__name__} {trt.__version__}; "
            f"an engine runs only in the version that built it. {_REBUILD}"
        )
    capabilities = [int(number) for number in build.get("compute_capabilities", ())]
    if capabilities and gpu.capability not in capabilities:
        raise EngineMismatch(
            f"The engine in {model.name} was built for compute capability {', '.join(map(str, capabilities))}, and "
            f"{gpu.name} has {gpu.capability}. {_REBUILD}"
        )


def _index(device: str | None) -> int:
    number = (device or "").partition(":")[2] or "0"
    return int(number) if number.isdecimal() else -1  # which no GPU has


def _last(logger: Any) -> str:
    return str(logger.errors[-1]).rstrip(".") if logger.errors else "it gives no reason"
