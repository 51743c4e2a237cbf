"""The example of several cameras runs, on files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from dsrfau_edge.face.network import ASSETS

FILE = Path(__file__).resolve().parents[2] / "examples/multi_camera.py"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="no examples beside the tests")


@pytest.fixture
def films(tmp_path):
    image = cv2.resize(cv2.imread(str(ASSETS.parent / "portrait.jpg")), (256, 256), interpolation=cv2.INTER_AREA)
    for name in ("front.avi", "left.avi"):
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter.fourcc(*"MJPG"), 25, (256, 256))
        for _ in range(20):
            writer.write(image)
        writer.release()
    return tmp_path


def test_every_camera_is_shown_and_a_missing_one_stops_no_other(films):
    command = [sys.executable, str(FILE), "front.avi", "nowhere.avi", "left.avi"]
    done = subprocess.run(command, cwd=films, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    for name in ("front.avi", "left.avi"):
        assert any(line.startswith(f"{name} ") and "AU12" in line for line in done.stdout.splitlines())
        assert f"{name}: ended" in done.stdout
    assert "nowhere.avi: There is no file" in done.stdout


def test_without_cameras_it_says_what_to_type():
    done = subprocess.run([sys.executable, str(FILE)], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 2
    assert "the following arguments are required: sources" in done.stderr
