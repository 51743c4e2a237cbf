"""Lines and bulges of the skin that deepen with their action units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from .chart import HEIGHT, PITCH, WIDTH, Chart, lines, spline
from .meshes import FloatArray

_STEPS = 9
#: Lines of the person's left half, mirrored for the right: AUs that deepen them (each by a share), how much of it an
#: old face keeps at rest, strength, and points on the canonical head.
_LINES: tuple[tuple[dict[str, float], float, float, tuple[tuple[float, float], ...]], ...] = (
    ({"AU04": 1.0}, 0.25, 1.0, ((0.045, 7.33), (0.050, 7.42), (0.075, 7.54))),  # frown lines
    ({"AU04": 0.8}, 0.05, 0.7, ((0.095, 7.40), (0.110, 7.46), (0.120, 7.52))),
    ({"AU04": 0.7, "AU09": 0.8}, 0.10, 0.8, ((0.000, 7.315), (0.050, 7.320), (0.110, 7.345))),  # root of the nose
    ({"AU04": 0.5, "AU09": 0.6}, 0.03, 0.6, ((0.000, 7.265), (0.045, 7.270), (0.090, 7.290))),
    ({"AU01": 1.0}, 0.22, 0.9, ((0.000, 7.600), (0.100, 7.610), (0.230, 7.655))),  # forehead, inner
    ({"AU01": 1.0}, 0.25, 1.0, ((0.000, 7.690), (0.110, 7.700), (0.260, 7.735))),
    ({"AU01": 0.9}, 0.25, 1.0, ((0.000, 7.785), (0.120, 7.795), (0.260, 7.815))),
    ({"AU02": 1.0}, 0.20, 0.9, ((0.200, 7.650), (0.350, 7.680), (0.520, 7.610))),  # forehead, outer
    ({"AU02": 1.0}, 0.22, 1.0, ((0.210, 7.735), (0.360, 7.765), (0.530, 7.690))),
    ({"AU02": 0.9}, 0.22, 0.9, ((0.210, 7.820), (0.360, 7.845), (0.520, 7.775))),
    ({"AU06": 1.0}, 0.22, 0.9, ((0.520, 7.300), (0.570, 7.330), (0.640, 7.385))),  # crow's feet
    ({"AU06": 1.0}, 0.22, 0.9, ((0.525, 7.275), (0.585, 7.275), (0.660, 7.290))),
    ({"AU06": 1.0}, 0.20, 0.9, ((0.515, 7.245), (0.570, 7.220), (0.645, 7.190))),
    ({"AU06": 0.8}, 0.12, 0.7, ((0.490, 7.215), (0.545, 7.170), (0.610, 7.110))),
    ({"AU06": 1.0, "AU07": 0.5}, 0.40, 0.9, ((0.180, 7.205), (0.300, 7.160), (0.440, 7.185))),  # under the lid
    ({"AU06": 0.9}, 0.20, 0.8, ((0.190, 7.140), (0.310, 7.085), (0.470, 7.110))),
    ({"AU09": 1.0}, 0.05, 0.9, ((0.030, 7.235), (0.075, 7.215), (0.120, 7.190))),  # side of the nose
    ({"AU09": 1.0}, 0.03, 0.9, ((0.040, 7.180), (0.085, 7.165), (0.130, 7.135))),
    ({"AU09": 0.8}, 0.02, 0.7, ((0.050, 7.120), (0.095, 7.110), (0.140, 7.075))),
    ({"AU10": 1.0, "AU09": 0.9, "AU12": 0.6}, 0.45, 1.2, ((0.165, 6.945), (0.215, 6.890), (0.270, 6.800))),
    ({"AU12": 1.0, "AU10": 0.6}, 0.40, 1.2, ((0.240, 6.845), (0.320, 6.740), (0.360, 6.600))),  # nasolabial, lower
    ({"AU12": 0.7, "AU06": 0.2}, 0.10, 0.8, ((0.340, 6.780), (0.415, 6.680), (0.430, 6.560))),  # cheek, beside it
    ({"AU14": 1.0, "AU12": 0.2}, 0.10, 1.4, ((0.315, 6.660), (0.330, 6.605), (0.315, 6.550))),  # dimple
    ({"AU15": 1.0}, 0.30, 1.1, ((0.275, 6.580), (0.310, 6.520), (0.325, 6.430))),  # below the corner
    ({"AU15": 0.7, "AU17": 0.3}, 0.05, 0.8, ((0.235, 6.540), (0.275, 6.490), (0.285, 6.420))),
    ({"AU17": 1.0}, 0.25, 1.2, ((0.000, 6.435), (0.100, 6.425), (0.190, 6.390))),  # above the chin boss
    ({"AU20": 0.8}, 0.00, 0.7, ((0.350, 6.660), (0.380, 6.600), (0.370, 6.520))),
    ({"AU24": 1.0, "AU28": 0.8, "AU23": 0.6}, 0.10, 1.0, ((0.285, 6.650), (0.305, 6.615), (0.290, 6.580))),
)
#: Small lines across the lips: AUs, where they stand (x, y) and half their height.
_LIPS = tuple((x, y, 0.03) for x in (0.02, 0.065, 0.11, 0.155, 0.2) for y in (6.725, 6.505))
_LIP_AUS = {"AU18": 1.0, "AU23": 0.9, "AU24": 0.6}
#: Bulges: AUs, where, half width and half height, height in decimetres at full strength.
_BULGES: tuple[tuple[dict[str, float], tuple[float, float], tuple[float, float], float], ...] = (
    ({"AU06": 1.0, "AU12": 0.5}, (0.36, 7.00), (0.15, 0.075), 0.022),
    ({"AU04": 1.0}, (0.09, 7.45), (0.05, 0.06), 0.012),
    ({"AU10": 0.8, "AU09": 0.6}, (0.21, 6.95), (0.05, 0.05), 0.010),
    ({"AU24": 1.0, "AU23": 0.6}, (0.15, 6.78), (0.12, 0.035), 0.010),
    ({"AU14": 0.7, "AU15": 0.6}, (0.39, 6.60), (0.05, 0.10), 0.008),
)
_CHIN = (0.0, 6.31, 0.16, 0.08)


@dataclass(frozen=True, slots=True)
class Creases:
    """How a person's skin folds: every number is drawn once per person."""

    strength: float  # 0.5 smooth and young … 1.5
    rest: float  # 0 … 1: how much of the lines is there at rest
    seed: int  # of the lines' places


