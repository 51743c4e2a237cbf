"""BlazeFace: anchors, suppression and real pictures."""

from __future__ import annotations

import importlib.util

import cv2
import numpy as np
import pytest

from dsrfau_edge.errors import BundleError
from dsrfau_edge.face import network
from dsrfau_edge.face.detector import _MODELS, LEFT_EYE, RIGHT_EYE, FaceDetector, _anchors, _letterbox, _merge
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.landmarks import FaceMesh, roi_from_detection
from dsrfau_edge.face.network import ASSETS, FaceModel, load

PORTRAIT = read_image(ASSETS.parent / "portrait.jpg")
MESH = FaceModel("face_landmark.tflite", 192, ("conv2d_20", "conv2d_30"), 1 / 255)
ENGINES = ("opencv", *(["openvino"] if importlib.util.find_spec("openvino") else []))
#: Where the face is, found by eye: right and left eye, nose tip.
EYES = np.array([[202, 103], [245, 103]])
NOSE = np.array([223, 125])


def test_anchors_are_those_of_the_models():
    short = _anchors(_MODELS["short"])
    assert len(short) == 896
    assert short[:3].tolist() == [[4, 4], [4, 4], [12, 4]]
    assert short[512:519].tolist() == [[8, 8]] * 6 + [[24, 8]]
    full = _anchors(_MODELS["full"])
    assert len(full) == 2304
    assert full[[0, 1, -1]].tolist() == [[2, 2], [6, 2], [190, 190]]


def test_a_letterbox_keeps_proportions():
    square, scale, shift = _letterbox(np.full((100, 400, 3), 50, np.uint8), 128)
    assert scale.tolist() == pytest.approx([0.32, 0.32])
    assert shift.tolist() == [0, 48]
    assert (square[48:80] == 50).all()
    assert (square[:48] == 0).all()
    assert (square[80:] == 0).all()


def test_overlapping_boxes_become_their_weighted_mean():
    def points(x):
        return [[x, 0], [x + 10, 10]] + [[x, 1]] * 6

    found = _merge(np.array([points(0), points(2), points(40)], np.float32), np.array([0.6, 0.9, 0.7], np.float32), 0.3)
    assert [score for _, score in found] == pytest.approx([0.9, 0.7])
    assert found[0][0][0, 0] == pytest.approx((0 * 0.6 + 2 * 0.9) / 1.5)
    assert found[1][0][0, 0] == 40


@pytest.mark.parametrize("range_", ["short", "full"])
@pytest.mark.parametrize("place", [(0, 0), (90, 0), (0, 120)])
def test_the_portraits_eyes_are_found_where_they_are(range_, place):
    head = PORTRAIT[:300, 70:370]
    canvas = np.zeros((300 + place[0], 300 + place[1], 3), np.uint8)
    canvas[place[0] :, place[1] :] = head
    found = FaceDetector(range_).detect(canvas)
    assert len(found) == 1
    shift = np.array(place[::-1]) - (70, 0)
    np.testing.assert_allclose(found[0].keypoints[[RIGHT_EYE, LEFT_EYE]], EYES + shift, atol=5)
    x0, y0, x1, y1 = found[0].box
    assert x0 < NOSE[0] + shift[0] < x1
    assert y0 < NOSE[1] + shift[1] < y1
    assert found[0].score > 0.6


def test_far_faces_need_the_full_range():
    small = np.full((1000, 1000, 3), 60, np.uint8)
    small[400:741, 300:641] = cv2.resize(
        PORTRAIT, (341, 341), interpolation=cv2.INTER_AREA
    )  # a face of 6 % of the side
    assert FaceDetector("short").detect(small) == []
    assert len(FaceDetector("full").detect(small)) == 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4000, 3), (3000, 2, 3), (128, 128, 3)])
@pytest.mark.parametrize("range_", ["short", "full"])
def test_no_face_is_an_empty_list(range_, shape):
    assert FaceDetector(range_).detect(np.full(shape, 90, np.uint8)) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_model_file_says_what_to_do(monkeypatch, tmp_path, engine):
    monkeypatch.setattr(network, "ASSETS", tmp_path)
    with pytest.raises(BundleError, match="Reinstall"):
        load(MESH, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_results_are_not_overwritten_by_the_next_call(engine):
    net = load(MESH, engine)
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (192, 192, 3), dtype=np.uint8) for _ in range(2))
    kept = net(first)[0]
    copy = kept.copy()
    net(second)
    np.testing.assert_array_equal(kept, copy)


@pytest.mark.parametrize("range_", ["short", "full"])
def test_both_engines_find_the_same(range_):
    if len(ENGINES) < 2:
        pytest.skip("openvino is not installed")
    (one,), (other,) = (FaceDetector(range_, engine=engine).detect(PORTRAIT[:300, 70:370]) for engine in ENGINES)
    np.testing.assert_allclose(one.box, other.box, atol=0.1)
    assert one.score == pytest.approx(other.score, abs=1e-3)
    meshes = [FaceMesh(engine).place(PORTRAIT, roi_from_detection(one)) for engine in ENGINES]
    np.testing.assert_allclose(meshes[0].points, meshes[1].points, atol=0.1)
