"""Annotated videos on a disk that is full: what was recorded can be read."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from dsrfau_edge.outputs.video import VideoFile

LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
from dsrfau_edge.outputs.video import VideoFile
pictures = np.random.default_rng(0).integers(0, 255, (2, 120, 160, 3), np.uint8)
video = VideoFile(Path(sys.argv[1]), pictures[0], 25, reserve=200_000)
try:
    for number in range(1000):
        video.add(pictures[number % 2])
except OSError as error:
    print(number, error.strerror)
video.close()
"""


@pytest.mark.parametrize("name", ["out.mp4", "out.avi"])
def test_a_full_disk_leaves_a_video_that_can_be_read(tmp_path, name):
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path / name], capture_output=True, text=True, check=True)
    number, words = done.stdout.split(maxsplit=1)
    assert "disk is full" in words
    assert 5 < int(number) < 500
    capture, read = cv2.VideoCapture(str(tmp_path / name)), 0
    while capture.grab():
        read += 1
    assert read == int(number)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_frames_of_another_size_are_fitted(tmp_path):
    video = VideoFile(tmp_path / "out.mp4", np.zeros((120, 160, 3), np.uint8), 25)
    for size in ((120, 160, 3), (60, 40, 3)):
        video.add(np.full(size, 200, np.uint8))
    video.close()
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2


def test_no_frame_is_no_file(tmp_path):
    VideoFile(tmp_path / "out.mp4", np.zeros((120, 160, 3), np.uint8), 25).close()
    assert not list(tmp_path.iterdir())
