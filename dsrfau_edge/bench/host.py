"""The machine as its files describe it: processor, limits, clocks, temperatures. Nothing here raises or waits for long.

Everything is read below a root that tests replace by a folder of their own.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

_SECONDS = 5.0
_CPUS = "sys/devices/system/cpu"
#: CPU features that decide how fast int8, bf16 and fp16 are, by the names that Linux gives them.
FEATURES = (
    *("sse4_1", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
#: Cores of ARM processors, whose names Linux does not tell, by implementer and part.
_ARM = {
    "0x41:0xd03": "Cortex-A53",
    "0x41:0xd04": "Cortex-A35",
    "0x41:0xd05": "Cortex-A55",
    "0x41:0xd07": "Cortex-A57",
    "0x41:0xd08": "Cortex-A72",
    "0x41:0xd09": "Cortex-A73",
    "0x41:0xd0a": "Cortex-A75",
    "0x41:0xd0b": "Cortex-A76",
    "0x41:0xd0c": "Neoverse-N1",
    "0x41:0xd40": "Neoverse-V1",
    "0x41:0xd41": "Cortex-A78",
    "0x41:0xd42": "Cortex-A78AE",
    "0x41:0xd49": "Neoverse-N2",
    "0x41:0xd4f": "Neoverse-V2",
    "0x4e:0x003": "Denver 2",
    "0x4e:0x004": "Carmel",
}


def run_quietly(command: Sequence[str]) -> str:
    """What a program prints, or "" where it is not there, fails or takes longer than a few seconds."""
    try:
        done = subprocess.run(
            list(command), capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS, check=False
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        _log.debug("%s: %s", command[0], error)
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def allowed_cores() -> int:
    """Cores that the system schedules this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Host:
    """Where to look.

    Attributes:
        root: folder below which /proc, /sys and /etc are read.
        run: runs a program, see `run_quietly`.
        cores: see `allowed_cores`.
        machine: architecture.
        system: name and release of the operating system.
    """

    root: Path = Path("/")
    run: Callable[[Sequence[str]], str] = run_quietly
    cores: Callable[[], int] = allowed_cores
    machine: str = platform.machine()
    system: str = f"{platform.system()} {platform.release()}"

    def read(self, path: str | Path) -> str:
        """Contents of a small file without blanks and NULs around it; "" where it cannot be read."""
        try:
            return (self.root / path).read_bytes().decode(errors="replace").strip("\0 \t\r\n")
        except (OSError, ValueError):
            return ""

    def number(self, path: str | Path) -> float | None:
        """The number in a file, or None."""
        try:
            value = float(self.read(path))
        except ValueError:
            return None
        return value if math.isfinite(value) else None

    def glob(self, pattern: str) -> list[Path]:
        """Paths below the root, in natural order; links are followed."""
        try:
            return sorted(self.root.glob(pattern), key=lambda path: [_natural(part) for part in path.parts])
        except (OSError, ValueError):
            return []


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part)


def processor(host: Host) -> dict[str, Any]:
    """Name, features and cores of the processor."""
    blocks = _cpuinfo(host)
    limit = cpu_limit(host)
    allowed = host.cores()
    present = set((_field(blocks, "flags") or _field(blocks, "features")).split())
    return {
        "cpu": _name(host, blocks),
        "features": [name for name in FEATURES if name in present],
        "cores": allowed if limit is None else max(1, min(allowed, math.ceil(limit))),
        "allowed_cores": allowed,
        "cpu_limit": limit,
        "memory_bytes": _memory(host),
        "memory_limit_bytes": memory_limit(host),
        "smt": {"1": True, "0": False}.get(host.read(f"{_CPUS}/smt/active")),
    }


