"""`dsrfau-doctor`: what this device has, which runtime would be chosen, why the others would not, how to fix it."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import click

from dsrfau_edge import __version__
from dsrfau_edge.errors import BundleError, DsrfauError, RuntimeUnavailable

#: CPU features that decide how fast int8 and bf16 are, by the name that Linux gives them.
_FEATURES = (
    "sse4_1",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimddp",
    "i8mm",
    "sve",
)


@click.command(name="doctor", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--bundle", type=click.Path(path_type=Path), help="Choose for this bundle; the bundled student by default."
)
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def command(*, bundle: Path | None, as_json: bool) -> None:
    """Examine this device: its processors, its runtimes, and which of them would run a bundle.

    Ends with exit code 3 if no runtime can run the bundle, and 5 if the bundle cannot be read.
    """
    report: dict[str, Any] = {
        "version": __version__,
        "device": _device(),
        "gpu": _gpu(),
        "runtimes": _runtimes(),
        "opencv": _opencv(),
    }
    choice, error = _choice(bundle)
    report["bundle"] = choice
    if as_json:
        click.echo(json.dumps(report, indent=1))
    else:
        click.echo("\n".join(_lines(report)))
    if error is not None:
        raise error


def _device() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cpu": _cpu_name(),
        "cores": _cores(),
        "features": _features(),
        "jetson": _jetson(),
    }


def _cores() -> int:
    """Cores that this process may use, which a container can limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {key.strip().lower(): value.strip() for key, value in pairs}


def _cpu_name() -> str:
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _features() -> list[str]:
    info = _cpuinfo()
    present = set((info.get("flags") or info.get("features") or "").split())
    return [name for name in _FEATURES if name in present]


def _jetson() -> str | None:
    """Release of Jetson Linux (L4T), or None on other devices."""
    try:
        return Path("/etc/nv_tegra_release").read_text(encoding="utf-8", errors="replace").splitlines()[0].strip("# ")
    except (OSError, IndexError):
        return None


def _gpu() -> dict[str, Any]:
    from dsrfau_edge.runtimes.cuda_driver import driver

    found = driver()
    return {
        "ok": found.ok,
        "cuda": found.cuda,
        "reason": found.reason,
        "fix": found.fix,
        "gpus": [
            {"name": gpu.name, "compute_capability": gpu.capability, "memory_bytes": gpu.memory} for gpu in found.gpus
        ],
    }


def _runtimes() -> dict[str, dict[str, Any]]:
    from dsrfau_edge.runtimes.registry import runtimes

    report = {}
    for name, runtime in runtimes().items():
        found = runtime.availability()
        report[name] = {"ok": found.ok, "version": found.version, "reason": found.reason, "fix": found.fix}
    return report


def _opencv() -> dict[str, Any]:
    try:
        import cv2
    except ImportError as error:
        return {"ok": False, "reason": str(error), "fix": "Install it: pip install opencv-python."}
    build = cv2.getBuildInformation()
    kept = {"FFMPEG": "ffmpeg", "GStreamer": "gstreamer", "v4l/v4l2": "v4l"}
    video = {
        name: line.split(":", 1)[1].strip()
        for line in build.splitlines()
        for key, name in kept.items()
        if line.strip().startswith(f"{key}:")
    }
    return {"ok": True, "version": cv2.__version__, "threads": cv2.getNumThreads(), "video": video}


def _choice(path: Path | None) -> tuple[dict[str, Any], DsrfauError | None]:
    from dsrfau_edge.bundle import Bundle, default_bundle
    from dsrfau_edge.runtimes.registry import choose

    folder = path or default_bundle()
    report: dict[str, Any] = {"path": str(folder)}
    try:
        bundle = Bundle.open(folder)
        report |= {"target": bundle.manifest.target, "precision": bundle.manifest.precision}
        choice = choose(bundle.model_files())
    except (BundleError, RuntimeUnavailable) as error:
        return {**report, "runtime": None, "reason": str(error)}, error
    report |= {
        "runtime": choice.runtime.name,
        "portable": choice.portable,
        "rejected": [{"name": name, "reason": reason, "fix": fix} for name, reason, fix in choice.rejected],
    }
    return report, None


def _lines(report: dict[str, Any]) -> list[str]:
    device = report["device"]
    lines = [
        f"dsrfau-edge {report['version']}, Python {device['python']} ({sys.executable})",
        f"{device['system']} on {device['machine']}: {device['cpu']}, {device['cores']} cores",
        f"CPU features: {', '.join(device['features']) or 'none of those that matter are known'}",
    ]
    if device["jetson"]:
        lines.append(f"Jetson: {device['jetson']}")
    for gpu in report["gpu"]["gpus"]:
        memory = gpu["memory_bytes"] / (1 << 30)
        lines.append(f"GPU: {gpu['name']}, compute capability {gpu['compute_capability']}, {memory:.1f} GiB")
    if not report["gpu"]["ok"]:
        lines.append(f"GPU: none. {report['gpu']['reason']}")
    opencv = report["opencv"]
    if opencv["ok"]:
        video = ", ".join(f"{name} {state}" for name, state in opencv["video"].items())
        lines.append(f"OpenCV {opencv['version']}, {opencv['threads']} threads; video: {video or 'unknown'}")
    else:
        lines.append(f"OpenCV: {opencv['reason']}. {opencv['fix']}")
    lines += ["", "Runtimes"]
    for name, found in report["runtimes"].items():
        state = "ok" if found["ok"] else f"no. {found['reason']} {found['fix']}"
        lines.append(f"  {name} {found['version']}: {state}".replace(" :", ":"))
    return [*lines, "", *_choice_lines(report["bundle"])]


def _choice_lines(bundle: dict[str, Any]) -> list[str]:
    if bundle["runtime"] is None:
        return [f"Bundle {bundle['path']}: none chosen. See the message below."]
    used = "its portable fp32 graph" if bundle["portable"] else f"{bundle['target']} {bundle['precision']}"
    lines = [f"Bundle {bundle['path']}", f"  would run in {bundle['runtime']} ({used})"]
    return lines + [f"  not in {item['name']}: {item['reason']} ({item['fix']})" for item in bundle["rejected"]]
