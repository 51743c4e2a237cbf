"""A crop becomes a picture in which the face is where it is said to be, as large and as covered as asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE, warp
from dsrfau_edge.face.frontend import FaceFrontEnd
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.landmarks import Landmarks
from dsrfau_edge.face.network import ASSETS
from dsrfau_edge.face.quality import assess
from dsrfau_edge.shards import MARGIN, crop_side
from dsrfau_edge.train.confidence.degradation import Circumstances, degrade, draw_circumstances

PORTRAIT = read_image(ASSETS.parent / "portrait.jpg")
FRONT = FaceFrontEnd(DEFAULT_TEMPLATE, 128)
(FACE,) = FRONT(PORTRAIT)
CROP = warp(PORTRAIT, DEFAULT_TEMPLATE.matrix(FACE.landmarks.points, 128, MARGIN), crop_side(128))
CLEAR = Circumstances(eye_distance=40.0, surroundings=2.0)


def made(**changes: Any) -> Any:
    return degrade(CROP, 128, replace(CLEAR, **changes), np.random.default_rng(0))


@pytest.mark.parametrize("eyes", [20.0, 40.0, 60.0])
@pytest.mark.parametrize("roll", [0.0, 25.0])
def test_the_face_is_as_large_and_as_turned_as_asked_and_where_it_should_be(eyes: float, roll: float) -> None:
    found = made(eye_distance=eyes, roll=roll)
    (face,) = FRONT(found.picture)
    quality = assess(face, found.picture)
    assert quality.eye_distance == pytest.approx(eyes, rel=0.12)
    assert quality.roll == pytest.approx(roll, abs=5)
    between = DEFAULT_TEMPLATE.points[4]  # the bridge of the nose
    place = found.matrix[:, :2] @ (np.array(between) * 128 + 16 - 0.5) + found.matrix[:, 2]
    assert np.hypot(*(face.landmarks.points[168, :2] - place)) < 0.12 * eyes


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"blur": 0.15}, "blurred"), ({"eye_distance": 12.0}, "small"), ({"light": 0.015}, "dark"),
        ({"light": 12.0}, "overexposed"), ({"noise": 15.0}, "noisy"), ({"cut": (0.35, 3)}, "cut_off"),
        ({"motion": (0.5, 0.0)}, "blurred"),
    ],
)  # fmt: skip
def test_every_defect_does_what_it_is_called(changes: dict[str, Any], flag: str) -> None:
    found = made(**changes)
    points = made(  # where the landmarks are: a detector would miss the worst
        eye_distance=changes.get("eye_distance", 40.0), cut=changes.get("cut", (0.0, 0))
    )
    to_picture = FACE.landmarks.points.copy()
    upright = DEFAULT_TEMPLATE.matrix(FACE.landmarks.points, 128, MARGIN)
    flat = to_picture[:, :2] @ upright[:, :2].T + upright[:, 2]
    to_picture[:, :2] = flat @ points.matrix[:, :2].T + points.matrix[:, 2]
    matrix, crop = FRONT.cut(found.picture, to_picture)
    face = replace(FACE, landmarks=Landmarks(to_picture, 1.0), matrix=matrix, crop=crop)
    assert flag in assess(face, found.picture).flags


def test_occluders_hide_what_they_say() -> None:
    plain = made(noise=0.0)
    for kind in ("patch", "mask", "sunglasses"):
        found = made(noise=0.0, occluder=(kind, (0.5, 0.5), (0.2, 0.15), 30.0))
        assert 0.01 < found.hidden.mean() < 0.4
        rows, columns = np.nonzero(found.hidden)
        places = np.column_stack([columns, rows]) @ found.matrix[:, :2].T + found.matrix[:, 2]
        inside = places.round().astype(int)
        changed = np.abs(found.picture.astype(int) - plain.picture).sum(2)
        assert np.mean(changed[inside[:, 1], inside[:, 0]] > 10) > 0.8
    assert not plain.hidden.any()


def test_pictures_depend_on_the_seed_alone() -> None:
    for seed in range(30):
        how = [draw_circumstances(np.random.default_rng(seed)) for _ in range(2)]
        assert how[0] == how[1]
        first, second = (degrade(CROP, 128, how[0], np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(first.picture, second.picture)
        assert 8 <= how[0].eye_distance <= 60
        assert first.picture.shape[0] >= 64
