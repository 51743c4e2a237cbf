"""The robotics benchmark: its sums, and a short run over each way."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/robotics.py"


@pytest.fixture(scope="module")
def robotics():
    spec = importlib.util.spec_from_file_location("robotics_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_counts_and_latencies(robotics):
    sent = {"sent": {"facs": 3, "tracked": 1}, "costs": [1.0, 3.0, 2.0], "dropped": 0}
    arrivals = [["facs", 0, 1_000_000], ["facs", 10, 3_000_010], ["other", 0, 9]]
    found = robotics.summary(sent, arrivals)
    assert found["kinds"]["facs"] == pytest.approx({"sent": 3, "received": 2, "median": 2.0, "p99": 2.98, "max": 3.0})
    assert found["kinds"]["tracked"] == {"sent": 1, "received": 0}
    assert found["cost"]["median"] == 2.0
    text = robotics.table(found)
    assert "| facs | 3 | 2 | 2.00 ms | 2.98 ms | 3.00 ms |" in text
    assert "tracked" not in text


@pytest.mark.parametrize(("over", "package"), [("dds", "cyclonedds"), ("zenoh", "zenoh")])
def test_a_short_run_gets_everything(over, package):
    pytest.importorskip(package, reason="of an extra")
    pytest.importorskip("rosbags", reason="of an extra")
    command = [sys.executable, str(SCRIPT), "--over", over, "--seconds", "1", "--faces", "2", "--domain", "212"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    (sent, received) = re.search(r"\| facs \| (\d+) \| (\d+) \|", done.stdout).groups()
    assert sent == received == "60"
