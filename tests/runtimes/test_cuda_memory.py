"""Both memory packages through fakes: what is allocated is freed, and every call is made in the device's context."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dsrfau_edge.errors import RuntimeUnavailable
from dsrfau_edge.runtimes import cuda_memory
from dsrfau_edge.runtimes.cuda_memory import CudaPythonMemory, PyCudaMemory, open_memory, provider


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2


class FakeCudart:
    """`cuda.bindings.runtime`: each function returns its status, then its result."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="in", cudaMemcpyDeviceToHost="out")

    def __init__(self) -> None:
        self.device, self.calls, self.live, self.fail = 5, [], set(), False
        self.host: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.calls.append((name, self.device, *arguments))
            return self._answer(name, *arguments)

        return call

    def _answer(self, name: str, *arguments: Any) -> Any:
        if name == "cudaGetDevice":
            return Status.cudaSuccess, self.device
        if name == "cudaSetDevice":
            self.device = arguments[0]
        if name == "cudaStreamCreateWithFlags":
            assert arguments == (1,), "a stream that waits for nobody's default stream"
            return Status.cudaSuccess, 99
        if name == "cudaHostAlloc":
            size, flags = arguments
            assert flags == 0
            buffer = ctypes.create_string_buffer(size)
            self.host[ctypes.addressof(buffer)] = buffer
            return Status.cudaSuccess, ctypes.addressof(buffer)
        if name == "cudaFreeHost":
            del self.host[arguments[0]]
        if name == "cudaMalloc":
            if self.fail:
                return Status.cudaErrorMemoryAllocation, None
            self.live.add(1000 + len(self.live))
            return Status.cudaSuccess, max(self.live)
        if name == "cudaFree":
            self.live.discard(arguments[0])
        return (Status.cudaSuccess,)


class FakePyCuda:
    """`pycuda.driver` with a stack of contexts."""

    class Error(Exception):
        """Base class of all that it raises."""

    def __init__(self) -> None:
        self.stack: list[str] = []
        self.copies: list[str] = []
        self.freed = 0
        self.detached = 0
        self.broken = False

    def init(self) -> None: ...

    def Device(self, index: int) -> Any:  # noqa: N802 - the library's name
        context = SimpleNamespace(
            push=lambda: self.stack.append("ours"),
            pop=self.stack.pop,
            detach=lambda: setattr(self, "detached", self.detached + 1),
        )
        return SimpleNamespace(retain_primary_context=lambda: context)

    def Stream(self, flags: int) -> Any:  # noqa: N802
        assert self.stack
        assert flags == 1
        if self.broken:
            raise self.Error("cuStreamCreate failed: out of memory")
        return SimpleNamespace(handle=42, synchronize=lambda: None)

    def mem_alloc(self, size: int) -> Any:
        assert self.stack

        class Buffer(int):
            free = staticmethod(lambda: setattr(self, "freed", self.freed + 1))

        return Buffer(size * 16)

    def pagelocked_empty(self, shape: int, dtype: Any) -> Any:
        assert self.stack

        class Allocation(np.ndarray[Any, Any]):
            free = staticmethod(lambda: setattr(self, "freed", self.freed + 1))

        return np.zeros(shape, dtype).view(Allocation)[:].view(np.ndarray)

    def memcpy_htod_async(self, address: int, array: Any, stream: Any) -> None:
        self.copies.append("in")

    def memcpy_dtoh_async(self, array: Any, address: int, stream: Any) -> None:
        self.copies.append("out")


