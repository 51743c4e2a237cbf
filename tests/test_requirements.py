"""What the package says it needs."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")


def test_whoever_predicts_reads_the_graphs_that_export_writes() -> None:
    """Older ONNX Runtimes refuse the IR version of today's graphs, so no floor may be below the exporter's."""
    floors = re.findall(r'"onnxruntime>=([0-9.]+)"', PROJECT)
    assert len(floors) == 2
    assert floors == ["1.20", "1.20"]