def _cpuinfo(host: Host) -> list[dict[str, str]]:
    blocks = re.split(r"\n\s*\n", host.read("proc/cpuinfo"))
    return [
        {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        for block in blocks
    ]


def _field(blocks: list[dict[str, str]], name: str) -> str:
    return next((block[name] for block in blocks if block.get(name)), "")


def _name(host: Host, blocks: list[dict[str, str]]) -> str:
    """`model name` where there is one, else what kinds of ARM cores there are, as in `4x Cortex-A76`."""
    named = _field(blocks, "model name")
    parts = [
        f"{block['cpu implementer']}:{block['cpu part']}"
        for block in blocks
        if {"cpu implementer", "cpu part"} <= set(block)
    ]
    if parts and (not named or named.lower().startswith("armv")):
        counted = Counter(_ARM.get(part, f"ARM {part}") for part in parts)
        return " + ".join(f"{count}x {core}" for core, count in counted.items())
    return named or (platform.processor() if host.root == Path("/") else "") or host.machine


def cpu_limit(host: Host) -> float | None:
    """Processors' worth of time that a control group leaves this process, or None for no limit."""
    limits = []
    for folder in _groups(host, "cpu"):
        quota, _, period = host.read(f"{folder}/cpu.max").partition(" ")
        limits.append(_ratio(quota, period))
        limits.append(_ratio(host.read(f"{folder}/cpu.cfs_quota_us"), host.read(f"{folder}/cpu.cfs_period_us")))
    known = [limit for limit in limits if limit is not None]
    return round(min(known), 2) if known else None


def memory_limit(host: Host) -> int | None:
    """Bytes that a control group leaves this process, or None for no limit."""
    names = ("memory.max", "memory.limit_in_bytes")
    found = [host.number(f"{folder}/{name}") for folder in _groups(host, "memory") for name in names]
    known = [int(value) for value in found if value is not None and 0 < value < 1 << 60]
    return min(known) if known else None


def _groups(host: Host, controller: str) -> list[str]:
    """Folders of this process's control group and of those around it, of both versions."""
    folders = ["sys/fs/cgroup", f"sys/fs/cgroup/{controller}", "sys/fs/cgroup/cpu,cpuacct"]
    for line in host.read("proc/self/cgroup").splitlines():
        _, names, path = (*line.split(":", 2), "", "")[:3]
        bases = [f"sys/fs/cgroup/{names}"] if controller in names.split(",") else ["sys/fs/cgroup"] if not names else []
        parts = [part for part in path.split("/") if part not in ("", "..")]
        folders += [f"{base}/{'/'.join(parts[:depth])}" for base in bases for depth in range(1, len(parts) + 1)]
    return folders


def _ratio(quota: str, period: str) -> float | None:
    try:
        allowed, of = float(quota), float(period or 100_000)
    except ValueError:  # "max"
        return None
    return allowed / of if allowed > 0 and of > 0 else None


def _memory(host: Host) -> int | None:
    found = re.search(r"MemTotal:\s*(\d+) kB", host.read("proc/meminfo"))
    return int(found[1]) * 1024 if found else None


def clocks(host: Host) -> dict[str, Any]:
    """How the processor chooses its clock: governors, driver, turbo, range in MHz."""
    folders = host.glob(f"{_CPUS}/cpu[0-9]*/cpufreq")
    return {
        "governor": ", ".join(_different(host, folders, "scaling_governor")) or None,
        "frequency_driver": ", ".join(_different(host, folders, "scaling_driver")) or None,
        "energy_preference": ", ".join(_different(host, folders, "energy_performance_preference")) or None,
        "turbo": _turbo(host),
        "min_mhz": _extreme(host, folders, "scaling_min_freq", min),
        "max_mhz": _extreme(host, folders, "scaling_max_freq", max),
    }


def _different(host: Host, folders: list[Path], name: str) -> list[str]:
    return sorted({found for folder in folders if (found := host.read(folder / name))})


def _extreme(host: Host, folders: list[Path], name: str, which: Callable[[list[float]], float]) -> int | None:
    found = [value for folder in folders if (value := host.number(folder / name)) is not None]
    return round(which(found) / 1e3) if found else None


def _turbo(host: Host) -> bool | None:
    off = host.read(f"{_CPUS}/intel_pstate/no_turbo")
    boost = host.read(f"{_CPUS}/cpufreq/boost")
    return {"0": True, "1": False}.get(off, {"1": True, "0": False}.get(boost))


def state(host: Host) -> dict[str, Any]:
    """What changes from one moment to the next: load, clocks, temperatures, times the clock was throttled."""
    folders = host.glob(f"{_CPUS}/cpu[0-9]*/cpufreq")
    throttled = [host.number(path) for path in host.glob(f"{_CPUS}/cpu[0-9]*/thermal_throttle/core_throttle_count")]
    counts = [int(count) for count in throttled if count is not None]
    return {
        "load_average": _load(host),
        "mhz": [round(value / 1e3) for folder in folders if (value := host.number(folder / "scaling_cur_freq"))],
        "temperatures": temperatures(host),
        "throttled": sum(counts) if counts else None,
    }


def _load(host: Host) -> float | None:
    try:
        return float(host.read("proc/loadavg").split()[0])
    except (ValueError, IndexError):
        return None


def temperatures(host: Host) -> dict[str, float]:
    """Degrees Celsius by sensor, from the thermal zones and hwmon; what cannot be true is left out."""
    found: dict[str, float | None] = {}
    for zone in host.glob("sys/class/thermal/thermal_zone*"):
        found[host.read(zone / "type") or zone.name] = host.number(zone / "temp")
    for path in host.glob("sys/class/hwmon/hwmon*/temp*_input"):
        sensor = path.name.removesuffix("_input")
        chip = host.read(path.parent / "name") or path.parent.name
        label = host.read(path.parent / f"{sensor}_label") or sensor
        found.setdefault(f"{chip} {label}", host.number(path))
    # A zone that is switched off reads 0, -256 °C or the like.
    return {name: round(value / 1e3, 1) for name, value in found.items() if value and -40e3 <= value <= 150e3}
