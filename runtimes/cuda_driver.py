"""What the NVIDIA driver says of this machine, asked through ctypes so that no CUDA package is needed to look.

Without a driver some TensorRT builds crash the process as soon as a runtime object is made, so this is asked first.
"""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass
from typing import Any

_LIBRARY = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
_NAME_BYTES = 256
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of the driver API


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU.

    Attributes:
        index: as in `cuda:0`.
        name: as the driver gives it.
        capability: compute capability without the dot, such as 87 for 8.7.
        memory: bytes.
    """

    index: int
    name: str
    capability: int
    memory: int


@dataclass(frozen=True, slots=True)
class Driver:
    """The driver: the newest CUDA version it serves and its GPUs, or why there is none."""

    gpus: tuple[Gpu, ...] = ()
    cuda: str = ""
    reason: str = ""
    fix: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is a driver with a GPU."""
        return bool(self.gpus)


_NO_DRIVER = "Install the NVIDIA driver, or pass the GPU into the container (docker run --gpus all, --runtime nvidia)."


def library() -> Any:
    """The driver's own library.

    Raises:
        OSError: there is none.
    """
    return ctypes.CDLL(_LIBRARY)


@functools.cache
def driver() -> Driver:
    """Ask the driver once. Never raises."""
    try:
        return _ask(library())
    except OSError:
        return Driver(reason=f"There is no NVIDIA driver: {_LIBRARY} cannot be loaded.", fix=_NO_DRIVER)
    except Exception as error:  # a look must never stop the program
        return Driver(reason=f"The NVIDIA driver does not answer: {error}.", fix=_NO_DRIVER)


def _ask(library: Any) -> Driver:
    status = library.cuInit(0)
    if status != 0:
        return Driver(reason=f"The NVIDIA driver finds no usable GPU (cuInit gives {status}).", fix=_NO_DRIVER)
    number = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(number))
    version = f"{number.value // 1000}.{number.value % 1000 // 10}"
    library.cuDeviceGetCount(ctypes.byref(number))
    gpus = tuple(_gpu(library, index) for index in range(number.value))
    return Driver(gpus, version, "" if gpus else "The NVIDIA driver finds no GPU.", "" if gpus else _NO_DRIVER)


def _gpu(library: Any, index: int) -> Gpu:
    device, number, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    library.cuDeviceGet(ctypes.byref(device), index)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    library.cuDeviceGetName(name, _NAME_BYTES, device)
    capability = 0
    for attribute in (_MAJOR, _MINOR):
        library.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        capability = capability * 10 + number.value
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    return Gpu(index, name.value.decode(errors="replace"), capability, memory.value)
