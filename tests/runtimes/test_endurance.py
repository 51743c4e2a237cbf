"""Opening and closing a model a thousand times in one process leaves no files open and keeps no memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from endurance import BOUND, growth

from dsrfau_edge.runtimes.registry import runtimes


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="open files and memory are read from /proc")
@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "tensorrt"])
def test_a_thousand_sessions_leave_nothing(name: str, tiny_bundle: Path, tmp_path: Path) -> None:
    availability = runtimes()[name].availability()
    if not availability.ok:
        pytest.skip(f"{name}: {availability.reason}")
    kept = growth(tiny_bundle, name, tmp_path)
    assert kept.files <= 0
    assert kept.threads <= 0
    assert kept.memory < BOUND
