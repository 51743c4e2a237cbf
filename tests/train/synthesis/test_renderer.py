"""Pictures: the same bytes from the same seed, any side, and every part of a look to be seen."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dsrfau_edge.train.synthesis.accessories import Occluder, draw_glasses
from dsrfau_edge.train.synthesis.graphics import Device
from dsrfau_edge.train.synthesis.looks import Look, Wardrobe
from dsrfau_edge.train.synthesis.renderer import EYE_DISTANCE, Renderer
from dsrfau_edge.train.synthesis.rigs.base import Identity, eye_centres, pose
from dsrfau_edge.train.synthesis.rigs.makehuman import MakeHumanRig
from dsrfau_edge.train.synthesis.scene import Scene, draw_scene

from .rendering import NEEDED

pytestmark = NEEDED
_SIDE = 224
Picture = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class _Studio:
    rig: MakeHumanRig
    renderer: Renderer
    person: Identity
    look: Look
    scene: Scene

    def picture(self, *, renderer: Renderer | None = None, look: Look | None = None, **levels: float) -> Picture:
        own = renderer or self.renderer
        return own.render(self.person, self.person.neutral, look or self.look, self.scene, levels)


@pytest.fixture(scope="module")
def studio() -> _Studio:
    rig = MakeHumanRig()
    person = rig.identity("someone", np.random.default_rng(2))
    look = dataclasses.replace(Wardrobe(None).draw(person, np.random.default_rng(1)), glasses=None)
    lit = (((0.3, 0.5, 0.81), (0.8, 0.8, 0.8)),)
    scene = dataclasses.replace(
        draw_scene(np.random.default_rng(3)), yaw=0.0, pitch=0.0, roll=0.0, lights=lit, occluder=None, gaze=(0.0, 0.0)
    )
    return _Studio(rig, Renderer(rig, _SIDE), person, look, scene)


def _around(studio: _Studio, point: Any, half: int) -> tuple[slice, slice]:
    x, y = studio.renderer.project(studio.person, np.asarray([point], np.float32), studio.scene)[0].round().astype(int)
    return slice(y - half, y + half), slice(x - half, x + half)


def test_the_same_is_drawn_again_whatever_came_between(studio: _Studio) -> None:
    first = studio.picture(AU04=3.0)
    other = Wardrobe(None).draw(studio.person, np.random.default_rng(9))
    studio.picture(look=other, AU12_left=5.0)
    np.testing.assert_array_equal(studio.picture(AU04=3.0), first)


def test_a_larger_picture_shows_the_same(studio: _Studio) -> None:
    large = Renderer(studio.rig, 2 * _SIDE, device=Device())
    drawn = studio.picture(renderer=large)
    assert drawn.shape == (2 * _SIDE, 2 * _SIDE, 3)
    eyes = eye_centres(studio.rig, studio.person.neutral)
    left, right = large.project(studio.person, eyes, studio.scene)
    assert np.linalg.norm(left - right) == pytest.approx(EYE_DISTANCE * 2 * _SIDE, rel=0.08)
    middle = slice(_SIDE // 4, 3 * _SIDE // 4)
    small = drawn.reshape(_SIDE, 2, _SIDE, 2, 3).mean((1, 3))[middle, middle]
    assert np.abs(small - studio.picture()[middle, middle]).mean() < 6


def test_points_lie_where_they_are_drawn(studio: _Studio) -> None:
    drawn = studio.picture()
    for eye in eye_centres(studio.rig, studio.person.neutral):
        at = _around(studio, eye + [0, 0, 0.14], 3)
        assert drawn[at].mean() < drawn[_around(studio, eye + [0, -0.32, 0.1], 6)].mean()  # darker than the cheek


def test_folds_of_an_au_are_seen_without_any_movement(studio: _Studio) -> None:
    still, frown = studio.picture().astype(float), studio.picture(AU04=5.0).astype(float)
    root = _around(studio, eye_centres(studio.rig, studio.person.neutral).mean(0) + [0, 0.14, 0.25], 9)
    chin = _around(studio, eye_centres(studio.rig, studio.person.neutral).mean(0) + [0, -0.95, 0.2], 9)
    assert np.abs(frown - still)[root].mean() > 3
    assert np.abs(frown - still)[chin].mean() < 1


def test_hair_glasses_and_hands_change_the_picture(studio: _Studio) -> None:
    bald = dataclasses.replace(studio.look, hair=None, cap_density=0.0)
    capped = dataclasses.replace(bald, cap_density=1.0, cap_thickness=0.06, hair_colour=(0.02, 0.02, 0.02))
    worn = dataclasses.replace(bald, glasses=draw_glasses(np.random.default_rng(0)))
    plain = studio.picture(look=bald).astype(float)
    for look in (capped, worn):
        assert (np.abs(studio.picture(look=look) - plain).max(2) > 20).mean() > 0.01
    hand = Occluder("hand", (0.0, 6.62), 0.0, 1.0, (0.5, 0.4, 0.3), mirrored=False)
    hidden = dataclasses.replace(studio, scene=dataclasses.replace(studio.scene, occluder=hand))
    assert (np.abs(hidden.picture(look=bald) - plain).max(2) > 20).mean() > 0.02


def test_the_nose_casts_a_shadow_away_from_the_key_light(studio: _Studio) -> None:
    aside = (((0.80, 0.25, 0.54), (0.9, 0.9, 0.9)),)  # from the person's left
    dark, open_ = (dataclasses.replace(studio.scene, lights=aside, shade=shade) for shade in (0.9, 0.0))
    pictures = [dataclasses.replace(studio, scene=scene).picture().astype(float) for scene in (dark, open_)]
    darker = pictures[1] - pictures[0]
    assert darker.min() > -12  # a shadow brightens nothing
    middle = eye_centres(studio.rig, studio.person.neutral).mean(0)
    left, right = (darker[_around(studio, middle + [x, -0.33, 0.2], 8)].mean() for x in (0.16, -0.16))
    assert right > left + 5


def test_a_person_of_whom_the_rig_knows_nothing_is_dressed(studio: _Studio) -> None:
    unknown = dataclasses.replace(studio.person, female=None, age=None, race=None)
    looks = [Wardrobe(None).draw(unknown, np.random.default_rng(seed)) for seed in range(8)]
    assert len({look.skin_tint for look in looks}) == 8
    closed = pose(studio.rig, unknown, {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0})
    picture = studio.renderer.render(unknown, closed, looks[0], studio.scene, {})
    assert picture.shape == (_SIDE, _SIDE, 3)
