"""What a rig is: a head whose shape and action units we control, in the coordinates of one canonical head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..meshes import FloatArray, IntArray, Surface

#: A displacement field: the vertices that move `[K]` and by how much at weight 1 `[K, 3]`.
Field = tuple[IntArray, FloatArray]


@dataclass(frozen=True, slots=True)
class Identity:
    """One person: neutral positions `[V, 3]`, and what looks should go with them, None where the rig cannot say."""

    name: str
    neutral: FloatArray
    eye_distance: float  # between the centres of the eyes, the ruler of every displacement
    female: bool | None = None
    age: float | None = None  # 0 young adult … 1 old
    race: str | None = None


class Rig(Protocol):
    """A head to pose. Decimetres; the face looks along +z, y is up, the person's left is +x.

    The canonical head is MakeHuman's base mesh. Everything that is painted on a face or worn on it is placed there, so
    that it needs no rig of its own.
    """

    name: str
    licence: str
    #: "skin", "eyes", "teeth", "tongue"; texture coordinates are those of MakeHuman's skin textures.
    surfaces: Mapping[str, Surface]
    #: `[V, 3]` the mean head of the rig, eyes where the canonical head has them.
    neutral: FloatArray
    #: `[V, 3]` where each vertex lies on the canonical head.
    rest: FloatArray
    #: Vertices of the left and of the right eyeball.
    eyes: tuple[IntArray, IntArray]
    #: Displacement fields by ARKit's names, sides apart ("mouthSmileLeft", "jawOpen").
    shapes: Mapping[str, Field]

    def identity(self, name: str, rng: np.random.Generator) -> Identity:
        """Draw a person."""

    def canonical(self, positions: FloatArray) -> FloatArray:
        """Positions of the canonical mesh's vertices when they follow this skin: what assets are fitted to."""


def pose(rig: Rig, identity: Identity, weights: Mapping[str, float]) -> FloatArray:
    """Positions `[V, 3]` of an identity with weighted shapes."""
    positions: FloatArray = identity.neutral.copy()
    for name, weight in weights.items():
        indices, deltas = rig.shapes[name]
        positions[indices] += np.float32(weight) * deltas
    return positions


def eye_centres(rig: Rig, positions: FloatArray) -> FloatArray:
    """Centres of the left and the right eye `[2, 3]`."""
    return np.stack([positions[eye].mean(0) for eye in rig.eyes])


def split_sides(field: Field, x: npt.NDArray[np.floating], blend: float) -> tuple[Field, Field]:
    """A field on both sides as a left and a right one that add up to it; they meet within `blend` of the midline."""
    indices, deltas = field
    share = np.clip(x[indices] / (2 * blend) + 0.5, 0, 1).astype(np.float32)[:, None]
    return (indices, deltas * share), (indices, deltas * (1 - share))
