"""Memory on an NVIDIA GPU behind one small class: pycuda where it is installed, else cuda-python.

Both work in the device's primary context, made current around each use, so that any thread or callback may call and
other libraries in the process (PyTorch, ROS nodes) share the same context.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import RuntimeUnavailable

Bytes = npt.NDArray[np.uint8]
#: cudaStreamNonBlocking: nothing that others put into the default stream holds up ours or ends a recording of it.
_NON_BLOCKING = 1
INSTALL = 'Install one: pip install "dsrfau-edge[tensorrt]" (cuda-python), or pycuda.'


class CudaMemory(Protocol):
    """Buffers and one stream on one GPU. Addresses and the stream's handle are plain integers.

    Copies run beside the CPU only from and to host buffers of `allocate_host`.
    """

    stream: int

    def current(self) -> Any:
        """Context manager: the device's context is this thread's while it lasts. Everything below is called within.

        Raises:
            RuntimeUnavailable: something within failed on the GPU.
        """

    def allocate(self, size: int) -> int:
        """Address of `size` new bytes on the GPU."""

    def allocate_host(self, size: int) -> Bytes:
        """`size` bytes of page-locked host memory, gone with `close`: copy out of it what is to stay."""

    def copy_in(self, address: int, array: npt.NDArray[Any]) -> None:
        """Queue a copy of a contiguous array to the GPU."""

    def copy_out(self, array: npt.NDArray[Any], address: int) -> None:
        """Queue a copy from the GPU into a contiguous array."""

    def synchronize(self) -> None:
        """Wait until everything queued is done."""

    def close(self) -> None:
        """Free all buffers and the stream. Needs no `current`; calling it again does nothing."""


def provider() -> str | None:
    """Name of the package that will be used, or None where neither is installed."""
    if importlib.util.find_spec("pycuda") is not None:
        return "pycuda"
    try:
        found = importlib.util.find_spec("cuda.bindings.runtime")
    except ModuleNotFoundError:
        return None
    return "cuda-python" if found is not None else None


def open_memory(index: int) -> CudaMemory:
    """Memory on GPU `index`.

    Raises:
        RuntimeUnavailable: neither package is installed, or it cannot use the GPU.
    """
    name = provider()
    if name is None:
        raise RuntimeUnavailable(f"Neither pycuda nor cuda-python is installed. {INSTALL}")
    try:
        return PyCudaMemory(index) if name == "pycuda" else CudaPythonMemory(index)
    except RuntimeUnavailable:
        raise
    except Exception as error:
        raise RuntimeUnavailable(
            f"{name} cannot use GPU {index}: {error}. Check that it fits the driver (see dsrfau-doctor)."
        ) from error


class PyCudaMemory:
    """Through pycuda's driver API; never `pycuda.autoinit`, whose private context breaks other threads."""

    def __init__(self, index: int) -> None:
        self._cuda = importlib.import_module("pycuda.driver")
        self._index = index
        self._cuda.init()
        self._buffers: list[Any] = []  # on the GPU and, page-locked, on the host: each has a method `free`
        self._context = self._cuda.Device(index).retain_primary_context()
        try:
            with self.current():
                self._stream = self._cuda.Stream(_NON_BLOCKING)
        except BaseException:
            self._context.detach()
            raise
        self.stream = int(self._stream.handle)

    @contextmanager
    def current(self) -> Iterator[None]:
        self._context.push()
        try:
            yield
        except self._cuda.Error as error:
            raise RuntimeUnavailable(
                f"CUDA failed on GPU {self._index}: {error}. Free memory on the GPU, or check the driver with "
                "dsrfau-doctor."
            ) from error
        finally:
            self._context.pop()

    def allocate(self, size: int) -> int:
        buffer = self._cuda.mem_alloc(size)
        self._buffers.append(buffer)
        return int(buffer)

    def allocate_host(self, size: int) -> Bytes:
        array: Bytes = self._cuda.pagelocked_empty(size, np.uint8)
        self._buffers.append(array.base)
        return array

    def copy_in(self, address: int, array: npt.NDArray[Any]) -> None:
        self._cuda.memcpy_htod_async(address, array, self._stream)

    def copy_out(self, array: npt.NDArray[Any], address: int) -> None:
        self._cuda.memcpy_dtoh_async(array, address, self._stream)

    def synchronize(self) -> None:
        self._stream.synchronize()

    def close(self) -> None:
        if self._context is None:
            return
        try:
            with self.current():
                for buffer in self._buffers:
                    buffer.free()
                self._buffers.clear()
                self._stream = None
        finally:
            # Primary contexts are counted; ours must be given back for the driver to release the device.
            self._context.detach()
            self._context = None


class CudaPythonMemory:
    """Through cuda-python's runtime API, which works in the primary context by itself."""

    def __init__(self, index: int) -> None:
        self._cuda = importlib.import_module("cuda.bindings.runtime")
        self._index = index
        self._buffers: list[int] = []
        self._host: list[int] = []
        with self.current():
            self._stream = self._do("cudaStreamCreateWithFlags", _NON_BLOCKING)
        self.stream = int(self._stream)

    @contextmanager
    def current(self) -> Iterator[None]:
        before = self._do("cudaGetDevice")
        self._do("cudaSetDevice", self._index)
        try:
            yield
        finally:
            self._do("cudaSetDevice", before)

    def allocate(self, size: int) -> int:
        address = int(self._do("cudaMalloc", size))
        self._buffers.append(address)
        return address

    def allocate_host(self, size: int) -> Bytes:
        address = int(self._do("cudaHostAlloc", size, 0))
        self._host.append(address)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def copy_in(self, address: int, array: npt.NDArray[Any]) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._do("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self._stream)

    def copy_out(self, array: npt.NDArray[Any], address: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._do("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self._stream)

    def synchronize(self) -> None:
        self._do("cudaStreamSynchronize", self._stream)

    def close(self) -> None:
        if self._stream is None:
            return
        stream, self._stream = self._stream, None
        with self.current():
            for name, addresses in (("cudaFree", self._buffers), ("cudaFreeHost", self._host)):
                while addresses:
                    self._do(name, addresses.pop())
            self._do("cudaStreamDestroy", stream)

    def _do(self, name: str, *arguments: Any) -> Any:
        """Call a function of the runtime API, each of which returns its status and then its result."""
        status, *result = getattr(self._cuda, name)(*arguments)
        if int(status) != 0:
            raise RuntimeUnavailable(
                f"{name} failed on GPU {self._index}: {getattr(status, 'name', status)}. Free memory on the GPU, or "
                "check the driver with dsrfau-doctor."
            )
        return result[0] if result else None
