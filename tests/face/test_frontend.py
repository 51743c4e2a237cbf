"""The whole front end on the sample portrait, changed in every way that pictures are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
from dsrfau_edge.face.detector import Detection
from dsrfau_edge.face.frontend import FaceFrontEnd
from dsrfau_edge.face.images import as_bgr, read_image
from dsrfau_edge.face.landmarks import Roi, roi_from_detection, roi_from_landmarks
from dsrfau_edge.face.network import ASSETS

PORTRAIT = read_image(ASSETS.parent / "portrait.jpg")
FRONT = FaceFrontEnd(DEFAULT_TEMPLATE, 128)
ANCHORS = list(DEFAULT_TEMPLATE.landmarks)


@pytest.fixture(scope="module")
def reference():
    (face,) = FRONT(PORTRAIT)
    return face


def apart(crop, other):
    """Mean difference of two crops in grey levels."""
    return float(np.abs(crop.astype(int) - other).mean())


def test_the_crop_has_the_template_points_in_place(reference):
    points = reference.landmarks.points[ANCHORS, :2] @ reference.matrix[:, :2].T + reference.matrix[:, 2]
    assert np.abs(points - (np.asarray(DEFAULT_TEMPLATE.points) * 128 - 0.5)).max() < 4
    assert reference.crop.shape == (128, 128, 3)
    assert reference.landmarks.presence > 0.9
    assert reference.landmarks.points.shape == (468, 3)


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.7, 4])
def test_size_changes_neither_place_nor_crop(reference, scale):
    resized = cv2.resize(PORTRAIT, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    (face,) = FRONT(resized)
    eye_distance = 43
    error = np.abs((face.landmarks.points[:, :2] + 0.5) / scale - 0.5 - reference.landmarks.points[:, :2])
    assert error.mean() < 0.04 * eye_distance
    assert apart(face.crop, reference.crop) < 12


@pytest.mark.parametrize("angle", [-35, -15, 15, 35])
def test_a_tilted_head_stands_upright_in_the_crop(reference, angle):
    turn = cv2.getRotationMatrix2D((223, 125), angle, 1)
    (face,) = FRONT(cv2.warpAffine(PORTRAIT, turn, (512, 512)))
    expected = reference.landmarks.points[ANCHORS, :2] @ turn[:, :2].T + turn[:, 2]
    assert np.abs(face.landmarks.points[ANCHORS, :2] - expected).max() < 4
    inner = np.s_[20:108, 30:98]
    assert apart(face.crop[inner], reference.crop[inner]) < 12


@pytest.mark.parametrize(
    "change",
    [
        lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2GRAY),
        lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2BGRA),
        lambda image: image.astype(np.uint16) * 257,
        lambda image: image.astype(np.float32) / 255,
        lambda image: np.asfortranarray(image),
    ],
    ids=["grey", "BGRA", "16 bit", "float", "column-major"],
)
def test_the_kind_of_picture_does_not_matter(reference, change):
    (face,) = FRONT(as_bgr(change(PORTRAIT)))
    assert np.abs(face.landmarks.points[:, :2] - reference.landmarks.points[:, :2]).mean() < 1.5


def test_a_photo_turned_by_exif_is_upright(tmp_path, reference):
    import struct

    stored = cv2.rotate(PORTRAIT, cv2.ROTATE_90_COUNTERCLOCKWISE)
    jpeg = cv2.imencode(".jpg", stored)[1].tobytes()
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)  # 6: turn a quarter clockwise to view
    body = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + tag + b"\0\0\0\0"
    (tmp_path / "turned.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:])
    (face,) = FRONT(read_image(tmp_path / "turned.jpg"))
    np.testing.assert_allclose(face.box, reference.box, atol=3)


def test_two_faces_side_by_side_largest_first():
    pair = np.zeros((512, 1024, 3), np.uint8)
    pair[:, :512] = PORTRAIT
    pair[100:484, 600:984] = cv2.resize(PORTRAIT, (384, 384), interpolation=cv2.INTER_AREA)
    faces = FRONT(pair)
    assert len(faces) == 2
    assert faces[0].box[2] < 512 < faces[1].box[0]
    assert apart(faces[0].crop, faces[1].crop) < 15
    assert len(FaceFrontEnd(DEFAULT_TEMPLATE, 128, max_faces=1)(pair)) == 1


class Finds:
    """A detector that has made up its mind."""

    def __init__(self, *detections):
        self._detections = detections
        self.asked = 0

    def detect(self, image):
        self.asked += 1
        return list(self._detections)


def front_end(*detectors, max_faces=None):
    front = FaceFrontEnd(DEFAULT_TEMPLATE, 128, max_faces=max_faces)
    front._detectors = list(detectors)
    return front


@pytest.fixture
def beside_nothing(reference):
    """The portrait beside a grey wall, its face's detection, and a larger one of the wall."""
    picture = np.full((512, 1024, 3), 128, np.uint8)
    picture[:, :512] = PORTRAIT
    (real,) = FRONT._detectors[0].detect(PORTRAIT)
    box = (620.0, 100.0, 980.0, 460.0)
    scale = (box[2] - box[0]) / (real.box[2] - real.box[0])
    points = (real.keypoints - np.float32(real.box[:2])) * np.float32(scale) + np.float32(box[:2])
    false = Detection(box, 0.99, points.astype(np.float32))
    assert false.area > real.area
    assert FRONT.align(picture, false) is None
    return picture, real, false


