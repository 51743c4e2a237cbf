"""Camera, pose, lights, occluder and background of one picture."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import RuntimeUnavailable

from .accessories import Occluder, draw_occluder

Vector = tuple[float, float, float]
_OCCLUDED = 0.08  # share of pictures
_PHOTOGRAPHED = 0.4  # share of backgrounds that are photographs of things
#: Pictures of scikit-image's wheel that show no face and are in the public domain or CC0, as its documentation says.
_PHOTOGRAPHS = (
    "brick.png", "grass.png", "gravel.png", "coffee.png", "chelsea.png", "coins.png", "rocket.jpg",
    "hubble_deep_field.jpg",
)  # fmt: skip
BACKGROUND_LICENCE = "backgrounds: sample pictures of scikit-image, CC0 or public domain"


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture's circumstances; angles in degrees, distances in decimetres, directions in the camera's space."""

    yaw: float
    pitch: float
    roll: float
    distance: float
    gaze: tuple[float, float]  # yaw and pitch of the eyes, to the person's left and down
    lights: tuple[
        tuple[Vector, Vector], ...
    ]  # 1 to 4: direction towards the light, linear RGB; the first casts shadows
    shade: float  # how dark its shadow is, 0 … 1
    sky_colour: Vector
    ground_colour: Vector
    occluder: Occluder | None
    background: int  # seed

    @property
    def turn(self) -> npt.NDArray[np.float32]:
        """Rotation `[3, 3]` of the head: roll, then pitch, then yaw."""
        y, p, r = np.deg2rad([self.yaw, self.pitch, self.roll])
        around_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        around_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
        around_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
        turn: npt.NDArray[np.float32] = (around_y @ around_x @ around_z).astype(np.float32)
        return turn


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene: mostly near frontal, up to 35° yaw, 20° pitch and 15° roll."""
    sky = _tinted(rng, float(rng.uniform(0.12, 0.42)), 0.12)
    return Scene(
        yaw=float(np.clip(rng.normal(0, 14), -35, 35)),
        pitch=float(np.clip(rng.normal(0, 8), -20, 20)),
        roll=float(np.clip(rng.normal(0, 6), -15, 15)),
        distance=float(rng.uniform(4.5, 18)),
        gaze=(float(np.clip(rng.normal(0, 9), -25, 25)), float(np.clip(rng.normal(0, 5), -14, 14))),
        lights=_lights(rng),
        shade=float(rng.uniform(0.25, 0.9)),
        sky_colour=_vector(sky),
        ground_colour=_vector(sky * rng.uniform(0.4, 0.95) * rng.uniform(0.9, 1.1, 3)),
        occluder=draw_occluder(rng) if rng.random() < _OCCLUDED else None,
        background=int(rng.integers(2**31)),
    )


def turned_anyhow(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with every turn up to 80° yaw and 45° pitch as likely: more than can be read, to learn how much can."""
    return replace(scene, yaw=float(rng.uniform(-80, 80)), pitch=float(rng.uniform(-45, 45)))


def _lights(rng: np.random.Generator) -> tuple[tuple[Vector, Vector], ...]:
    """A key light, and up to three weaker ones."""
    found = [(_direction(rng, 75, 55), _vector(_tinted(rng, float(rng.uniform(0.40, 0.95)), 0.12)))]
    for _ in range(int(rng.integers(0, 4))):
        found.append((_direction(rng, 110, 40), _vector(_tinted(rng, float(rng.uniform(0.03, 0.30)), 0.18))))
    return tuple(found)


def _tinted(rng: np.random.Generator, level: float, spread: float) -> npt.NDArray[np.float64]:
    """A light of a colour temperature about white."""
    warmth = float(rng.normal(0, spread))
    return level * np.clip([1 + warmth, 1.0, 1 - warmth], 0.4, 1.6)


def backdrop(seed: int, side: int) -> npt.NDArray[np.uint8]:
    """Background `[side, side, 3]`: part of a photograph, or soft noise at two scales with some edges."""
    rng = np.random.default_rng(seed)
    picture = _photograph(rng, side) if rng.random() < _PHOTOGRAPHED else _procedural(rng, side)
    if rng.random() < 0.7:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.5, 5)) * side / 224)
    picture = picture * float(rng.uniform(0.3, 1)) if rng.random() < 0.5 else picture
    clipped: npt.NDArray[np.uint8] = np.clip(picture, 0, 255).astype(np.uint8)
    return clipped


def _photograph(rng: np.random.Generator, side: int) -> npt.NDArray[np.float32]:
    image = _texture(_PHOTOGRAPHS[int(rng.integers(len(_PHOTOGRAPHS)))])
    cut = int(rng.integers(80, min(image.shape[:2])))
    top, left = (int(rng.integers(0, size - cut + 1)) for size in image.shape[:2])
    part = cv2.resize(image[top : top + cut, left : left + cut], (side, side), interpolation=cv2.INTER_LINEAR)
    part = part[:, ::-1] if rng.random() < 0.5 else part
    tinted: npt.NDArray[np.float32] = part.astype(np.float32) * rng.uniform(0.6, 1.1, 3).astype(np.float32)
    return tinted


@lru_cache(maxsize=len(_PHOTOGRAPHS))
def _texture(name: str) -> npt.NDArray[np.uint8]:
    spec = importlib.util.find_spec("skimage")
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else None
    image = cv2.imread(str(folder / name), cv2.IMREAD_COLOR) if folder else None
    if image is None:
        raise RuntimeUnavailable(
            "Rendering takes its backgrounds from scikit-image's sample pictures, which are not here. "
            'Install them: `pip install "dsrfau-edge[synth]"`.'
        )
    return np.asarray(image, np.uint8)


def _procedural(rng: np.random.Generator, side: int) -> npt.NDArray[np.float32]:
    coarse = rng.uniform(0, 255, (int(rng.integers(2, 6)), int(rng.integers(2, 6)), 3)).astype(np.float32)
    picture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    picture += float(rng.uniform(0.3, 1)) * (picture.mean(2, keepdims=True) - picture)
    detail = rng.normal(0, rng.uniform(2, 25), (24, 24, 1)).astype(np.float32)
    picture += cv2.resize(detail, (side, side), interpolation=cv2.INTER_LINEAR)[..., None]
    for _ in range(int(rng.integers(0, 6))):
        corner, size = rng.integers(0, side, 2), rng.integers(10, side, 2)
        colour = tuple(float(value) for value in rng.uniform(0, 255) + rng.normal(0, 25, 3))
        cv2.rectangle(picture, tuple(map(int, corner)), tuple(map(int, corner + size)), colour, -1)
    return np.asarray(picture, np.float32)


def _direction(rng: np.random.Generator, yaw: float, pitch: float) -> Vector:
    a, b = np.deg2rad([rng.uniform(-yaw, yaw), rng.uniform(-20, pitch)])
    return _vector(np.array([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)]))


def _vector(values: npt.NDArray[np.float64]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])
