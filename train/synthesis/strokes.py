"""Lines drawn on the skin: wrinkles that deepen with their AUs, procedural brows, stubble.

A stroke is a segment on the front of the base mesh, so that it sits at the same anatomical place on every identity and
moves with the skin. The shader turns it into a groove of the normal and a darkening.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .looks import Colour, Look

MAX_STROKES = 56
_CREASE: Colour = (0.62, 0.45, 0.40)
#: Wrinkles of the person's left half, mirrored for the right: AUs that deepen it, ends on the base mesh, width.
_WRINKLES: tuple[tuple[tuple[str, ...], tuple[float, float, float, float], float], ...] = (
    (("AU04",), (0.050, 7.36, 0.075, 7.56), 0.022),  # frown line
    (("AU04",), (0.150, 7.33, 0.020, 7.36), 0.020),  # root of the nose
    (("AU01",), (0.010, 7.66, 0.240, 7.67), 0.024),  # forehead, inner
    (("AU01",), (0.010, 7.80, 0.230, 7.81), 0.024),
    (("AU02",), (0.230, 7.65, 0.500, 7.60), 0.024),  # forehead, outer
    (("AU02",), (0.230, 7.79, 0.470, 7.75), 0.024),
    (("AU06",), (0.530, 7.29, 0.660, 7.37), 0.018),  # crow's feet
    (("AU06",), (0.540, 7.24, 0.680, 7.24), 0.018),
    (("AU06",), (0.530, 7.19, 0.650, 7.12), 0.018),
    (("AU06", "AU07"), (0.190, 7.15, 0.450, 7.13), 0.022),  # under the lid
    (("AU09",), (0.020, 7.28, 0.110, 7.22), 0.018),  # side of the nose
    (("AU09",), (0.020, 7.20, 0.120, 7.13), 0.018),
    (("AU12", "AU10", "AU09"), (0.190, 6.93, 0.310, 6.80), 0.028),  # nasolabial fold, upper
    (("AU12", "AU10"), (0.310, 6.80, 0.380, 6.62), 0.028),  # nasolabial fold, lower
    (("AU14",), (0.375, 6.68, 0.385, 6.55), 0.024),  # dimple
    (("AU15",), (0.330, 6.56, 0.390, 6.44), 0.024),  # below the corner
    (("AU17",), (0.010, 6.44, 0.150, 6.42), 0.026),  # above the chin boss
    (("AU17",), (0.050, 6.33, 0.090, 6.27), 0.022),  # chin
)
_BROW = ((0.115, 7.450), (0.300, 7.530), (0.480, 7.470))
_BEARD = ((0.00, 6.36, 0.20, 6.30), (0.20, 6.30, 0.48, 6.50), (0.00, 6.80, 0.25, 6.74), (0.00, 6.25, 0.25, 6.22))


@dataclass(frozen=True, slots=True)
class Stroke:
    """One line: ends `(x0, y0, x1, y1)`, width, depth, darkening and its colour, and whether it is hair."""

    ends: tuple[float, float, float, float]
    width: float
    depth: float
    cover: float
    colour: Colour
    hair: bool = False


def strokes(look: Look, intensities: Mapping[str, float]) -> list[Stroke]:
    """All strokes of a face with these site intensities."""
    found: list[Stroke] = []
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for aus, ends, width in _WRINKLES:
            level = max(intensities.get(f"{au}_{side}", intensities.get(au, 0.0)) for au in aus) / 5
            depth = look.wrinkles * (0.08 + level)
            if depth > 0.05:
                found.append(Stroke(_mirror(ends, sign), width, 0.8 * depth, min(0.65 * depth, 0.8), _CREASE))
        if look.brow is None:
            found += _brows(look, sign)
        found += _beard(look, sign)
    return found[:MAX_STROKES]


def _brows(look: Look, sign: float) -> list[Stroke]:
    points = [(x, y + look.brow_height) for x, y in _BROW]
    return [
        Stroke(
            _mirror((*a, *b), sign), look.brow_width * size, 0.0, look.brow_density * size, look.brow_colour, hair=True
        )
        for a, b, size in zip(points[:-1], points[1:], (1.0, 0.85), strict=True)
    ]


def _beard(look: Look, sign: float) -> list[Stroke]:
    if look.beard <= 0:
        return []
    return [
        Stroke(_mirror(ends, sign), 0.11 if place else 0.09, 0.0, look.beard * 0.8, look.hair_colour, hair=True)
        for place, ends in enumerate(_BEARD)
    ]


def _mirror(ends: tuple[float, float, float, float], sign: float) -> tuple[float, float, float, float]:
    return sign * ends[0], ends[1], sign * ends[2], ends[3]


def pack(found: list[Stroke]) -> tuple[bytes, bytes, bytes, int]:
    """Uniform arrays of the shader: ends, shape, colour, and how many there are."""
    ends = np.zeros((MAX_STROKES, 4), np.float32)
    shape = np.zeros((MAX_STROKES, 3), np.float32)
    colour = np.zeros((MAX_STROKES, 4), np.float32)
    shape[:, 0] = 1.0
    for place, stroke in enumerate(found):
        ends[place] = stroke.ends
        shape[place] = stroke.width, stroke.depth, stroke.cover
        colour[place] = *stroke.colour, float(stroke.hair)
    return ends.tobytes(), shape.tobytes(), colour.tobytes(), len(found)
