"""TensorRT: NVIDIA GPUs and Jetsons, through TensorRT 10, TensorRT 11 or TensorRT for RTX, whichever is installed."""

from __future__ import annotations

import contextlib

from . import cuda_memory
from .base import Availability, Format, ModelFiles, SessionOptions, device_family
from .cuda_driver import driver
from .tensorrt_engine import INSTALL, find_module, is_rtx
from .tensorrt_loading import load_engine
from .tensorrt_session import TensorRtSession


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
            with memory.current():
                loaded = load_engine(trt, model, gpu, options or SessionOptions())
                try:
                    return TensorRtSession(loaded, model, gpu, memory, options or SessionOptions())
                except BaseException:
                    loaded.release()  # while the GPU's context is still current
                    raise
        except BaseException:
            with contextlib.suppress(Exception):  # what failed first is what matters
                memory.close()
            raise


def _index(device: str | None) -> int:
    number = (device or "").partition(":")[2] or "0"
    return int(number) if number.isdecimal() else -1  # which no GPU has
