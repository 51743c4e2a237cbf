"""The soak of the service for some seconds; how long things take is not asked here."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import cv2
import pytest

from dsrfau_edge.face.network import ASSETS

FILE = Path(__file__).resolve().parents[2] / "benchmarks/service_soak.py"


@pytest.fixture(scope="module")
def module():
    pytest.importorskip("prometheus_client", reason="of the serve extra")
    spec = importlib.util.spec_from_file_location("service_soak", FILE)
    found = importlib.util.module_from_spec(spec)
    sys.modules["service_soak"] = found
    spec.loader.exec_module(found)
    return found


@pytest.mark.slow
def test_the_service_stays_up(module, tmp_path):
    video = tmp_path / "face.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 25, (256, 256))
    image = cv2.resize(cv2.imread(str(ASSETS.parent / "portrait.jpg")), (256, 256))
    for _ in range(5):
        writer.write(image)
    writer.release()
    disk = tmp_path / "disk"
    disk.mkdir()
    report = module.soak(video, 8.0, 2, 25.0, disk)
    assert report["exit_code"] == 0
    assert report["killed"] == 2
    assert report["cameras"]["killed"]["reconnects"] >= 2
    assert report["cameras"]["killed"]["state"] == "running"
    assert report["cameras"]["steady"]["reconnects"] == 0
    assert report["outputs"]["reader"]["dropped"] == 0
    assert report["read_lines"] >= report["outputs"]["reader"]["written"] > 100
    assert report["unanswered"] == 0
    assert report["state_written"]
    assert report["recorded_bytes"] > 0


def test_a_metric_is_found_by_its_name(module):
    page = 'dsrfau_uptime_seconds_more 1\ndsrfau_uptime_seconds 2.5\ndsrfau_up{a="b"} 3\n'
    assert module.sample(page, "dsrfau_uptime_seconds") == 2.5
    assert module.sample(page, "dsrfau_nothing") == 0.0


def test_memory_is_told_in_ten_steps(module):
    watched = module.Watched(memory=[500.0, *map(float, range(24))], descriptors=[9, 12, 10])
    found = module._flatness(watched)
    assert found["memory_mb"] == [250.0, 1.5, 3.5, 5.5, 7.5, 9.5, 11.5, 13.5, 15.5, 17.5]
    assert found["descriptors"] == {"lowest": 9, "highest": 12, "last": 10}
