"""NVIDIA's management library through ctypes: driver version, power, clocks and temperature of a GPU.

Jetsons have no such library (their rails are read through hwmon); without it every answer is None.
"""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass
from typing import Any

_BYTES = 96
#: NVML_CLOCK_GRAPHICS, NVML_CLOCK_SM, NVML_CLOCK_MEM and NVML_TEMPERATURE_GPU of nvml.h.
_CLOCKS = {"graphics": 0, "sm": 1, "memory": 2}
_TEMPERATURE_GPU = 0


@dataclass(frozen=True, slots=True)
class NvmlGpu:
    """One GPU. Every question gives None where the GPU or its driver does not answer it."""

    library: Any
    handle: Any

    def watts(self) -> float | None:
        """Power that the board draws now."""
        milliwatts = _unsigned(self.library.nvmlDeviceGetPowerUsage, self.handle)
        return None if milliwatts is None else milliwatts / 1e3

    def joules(self) -> float | None:
        """Energy since the driver was loaded; Volta and newer tell it."""
        value = ctypes.c_ulonglong()
        if self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle, ctypes.byref(value)) != 0:
            return None
        return value.value / 1e3

    def celsius(self) -> float | None:
        """Temperature of the GPU."""
        value = _unsigned(self.library.nvmlDeviceGetTemperature, self.handle, _TEMPERATURE_GPU)
        return None if value is None else float(value)

    def megahertz(self) -> dict[str, int]:
        """Clocks now, by what they drive."""
        found = {
            name: _unsigned(self.library.nvmlDeviceGetClockInfo, self.handle, kind) for name, kind in _CLOCKS.items()
        }
        return {name: value for name, value in found.items() if value is not None}


@functools.cache
def library() -> Any | None:
    """The library, initialised, or None."""
    try:
        loaded = ctypes.CDLL("nvml.dll" if os.name == "nt" else "libnvidia-ml.so.1")
        return loaded if loaded.nvmlInit_v2() == 0 else None
    except (OSError, AttributeError):
        return None


def gpu(index: int, loaded: Any | None = None) -> NvmlGpu | None:
    """The GPU of this number, or None."""
    found = loaded or library()
    if found is None:
        return None
    handle = ctypes.c_void_p()
    try:
        status = found.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
    except AttributeError:
        return None
    return NvmlGpu(found, handle) if status == 0 else None


def driver_version(loaded: Any | None = None) -> str | None:
    """Version of the driver, such as `580.65.06`."""
    found = loaded or library()
    if found is None:
        return None
    name = ctypes.create_string_buffer(_BYTES)
    try:
        status = found.nvmlSystemGetDriverVersion(name, _BYTES)
    except AttributeError:
        return None
    return name.value.decode(errors="replace") if status == 0 else None


def _unsigned(function: Any, handle: Any, *arguments: int) -> int | None:
    value = ctypes.c_uint()
    return int(value.value) if function(handle, *arguments, ctypes.byref(value)) == 0 else None