def test_cuda_python(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCudart()
    monkeypatch.setattr(cuda_memory.importlib, "import_module", lambda name: fake)
    memory = CudaPythonMemory(1)
    assert memory.stream == 99
    array = np.arange(6, dtype=np.float32)
    with memory.current():
        address = memory.allocate(24)
        host = memory.allocate_host(16)
        host[:] = 7
        assert (host.dtype, host.shape) == (np.uint8, (16,))
        assert bytes(fake.host[host.ctypes.data]) == b"\7" * 16, "the array lies in the page-locked memory"
        memory.copy_in(address, array)
        memory.copy_out(array, address)
        memory.synchronize()
        fake.fail = True
        with pytest.raises(RuntimeUnavailable, match=r"cudaMalloc failed on GPU 1: cudaErrorMemoryAllocation"):
            memory.allocate(1 << 40)
    memory.close()
    memory.close()
    assert fake.live == set()
    assert fake.host == {}
    assert [call[0] for call in fake.calls].count("cudaStreamDestroy") == 1
    assert fake.device == 5, "the thread's own device is given back"
    inside = [call for call in fake.calls if call[0] not in ("cudaGetDevice", "cudaSetDevice")]
    assert {call[1] for call in inside} == {1}
    assert ("cudaMemcpyAsync", 1, address, array.ctypes.data, 24, "in", 99) in inside
    assert ("cudaMemcpyAsync", 1, array.ctypes.data, address, 24, "out", 99) in inside


def test_pycuda(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakePyCuda()
    monkeypatch.setattr(cuda_memory.importlib, "import_module", lambda name: fake)
    memory = PyCudaMemory(0)
    with memory.current():
        address = memory.allocate(8)
        assert memory.allocate_host(32).nbytes == 32
        memory.copy_in(address, np.zeros(8, np.uint8))
        memory.copy_out(np.zeros(8, np.uint8), address)
        memory.synchronize()
    assert fake.stack == [], "the context is popped again"
    memory.close()
    memory.close()
    assert (memory.stream, address, fake.copies, fake.freed, fake.detached) == (42, 128, ["in", "out"], 2, 1)


def test_pycuda_gives_the_context_back_on_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakePyCuda()
    monkeypatch.setattr(cuda_memory.importlib, "import_module", lambda name: fake)
    memory = PyCudaMemory(0)
    with pytest.raises(ZeroDivisionError), memory.current():
        1 / 0  # noqa: B018
    assert fake.stack == []
    fake.broken = True
    with pytest.raises(RuntimeUnavailable, match="CUDA failed on GPU 0: cuStreamCreate failed: out of memory"):
        PyCudaMemory(0)
    assert (fake.stack, fake.detached) == ([], 1)


def test_the_real_cuda_python_takes_what_we_give_it() -> None:
    """Without a driver each call ends with the status that there is none, after its arguments were taken."""
    real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    assert real.cudaStreamNonBlocking == 1
    if int(real.cudaGetDeviceCount()[0]) == 0:
        memory = CudaPythonMemory(0)
        with memory.current():
            address, host = memory.allocate(16), memory.allocate_host(16)
            host[:] = 3
            memory.copy_in(address, host)
            result = np.zeros(16, np.uint8)
            memory.copy_out(result, address)
            memory.synchronize()
        memory.close()
        assert result.tolist() == [3] * 16
        return
    with pytest.raises(RuntimeUnavailable, match=r"cudaGetDevice failed on GPU 0: cudaError"):
        CudaPythonMemory(0)
    memory = CudaPythonMemory.__new__(CudaPythonMemory)
    memory._cuda, memory._index, memory._stream = real, 0, real.cudaStream_t(99)
    array = np.zeros(4, np.float32)
    calls = [
        lambda: memory.allocate(16),
        lambda: memory.allocate_host(16),
        lambda: memory.copy_in(4096, array),
        lambda: memory.copy_out(array, 4096),
        memory.synchronize,
        *(lambda name=name: memory._do(name, 4096) for name in ("cudaFree", "cudaFreeHost", "cudaStreamDestroy")),
        lambda: memory._do("cudaSetDevice", 0),
        lambda: memory._do("cudaStreamCreateWithFlags", 1),
    ]
    for call in calls:
        with pytest.raises(RuntimeUnavailable, match="cudaError"):
            call()


@pytest.mark.parametrize(
    ("installed", "expected"),
    [({"pycuda", "cuda.bindings.runtime"}, "pycuda"), ({"cuda.bindings.runtime"}, "cuda-python"), (set(), None)],
)
def test_pycuda_goes_first(monkeypatch: pytest.MonkeyPatch, installed: set[str], expected: str | None) -> None:
    def find_spec(name: str) -> Any:
        if name in installed:
            return object()
        if "." in name:
            raise ModuleNotFoundError(name)
        return None

    monkeypatch.setattr(cuda_memory.importlib.util, "find_spec", find_spec)
    assert provider() == expected
    if expected is None:
        with pytest.raises(RuntimeUnavailable, match="pip install"):
            open_memory(0)


def test_a_package_that_does_not_fit_the_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ImportError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(cuda_memory, "provider", lambda: "pycuda")
    monkeypatch.setattr(cuda_memory.importlib, "import_module", broken)
    with pytest.raises(RuntimeUnavailable, match=r"pycuda cannot use GPU 2: libcuda"):
        open_memory(2)
