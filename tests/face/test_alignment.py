"""Similarity alignment and warping."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge.errors import BundleError, InputError
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE, AlignmentTemplate, warp


def landmarks_at(template, size, scale=1.0, angle=0.0, shift=(0.0, 0.0)):
    """Points that a face standing in the template would have after being turned, scaled and shifted."""
    points = np.asarray(template.points) * size - 0.5
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    mesh = np.zeros((468, 3))
    mesh[list(template.landmarks), :2] = points @ turn.T + shift
    return mesh, turn


@given(
    st.floats(0.05, 20), st.floats(-math.pi, math.pi), st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    st.sampled_from([32, 128, 256]),
)  # fmt: skip
def test_the_matrix_undoes_any_similarity(scale, angle, shift, size):
    mesh, turn = landmarks_at(DEFAULT_TEMPLATE, size, scale, angle, shift)
    matrix = DEFAULT_TEMPLATE.matrix(mesh, size)
    np.testing.assert_allclose(matrix[:, :2] @ turn, np.eye(2), atol=1e-9)
    np.testing.assert_allclose(matrix[:, :2] @ shift + matrix[:, 2], 0, atol=1e-6)


def test_it_is_the_least_squares_similarity():
    rng = np.random.default_rng(4)
    mesh = rng.normal(100, 30, (468, 3))
    matrix = DEFAULT_TEMPLATE.matrix(mesh, 128)
    source = mesh[list(DEFAULT_TEMPLATE.landmarks), :2]
    target = np.asarray(DEFAULT_TEMPLATE.points) * 128 - 0.5
    # Unknowns a, b, tx, ty of x' = a x - b y + tx, y' = b x + a y + ty, solved as a plain linear system.
    rows = [[x, -y, 1, 0] for x, y in source] + [[y, x, 0, 1] for x, y in source]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), np.concatenate([target[:, 0], target[:, 1]]), rcond=None)[0]
    np.testing.assert_allclose(matrix, [[a, -b, tx], [b, a, ty]], atol=1e-9)


def test_it_never_mirrors():
    mesh, _ = landmarks_at(DEFAULT_TEMPLATE, 128)
    mesh[:, 0] *= -1
    assert np.linalg.det(DEFAULT_TEMPLATE.matrix(mesh, 128)[:, :2]) > 0


def test_a_margin_moves_the_frame_to_the_middle_of_a_larger_crop():
    mesh, _ = landmarks_at(DEFAULT_TEMPLATE, 128)
    plain, roomy = (DEFAULT_TEMPLATE.matrix(mesh, 128, margin) for margin in (0, 0.125))
    np.testing.assert_allclose(roomy - plain, [[0, 0, 16], [0, 0, 16]], atol=1e-9)


def test_the_default_template_is_symmetric():
    mirrored = {33: 263, 133: 362, 362: 133, 263: 33, 168: 168, 2: 2}
    where = dict(zip(DEFAULT_TEMPLATE.landmarks, DEFAULT_TEMPLATE.points, strict=True))
    for index, (x, y) in where.items():
        assert where[mirrored[index]] == pytest.approx((1 - x, y))


def test_coinciding_landmarks_are_refused():
    with pytest.raises(InputError, match="coincide"):
        DEFAULT_TEMPLATE.matrix(np.ones((468, 2)), 128)
    with pytest.raises(InputError, match="coincide"):
        DEFAULT_TEMPLATE.matrix(np.full((468, 2), np.nan), 128)


def test_a_template_survives_its_dict():
    assert AlignmentTemplate.from_dict(DEFAULT_TEMPLATE.to_dict()) == DEFAULT_TEMPLATE


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"landmarks": [1], "points": [[0, 0]]},
        {"landmarks": [1, 2], "points": [[0, 0]]},
        {"landmarks": [1, 468], "points": [[0, 0], [1, 1]]},
        {"landmarks": [1, 2], "points": [[0, 0], [float("nan"), 1]]},
        {"landmarks": [1, 2], "points": [[0, 0], [0, 0]]},
        {"landmarks": [1, 2], "points": [[0, 0], [1, 1, 1]]},
        {"landmarks": "ab", "points": [[0, 0], [1, 1]]},
        {"landmarks": None, "points": None},
    ],
)
def test_nonsense_is_no_template(raw):
    with pytest.raises(BundleError, match="template"):
        AlignmentTemplate.from_dict(raw)


def test_a_plain_crop_is_a_copy_of_its_pixels():
    image = np.random.default_rng(1).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    crop = warp(image, np.array([[1.0, 0, -10], [0, 1, -5]]), 20)
    np.testing.assert_array_equal(crop, image[5:25, 10:30])


def test_outside_the_picture_is_the_networks_zero():
    image = np.zeros((20, 20, 3), np.uint8)
    crop = warp(image, np.array([[1.0, 0, 10], [0, 1, 10]]), 40)
    assert (crop[:9, :] == 127).all()
    assert (crop[12:28, 12:28] == 0).all()
    assert (warp(image, np.array([[1.0, 0, 900], [0, 1, 900]]), 40) == 127).all()


@pytest.mark.parametrize("factor", [2, 3, 7.5, 40])
def test_shrinking_keeps_place_and_does_not_alias(factor):
    side = 64
    big = round(side * factor)
    y, x = np.mgrid[:big, :big]
    ramp = np.stack([x, y, (x + y) / 2], -1) / (big - 1) * 255
    checker = np.where(((x + y) % 2)[..., None], ramp + 60, ramp - 60).clip(0, 255).astype(np.uint8)
    scale = side / big
    matrix = np.array([[scale, 0, scale / 2 - 0.5], [0, scale, scale / 2 - 0.5]])
    crop = warp(checker, matrix, side).astype(float)
    expected = cv2.resize(checker, (side, side), interpolation=cv2.INTER_AREA).astype(float)
    inner = np.s_[4:-4, 4:-4]
    assert np.abs(crop[inner] - expected[inner]).max() < 255 / side
    assert abs((crop[inner] - expected[inner]).mean()) < 0.5


def test_sides_beyond_what_opencv_warps_work():
    image = np.zeros((40, 33_000, 3), np.uint8)
    image[10:20, 32_000:32_010] = 200
    crop = warp(image, np.array([[1.0, 0, -31_995], [0, 1, -5]]), 20)
    np.testing.assert_array_equal(crop, image[5:25, 31_995:32_015])
