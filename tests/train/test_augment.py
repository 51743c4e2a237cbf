"""Augmentation: pictures and centres move together, left and right change places, chance comes from one place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dsrfau_edge.train.data.augment import Augmentation, augment, centre_crop, mirror_order

SITES = ("AU12_left", "AU12_right", "AU25")
STILL = Augmentation(
    rotation=0, scale=0, shift=0, flip=0, grey=0, light=0, blur=0, low_resolution=0, noise=0, jpeg=0, patches=0
)
MOVED = Augmentation(grey=0, light=0, blur=0, low_resolution=0, noise=0, jpeg=0, patches=0)
CENTRES = np.array([[100.0, 90.0], [60.0, 90.0], [80.0, 60.0]], np.float32)
VALUES = np.array([1.0, 2.0, np.nan], np.float32)


def dots(side=160):
    """One blob per site, each in its own channel."""
    picture = np.zeros((side, side, 3), np.uint8)
    for channel, (x, y) in enumerate(CENTRES):
        plane = np.zeros((side, side), np.uint8)
        cv2.circle(plane, (int(x), int(y)), 5, 255, -1)
        picture[..., channel] = plane
    return picture


def run(config, seed=0, picture=None):
    return augment(
        dots() if picture is None else picture,
        VALUES,
        CENTRES,
        side=128,
        mirrored=mirror_order(SITES),
        config=config,
        rng=np.random.default_rng(seed),
    )


def centroid(plane):
    rows, columns = np.nonzero(plane > 127)
    return columns.mean(), rows.mean()


def test_without_augmentation_it_is_the_centre_crop():
    crop, values, centres = run(STILL)
    expected, moved = centre_crop(dots(), CENTRES, 128)
    np.testing.assert_array_equal(crop, expected)
    np.testing.assert_allclose(centres, moved)
    np.testing.assert_array_equal(values, VALUES)


@pytest.mark.parametrize("seed", range(12))
def test_centres_follow_the_picture(seed):
    crop, values, centres = run(MOVED, seed)
    flipped = values[0] == 2.0
    for site, channel in enumerate((1, 0, 2) if flipped else (0, 1, 2)):
        np.testing.assert_allclose(centroid(crop[..., channel]), centres[site], atol=0.6)


def test_a_mirrored_face_swaps_its_sides():
    crop, values, centres = run(Augmentation(**{**_plain(STILL), "flip": 1.0}))
    np.testing.assert_array_equal(values, [2.0, 1.0, np.nan])
    np.testing.assert_array_equal(crop, centre_crop(dots(), CENTRES, 128)[0][:, ::-1])
    assert centres[0, 0] > centres[1, 0], "the left site stays on the picture's right"


def _plain(config):
    return {name: getattr(config, name) for name in config.__slots__}


def test_mirror_order_leaves_lonely_sites_alone():
    assert mirror_order(["AU12_left", "AU12_right", "AU25", "AU04_left"]).tolist() == [1, 0, 2, 3]


def test_the_same_seed_gives_the_same_view():
    first, second, other = run(Augmentation(), 3), run(Augmentation(), 3), run(Augmentation(), 4)
    for mine, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("effect", ["grey", "light", "blur", "low_resolution", "noise", "jpeg", "patches"])
def test_every_effect_changes_the_picture_and_nothing_else(effect):
    picture = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    before = picture.copy()
    plain = run(STILL, picture=picture)
    changed = run(Augmentation(**{**_plain(STILL), effect: 1.0}), picture=picture)
    assert not np.array_equal(changed[0], plain[0])
    assert changed[0].shape == (128, 128, 3)
    assert changed[0].dtype == np.uint8
    np.testing.assert_array_equal(changed[2], plain[2])
    np.testing.assert_array_equal(picture, before)


def test_grey_pictures_have_three_equal_channels():
    picture = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    crop = run(Augmentation(**{**_plain(STILL), "grey": 1.0}), picture=picture)[0]
    np.testing.assert_array_equal(crop[..., 0], crop[..., 2])


@pytest.mark.parametrize("seed", range(40))
def test_any_seed_and_other_sizes_work(seed):
    crop, _, _ = augment(
        np.full((80, 80, 3), 200, np.uint8), VALUES, CENTRES / 2, side=64, mirrored=mirror_order(SITES),
        config=Augmentation(blur=1, noise=1, patches=1, low_resolution=1), rng=np.random.default_rng(seed),
    )  # fmt: skip
    assert crop.shape == (64, 64, 3)
