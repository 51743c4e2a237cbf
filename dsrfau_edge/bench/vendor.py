"""OpenVINO's own benchmark_app on the same file, for whoever trusts only the runtime's maker."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..errors import RuntimeUnavailable
from ..runtimes.base import ModelFiles
from .job import Job

RUNTIME = "openvino"
_GRACE = 120.0
_PRECISIONS = {"fp32": "f32", "int8": "f32", "fp16": "f32"}


def device_name(device: str | None) -> str:
    """OpenVINO's name of a device: `gpu:1` → `GPU.1`, `auto:gpu,cpu` → `AUTO:GPU,CPU`."""
    from ..runtimes.openvino import _device

    return _device(device)


def tool() -> Path | None:
    """Where benchmark_app is: beside this Python, else on the path."""
    beside = shutil.which("benchmark_app", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("benchmark_app")
    return Path(found) if found else None


def command(path: Path, files: ModelFiles, job: Job, seconds: float) -> list[str]:
    """What is typed: one request at a time, as our own calls are made, and one stream."""
    device = device_name(job.device)
    shape = f"[{job.batch},{files.input_size},{files.input_size},3]"
    typed = [str(path), "-m", str(files.path), "-d", device, "-hint", "none", "-nstreams", "1", "-api", "sync"]
    typed += ["-shape", shape, "-t", f"{max(1, round(seconds))}"]
    if job.threads is not None:
        typed += ["-nthreads", str(job.threads)]
    if not job.native and device == "CPU":
        typed += ["-infer_precision", _PRECISIONS[files.precision]]
    return typed


def run(files: ModelFiles, job: Job, seconds: float) -> dict[str, Any]:
    """Values of a row: its median, mean, longest call and throughput; it tells no other percentile with them.

    Raises:
        RuntimeUnavailable: it is not installed, fails, or says nothing that is understood.
    """
    path = tool()
    if path is None:
        raise RuntimeUnavailable(
            "benchmark_app is not installed; it comes with OpenVINO's package. Install it: pip install openvino"
        )
    typed = command(path, files, job, seconds)
    try:
        done = subprocess.run(
            typed, capture_output=True, text=True, errors="replace", timeout=seconds + _GRACE, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeUnavailable(f"{path} does not run: {error}. Leave out --vendor-tool.") from error
    found = parse(done.stdout)
    if done.returncode != 0 or "p50" not in found:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line or "rror:" in line]
        why = lines[-1].strip() if lines else f"exit code {done.returncode}"
        raise RuntimeUnavailable(f"benchmark_app gave no time: {why}. Leave out --vendor-tool.")
    shown = " ".join([path.name, *typed[1:2], files.path.name, *typed[3:]])
    note = f"{shown}; random pictures, and the heatmaps are computed too."
    return {"figures": found, "notes": [note], "runtime_version": _version(done.stdout)}


def parse(printed: str) -> dict[str, Any]:
    """Milliseconds and throughput from what it prints."""
    patterns = {
        "p50": r"Median:\s*([\d.]+) (ms|us)",
        "mean": r"Average:\s*([\d.]+) (ms|us)",
        "max": r"Max:\s*([\d.]+) (ms|us)",
        "throughput": r"Throughput:\s*([\d.]+) (FPS)",
        "calls": r"Count:\s*(\d+) (iterations)",
    }
    matches = {name: re.search(pattern, printed) for name, pattern in patterns.items()}
    # What takes less than a millisecond on average is printed in microseconds.
    found: dict[str, Any] = {
        name: float(match[1]) / (1e3 if match[2] == "us" else 1) for name, match in matches.items() if match
    }
    return {**found, "calls": int(found["calls"])} if "calls" in found else found


def _version(printed: str) -> str:
    match = re.search(r"Build \.+ ([\d.]+)", printed)
    return match[1] if match else ""