@pytest.mark.parametrize("max_faces", [1, 2, None])
def test_a_false_detection_takes_no_faces_place(beside_nothing, reference, max_faces):
    picture, real, false = beside_nothing
    (face,) = front_end(Finds(false, real), max_faces=max_faces)(picture)
    np.testing.assert_allclose(face.box, reference.box, atol=3)


def test_faces_beyond_the_wanted_are_not_aligned(beside_nothing, monkeypatch):
    picture, real, false = beside_nothing
    front, seen = front_end(Finds(real, false, real, real), max_faces=1), []
    align = front.align
    monkeypatch.setattr(front, "align", lambda image, detection: seen.append(detection) or align(image, detection))
    assert len(front(picture)) == 1
    assert seen == [false, real]


def test_where_short_finds_only_what_is_no_face_full_is_asked(beside_nothing):
    picture, real, false = beside_nothing
    assert len(front_end(Finds(false), Finds(real))(picture)) == 1
    assert front_end(Finds(false), Finds(false))(picture) == []


def test_full_is_asked_too_unless_a_face_is_near(beside_nothing):
    wide, real, _ = beside_nothing
    full = Finds(real)
    assert len(front_end(Finds(real), full)(wide)) == 1  # found twice, counted once
    assert full.asked == 1
    near = np.ascontiguousarray(PORTRAIT[:350, :400])
    assert len(front_end(Finds(real), full)(near)) == 1
    assert full.asked == 1


def test_auto_sees_far_faces_beside_a_middling_one():
    scene = np.full((600, 768, 3), 60, np.uint8)
    scene[:512, :512] = PORTRAIT
    scene[100:356, 512:] = cv2.resize(PORTRAIT, (256, 256), interpolation=cv2.INTER_AREA)
    assert len(FaceFrontEnd(DEFAULT_TEMPLATE, 128, detector_range="short")(scene)) < 2
    near, far = FRONT(scene)
    assert near.box[0] < 512
    assert far.box[0] > 512


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 900, 3), (480, 640, 3)])
def test_no_face_is_an_empty_list(shape):
    assert FRONT(np.full(shape, 128, np.uint8)) == []
    assert FRONT(np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)) == []


def test_auto_finds_far_faces_that_short_misses():
    far = np.full((1000, 1000, 3), 60, np.uint8)
    far[400:741, 300:641] = cv2.resize(PORTRAIT, (341, 341), interpolation=cv2.INTER_AREA)
    assert FaceFrontEnd(DEFAULT_TEMPLATE, 128, detector_range="short")(far) == []
    (face,) = FRONT(far)
    assert face.box[0] > 300
    assert face.box[3] < 741


def test_a_face_cut_by_the_edge_has_its_box_in_the_picture():
    cut = np.ascontiguousarray(PORTRAIT[:, 215:])
    for face in FRONT(cut):
        assert face.box[0] >= 0
        assert (face.crop == 127).all(-1).mean() > 0.05


def test_a_giant_picture_works():
    giant = np.zeros((10_000, 10_000, 3), np.uint8)
    giant[2000:7120, 2000:7120] = cv2.resize(PORTRAIT, (5120, 5120), interpolation=cv2.INTER_LINEAR)
    (face,) = FRONT(giant)
    assert 3500 < face.box[0] < face.box[2] < 5200


def test_threads_share_one_front_end(reference):
    with ThreadPoolExecutor(4) as pool:
        for faces in pool.map(lambda _: FRONT(PORTRAIT), range(12)):
            np.testing.assert_array_equal(faces[0].crop, reference.crop)


def test_regions_from_box_and_points_agree(reference):
    from dsrfau_edge.face.detector import FaceDetector

    (detection,) = FaceDetector().detect(PORTRAIT)
    one, two = roi_from_detection(detection), roi_from_landmarks(reference.landmarks.points)
    assert abs(one.x - two.x) < 0.15 * two.side
    assert abs(one.y - two.y) < 0.15 * two.side
    assert one.side == pytest.approx(two.side, rel=0.35)
    assert abs(one.angle - two.angle) < 0.15


def test_a_region_maps_its_centre_and_corners():
    roi = Roi(100.0, 50.0, 40.0, 0.0)
    matrix = roi.matrix(192)
    np.testing.assert_allclose(matrix @ [100, 50, 1], [95.5, 95.5])
    np.testing.assert_allclose(matrix @ [80, 30, 1], [-0.5, -0.5])
    quarter = Roi(100.0, 50.0, 40.0, np.pi / 2).matrix(192)
    np.testing.assert_allclose(quarter @ [100, 70, 1], [191.5, 95.5], atol=1e-9)
