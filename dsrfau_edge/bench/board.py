"""Which board it is: Jetson with its release and power mode, Raspberry Pi, or what the firmware calls the machine."""

from __future__ import annotations

import re
from typing import Any

from .host import Host

#: JetPack by the release of Jetson Linux: the first entry that the release is not below. NVIDIA's own lists pair them.
_JETPACK = (
    ((38, 0), "7"),
    ((36, 4, 4), "6.2.1"),
    ((36, 4, 3), "6.2"),
    ((36, 4), "6.1"),
    ((36, 3), "6.0"),
    ((36, 0), "6.0 preview"),
    ((35, 0), "5"),
    ((34, 0), "5.0 preview"),
    ((32, 0), "4"),
)


def board(host: Host) -> dict[str, Any]:
    """Model of the board, and what is known of a Jetson; values are None where nothing tells."""
    return {"model": _model(host), "jetson": jetson(host), "virtual": _virtual(host)}


def jetson(host: Host) -> dict[str, Any] | None:
    """Release of Jetson Linux, the JetPack that it is probably from, and the power mode; None on other devices."""
    release = host.read("etc/nv_tegra_release")
    found = re.search(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", release)
    model = host.read("proc/device-tree/model")
    if found is None and "jetson" not in model.lower():
        return None
    version = f"{found[1]}.{found[2]}" if found else ""
    mode, number = power_mode(host)
    return {
        "l4t": version or None,
        "jetpack_guess": _jetpack(version),
        "model": model or None,
        "power_mode": mode,
        "power_mode_id": number,
    }


def power_mode(host: Host) -> tuple[str | None, int | None]:
    """Name and number of the mode that `nvpmodel -q` tells; None where it does not answer or is not there."""
    told = host.run(["nvpmodel", "-q"])
    name = re.search(r"NV Power Mode:\s*(\S+)", told)
    number = re.search(r"^\s*(\d+)\s*$", told, re.MULTILINE)
    return name[1] if name else None, int(number[1]) if number else None


def _jetpack(l4t: str) -> str | None:
    parts = tuple(int(part) for part in l4t.split(".") if part.isdigit())
    return next((name for first, name in _JETPACK if parts >= first), None) if parts else None


def _model(host: Host) -> str | None:
    tree = host.read("proc/device-tree/model")
    names = [host.read(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name")]
    firmware = " ".join(name for name in names if name and "filled by" not in name.lower() and name != "Default string")
    return tree or firmware or None


def _virtual(host: Host) -> bool | None:
    """Whether the processor says that it runs a virtual machine; only x86 tells."""
    flags = re.search(r"^flags\s*:(.*)$", host.read("proc/cpuinfo"), re.MULTILINE)
    return "hypervisor" in flags[1].split() if flags else None
