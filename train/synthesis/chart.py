"""A cylinder around the front of the canonical head: where the small textures of a face are drawn.

The shader finds the same place from a fragment's position on the canonical head, so that whatever is drawn here sits at
one anatomical place on every identity and every rig, and moves with the skin.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .meshes import FloatArray
from .rigs.base import Rig

WIDTH, HEIGHT = 512, 448
AXIS_Z = 0.35  # decimetres
ANGLE = 1.3  # radians to either side of the front
LOW, HIGH = 5.95, 8.25  # decimetres
#: Decimetres per pixel: across (at the radius of a cheek) and up.
PITCH = (2 * ANGLE * 1.15 / WIDTH, (HIGH - LOW) / HEIGHT)

Points = npt.NDArray[np.floating[Any]]


_GRID = 0.02  # decimetres between the places where the depth of the front is known
_SPAN = 1.0  # of that grid, to either side


class Chart:
    """Turns places on the front of a rig's canonical head into pixels."""

    def __init__(self, rig: Rig) -> None:
        """Take the front of the skin as the surface that drawn points lie on."""
        from scipy.spatial import cKDTree

        rest = rig.rest[np.unique(rig.surfaces["skin"].source)]
        front = rest[(rest[:, 2] > 0.3) & (rest[:, 1] > LOW - 0.2)].astype(np.float64)
        across, up = np.meshgrid(np.arange(-_SPAN, _SPAN, _GRID), np.arange(LOW, HIGH, _GRID))
        away, nearest = cKDTree(front[:, :2]).query(np.column_stack([across.ravel(), up.ravel()]), k=6)
        weight, depth = 1 / (away + 0.01), front[nearest, 2]
        weight *= depth > depth.max(1, keepdims=True) - 0.25  # not the inside of the mouth or a nostril
        self._depth = ((weight * depth).sum(1) / weight.sum(1)).reshape(across.shape).astype(np.float32)

    def pixels(self, points: Points) -> FloatArray:
        """Pixels `[N, 2]` (x, y) of points `[N, 2]` seen from the front (x, y in decimetres)."""
        at = ((np.asarray(points) - [-_SPAN, LOW]) / _GRID).astype(np.float32)
        z = cv2.remap(self._depth, at[:, :1], at[:, 1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return to_pixels(np.column_stack([points, z]))


def to_pixels(points: Points) -> FloatArray:
    """Pixels `[N, 2]` of points `[N, 3]` of the canonical head."""
    angle = np.arctan2(points[:, 0], points[:, 2] - AXIS_Z)
    across = (angle / (2 * ANGLE) + 0.5) * WIDTH - 0.5
    up = (HIGH - points[:, 1]) / (HIGH - LOW) * HEIGHT - 0.5
    return np.column_stack([across, up]).astype(np.float32)


def spline(points: Points, count: int) -> FloatArray:
    """A smooth curve `[count, D]` through points `[N, D]` (Catmull-Rom)."""
    knots = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    at = np.linspace(0, len(points) - 1, count)
    k = np.minimum(at.astype(int), len(points) - 2)
    t = (at - k)[:, None]
    a, b, c, d = (knots[k + step] for step in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    smooth: FloatArray = curve.astype(np.float32)
    return smooth


def lines(layer: npt.NDArray[np.uint8], ends: FloatArray, levels: Points, thickness: int = 1) -> None:
    """Draw antialiased segments `[N, 4]` with levels `[N]` of 0…1 into a layer."""
    fixed = (ends * 8).round().astype(int).tolist()
    for (x0, y0, x1, y1), level in zip(fixed, (np.clip(levels, 0, 1) * 255).tolist(), strict=True):
        cv2.line(layer, (x0, y0), (x1, y1), level, thickness, cv2.LINE_AA, 3)
