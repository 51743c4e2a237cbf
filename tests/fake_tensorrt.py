"""TensorRT without a GPU: a module whose engines are ONNX graphs that onnxruntime runs on memory that is a dictionary.

Only names that the real TensorRT bindings have are given to the fakes (tests/runtimes/test_tensorrt_names.py), so that
code which calls anything else fails.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dsrfau_edge.runtimes.base import SessionOptions
from dsrfau_edge.runtimes.cuda_driver import Gpu
from dsrfau_edge.runtimes.tensorrt_engine import EngineOptions

ORIN = Gpu(0, "Orin", 87, 8 << 30)
MAX_BATCH = 8


class FakeMemory:
    """Addresses are numbers, memory is a dictionary, and everything outside `current` is an error.

    While the stream is being recorded, what is queued is remembered instead of done.
    """

    def __init__(self) -> None:
        self.stream = 77
        self.buffers: dict[int, bytearray] = {}
        self.depth = 0
        self.closed = False
        self.queued = 0
        self.recorded: list[Callable[[], object]] | None = None

    def opened(self) -> FakeMemory:
        self.closed = False
        return self

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        assert not self.closed, "the real memory's context is gone by now"
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def allocate(self, size: int) -> int:
        assert self.depth
        address = 4096 * (len(self.buffers) + 1)
        self.buffers[address] = bytearray(size)
        return address

    def allocate_host(self, size: int) -> Any:
        assert self.depth
        return np.zeros(size, np.uint8)

    def queue(self, work: Callable[[], object]) -> None:
        assert self.depth
        if self.recorded is not None:
            self.recorded.append(work)
        else:
            self.queued += 1
            work()

    def copy_in(self, address: int, array: Any) -> None:
        assert array.nbytes <= len(self.buffers[address])
        self.queue(lambda: memoryview(self.buffers[address])[: array.nbytes].__setitem__(slice(None), array.tobytes()))

    def copy_out(self, array: Any, address: int) -> None:
        def copy() -> None:
            array[...] = np.frombuffer(self.buffers[address], array.dtype)[: array.size].reshape(array.shape)

        self.queue(copy)

    def synchronize(self) -> None:
        assert self.depth
        assert self.recorded is None, "waiting ends a recording"

    def close(self) -> None:
        self.closed = True
        self.buffers.clear()


class FakeDriver:
    """The functions of libcuda that a CUDA graph needs, over the fake memory."""

    def __init__(self, memory: FakeMemory) -> None:
        self.memory = memory
        self.work: list[Callable[[], object]] = []
        self.launches = self.graphs = self.executables = 0
        self.fail = ""

    def cuStreamBeginCapture_v2(self, stream: Any, mode: Any) -> int:  # noqa: N802 - the driver's names
        assert (stream.value, mode.value) == (77, 1)
        self.memory.recorded = []
        return 0

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:  # noqa: N802
        assert self.memory.recorded is not None
        self.work, self.memory.recorded = self.memory.recorded, None
        if self.fail == "end":
            return 901
        self.graphs += 1
        graph._obj.value = 11
        return 0

    def cuGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: Any) -> int:  # noqa: N802
        assert (graph.value, flags.value) == (11, 0)
        self.executables += 1
        executable._obj.value = 22
        return 0

    def cuGraphLaunch(self, executable: Any, stream: Any) -> int:  # noqa: N802
        assert (executable.value, stream.value) == (22, 77)
        if self.fail == "launch":
            return 700
        self.launches += 1
        for work in self.work:
            work()
        return 0

    def cuGraphExecDestroy(self, executable: Any) -> int:  # noqa: N802
        assert self.memory.depth
        self.executables -= 1
        self.work = []
        return 0

    def cuGraphDestroy(self, graph: Any) -> int:  # noqa: N802
        self.graphs -= 1
        return 0


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.addresses, self.shape = engine, {}, None
        self.memory = engine.trt.memory

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "crops"
        self.shape = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.shape[0], *self.engine.get_tensor_shape(name)[1:])

    def execute_async_v3(self, stream: int) -> bool:
        if stream != self.memory.stream or self.engine.trt.fail_to_run:
            self.engine.trt.logger.log("ERROR", "out of memory on the device")
            return False
        self.memory.queue(self._compute)
        return self.memory.recorded is None or self.engine.trt.recordable

    def _compute(self) -> None:
        size = int(np.prod(self.shape))
        crops = np.frombuffer(self.memory.buffers[self.addresses["crops"]], np.uint8)[:size].reshape(self.shape)
        names = ("intensities", "heatmaps")
        for name, values in zip(names, self.engine.session.run(names, {"crops": crops}), strict=True):
            memoryview(self.memory.buffers[self.addresses[name]])[: values.nbytes] = values.tobytes()


class FakeInspector:
    def __init__(self, trt: FakeTrt) -> None:
        self.trt = trt

    def get_engine_information(self, form: Any) -> str:
        assert form == "JSON"
        return self.trt.told


class FakeEngine:
    num_io_tensors = 3
    device_memory_size_v2 = 4096

    def __init__(self, trt: FakeTrt, graph: bytes) -> None:
        import onnxruntime

        self.trt = trt
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.tensors = [*self.session.get_inputs(), *self.session.get_outputs()]

    def get_tensor_name(self, index: int) -> str:
        return str(self.tensors[index].name)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        shape = next(tensor.shape for tensor in self.tensors if tensor.name == name)
        return tuple(axis if isinstance(axis, int) else -1 for axis in shape)

    def get_tensor_dtype(self, name: str) -> Any:
        return np.uint8 if name == "crops" else np.float32

    def get_tensor_profile_shape(self, name: str, profile: int) -> tuple[tuple[int, ...], ...]:
        rest = self.get_tensor_shape(name)[1:]
        return ((self.trt.least, *rest), (self.trt.least, *rest), (MAX_BATCH, *rest))

    def create_engine_inspector(self) -> FakeInspector:
        return FakeInspector(self.trt)

    def create_execution_context(self) -> FakeContext | None:
        return None if self.trt.full else FakeContext(self)


class FakeTrt:
    """The part of the module that a session uses; `build_engine` is replaced beside it."""

    __name__ = "tensorrt"
    __version__ = "10.3.0"
    Builder = object

    def __init__(self) -> None:
        self.memory = FakeMemory()
        self.full = self.fail_to_run = False
        self.recordable = True
        self.refuse = 0
        self.builds = 0
        self.least = 1
        self.options: list[EngineOptions] = []
        self.runtimes: list[Any] = []
        self.told = json.dumps({"Layers": [{"LayerType": "CaskConvolution", "Inputs": [{"Format/Datatype": "Half"}]}]})

    class LayerInformationFormat:
        JSON = "JSON"

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"

    def Runtime(self, logger: Any) -> Any:  # noqa: N802 - the library's name
        trt = self
        self.logger = logger

        class Runtime:
            DLA_core = -1

            def deserialize_cuda_engine(self, content: bytes) -> FakeEngine | None:
                if trt.refuse or not content.startswith(b"PLAN"):
                    trt.refuse = max(trt.refuse - 1, 0)
                    logger.log("ERROR", "Version tag does not match.")
                    return None
                return FakeEngine(trt, content[4:])

        self.runtimes.append(Runtime())
        return self.runtimes[-1]

    @staticmethod
    def nptype(kind: Any) -> Any:
        return kind


def options(tmp_path: Path, **more: Any) -> SessionOptions:
    return SessionOptions(cache=tmp_path / "cache", **more)
