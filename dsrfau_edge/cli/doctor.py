"""`dsrfau-doctor`: what this device has, which runtime would be chosen, why the others would not, how to fix it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsrfau_edge import __version__
from dsrfau_edge.errors import DsrfauError

if TYPE_CHECKING:
    from dsrfau_edge.bench.host import Host
    from dsrfau_edge.runtimes.base import Runtime

_EPILOG = "Exit codes: 0 a runtime would run the bundle · 3 none can · 5 the bundle cannot be read."


@click.command(name="doctor", epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--bundle", type=click.Path(path_type=Path), help="Choose for this bundle; the bundled student by default."
)
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def command(*, bundle: Path | None, as_json: bool) -> None:
    """Examine this device: its processors, its runtimes, and which of them would run a bundle.

    The report always comes, whatever is broken: what does not answer within half a minute is reported as that.
    """
    report, error = examine(_host(), bundle)
    click.echo(json.dumps(report, indent=1) if as_json else "\n".join(_lines(report)))
    if error is not None:
        raise error


def _host() -> Host:
    """Where to look; tests put their own machines here."""
    from dsrfau_edge.bench.host import Host

    return Host()


def examine(host: Host, bundle: Path | None = None) -> tuple[dict[str, Any], DsrfauError | None]:
    """Everything, ready for JSON, and why no runtime was chosen."""
    from dsrfau_edge.bench.devices import devices, within
    from dsrfau_edge.bench.environment import environment
    from dsrfau_edge.bench.hints import hints
    from dsrfau_edge.bench.host import state
    from dsrfau_edge.runtimes import cuda_driver
    from dsrfau_edge.runtimes.registry import runtimes

    around, now = environment(host, cuda_driver.driver), state(host)
    nothing: dict[str, Runtime] = {}
    known = within(runtimes, lambda why: nothing)
    asked = {name: _runtime(runtime) for name, runtime in known.items()}
    for name, one in asked.items():
        one["devices"] = devices(known[name]) if one["ok"] else []
    report: dict[str, Any] = {
        "version": __version__,
        "python": sys.executable,
        "device": {**around, **now},
        "runtimes": asked,
        "opencv": within(_opencv, lambda why: {"ok": False, "reason": why, "fix": _OPENCV_FIX}),
    }
    found = {name: one["devices"] for name, one in asked.items() if one["ok"]}
    report["hints"] = [{"problem": one.problem, "fix": one.fix} for one in hints(around, now, found, host)]
    report["bundle"], error = _choice(bundle)
    return report, error


def _runtime(runtime: Runtime) -> dict[str, Any]:
    from dsrfau_edge.bench.devices import availability

    found = availability(runtime)
    return {"ok": found.ok, "version": found.version, "reason": found.reason, "fix": found.fix}


_OPENCV_FIX = "Install it: pip install opencv-python"
_LIBRARIES = (
    "Debian, Ubuntu: sudo apt-get install libgl1 libglib2.0-0; or the OpenCV that needs none: pip uninstall "
    "opencv-python, then pip install opencv-python-headless"
)


def _opencv() -> dict[str, Any]:
    try:
        import cv2
    except ImportError as error:
        return {"ok": False, "reason": str(error), "fix": _LIBRARIES if ".so" in str(error) else _OPENCV_FIX}
    kept = {"FFMPEG": "ffmpeg", "GStreamer": "gstreamer", "v4l/v4l2": "v4l"}
    video = {
        name: line.split(":", 1)[1].strip()
        for line in cv2.getBuildInformation().splitlines()
        for key, name in kept.items()
        if line.strip().startswith(f"{key}:")
    }
    return {"ok": True, "version": cv2.__version__, "threads": cv2.getNumThreads(), "video": video}


def _choice(path: Path | None) -> tuple[dict[str, Any], DsrfauError | None]:
    """What would run the bundle, and why not the others; the error where nothing would."""
    from dsrfau_edge.bench.devices import within
    from dsrfau_edge.bundle import default_bundle

    folder = path or default_bundle()
    about: dict[str, Any] = {"path": str(folder)}

    def otherwise(why: str) -> tuple[dict[str, Any], DsrfauError | None]:
        error = DsrfauError(f"The choice for {folder} cannot be made: {why}. Name a runtime with --runtime.")
        return {**about, "runtime": None, "reason": str(error)}, error

    return within(lambda: _chosen(folder, about), otherwise, seconds=_CHOICE_SECONDS)


_CHOICE_SECONDS = 120.0


def _chosen(folder: Path, about: dict[str, Any]) -> tuple[dict[str, Any], DsrfauError | None]:
    from dsrfau_edge.bundle import Bundle
    from dsrfau_edge.runtimes.registry import choose

    try:
        bundle = Bundle.open(folder)
        about = {**about, "target": bundle.manifest.target, "precision": bundle.manifest.precision}
        choice = choose(bundle.model_files())
    except DsrfauError as error:
        return {**about, "runtime": None, "reason": str(error)}, error
    told = {
        "runtime": choice.runtime.name,
        "portable": choice.portable,
        "native": choice.native,
        "reason": choice.reason,
        "rejected": [{"name": name, "reason": reason, "fix": fix} for name, reason, fix in choice.rejected],
    }
    return {**about, **told}, None


def _lines(report: Mapping[str, Any]) -> list[str]:
    from dsrfau_edge.bench.environment import summary

    device = report["device"]
    lines = [*summary(device), f"This Python: {report['python']}", *_limits(device), *_now(device)]
    if not device["gpus"]:
        lines.append(f"NVIDIA GPU: none. {device['gpu_reason']}")
    for title, names in (("Graphics", device["graphics"]), ("Neural processors", device["neural"])):
        lines += [f"{title}: {', '.join(names)}"] if names else []
    lines += ["", _opencv_line(report["opencv"]), "", "Runtimes"]
    for name, found in report["runtimes"].items():
        on = f" on {', '.join(found['devices'])}" if found["devices"] else ""
        state = f"ok{on}" if found["ok"] else f"no. {found['reason']} {found['fix']}"
        lines.append(f"  {name} {found['version']}: {state}".replace(" :", ":"))
    if report["hints"]:
        lines += ["", "What could be better", *(f"  {one['problem']} {one['fix']}" for one in report["hints"])]
    return [*lines, "", *_choice_lines(report["bundle"])]


def _limits(device: Mapping[str, Any]) -> list[str]:
    told = []
    if device["cpu_limit"] is not None:
        told.append(f"{device['cpu_limit']:g} processors' worth of {device['allowed_cores']} cores")
    if device["memory_limit_bytes"] is not None:
        told.append(f"{device['memory_limit_bytes'] / (1 << 30):.1f} GiB of memory")
    return [f"Limits of the container or control group: {', '.join(told)}"] if told else []


def _now(device: Mapping[str, Any]) -> list[str]:
    told = [] if device["load_average"] is None else [f"load average {device['load_average']:g}"]
    told += [f"{name} {degrees:g} °C" for name, degrees in device["temperatures"].items()]
    if device["mhz"]:
        told.append(f"{min(device['mhz'])} to {max(device['mhz'])} MHz")
    return [f"Now: {', '.join(told)}"] if told else []


def _opencv_line(opencv: Mapping[str, Any]) -> str:
    if not opencv["ok"]:
        return f"OpenCV: {opencv['reason']}. {opencv['fix']}"
    video = ", ".join(f"{name} {state}" for name, state in opencv["video"].items())
    return f"OpenCV {opencv['version']}, {opencv['threads']} threads; video: {video or 'unknown'}"


def _choice_lines(bundle: Mapping[str, Any]) -> list[str]:
    if bundle["runtime"] is None:
        return [f"Bundle {bundle['path']}: none chosen. {bundle['reason']}"]
    used = "its portable fp32 graph" if bundle["portable"] else f"{bundle['target']} {bundle['precision']}"
    native = ", in the device's own precision" if bundle["native"] else ""
    lines = [f"Bundle {bundle['path']}", f"  would run in {bundle['runtime']} ({used}{native}): {bundle['reason']}"]
    lines += [f"  not in {item['name']}: {item['reason']} ({item['fix']})" for item in bundle["rejected"]]
    return [*lines, "Next: dsrfau-bench measures all of them here; with --remember the fastest is chosen from then on"]
