"""Puts another rig's head into the coordinates of the canonical head, and clothes made for that on the other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..meshes import FloatArray, IntArray, Surface

_NEIGHBOURS = 4
_SMOOTHING = 2e-3  # of the spline: landmarks stand on vertices, so they are off by up to half an edge
_STIFF = 0.3
_OUTLIER = 0.1  # decimetres
_SAMPLES = 24  # points on every triangle of the canonical skin, to find the texture's place


@dataclass(frozen=True, slots=True)
class Registration:
    """How a rig lies on the canonical head."""

    rest: FloatArray  # [V, 3] canonical place of every vertex
    texture: FloatArray  # [V, 2] canonical texture coordinates of every vertex
    nearest: IntArray  # [C, 4] this rig's skin vertices that a canonical vertex follows
    weights: FloatArray  # [C, 4]
    offsets: FloatArray  # [C, 3]

    def canonical(self, positions: FloatArray) -> FloatArray:
        """Positions `[C, 3]` of the canonical mesh's vertices following these `[V, 3]`."""
        held: FloatArray = np.einsum("ck,ckx->cx", self.weights, positions[self.nearest], optimize=False)
        return held + self.offsets


@lru_cache(maxsize=1)
def landmark_vertices() -> dict[str, IntArray]:
    """Vertex of each of FaceMesh's 468 points on every rig's neutral head, as `dsrfau-synth calibrate` finds them."""
    table = json.loads(Path(__file__).with_name("landmarks.json").read_text("utf-8"))
    return {name: np.asarray(vertices, np.int32) for name, vertices in table.items()}


def register(
    neutral: FloatArray,
    skin: IntArray,
    landmarks: IntArray | None,
    *,
    canonical: FloatArray,
    canonical_skin: Surface,
    canonical_landmarks: IntArray,
) -> Registration:
    """Register a neutral head by a smoothing spline through landmarks (thin plate).

    Args:
        neutral: positions `[V, 3]`, its eyes on the canonical ones.
        skin: vertices of the skin `[K]`.
        landmarks: vertices of FaceMesh's points `[468]`; None takes the positions as they are, to look for them.
        canonical: positions of the canonical mesh `[C, 3]`.
        canonical_skin: its skin.
        canonical_landmarks: its vertices of the same points.
    """
    from scipy.spatial import cKDTree

    rest = neutral
    if landmarks is not None:
        rest = _warped(neutral, landmarks, canonical[canonical_landmarks])
    points, coordinates = _sampled(canonical, canonical_skin)
    _, hit = cKDTree(points).query(rest)
    distance, nearest = cKDTree(rest[skin]).query(canonical, k=_NEIGHBOURS)
    weights = 1 / np.maximum(distance, 1e-4) ** 2
    weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    nearest = skin[nearest].astype(np.int32)
    offsets = canonical - np.einsum("ck,ckx->cx", weights, rest[nearest])
    return Registration(rest, coordinates[hit], nearest, weights, offsets.astype(np.float32))


def _warped(neutral: FloatArray, landmarks: IntArray, targets: FloatArray) -> FloatArray:
    from scipy.interpolate import RBFInterpolator

    places, chosen = np.unique(landmarks, return_index=True)
    sources, goals = neutral[places], targets[chosen]
    # Along the jaw a point can fall on the throat behind it: a stiff spline shows which.
    stiff = RBFInterpolator(sources, goals, kernel="thin_plate_spline", smoothing=_STIFF)(sources)
    fit = np.linalg.norm(stiff - goals, axis=1) < _OUTLIER
    spline = RBFInterpolator(sources[fit], goals[fit], kernel="thin_plate_spline", smoothing=_SMOOTHING)
    warped: FloatArray = spline(neutral).astype(np.float32)
    return warped


def _outside(positions: FloatArray) -> npt.NDArray[np.bool_]:
    """Vertices of the canonical skin that are not in the mouth."""
    x, y, z = positions.T
    outside: npt.NDArray[np.bool_] = ~((np.abs(x) < 0.4) & (y > 6.2) & (y < 6.95) & (z < 1.3) & (z > 0.2))
    return outside


def _sampled(positions: FloatArray, part: Surface) -> tuple[FloatArray, FloatArray]:
    """Points spread over a surface and their texture coordinates."""
    rng = np.random.default_rng(0)
    triangles = part.triangles[_outside(positions[part.source])[part.triangles].all(1)]
    shares = rng.dirichlet([1.0] * 3, (len(triangles), _SAMPLES)).astype(np.float32)
    corners = positions[part.source][triangles]
    points = np.einsum("tsk,tkx->tsx", shares, corners).reshape(-1, 3)
    coordinates = np.einsum("tsk,tkx->tsx", shares, part.texture[triangles]).reshape(-1, 2)
    return points, coordinates
