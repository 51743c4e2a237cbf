"""Resident memory of this process: now, and at most since it began."""

from __future__ import annotations

import platform
import re
from typing import Any

from .host import Host


def resident_bytes(host: Host | None = None) -> int | None:
    """Resident memory now; Linux tells it."""
    return _status(host or Host(), "VmRSS")


def peak_bytes(host: Host | None = None) -> int | None:
    """The high-water mark of the resident memory.

    On Linux `VmHWM`, which begins anew with each program; `getrusage` would pass on that of the parent. macOS gives
    bytes through `getrusage`; Windows is not asked.
    """
    found = _status(host or Host(), "VmHWM")
    if found is not None or platform.system() != "Darwin":
        return found
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def report(base: int | None, peak: int | None, before: str) -> dict[str, Any]:
    """As reported; `before` says what the process held when `base` was read."""
    if peak is None:
        return {"peak_bytes": None, "text": "not measured: this system does not tell a process its high-water mark"}
    how = "VmHWM of /proc/self/status" if platform.system() == "Linux" else "ru_maxrss of getrusage"
    return {"peak_bytes": peak, "base_bytes": base, "text": f"{how}; {before} held base_bytes"}


def _status(host: Host, name: str) -> int | None:
    found = re.search(rf"^{name}:\s*(\d+) kB", host.read("proc/self/status"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None
