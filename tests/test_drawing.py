"""The annotated picture: what is drawn where, and of which size."""

from __future__ import annotations

import numpy as np
import pytest
from faces import AUS, make_face

from dsrfau_edge.drawing import annotate

GREY = np.full((160, 200, 3), 100, np.uint8)


def test_it_is_a_new_picture():
    before = GREY.copy()
    drawn = annotate(GREY, [make_face(heatmaps=True)])
    assert drawn.dtype == np.uint8
    assert not np.shares_memory(drawn, GREY)
    np.testing.assert_array_equal(GREY, before)


@pytest.mark.parametrize("shape", [(160, 200, 3), (1, 1, 3), (3000, 400, 3), (90, 5000, 3), (161, 203, 3)])
def test_its_size_depends_on_the_picture_alone(shape):
    picture = np.full(shape, 100, np.uint8)
    sizes = {
        annotate(picture, faces, aus=AUS).shape
        for faces in ([], [make_face()], [make_face(0, heatmaps=True), make_face(1), make_face(2), make_face(3)])
    }
    assert len(sizes) == 1
    height, width, _ = sizes.pop()
    assert height % 2 == width % 2 == 0
    assert 600 <= height <= 1200
    assert width <= 2 * 1080 + 402


def bar_pixels(drawn, colour):
    return int((drawn[:, -400:] == colour).all(-1).sum())


def test_a_higher_intensity_has_a_longer_bar():
    accent = (235, 180, 70)
    lengths = [bar_pixels(annotate(GREY, [make_face(values=(0, 0, v, v, 0))]), accent) for v in (1.2, 2.5, 5.0)]
    assert lengths[0] + 200 < lengths[1]
    assert lengths[1] + 200 < lengths[2]


def test_every_face_has_its_own_colour_and_box():
    faces = [make_face(0), make_face(1, box=(130.0, 40.0, 190.0, 120.0))]
    drawn = annotate(GREY, faces)
    picture = drawn[:, :-400]
    scale = picture.shape[1] / 200
    for colour, left in (((235, 180, 70), 20), ((90, 170, 245), 130)):
        columns = np.flatnonzero((picture == colour).all(-1).any(0))
        assert abs(columns.min() - left * scale) < 6


def test_heat_lies_where_the_map_has_it():
    plain = annotate(GREY, [make_face()])[:, :-400].astype(int)
    heated = annotate(GREY, [make_face(heatmaps=True)])[:, :-400].astype(int)
    changed = np.abs(heated - plain).max(-1)
    scale = changed.shape[1] / 200
    # Peak of AU25: cell (row 2, column 3) of 8 x 8 in a crop of 32, which shows the picture at a quarter of its size.
    x, y = ((3 + 0.5) * 4 - 0.5 + 2) / 0.25, ((2 + 0.5) * 4 - 0.5 + 4) / 0.25
    assert changed[round(y * scale), round(x * scale)] > 60
    assert changed[:, : round(30 * scale)].max() == 0
    shown = annotate(GREY, [make_face(heatmaps=True)], aus=["AU04"])[:, :-400].astype(int)
    assert np.abs(shown - plain).max(-1)[round(y * scale), round(x * scale)] < 60


def test_no_face_is_said():
    assert bar_pixels(annotate(GREY, [], aus=AUS), (158, 152, 148)) > 20


def test_grey_and_deep_pictures_are_drawn_too():
    np.testing.assert_array_equal(
        annotate(np.full((160, 200), 100 << 8, np.uint16), [make_face()]), annotate(GREY, [make_face()])
    )


def test_many_aus_fit():
    from dsrfau_edge.action_units import ALL_AUS

    assert annotate(GREY, [], aus=ALL_AUS).shape[0] >= 16 * 25
