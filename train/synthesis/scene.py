"""Camera, pose, light and background of one picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture's circumstances; angles in degrees, distances in units of the rig (decimetres)."""

    yaw: float
    pitch: float
    roll: float
    distance: float
    gaze: tuple[float, float]  # yaw and pitch of the eyes
    key_direction: Vector
    key_colour: Vector
    fill_direction: Vector
    fill_colour: Vector
    sky_colour: Vector
    ground_colour: Vector
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
    warmth, level = float(rng.normal(0, 0.12)), float(rng.uniform(0.35, 0.95))
    key = np.array([1 + warmth, 1.0, 1 - warmth]) * level
    ambient = float(rng.uniform(0.10, 0.38)) * np.array([1 - warmth / 2, 1.0, 1 + warmth / 2])
    return Scene(
        yaw=float(np.clip(rng.normal(0, 14), -35, 35)),
        pitch=float(np.clip(rng.normal(0, 8), -20, 20)),
        roll=float(np.clip(rng.normal(0, 6), -15, 15)),
        distance=float(rng.uniform(4.5, 18)),
        gaze=(float(np.clip(rng.normal(0, 9), -25, 25)), float(np.clip(rng.normal(0, 5), -14, 14))),
        key_direction=_direction(rng, 75, 55),
        key_colour=_vector(key),
        fill_direction=_direction(rng, 90, 30),
        fill_colour=_vector(rng.uniform(0.0, 0.35) * np.ones(3)),
        sky_colour=_vector(ambient),
        ground_colour=_vector(ambient * rng.uniform(0.4, 0.95)),
        background=int(rng.integers(2**31)),
    )


def backdrop(seed: int, side: int) -> npt.NDArray[np.uint8]:
    """Procedural background `[side, side, 3]`: soft noise at two scales over a gradient, some edges."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (int(rng.integers(2, 6)), int(rng.integers(2, 6)), 3)).astype(np.float32)
    picture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    picture += float(rng.uniform(0.3, 1)) * (picture.mean(2, keepdims=True) - picture)
    detail = rng.normal(0, rng.uniform(2, 25), (24, 24, 1)).astype(np.float32)
    picture += cv2.resize(detail, (side, side), interpolation=cv2.INTER_LINEAR)[..., None]
    for _ in range(int(rng.integers(0, 6))):
        corner, size = rng.integers(0, side, 2), rng.integers(10, side, 2)
        colour = tuple(float(value) for value in rng.uniform(0, 255) + rng.normal(0, 25, 3))
        cv2.rectangle(picture, tuple(map(int, corner)), tuple(map(int, corner + size)), colour, -1)
    if rng.random() < 0.7:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(1, 9)))
    picture = picture * float(rng.uniform(0.3, 1)) if rng.random() < 0.5 else picture
    clipped: npt.NDArray[np.uint8] = np.clip(picture, 0, 255).astype(np.uint8)
    return clipped


def _direction(rng: np.random.Generator, yaw: float, pitch: float) -> Vector:
    a, b = np.deg2rad([rng.uniform(-yaw, yaw), rng.uniform(-20, pitch)])
    return _vector(np.array([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)]))


def _vector(values: npt.NDArray[np.float64]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])
