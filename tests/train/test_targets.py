"""Target maps: the peak a network can reach, and where it lies."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from dsrfau_edge.train.data.targets import draw_spots, spot_sigma  # noqa: E402


@pytest.mark.parametrize("offset", [0.0, 0.7, 1.3, 2.0, 3.9])
def test_the_largest_value_on_the_grid_is_one_wherever_the_centre_lies(offset):
    centres = torch.tensor([[[60.0 + offset, 40.0 - offset]]])
    assert draw_spots(centres, 128, 32).amax() == pytest.approx(1.0)


def test_the_peak_lies_at_the_nearest_grid_point():
    spots = draw_spots(torch.tensor([[[61.0, 22.0]]]), 128, 32)
    # (61 + .5) / 4 - .5 = 14.875, (22 + .5) / 4 - .5 = 5.125
    assert np.unravel_index(int(spots.argmax()), (32, 32)) == (5, 15)


def test_shape_and_sigma():
    # a centre exactly on grid point (16, 16) of the 64 grid: input px (16 + .5) * 4 - .5
    spot = draw_spots(torch.full((1, 1, 2), 65.5), 256, 64)[0, 0]
    assert spot_sigma(64) == 2
    assert spot[16, 18] == pytest.approx(np.exp(-4 / 8))
    assert spot[18, 18] == pytest.approx(np.exp(-8 / 8))


def test_sub_pixel_position_is_kept_in_the_slopes():
    right = draw_spots(torch.tensor([[[62.4, 61.5]]]), 128, 32)[0, 0, 15]
    assert right[16] > right[14]


@pytest.mark.parametrize("centre", [(-40.0, 64.0), (64.0, 500.0), (-9.0, -9.0)])
def test_a_centre_outside_keeps_its_intensity_reachable(centre):
    spot = draw_spots(torch.tensor([[centre]]), 128, 32)
    assert spot.amax() == pytest.approx(1.0)
    assert torch.isfinite(spot).all()
