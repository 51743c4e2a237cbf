"""A recorded CUDA graph: copies and kernels of one inference, started by a single call to the driver.

It goes through the driver's own library, whose handles pycuda, cuda-python and TensorRT share, so that it does not
matter which of the two packages owns the memory.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

from ..errors import UsageError
from .cuda_driver import library

SWITCH = "DSRFAU_CUDA_GRAPH"
#: CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do with CUDA meanwhile neither fails nor is recorded.
_THREAD_LOCAL = 1


class GraphFailed(Exception):  # noqa: N818 - it never reaches a user
    """The driver does not record or start a graph; the message says which call failed and how."""


def wanted() -> bool:
    """Whether graphs are to be recorded at all: unless the environment has `DSRFAU_CUDA_GRAPH=0`.

    Raises:
        UsageError: the variable is neither 0 nor 1.
    """
    value = os.environ.get(SWITCH, "").strip() or "1"
    if value not in ("0", "1"):
        raise UsageError(f"{SWITCH}={value} says neither yes nor no: set it to 1 (the default) or 0.")
    return value == "1"


class CudaGraph:
    """What `record` saw. `launch` runs it again, with the same addresses; the context must be current."""

    def __init__(self, driver: Any, executable: ctypes.c_void_p, stream: int) -> None:
        self._driver, self._executable, self._stream = driver, executable, stream

    @classmethod
    def record(cls, stream: int, queue: Callable[[], None]) -> CudaGraph:
        """Record what `queue` puts into the stream. Nothing of it runs.

        Raises:
            GraphFailed: the driver cannot, or something was queued that cannot be recorded.
        """
        driver = library()
        graph = ctypes.c_void_p()
        _call(driver, "cuStreamBeginCapture_v2", ctypes.c_void_p(stream), ctypes.c_int(_THREAD_LOCAL))
        try:
            queue()
        except BaseException:
            driver.cuStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph))  # or the stream stays in capture
            if graph.value:
                driver.cuGraphDestroy(graph)
            raise
        _call(driver, "cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        executable = ctypes.c_void_p()
        try:
            _call(driver, "cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
        finally:
            driver.cuGraphDestroy(graph)
        return cls(driver, executable, stream)

    def launch(self) -> None:
        """Queue the recorded work.

        Raises:
            GraphFailed: the driver refuses.
        """
        _call(self._driver, "cuGraphLaunch", self._executable, ctypes.c_void_p(self._stream))

    def close(self) -> None:
        """Free it. Calling it again does nothing."""
        if self._executable.value:
            self._driver.cuGraphExecDestroy(self._executable)
            self._executable = ctypes.c_void_p()


def _call(driver: Any, name: str, *arguments: Any) -> None:
    try:
        function = getattr(driver, name)
    except AttributeError as error:
        raise GraphFailed(f"the driver is too old for {name}") from error
    status = function(*arguments)
    if status != 0:
        raise GraphFailed(f"{name} gives CUDA error {status}")
