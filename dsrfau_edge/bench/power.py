"""Power drawn while something runs, from the meters that a device has: Jetson's rails, RAPL, hwmon, NVML.

A meter either counts energy, which is read before and after, or tells the power of the moment, which is sampled. What
none of them can tell is "not measured", with the reason, and never estimated.
"""

from __future__ import annotations

import os
import re
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from . import nvml
from .host import Host

_PERIOD = 0.05
#: Names of rails that feed the whole board, so that the others are parts of them and must not be added.
_WHOLE = re.compile(r"^(VDD_IN|POM_5V_IN|VDD_IN_TOTAL)$")
_UNUSED = re.compile(r"^(NC|sum of shunt voltages)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Power:
    """What a meter told of a stretch of calls, or why nothing was measured.

    Attributes:
        watts: mean over the stretch, of all that the meter covers, idle power included.
        millijoules: of one crop or frame.
        source: the meter and what it covers.
        reason: why there are no watts, or "".
    """

    watts: float | None = None
    millijoules: float | None = None
    source: str = ""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As reported."""
        if self.watts is None:
            return {"watts": None, "text": f"not measured: {self.reason}"}
        millijoules = None if self.millijoules is None else float(f"{self.millijoules:.4g}")
        return {"watts": float(f"{self.watts:.4g}"), "millijoules": millijoules, "source": self.source}


class Meter(Protocol):
    """Something that measures power; `source` says what and where."""

    source: str

    def watch(self, run: Callable[[], None]) -> tuple[float, float] | None:
        """Joules used and seconds passed while `run` runs, or None where the meter stopped answering."""


class EnergyCounter:
    """A meter that counts energy up to `limit` joules and then begins again."""

    def __init__(self, source: str, read: Callable[[], float | None], limit: float | None = None) -> None:
        self.source = source
        self._read, self._limit = read, limit

    def watch(self, run: Callable[[], None]) -> tuple[float, float] | None:
        before, start = self._read(), time.perf_counter()
        run()
        after, seconds = self._read(), time.perf_counter() - start
        if before is None or after is None:
            return None
        if after < before:
            return None if self._limit is None else (after + self._limit - before, seconds)
        return after - before, seconds


class PowerSampler:
    """A meter that tells the power of the moment, asked twenty times a second from a thread of its own."""

    def __init__(self, source: str, watts: Callable[[], float | None]) -> None:
        self.source = source
        self._watts = watts

    def watch(self, run: Callable[[], None]) -> tuple[float, float] | None:
        samples: list[float] = []
        done = threading.Event()

        def sample() -> None:
            while True:
                value = self._watts()
                if value is not None:
                    samples.append(value)
                if done.wait(_PERIOD):
                    return

        sampler = threading.Thread(target=sample, daemon=True)
        start = time.perf_counter()
        sampler.start()
        try:
            run()
        finally:
            seconds = time.perf_counter() - start
            done.set()
            sampler.join()
        return (statistics.fmean(samples) * seconds, seconds) if samples else None


def device_of(runtime: str, device: str | None) -> str:
    """What a meter must cover: `cpu`, `cuda:1`, or what OpenVINO computes on besides the CPU (`openvino gpu`)."""
    first = (device or ("cuda:0" if runtime == "tensorrt" else "cpu")).lower().partition("+")[0].strip()
    return first if runtime != "openvino" or first == "cpu" else f"openvino {first}"


def find_meter(host: Host, device: str) -> tuple[Meter | None, str]:
    """The meter that covers what a device computes on, or why there is none; see `device_of` for the device."""
    family, _, index = device.partition(":")
    if family in ("cuda", "tensorrt") and (found := _nvml(int(index) if index.isdigit() else 0)):
        return found, ""
    board = _rails(host) or _old_rails(host)
    if board:
        return board, ""
    if family != "cpu":
        return None, f"no meter of {device} can be read (NVML, INA)"
    return _package(host)


def measure(meter: Meter | None, reason: str, call: Callable[[int], object], *, items: int, seconds: float) -> Power:
    """Power of calls one after another for some seconds; these calls are not timed."""
    if meter is None:
        return Power(reason=reason)
    calls = 0
    started = time.perf_counter()

    def run() -> None:
        nonlocal calls
        while time.perf_counter() - started < seconds or not calls:
            call(calls)
            calls += 1

    found = meter.watch(run)
    if found is None:
        return Power(reason=f"{meter.source} stopped answering")
    joules, elapsed = found
    return Power(joules / max(elapsed, 1e-9), 1e3 * joules / (calls * items), meter.source)


def _nvml(index: int) -> Meter | None:
    found = nvml.gpu(index)
    if found is None:
        return None
    if found.joules() is not None:
        return EnergyCounter(f"NVML energy counter of GPU {index} (its whole board)", found.joules)
    if found.watts() is not None:
        return PowerSampler(f"NVML power of GPU {index} (its whole board)", found.watts)
    return None


def _rails(host: Host) -> Meter | None:
    """INA3221 of a Jetson: millivolts and milliamperes of up to three rails a chip."""
    rails: dict[str, tuple[Any, Any]] = {}
    for path in host.glob("sys/class/hwmon/hwmon*/curr*_input"):
        number = path.name.removeprefix("curr").removesuffix("_input")
        label = host.read(path.parent / f"in{number}_label")
        if host.read(path.parent / "name") == "ina3221" and label and not _UNUSED.match(label):
            rails[label] = (path.parent / f"in{number}_input", path)
    chosen = {name: pair for name, pair in rails.items() if _WHOLE.match(name)} or rails
    if not chosen:
        return None

    def watts() -> float | None:
        pairs = [(host.number(volts), host.number(amperes)) for volts, amperes in chosen.values()]
        known = [volts * amperes / 1e6 for volts, amperes in pairs if volts is not None and amperes is not None]
        return sum(known) if len(known) == len(pairs) else None

    return None if watts() is None else PowerSampler(f"INA3221 rails {' + '.join(chosen)}", watts)


def _old_rails(host: Host) -> Meter | None:
    """INA3221 as JetPack 4 shows it: milliwatts of each rail, one of which feeds the board."""
    for path in host.glob("sys/bus/i2c/drivers/ina3221x/*/iio*/in_power*_input"):
        number = path.name.removeprefix("in_power").removesuffix("_input")
        label = host.read(path.parent / f"rail_name_{number}")
        if _WHOLE.match(label) and host.number(path) is not None:

            def watts(path: Any = path) -> float | None:
                value = host.number(path)
                return None if value is None else value / 1e3

            return PowerSampler(f"INA3221 rail {label}", watts)
    return None


def _package(host: Host) -> tuple[Meter | None, str]:
    """RAPL of the processor packages, else an energy or power sensor of hwmon."""
    # A zone has a number (intel-rapl:0); its parts, which it covers, have two (intel-rapl:0:1).
    zones = [
        path
        for path in host.glob("sys/class/powercap/intel-rapl:*")
        if path.name.count(":") == 1 and host.read(path / "name").startswith("package")
    ]
    if zones:
        return _rapl(host, zones)
    for pattern, unit, counts in (("energy*_input", 1e6, True), ("power*_input", 1e6, False)):
        for path in host.glob(f"sys/class/hwmon/hwmon*/{pattern}"):
            chip = host.read(path.parent / "name") or path.parent.name
            label = host.read(path.parent / f"{path.name.removesuffix('_input')}_label") or path.name
            read = _reader(host, [path], unit)
            if read() is not None and _covers_processor(chip, label):
                source = f"hwmon {chip} {label}"
                return (EnergyCounter(source, read) if counts else PowerSampler(source, read)), ""
    return (
        None,
        "no power meter can be read here (RAPL in /sys/class/powercap, INA or energy sensors in /sys/class/hwmon)",
    )


def _rapl(host: Host, zones: list[Any]) -> tuple[Meter | None, str]:
    files = [zone / "energy_uj" for zone in zones]
    read = _reader(host, files, 1e6)
    if read() is None:
        secret = next((path for path in files if path.exists() and not os.access(path, os.R_OK)), None)
        if secret is not None:
            shown = f"/{secret.relative_to(host.root)}"
            return None, f"{shown} is readable by root alone (sudo chmod o+r {shown} until the next start)"
        return None, "RAPL is there, but its counters cannot be read"
    limits = [host.number(zone / "max_energy_range_uj") for zone in zones]
    # Several packages wrap at times of their own, which a sum cannot tell; one package is the usual case.
    limit = limits[0] / 1e6 if len(limits) == 1 and limits[0] else None
    names = " + ".join(host.read(zone / "name") for zone in zones)
    return EnergyCounter(f"RAPL {names} (the whole processor)", read, limit), ""


def _covers_processor(chip: str, label: str) -> bool:
    return chip in ("amd_energy", "zenpower", "fam15h_power") or label.lower() in ("esocket0", "package", "svi2_p_core")


def _reader(host: Host, paths: list[Any], unit: float) -> Callable[[], float | None]:
    def read() -> float | None:
        values = [host.number(path) for path in paths]
        known = [value for value in values if value is not None]
        return sum(known) / unit if len(known) == len(values) else None

    return read
