"""Glasses, and what hides part of a face: a hand, a patch; small meshes made by rule, on the head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from .meshes import FloatArray, IntArray
from .rigs.makehuman import base_mesh

Colour = tuple[float, float, float]  # linear RGB

_EYE_DISTANCE = 0.6155  # of the canonical head
_AROUND, _SECTION = 28, 6  # points around a rim, and around its wire
_WRIST = 4.2  # the left hand of the canonical body lies beyond this x
_HAND_LENGTH = 2.2
#: Where an occluder is put, on the canonical head: the two cheeks, the mouth, the chin, a brow, an eye.
_PLACES = ((0.45, 6.95), (-0.45, 6.95), (0.0, 6.62), (0.05, 6.3), (0.35, 7.55), (-0.32, 7.25))


@dataclass(frozen=True, slots=True)
class Glasses:
    """A frame: half width and half height of a lens (decimetres), how square it is, its wire and its colours."""

    width: float
    height: float
    squareness: float  # exponent of the superellipse: 2 is an ellipse
    wire: float
    frame: Colour
    tint: float  # cover of the lens, 0 clear


@dataclass(frozen=True, slots=True)
class Occluder:
    """A hand or a patch before the face."""

    kind: Literal["hand", "patch"]
    place: tuple[float, float]  # on the canonical head
    angle: float  # degrees in the picture's plane
    size: float
    colour: Colour  # of a patch; a hand has the skin's
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Item:
    """Something to draw: positions `[K, 3]` on the head, triangles `[M, 3]`, its colour, cover and gloss."""

    positions: FloatArray
    triangles: IntArray
    colour: Colour
    cover: float = 1.0
    gloss: float = 0.2


def draw_glasses(rng: np.random.Generator) -> Glasses:
    """Draw a frame; half of them dark."""
    dark = float(rng.uniform(0.005, 0.04))
    frame = (dark, dark, dark) if rng.random() < 0.5 else tuple(float(value) for value in rng.uniform(0.02, 0.5, 3))
    return Glasses(
        width=float(rng.uniform(0.20, 0.27)),
        height=float(rng.uniform(0.14, 0.23)),
        squareness=float(rng.uniform(2.0, 5.0)),
        wire=float(rng.uniform(0.008, 0.030)),
        frame=frame,  # type: ignore[arg-type]
        tint=float(rng.uniform(0.0, 0.12)),
    )


def draw_occluder(rng: np.random.Generator) -> Occluder:
    """Draw a hand (more often) or a patch."""
    x, y = _PLACES[int(rng.integers(len(_PLACES)))]
    place = float(x + rng.normal(0, 0.1)), float(y + rng.normal(0, 0.1))
    red, green, blue = (float(value) for value in rng.uniform(0.0, 0.9, 3))
    hand = rng.random() < 0.65
    return Occluder(
        "hand" if hand else "patch",
        place,
        float(rng.normal(0, 50)) if hand else float(rng.uniform(0, 180)),
        float(rng.uniform(0.8, 1.05)) if hand else float(rng.uniform(0.15, 0.5)),
        (red, green, blue),
        bool(rng.random() < 0.5),
    )


def glasses_items(glasses: Glasses, canonical: FloatArray, eyes: FloatArray) -> list[Item]:
    """Frame and lenses fitted to a head.

    Args:
        glasses: the frame.
        canonical: neutral positions of the canonical mesh's vertices on this head.
        eyes: centres of its eyes `[2, 3]`.
    """
    scale = float(np.linalg.norm(eyes[0] - eyes[1])) / _EYE_DISTANCE
    middle = eyes.mean(0) + np.array([0, -0.02 * scale, 0])
    near = np.abs(canonical - middle) < np.array([0.55, 0.22, 2.0]) * scale
    front = float(canonical[near.all(1) & (canonical[:, 2] > middle[2]), 2].max()) + 0.02
    frames: list[tuple[FloatArray, IntArray]] = []
    lenses: list[Item] = []
    for side in (1.0, -1.0):
        rim = _rim(glasses, side, scale) + (middle[0], middle[1], 0)
        rim[:, 2] = front - 0.10 * scale * ((rim[:, 0] - middle[0]) / (0.5 * scale)) ** 2
        frames.append(_tube(rim, glasses.wire * scale, closed=True))
        hinge = rim[np.argmax(side * rim[:, 0] + 0.3 * rim[:, 1])]
        ear = np.array([middle[0] + side * 0.83 * scale, middle[1] - 0.02 * scale, middle[2] - 0.85 * scale])
        frames.append(_tube(np.linspace(hinge, ear, 6), glasses.wire * 0.9 * scale, closed=False))
        fan = np.stack([np.zeros(_AROUND), np.arange(_AROUND) + 1, (np.arange(_AROUND) + 1) % _AROUND + 1], axis=1)
        glass = np.concatenate([rim.mean(0, keepdims=True), rim]).astype(np.float32)
        lenses.append(Item(glass, fan.astype(np.int32), (0.05, 0.05, 0.06), 0.03 + glasses.tint, 1.5))
    inner = [_rim(glasses, side, scale) for side in (1.0, -1.0)]
    reach = float(inner[0][:, 0].min())
    bow = np.linspace(-reach, reach, 7)
    bridge = np.stack([bow, 0.05 * scale - 0.6 * bow**2 / max(reach, 1e-3), np.zeros(7)], axis=1)
    bridge += (middle[0], middle[1], front)
    frames.append(_tube(bridge, glasses.wire * scale, closed=False))
    return [Item(positions, triangles, glasses.frame, gloss=0.6) for positions, triangles in frames] + lenses


def occluder_item(occluder: Occluder, canonical: FloatArray, eyes: FloatArray, skin: Colour) -> Item:
    """The hand or patch before a head, just off the skin.

    Args:
        occluder: what and where.
        canonical: neutral positions of the canonical mesh's vertices on this head.
        eyes: centres of its eyes `[2, 3]`.
        skin: colour of a hand.
    """
    scale = float(np.linalg.norm(eyes[0] - eyes[1])) / _EYE_DISTANCE
    x, y = occluder.place[0] * scale, (occluder.place[1] - 7.284) * scale + eyes[:, 1].mean()
    near = (np.abs(canonical[:, 0] - x) < 0.3 * scale) & (np.abs(canonical[:, 1] - y) < 0.3 * scale)
    front = float(canonical[near, 2].max()) if near.any() else float(eyes[:, 2].mean() + 0.4)
    angle = np.deg2rad(occluder.angle)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    if occluder.kind == "hand":
        shape, triangles = _hand()
        size, colour, lift = scale * occluder.size, skin, 0.16
    else:
        shape, triangles = _square()
        size, colour, lift = scale * occluder.size, occluder.colour, 0.05
    flipped = shape * np.array([-1.0 if occluder.mirrored else 1.0, 1, 1])
    positions = flipped @ turn.T * size + np.array([x, y, front + lift * scale])
    if occluder.mirrored:
        triangles = triangles[:, ::-1]
    return Item(positions.astype(np.float32), triangles, colour, gloss=0.12)


def _rim(glasses: Glasses, side: float, scale: float) -> npt.NDArray[np.float64]:
    """Points around a lens `[A, 3]`, from between the eyes."""
    angles = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    power = 2 / glasses.squareness
    across = glasses.width * np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** power
    up = glasses.height * np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** power
    return np.stack([side * 0.34 + across, up - 0.03, np.zeros(_AROUND)], axis=1) * scale


def _tube(path: npt.NDArray[np.float64], radius: float, *, closed: bool) -> tuple[FloatArray, IntArray]:
    """A wire along a path `[P, 3]`."""
    ahead = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0) if closed else np.gradient(path, axis=0)
    ahead = ahead / np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    aside = np.cross(ahead, np.where(np.abs(ahead[:, 1:2]) < 0.9, [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]))
    aside /= np.maximum(np.linalg.norm(aside, axis=1, keepdims=True), 1e-9)
    over = np.cross(aside, ahead)
    angles = np.linspace(0, 2 * np.pi, _SECTION, endpoint=False)
    ring = np.cos(angles)[None, :, None] * aside[:, None] + np.sin(angles)[None, :, None] * over[:, None]
    positions = (path[:, None] + radius * ring).reshape(-1, 3).astype(np.float32)
    steps = np.arange(len(path) if closed else len(path) - 1)
    a = steps[:, None] * _SECTION + np.arange(_SECTION)
    b = steps[:, None] * _SECTION + (np.arange(_SECTION) + 1) % _SECTION
    after = (steps[:, None] + 1) % len(path) * _SECTION
    c, d = after + np.arange(_SECTION), after + (np.arange(_SECTION) + 1) % _SECTION
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    return positions, triangles.astype(np.int32)


def _square() -> tuple[FloatArray, IntArray]:
    corners = np.array([[-1, -0.7, 0], [1, -0.7, 0], [1, 0.7, 0], [-1, 0.7, 0]], np.float32)
    return corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32)


@lru_cache(maxsize=1)
def _hand() -> tuple[FloatArray, IntArray]:
    """The canonical body's left hand, fingers up, its back to the viewer, the middle of the fingers at the origin."""
    mesh = base_mesh()
    quads = mesh.groups["body"][:, :, 0]
    quads = quads[(mesh.positions[quads, 0] > _WRIST).all(1)]
    used, inverse = np.unique(quads, return_inverse=True)
    corners = inverse.reshape(-1, 4)
    positions = mesh.positions[used].astype(np.float64)
    centred = positions - positions.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    along, through = axes[0], axes[2]
    along = along if along[1] < 0 else -along  # the fingers hang down
    through = through if through[0] > 0 else -through  # the back of the hand looks away from the body
    frame = np.stack([np.cross(along, through), along, through])
    upright = centred @ frame.T
    upright[:, 1] -= 0.3 * _HAND_LENGTH / 2
    triangles = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]]).astype(np.int32)
    return upright.astype(np.float32), triangles
