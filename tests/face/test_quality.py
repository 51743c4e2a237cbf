"""Quality flags and confidences follow what was done to the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dsrfau_edge.action_units import sites_of
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
from dsrfau_edge.face.frontend import FaceFrontEnd
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.landmarks import Landmarks
from dsrfau_edge.face.network import ASSETS
from dsrfau_edge.face.quality import Quality, assess, site_confidences

PORTRAIT = read_image(ASSETS.parent / "portrait.jpg")
FRONT = FaceFrontEnd(DEFAULT_TEMPLATE, 128)
SITES = sites_of()


def judged(image):
    face = FRONT(image)[0]
    height, width = image.shape[:2]
    quality = assess(face, image)
    return face, quality, site_confidences(face, quality, SITES, width, height)


def test_a_good_picture_has_no_flags():
    face, quality, confidences = judged(PORTRAIT)
    assert quality.flags == ()
    assert quality.inside == 1
    assert 38 < quality.eye_distance < 48
    np.testing.assert_allclose(confidences, face.score * face.landmarks.presence, rtol=0.05)


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        (lambda image: cv2.GaussianBlur(image, (0, 0), 4), "blurred"),
        (lambda image: cv2.resize(image, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA), "small"),
        (lambda image: np.ascontiguousarray(image[:150]), "cut_off"),
    ],
)
def test_each_defect_is_flagged_and_costs_confidence(change, flag):
    good = judged(PORTRAIT)[2].mean()
    _, quality, confidences = judged(change(PORTRAIT))
    assert flag in quality.flags
    assert confidences.mean() < good - 0.1


def test_sites_outside_the_picture_have_no_confidence():
    face, quality, _ = judged(PORTRAIT)
    halfway = round(face.landmarks.points[168, 0])
    confidences = site_confidences(face, quality, SITES, halfway, 512)
    for site, confidence in zip(SITES, confidences, strict=True):
        if site.side != "centre":
            assert (confidence > 0) == (site.side == "right"), site.name


@pytest.mark.parametrize(("yaw", "far"), [(40.0, "left"), (-40.0, "right")])
def test_the_far_side_of_a_turned_head_is_trusted_less(yaw, far):
    face, _, _ = judged(PORTRAIT)
    quality = Quality(60.0, 1.0, 0.4, yaw, ("turned_away",))
    confidences = dict(zip((s.name for s in SITES), site_confidences(face, quality, SITES, 512, 512), strict=True))
    near = "right" if far == "left" else "left"
    assert confidences[f"AU06_{far}"] < 0.7 * confidences[f"AU06_{near}"]
    assert confidences[f"AU06_{near}"] < face.score


@pytest.mark.parametrize("side", ["left", "right"])
def test_yaw_is_positive_towards_the_persons_left(side):
    face, _, _ = judged(PORTRAIT)
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
    face, _, _ = judged(PORTRAIT)
    flat = type(face)(face.box, face.score, face.landmarks, face.matrix, np.full((128, 128, 3), 90, np.uint8))
    assert assess(flat, PORTRAIT).sharpness == 0


@pytest.mark.parametrize("size", [32, 64, 256])
def test_the_networks_input_size_does_not_matter(size):
    (face,) = FaceFrontEnd(DEFAULT_TEMPLATE, size)(PORTRAIT)
    assert assess(face, PORTRAIT).sharpness == pytest.approx(judged(PORTRAIT)[1].sharpness, abs=0.01)


def test_quality_is_plain_in_json():
    import json

    raw = json.loads(json.dumps(judged(PORTRAIT)[1].to_dict()))
    assert set(raw) == {"eye_distance", "inside", "sharpness", "yaw", "flags"}
