"""What about a device makes it slow, or keeps a part of it unused, and the command that changes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .host import Host

_HOT = 85.0
_LITTLE = 1 << 30
#: Features that make int8 arithmetic faster than fp32.
_INT8 = {"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"}
#: Bits of `vcgencmd get_throttled`: now, and since the start.
_UNDER_VOLTAGE, _THROTTLED = 0x1 | 0x10000, 0x4 | 0x40000


@dataclass(frozen=True, slots=True)
class Hint:
    """One thing to change: what is so, and what to type or do."""

    problem: str
    fix: str

    def __str__(self) -> str:
        """In one line."""
        return f"{self.problem} {self.fix}"


def hints(block: Mapping[str, Any], now: Mapping[str, Any], devices: Mapping[str, list[str]], host: Host) -> list[Hint]:
    """Everything that is worth a change.

    Args:
        block: see `environment.environment`.
        now: see `host.state`.
        devices: by runtime, what it says it can compute on.
        host: where boards' own tools are asked.
    """
    return [*_clock(block), *_share(block, now), *_accelerators(block, devices), *_board(block, now, host)]


def _clock(block: Mapping[str, Any]) -> Iterator[Hint]:
    command = "For steady times: sudo cpupower frequency-set -g performance"
    if "powersave" in (block["governor"] or ""):
        scales = (block["frequency_driver"] or "") in ("intel_pstate", "amd-pstate-epp")
        what = "lets the clock follow the load only slowly" if scales else "keeps the CPU at its lowest clock"
        yield Hint(f"The governor powersave {what}.", command)
    if block["turbo"] is False:
        yield Hint("Turbo is switched off.", "Switch it on in the firmware, or by /sys/devices/system/cpu/*/no_turbo.")
    if block["features"] and not _INT8 & set(block["features"]):
        yield Hint("This CPU has no int8 dot products: int8 may be no faster than fp32.", "Measure it: dsrfau-bench")


def _share(block: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Hint]:
    limit, allowed = block["cpu_limit"], block["allowed_cores"]
    if limit is not None and limit < allowed:
        yield Hint(
            f"A control group (container) leaves {limit:g} processors' worth of {allowed} cores: threads beyond that "
            "are paused again and again.",
            f"Give Predictor threads={max(1, int(limit))} (--threads), or the container more: docker run --cpus "
            f"{allowed}",
        )
    memory = block["memory_limit_bytes"]
    if memory is not None and memory < _LITTLE:
        yield Hint(f"The container may use {memory >> 20} MiB of memory.", "Give it more: docker run --memory 1g")
    load = now["load_average"]
    if load is not None and load > block["cores"]:
        yield Hint(f"Other programs want the CPU: load average {load:g} on {block['cores']} cores.", "See them: top")


def _accelerators(block: Mapping[str, Any], devices: Mapping[str, list[str]]) -> Iterator[Hint]:
    known = devices.get("openvino")
    if known is not None:
        names = [name.split(" ")[0].split(".")[0] for name in known]
        if "Intel" in block["graphics"] and "GPU" not in names:
            yield Hint(
                "There is an Intel GPU, which OpenVINO does not find.",
                "Debian, Ubuntu: sudo apt-get install intel-opencl-icd; in a container: docker run --device /dev/dri",
            )
        if "Intel" in block["neural"] and "NPU" not in names:
            yield Hint(
                "There is an Intel NPU, which OpenVINO does not find.",
                "Install Intel's NPU driver (intel/linux-npu-driver); in a container: docker run --device /dev/accel",
            )
    jetson = block["board"]["jetson"] is not None
    if not block["gpus"] and (jetson or "NVIDIA" in block["graphics"]):
        yield Hint(
            "There is an NVIDIA GPU, whose driver does not answer.",
            "In a container: docker run --runtime nvidia; else install the driver"
            + (" with JetPack: sudo apt-get install nvidia-jetpack" if jetson else ""),
        )


def _board(block: Mapping[str, Any], now: Mapping[str, Any], host: Host) -> Iterator[Hint]:
    jetson = block["board"]["jetson"]
    if jetson is not None and jetson["power_mode"] and not jetson["power_mode"].upper().startswith("MAXN"):
        yield Hint(
            f"The Jetson runs in power mode {jetson['power_mode']}, not its fastest.",
            "See the modes: nvpmodel -p --verbose; choose: sudo nvpmodel -m ID; hold the clocks: sudo jetson_clocks",
        )
    hot = {name: degrees for name, degrees in now["temperatures"].items() if degrees >= _HOT}
    if hot:
        named = ", ".join(f"{name} {degrees:g} °C" for name, degrees in hot.items())
        yield Hint(f"It is hot ({named}), so that clocks are lowered.", "Cool it before measuring.")
    if "raspberry" in (block["board"]["model"] or "").lower():
        yield from _raspberry(host)


def _raspberry(host: Host) -> Iterator[Hint]:
    found = re.search(r"throttled=0x([0-9a-fA-F]+)", host.run(["vcgencmd", "get_throttled"]))
    bits = int(found[1], 16) if found else 0
    if bits & _UNDER_VOLTAGE:
        yield Hint("The supply voltage was too low since the start.", "Use the board's own supply (27 W for the Pi 5).")
    if bits & _THROTTLED:
        yield Hint("The clock was throttled since the start.", "Cool it, or use a stronger supply.")
