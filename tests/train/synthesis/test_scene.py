"""Scenes stay within their stated ranges; backgrounds depend on their seed alone and fit any side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dsrfau_edge.train.synthesis.scene import backdrop, draw_scene, turned_anyhow

_SCENES = [draw_scene(np.random.default_rng(seed)) for seed in range(400)]


def test_poses_cameras_and_lights_stay_in_range() -> None:
    for scene in _SCENES:
        assert abs(scene.yaw) <= 35
        assert abs(scene.pitch) <= 20
        assert abs(scene.roll) <= 15
        assert 4.5 <= scene.distance <= 18
        assert 1 <= len(scene.lights) <= 4
        assert all(np.linalg.norm(direction) == pytest.approx(1) for direction, _ in scene.lights)
    assert {len(scene.lights) for scene in _SCENES} == {1, 2, 3, 4}


def test_wide_poses_are_as_likely_at_every_turn_and_change_nothing_else() -> None:
    rng = np.random.default_rng(0)
    turned = [turned_anyhow(scene, rng) for scene in _SCENES]
    assert np.mean([abs(scene.yaw) > 40 for scene in turned]) == pytest.approx(0.5, abs=0.08)
    assert np.mean([abs(scene.pitch) > 22.5 for scene in turned]) == pytest.approx(0.5, abs=0.08)
    assert all(abs(scene.yaw) <= 80 and abs(scene.pitch) <= 45 for scene in turned)
    assert replace(turned[0], yaw=_SCENES[0].yaw, pitch=_SCENES[0].pitch) == _SCENES[0]


def test_a_few_faces_have_something_before_them() -> None:
    kinds = [scene.occluder.kind for scene in _SCENES if scene.occluder]
    assert 0.03 < len(kinds) / len(_SCENES) < 0.14
    assert set(kinds) == {"hand", "patch"}


def test_a_head_is_turned_and_not_bent() -> None:
    for scene in _SCENES[:20]:
        np.testing.assert_allclose(scene.turn @ scene.turn.T, np.eye(3), atol=1e-6)
        assert np.sign((scene.turn @ [0, 0, 1])[0]) == np.sign(scene.yaw)


def test_a_background_depends_on_its_seed_alone() -> None:
    pytest.importorskip("skimage", reason="its pictures are backgrounds")
    first = [backdrop(seed, 96) for seed in range(12)]
    again = [backdrop(seed, 96) for seed in reversed(range(12))][::-1]
    for picture, same in zip(first, again, strict=True):
        assert picture.shape == (96, 96, 3)
        np.testing.assert_array_equal(picture, same)
    assert (first[0] != first[1]).any()
