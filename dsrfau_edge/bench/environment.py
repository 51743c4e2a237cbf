"""What a measurement depends on: board, processor, clocks, GPUs, versions. Shared with `dsrfau-doctor`."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from .. import __version__
from ..runtimes.cuda_driver import Driver, driver
from . import nvml
from .board import board
from .host import Host, clocks, processor, state

#: Packages whose versions decide what is measured, by the names they are installed under.
PACKAGES = (
    *("numpy", "opencv-python", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    *("onnxruntime-qnn", "openvino", "nncf", "tensorrt", "tensorrt-rtx", "cuda-python", "pycuda", "torch", "onnx"),
)
_PCI_VENDORS = {"0x8086": "Intel", "0x1002": "AMD", "0x10de": "NVIDIA"}

#: Fields of the environment that two results must share to be compared, by the words they are told in.
COMPARED = {
    "machine": "architecture",
    "board.model": "board",
    "cpu": "CPU",
    "cores": "usable cores",
    "governor": "governor",
    "turbo": "turbo",
    "gpus": "GPUs",
    "board.jetson.power_mode": "power mode (nvpmodel)",
}


def environment(host: Host | None = None, ask_driver: Callable[[], Driver] = driver) -> dict[str, Any]:
    """Everything that stays the same during a run, ready for JSON; what nothing tells is None. Never raises."""
    where = host or Host()
    return {
        "system": where.system,
        "machine": where.machine,
        "python": platform.python_version(),
        "dsrfau_edge": __version__,
        "packages": packages(),
        "board": board(where),
        **processor(where),
        **clocks(where),
        **gpus(where, ask_driver),
    }


def moment(host: Host, count: int = 0) -> dict[str, Any]:
    """What changes from one moment to the next, see `host.state`, with clocks and temperatures of `count` GPUs."""
    found = [(index, nvml.gpu(index)) for index in range(count)]
    told = [{"index": index, "celsius": gpu.celsius(), "mhz": gpu.megahertz()} for index, gpu in found if gpu]
    return {**state(host), "gpus": told}


def packages() -> dict[str, str]:
    """Versions of the packages that matter and are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except Exception:  # noqa: BLE001, S112 - a broken installation raises anything, and is none of our business
            continue
    return found


def gpus(host: Host, ask_driver: Callable[[], Driver] = driver) -> dict[str, Any]:
    """NVIDIA's GPUs with their driver, and graphics and neural processors that the system lists."""
    found = ask_driver()
    return {
        "gpus": [
            {"name": gpu.name, "compute_capability": gpu.capability, "memory_bytes": gpu.memory} for gpu in found.gpus
        ],
        "cuda": found.cuda or None,
        "gpu_driver": nvml.driver_version() if found.ok else None,
        "gpu_reason": found.reason,
        "gpu_fix": found.fix,
        "graphics": _pci(host, "sys/class/drm/card[0-9]*/device/vendor"),
        "neural": _pci(host, "sys/class/accel/accel[0-9]*/device/vendor"),
    }


def _pci(host: Host, pattern: str) -> list[str]:
    """Vendors of the devices whose files match."""
    vendors = {path: host.read(path) for path in host.glob(pattern)}
    return sorted({_PCI_VENDORS.get(vendor, vendor) for vendor in vendors.values() if vendor})


def lookup(block: Mapping[str, Any], key: str) -> Any:
    """A field by its dotted name, or None."""
    value: Any = block
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def summary(block: Mapping[str, Any]) -> list[str]:
    """The block in a few lines of text."""
    cores = f"{block['cores']} core{'s' if block['cores'] != 1 else ''} usable"
    clock = [
        f"governor {block['governor']}" if block["governor"] else "governor not readable",
        {True: "turbo on", False: "turbo off", None: "turbo not readable"}[block["turbo"]],
    ]
    lines = [
        f"{block['board']['model'] or 'board unknown'}, {block['cpu']}, {cores}, {', '.join(clock)}",
        f"CPU features: {', '.join(block['features']) or 'none of those that matter are known'}",
        f"{block['system']} on {block['machine']}, Python {block['python']}, dsrfau-edge {block['dsrfau_edge']}",
        "Packages: " + ", ".join(f"{name} {version}" for name, version in block["packages"].items()),
    ]
    lines += [jetson_line(block["board"]["jetson"])] if block["board"]["jetson"] else []
    return lines + [gpu_line(gpu, block) for gpu in block["gpus"]]


def jetson_line(jetson: Mapping[str, Any]) -> str:
    """What is known of a Jetson in a line."""
    l4t = f"Jetson Linux (L4T) {jetson['l4t']}" if jetson["l4t"] else "release of Jetson Linux not readable"
    guess = f", probably JetPack {jetson['jetpack_guess']} (guessed from that)" if jetson["jetpack_guess"] else ""
    mode = (
        f"power mode {jetson['power_mode']}" if jetson["power_mode"] else "power mode unknown (nvpmodel -q gives none)"
    )
    return f"Jetson: {jetson['model'] or 'model unknown'}, {l4t}{guess}, {mode}"


def gpu_line(gpu: Mapping[str, Any], block: Mapping[str, Any]) -> str:
    """One NVIDIA GPU in a line."""
    capability = gpu["compute_capability"]
    driver_version = f", driver {block['gpu_driver']}" if block["gpu_driver"] else ""
    return (
        f"GPU: {gpu['name']}, compute capability {capability // 10}.{capability % 10}, "
        f"{gpu['memory_bytes'] / (1 << 30):.1f} GiB, CUDA {block['cuda'] or 'unknown'}{driver_version}"
    )
