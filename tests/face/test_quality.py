"""Quality and its flags follow what was done to the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
from dsrfau_edge.face.frontend import AlignedFace, FaceFrontEnd
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.landmarks import Landmarks
from dsrfau_edge.face.network import ASSETS
from dsrfau_edge.face.quality import assess

PORTRAIT = read_image(ASSETS.parent / "portrait.jpg")
FRONT = FaceFrontEnd(DEFAULT_TEMPLATE, 128)


def judged(image):
    face = FRONT(image)[0]
    return face, assess(face, image)


def test_a_good_picture_has_no_flags():
    _, quality = judged(PORTRAIT)
    assert quality.flags == ()
    assert quality.inside == 1
    assert 38 < quality.eye_distance < 48
    assert abs(quality.yaw) < 10
    assert abs(quality.pitch) < 15
    assert quality.noise < 3


def lit(image, factor):
    return np.clip(image * float(factor), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        (lambda image: cv2.GaussianBlur(image, (0, 0), 4), "blurred"),
        (lambda image: cv2.resize(image, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA), "small"),
        (lambda image: np.ascontiguousarray(image[:150]), "cut_off"),
        (lambda image: lit(image, 0.15), "dark"),
        (lambda image: np.clip(image.astype(int) + 90, 0, 255).astype(np.uint8), "overexposed"),
        (lambda image: np.clip(np.random.default_rng(0).normal(image, 16), 0, 255).astype(np.uint8), "noisy"),
    ],
)
def test_each_defect_is_flagged(change, flag):
    assert flag in judged(change(PORTRAIT))[1].flags


@pytest.mark.parametrize(("degrees", "tilted"), [(-35, True), (0, False), (35, True)])
def test_a_nod_is_measured_and_flagged(degrees, tilted):
    face, before = judged(PORTRAIT)
    points = face.landmarks.points.astype(np.float64)
    angle, middle = np.radians(degrees), points[168].copy()
    y, z = points[:, 1] - middle[1], points[:, 2] - middle[2]
    # Downwards: the forehead comes nearer (smaller z), the chin goes away.
    points[:, 1], points[:, 2] = (
        y * np.cos(angle) - z * np.sin(angle) + middle[1],
        y * np.sin(angle) + z * np.cos(angle) + middle[2],
    )
    nodded = type(face)(face.box, face.score, Landmarks(points.astype(np.float32), 1.0), face.matrix, face.crop)
    quality = assess(nodded, PORTRAIT)
    assert quality.pitch - before.pitch == pytest.approx(degrees, abs=1)
    assert ("tilted" in quality.flags) == tilted


def test_roll_is_measured_and_does_no_harm():
    height, width = PORTRAIT.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -25, 1)  # OpenCV counts against the clock
    quality = judged(cv2.warpAffine(PORTRAIT, turn, (width, height), borderMode=cv2.BORDER_REPLICATE))[1]
    assert quality.roll - judged(PORTRAIT)[1].roll == pytest.approx(25, abs=3)
    assert quality.flags == ()


@pytest.mark.parametrize("points", [np.zeros((468, 3)), np.full((468, 3), np.nan), np.full((468, 3), 1e30)])
@pytest.mark.parametrize("image", [np.zeros((1, 1, 3), np.uint8), PORTRAIT])
def test_degenerate_faces_give_numbers(points, image):
    crop = np.zeros((128, 128, 3), np.uint8)
    face = AlignedFace((0, 0, 1, 1), 0.5, Landmarks(points.astype(np.float32), 0.5), np.eye(2, 3), crop)
    quality = assess(face, image)
    assert all(np.isfinite(value) for key, value in quality.to_dict().items() if key != "flags")
    assert quality.sharpness == 0


@pytest.mark.parametrize("side", ["left", "right"])
def test_yaw_is_positive_towards_the_persons_left(side):
    face, _ = judged(PORTRAIT)
    points = face.landmarks.points.copy()
    angle = np.radians(30 if side == "left" else -30)
    # Turn the mesh about the vertical: towards the person's left, which is the picture's right, the left eye goes back.
    x, z = points[:, 0] - points[168, 0], points[:, 2]
    points[:, 0], points[:, 2] = (
        x * np.cos(angle) - z * np.sin(angle) + points[168, 0],
        x * np.sin(angle) + z * np.cos(angle),
    )
    turned = type(face)(face.box, face.score, Landmarks(points, 1.0), face.matrix, face.crop)
    yaw = assess(turned, PORTRAIT).yaw
    assert yaw == pytest.approx(30 if side == "left" else -30, abs=3)
    nose_shift = points[1, 0] - points[[33, 133, 362, 263], 0].mean()
    assert np.sign(nose_shift) == np.sign(yaw)


def test_a_flat_crop_is_not_sharp():
    face, _ = judged(PORTRAIT)
    flat = type(face)(face.box, face.score, face.landmarks, face.matrix, np.full((128, 128, 3), 90, np.uint8))
    assert assess(flat, PORTRAIT).sharpness == 0


@pytest.mark.parametrize("size", [32, 64, 256])
def test_the_networks_input_size_does_not_matter(size):
    (face,) = FaceFrontEnd(DEFAULT_TEMPLATE, size)(PORTRAIT)
    assert assess(face, PORTRAIT).sharpness == pytest.approx(judged(PORTRAIT)[1].sharpness, abs=0.01)


def test_quality_is_plain_in_json():
    import json

    raw = json.loads(json.dumps(judged(PORTRAIT)[1].to_dict()))
    assert set(raw) == {
        "eye_distance", "inside", "sharpness", "yaw", "pitch", "roll", "brightness", "noise", "flags",
    }  # fmt: skip
