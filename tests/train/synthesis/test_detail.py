"""The detail map: folds at the place and on the side of their AU, brows and beards that stay, one seed one map."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dsrfau_edge.train.synthesis import chart
from dsrfau_edge.train.synthesis.chart import Chart, spline, to_pixels
from dsrfau_edge.train.synthesis.complexion import Brow, Complexion
from dsrfau_edge.train.synthesis.detail import DetailMap
from dsrfau_edge.train.synthesis.wrinkles import Creases

pytest.importorskip("scipy", reason="drawing on the canonical head needs the synth extra")

_SKIN = Complexion(3, Brow(0.035, 0.6, 0.0, 0.0, 0.06), "full", 0.5, 0.3, 4, 0.3, 0.5)
_CREASES = Creases(1.0, 0.0, 5)
_SHADE, _HAIR = 2, 3


def _head() -> Any:
    """A rig whose face is a bent sheet about as far from the chart's axis as a face."""
    x, y = (plane.ravel() for plane in np.meshgrid(np.linspace(-0.9, 0.9, 40), np.linspace(5.8, 8.4, 60)))
    rest = np.column_stack([x, y, 1.55 - 0.6 * x**2]).astype(np.float32)
    return SimpleNamespace(rest=rest, surfaces={"skin": SimpleNamespace(source=np.arange(len(rest)))})


def _shade(**levels: float) -> np.ndarray[Any, Any]:
    return DetailMap(_head()).draw(_SKIN, _CREASES, levels)[:, :, _SHADE].astype(float)


def _box(x0: float, x1: float, y0: float, y1: float) -> tuple[slice, slice]:
    """Pixels of a part of the face seen from the front."""
    corners = Chart(_head()).pixels(np.array([[x0, y1], [x1, y0]])).round().astype(int)
    return slice(corners[0, 1], corners[1, 1]), slice(corners[0, 0], corners[1, 0])


def test_the_front_of_the_head_lies_in_the_middle_of_the_chart() -> None:
    points = np.array([[0.0, chart.HIGH, 1.5], [0.0, chart.LOW, 1.5], [0.3, 7.0, 1.5]])
    top, bottom, left = to_pixels(points)
    assert top == pytest.approx([chart.WIDTH / 2 - 0.5, -0.5])
    assert bottom[1] == pytest.approx(chart.HEIGHT - 0.5)
    assert left[0] > chart.WIDTH / 2  # the person's left is +x
    np.testing.assert_allclose(Chart(_head()).pixels(points[2:, :2]), left[None], atol=2.5)


def test_a_curve_goes_through_its_points() -> None:
    points = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]])
    np.testing.assert_allclose(spline(points, 5)[[0, 2, 4]], points, atol=1e-6)


@pytest.mark.parametrize(
    ("au", "box"),
    [
        ("AU01", (0.0, 0.26, 7.58, 7.85)),
        ("AU02", (0.30, 0.52, 7.58, 7.88)),
        ("AU04", (0.02, 0.14, 7.32, 7.56)),
        ("AU06", (0.52, 0.66, 7.15, 7.40)),
        ("AU09", (0.02, 0.14, 7.05, 7.25)),
        ("AU12", (0.24, 0.42, 6.58, 6.86)),
        ("AU15", (0.24, 0.34, 6.40, 6.60)),
        ("AU17", (0.0, 0.20, 6.37, 6.46)),
    ],
)
def test_an_au_folds_the_skin_where_it_acts_and_the_more_the_stronger_it_is(
    au: str, box: tuple[float, float, float, float]
) -> None:
    rows, columns = _box(*box)
    weak, strong = (_shade(**{au: level})[rows, columns].mean() for level in (2.0, 5.0))
    assert _shade()[rows, columns].mean() < weak < strong
    assert strong > 6


def test_an_au_of_one_side_folds_that_side() -> None:
    drawn = _shade(AU06_left=5.0)
    half = chart.WIDTH // 2
    assert drawn[:, half:].sum() > 20 * max(drawn[:, :half].sum(), 1.0)


def test_hair_stays_while_the_skin_folds_and_a_worn_brow_is_not_drawn() -> None:
    maps = DetailMap(_head())
    still, moved = (maps.draw(_SKIN, _CREASES, levels) for levels in ({}, {"AU04": 5.0}))
    np.testing.assert_array_equal(still[:, :, _HAIR], moved[:, :, _HAIR])
    brow, chin = _box(0.12, 0.50, 7.44, 7.54), _box(0.05, 0.25, 6.22, 6.40)
    bare = Complexion(3, None, "none", 0.0, 0.3, 4, 0.3, 0.5)
    assert still[(*brow, _HAIR)].mean() > 60
    assert still[(*chin, _HAIR)].mean() > 60
    assert not maps.draw(bare, _CREASES, {})[:, :, _HAIR].any()


def test_one_seed_makes_one_map_whatever_was_drawn_before() -> None:
    fresh, used = DetailMap(_head()), DetailMap(_head())
    other = Complexion(8, None, "goatee", 0.2, 0.0, 0, 0.1, 0.2)
    used.draw(other, Creases(0.7, 1.0, 9), {"AU12": 4.0})
    used.tone(other)
    levels = {"AU04": 3.0, "AU12_left": 2.0}
    np.testing.assert_array_equal(fresh.draw(_SKIN, _CREASES, levels), used.draw(_SKIN, _CREASES, levels))
    np.testing.assert_array_equal(fresh.tone(_SKIN), used.tone(_SKIN))
    assert (fresh.tone(_SKIN) != fresh.tone(other)).any()
