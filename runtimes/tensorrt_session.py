"""One engine at work: page-locked buffers on the host, buffers on the GPU, one stream, and a CUDA graph of it all."""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import RuntimeUnavailable
from . import cuda_graph
from .base import Crops, Floats, ModelFiles, Outputs, SessionInfo, SessionOptions, check_crops, in_batches
from .cuda_driver import Gpu
from .cuda_graph import CudaGraph, GraphFailed
from .cuda_memory import Bytes, CudaMemory
from .tensorrt_engine import INPUT, is_rtx, last_error
from .tensorrt_inspector import EngineSummary, inspect_engine
from .tensorrt_loading import LoadedEngine

_log = logging.getLogger(__name__)
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Buffer:
    """A tensor at the largest batch: on the GPU, and on the host where it is an input or somebody reads it."""

    address: int
    dtype: np.dtype[Any]
    host: Bytes | None

    def view(self, shape: Shape) -> Any:
        """The host's part of it, in this shape."""
        assert self.host is not None  # noqa: S101 - only tensors with a host buffer are asked
        return self.host[: int(np.prod(shape)) * self.dtype.itemsize].view(self.dtype).reshape(shape)


class TensorRtSession:
    """A lock keeps concurrent calls off the engine's single execution context and its buffers."""

    def __init__(
        self, loaded: LoadedEngine, model: ModelFiles, gpu: Gpu, memory: CudaMemory, options: SessionOptions
    ) -> None:
        """Make context and buffers. The GPU's context must be current; memory and engine are freed with the session.

        Raises:
            RuntimeUnavailable: the GPU has not enough memory.
            UsageError: the environment neither wants CUDA graphs nor does not.
        """
        self._loaded, self._model, self._gpu, self._memory = loaded, model, gpu, memory
        self._lock, self._closed = threading.Lock(), False
        self._wanted = ("intensities", "heatmaps") if options.heatmaps else ("intensities",)
        self._notes = list(loaded.notes)
        self._context: Any = None
        self._graph: CudaGraph | None = None
        self._info: SessionInfo | None = None
        self._shape: Shape = ()
        self._least, self._limit = self._batches()
        self._record = self._graphs_wanted()
        try:
            self._context = self._start()
            self._buffers = self._allocate()
        except BaseException:
            self._release()
            raise

    @property
    def info(self) -> SessionInfo:
        """What runs; the engine is asked for its layers when this is first read."""
        with self._lock:
            summary = None
            if not self._closed and self._info is None:
                with self._memory.current():
                    summary = self._summary()
            if self._info is None:
                self._info = self._describe(summary)
            return replace(self._info, notes=tuple(self._notes))

    def infer(self, crops: Crops) -> Outputs:
        checked = check_crops(crops, self._model.input_size)
        return in_batches(checked, self._limit, self._run, pad=self._model.batch is not None)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                with self._memory.current():
                    self._release()
            finally:
                self._memory.close()

    def _run(self, crops: Crops) -> Outputs:
        with self._lock:
            if self._closed:  # first of all: a closed session's memory cannot be made current any more
                raise RuntimeUnavailable("The session is closed. Load the model again.")
            with self._memory.current():
                return self._run_locked(crops)

    def _run_locked(self, crops: Crops) -> Outputs:
        count = len(crops)
        shape: Shape = (max(count, self._least), *crops.shape[1:])
        self._take_shape(shape)
        staged = self._buffers[INPUT].view(shape)
        staged[:count] = crops
        staged[count:] = crops[-1:]  # a profile that begins at more crops than there are
        self._queue_or_launch()
        self._memory.synchronize()
        results = {name: self._result(name)[:count] for name in self._wanted}
        if self._record:
            self._record_graph()
        return Outputs(results["intensities"], results.get("heatmaps"))

    def _take_shape(self, shape: Shape) -> None:
        if shape == self._shape:
            return
        if not self._context.set_input_shape(INPUT, shape):
            raise RuntimeUnavailable(
                f"TensorRT does not take {shape[0]} crops in {self._model.name}: {last_error(self._loaded.logger)}. "
                "Export it again with --batch or --dynamic-batch."
            )
        self._shape = shape

    def _queue_or_launch(self) -> None:
        if self._graph is None:
            self._queue()
            return
        try:
            self._graph.launch()
        except GraphFailed as error:
            self._without_graph(error)
            self._queue()

    def _queue(self) -> None:
        """Put copies and execution into the stream."""
        memory = self._memory
        memory.copy_in(self._buffers[INPUT].address, self._buffers[INPUT].view(self._shape))
        if not self._context.execute_async_v3(memory.stream):
            raise RuntimeUnavailable(f"TensorRT could not run {self._model.name}: {last_error(self._loaded.logger)}.")
        for name in self._wanted:
            memory.copy_out(self._buffers[name].view(self._output_shape(name)), self._buffers[name].address)

    def _output_shape(self, name: str) -> Shape:
        return tuple(self._context.get_tensor_shape(name))

    def _result(self, name: str) -> Floats:
        """A copy, since the next call writes into the same buffer."""
        return np.array(self._buffers[name].view(self._output_shape(name)), np.float32)

    def _record_graph(self) -> None:
        """Record what the first call has just run: TensorRT must have run a shape once before it may be recorded."""
        self._record = False
        try:
            self._graph = CudaGraph.record(self._memory.stream, self._queue)
        except (GraphFailed, RuntimeUnavailable, OSError) as error:
            self._without_graph(error)

    def _without_graph(self, error: Exception) -> None:
        if self._graph is not None:
            self._graph.close()
            self._graph = None
        note = f"Each call is queued anew, since no CUDA graph can be used: {str(error).rstrip('.')}."
        self._notes.append(note)
        _log.info("%s", note)

    def _batches(self) -> tuple[int, int]:
        """Fewest and most crops of a call."""
        shape = tuple(self._loaded.engine.get_tensor_shape(INPUT))
        if shape[0] > 0:
            return int(shape[0]), int(shape[0])
        least, _, most = self._loaded.engine.get_tensor_profile_shape(INPUT, 0)
        return int(least[0]), int(most[0])

    def _graphs_wanted(self) -> bool:
        if not cuda_graph.wanted():
            self._notes.append(f"CUDA graphs are switched off by {cuda_graph.SWITCH}=0.")
            return False
        if self._least != self._limit:
            self._notes.append("Any number of crops per call: each call is queued anew, without a CUDA graph.")
            return False
        return not is_rtx(self._loaded.trt)  # which records by itself, see _start

    def _start(self) -> Any:
        """The execution context."""
        trt, engine = self._loaded.trt, self._loaded.engine
        if is_rtx(trt) and self._least == self._limit and cuda_graph.wanted():
            runtime_config = engine.create_runtime_config()
            runtime_config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            context = engine.create_execution_context(runtime_config)
        else:
            context = engine.create_execution_context()
        del engine  # what a failure leaves in the frames of its traceback must not outlive the GPU's context
        if context is None:
            raise RuntimeUnavailable(
                f"TensorRT cannot start {self._model.name} on {self._gpu.name}: {last_error(self._loaded.logger)}. "
                "Free memory on the GPU."
            )
        return context

    def _allocate(self) -> dict[str, _Buffer]:
        """A buffer for each tensor at the largest batch; all need one on the GPU, also those that nobody reads."""
        buffers = {}
        for position in range(self._loaded.engine.num_io_tensors):
            name = self._loaded.engine.get_tensor_name(position)
            shape = (self._limit, *tuple(self._loaded.engine.get_tensor_shape(name))[1:])
            dtype = np.dtype(self._loaded.trt.nptype(self._loaded.engine.get_tensor_dtype(name)))
            size = int(np.prod(shape)) * dtype.itemsize
            host = self._memory.allocate_host(size) if name in (INPUT, *self._wanted) else None
            buffers[name] = _Buffer(self._memory.allocate(size), dtype, host)
            self._context.set_tensor_address(name, buffers[name].address)
        return buffers

    def _release(self) -> None:
        """Free what lives on the GPU besides the buffers, which go last: TensorRT's objects use them."""
        if self._graph is not None:
            self._graph.close()
        self._graph = self._context = None
        self._loaded.release()

    def _summary(self) -> EngineSummary | None:
        with contextlib.suppress(Exception):  # it is only asked; the session works whatever it answers
            return inspect_engine(self._loaded.trt, self._loaded.engine)
        return None

    def _describe(self, summary: EngineSummary | None) -> SessionInfo:
        trt = self._loaded.trt
        if summary is None or not summary.precisions:
            self._notes.append("The engine does not tell in which precision its layers compute.")
        return SessionInfo(
            "tensorrt",
            f"{trt.__version__}{' (RTX)' if is_rtx(trt) else ''}",
            f"{self._gpu.name} (cuda:{self._gpu.index})",
            "" if summary is None else summary.precision,
            {} if summary is None else summary.precisions,
        )
