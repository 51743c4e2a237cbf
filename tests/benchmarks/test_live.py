"""The live benchmark on a film of the sample portrait; MediaPipe's place is taken by a package that answers like it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("psutil", reason="the soak reads memory with psutil")

from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.network import ASSETS

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
FAKE = """
from types import SimpleNamespace
__version__ = "0"
class Image:
    def __init__(self, image_format, data):
        assert data.flags.c_contiguous and data.shape == (480, 640, 3)
        self.mean = data[200:280, 280:360].mean((0, 1))
class ImageFormat:
    SRGB = 1
"""
FAKE_TASKS = """
from types import SimpleNamespace
class BaseOptions:
    def __init__(self, model_asset_path):
        assert model_asset_path.endswith("face.task")
class vision:
    class RunningMode:
        VIDEO = "video"
    class FaceLandmarkerOptions(SimpleNamespace):
        pass
    class FaceLandmarker:
        @classmethod
        def create_from_options(cls, options):
            assert options.output_face_blendshapes and options.num_faces == 1 and options.running_mode == "video"
            self = cls()
            self.stamp = -1
            return self
        def __enter__(self):
            return self
        def __exit__(self, *error):
            pass
        def detect_for_video(self, image, stamp):
            assert stamp > self.stamp
            self.stamp = stamp
            return SimpleNamespace(face_blendshapes=[[]] if image.mean[0] > image.mean[2] else [])
"""


@pytest.fixture(scope="module")
def live():
    spec = importlib.util.spec_from_file_location("live_benchmark", FOLDER / "live.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "portrait.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (512, 512))
    portrait = read_image(ASSETS.parent / "portrait.jpg")
    for shift in range(6):
        writer.write(np.roll(portrait, shift, 1))
    writer.release()
    return path


def test_frames_are_fitted_into_the_size(live, film):
    frames = live.read_frames(film)
    assert frames.shape == (6, 480, 640, 3)
    assert frames[0, :, :79].max() == 0, "512 x 512 leaves black on both sides"
    assert frames[0, :, 80:560].std() > 20


def test_a_soak_of_two_loops_tells_what_it_watched(live, film, tmp_path, capsys):
    live.main(["soak", str(film), "--minutes", "0", "-o", str(tmp_path / "soak.json"), "--runtime", "onnxruntime"])
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "soak.json").read_text())
    assert told["frames"] == 12
    assert told["first loop equals last"] is True
    assert told["descriptors"][0] <= told["descriptors"][1]


def test_both_see_the_same_frames_in_turn(live, film, tmp_path, monkeypatch, capsys):
    for name, text in (("__init__.py", FAKE), ("tasks/__init__.py", ""), ("tasks/python/__init__.py", FAKE_TASKS)):
        file = tmp_path / "mediapipe" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    live.main(
        ["speed", str(film), "--landmarker", "face.task", "--mediapipe-python", sys.executable, "--turns", "2",
         "--block", "4", "--runtime", "onnxruntime"]
    )  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    assert told["frames"] == 8
    assert told["ours"]["faces"] == 8
    assert told["theirs"]["faces"] == 8, "it is given RGB, in which skin is more red than blue"
    assert told["ratio"].keys() == {"p50", "p90", "p99"}
    assert told["stages"]["detect"]["p50"] == 0 < told["stages"]["landmarks"]["p50"]


def test_a_peer_that_does_not_start_ends_with_a_word(live, tmp_path):
    with pytest.raises(SystemExit, match="ended with"):
        live.Theirs(sys.executable, tmp_path / "none.npy", tmp_path / "face.task")