class WrinkleMap:
    """Draws the folds of one person after another."""

    def __init__(self, chart: Chart) -> None:
        """Put the tables' points on the rig's head."""
        self._chart = chart
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        self._bulges = [
            (aus, sign, self._blob(x, y, at, size, sign) * high) for aus, at, size, high in _BULGES for sign in (1, -1)
        ]
        pits = np.random.default_rng(7).normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
        pits = cv2.GaussianBlur(pits, (0, 0), 2.2)
        self._chin = self._blob(x, y, _CHIN[:2], _CHIN[2:], 1) * (pits / pits.std()) * 0.006
        self._known: tuple[int, list[tuple[dict[str, float], float, float, int, FloatArray]]] | None = None

    def draw(self, creases: Creases, intensities: Mapping[str, float]) -> tuple[FloatArray, FloatArray]:
        """Height `[HEIGHT, WIDTH]` in decimetres and depth of shade (0 none … 1) of a face with these intensities."""
        layer = np.zeros((HEIGHT, WIDTH), np.uint8)
        for aus, rest, strength, sign, curve in self._curves(creases.seed):
            level = _level(aus, intensities, sign)
            depth = creases.strength * strength * (level + 0.45 * rest * creases.rest)
            if depth < 0.03:
                continue
            taper = np.sin(np.linspace(0.35, np.pi - 0.35, len(curve) - 1))
            lines(layer, np.hstack([curve[:-1], curve[1:]]), np.minimum(0.62 * depth, 1) * taper, 2)
        fold = cv2.GaussianBlur(layer.astype(np.float32) / 255, (0, 0), 1.1)
        wide = cv2.GaussianBlur(fold, (0, 0), 4.5)
        height = 0.026 * wide - 0.017 * fold
        for aus, sign, blob in self._bulges:
            level = _level(aus, intensities, sign)
            if level > 0.02:
                height += level * creases.strength * blob
        chin = _level({"AU17": 1.0}, intensities, 1)
        if chin > 0.02:
            height += chin * creases.strength * self._chin
        shade: FloatArray = np.clip(0.85 * fold + 0.5 * wide, 0, 1)
        return height, shade

    def _curves(self, seed: int) -> list[tuple[dict[str, float], float, float, int, FloatArray]]:
        """The person's lines in pixels; those of the last person are kept."""
        if self._known is None or self._known[0] != seed:
            rng = np.random.default_rng(seed)
            found = []
            for aus, rest, strength, points in _all_lines():
                shift, jitter = rng.normal(0, 0.010, 2), float(rng.uniform(0.6, 1.3))
                for sign in (1, -1):
                    at = np.asarray(points) + shift + rng.normal(0, 0.006, (len(points), 2))
                    curve = spline(at, _STEPS) * np.array([sign, 1], np.float32)
                    found.append((aus, rest, strength * jitter, sign, curve))
            pixels = self._chart.pixels(np.concatenate([row[4] for row in found]))
            parts = np.split(pixels, np.cumsum([len(row[4]) for row in found])[:-1])
            self._known = seed, [(*row[:4], part) for row, part in zip(found, parts, strict=True)]
        return self._known[1]

    def _blob(
        self, x: FloatArray, y: FloatArray, at: tuple[float, ...], size: tuple[float, ...], sign: int
    ) -> FloatArray:
        column, row = self._chart.pixels(np.array([[sign * at[0], at[1]]]))[0]
        across, up = size[0] / PITCH[0], size[1] / PITCH[1]
        blob: FloatArray = np.exp(-(((x - column) / across) ** 2) - ((y - row) / up) ** 2)
        return blob


def _all_lines() -> list[tuple[dict[str, float], float, float, tuple[tuple[float, float], ...]]]:
    lips = [(_LIP_AUS, 0.05, 0.6, ((x, y - half), (x * 1.03, y), (x, y + half))) for x, y, half in _LIPS]
    return [*_LINES, *lips]


def _level(aus: Mapping[str, float], intensities: Mapping[str, float], sign: int) -> float:
    """How strongly the AUs of a line act on its side, 0 … 1."""
    side = "left" if sign > 0 else "right"
    levels = [share * intensities.get(f"{au}_{side}", intensities.get(au, 0.0)) / 5 for au, share in aus.items()]
    return min(max(levels), 1.0)
