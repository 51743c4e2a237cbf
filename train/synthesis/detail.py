"""The detail map of one picture: slope, shade and hair of the skin in one small texture, its tone in another."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from .chart import PITCH, Chart
from .complexion import Complexion, ComplexionMap
from .meshes import FloatArray
from .rigs.base import Rig
from .wrinkles import Creases, WrinkleMap

SLOPE_RANGE = 2.0  # the largest slope a texel can say; the shader knows it too

Texels = npt.NDArray[np.uint8]


class DetailMap:
    """Draws the maps of a rig's faces."""

    def __init__(self, rig: Rig) -> None:
        """Lay the chart on the rig's head."""
        chart = Chart(rig)
        self._wrinkles, self._complexions = WrinkleMap(chart), ComplexionMap(chart)

    def draw(self, complexion: Complexion, creases: Creases, intensities: Mapping[str, float]) -> Texels:
        """Texels `[H, W, 4]`, top row first: slope across, slope up (128 = none), shade of folds, cover of hair."""
        hair, _, pores = self._complexions.draw(complexion)
        height, shade = self._wrinkles.draw(creases, intensities)
        slope_x, slope_y = _slopes(height + pores)
        planes = [_signed(slope_x), _signed(slope_y), _share(shade), _share(hair)]
        return np.stack(planes, axis=2)

    def tone(self, complexion: Complexion) -> Texels:
        """Texels `[H, W, 4]` of the skin's tone: a multiplier of linear RGB, 128 = 1."""
        tone = self._complexions.draw(complexion)[1]
        return np.dstack([_share((tone / 2).astype(np.float32)), np.full(tone.shape[:2], 255, np.uint8)])


def _slopes(height: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rise over run to the right and upwards."""
    across = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=1 / (8 * PITCH[0]))
    up = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=-1 / (8 * PITCH[1]))
    return across, up


def _signed(values: FloatArray) -> Texels:
    texels: Texels = np.clip(values * (127 / SLOPE_RANGE) + 128, 0, 255).astype(np.uint8)
    return texels


def _share(values: FloatArray) -> Texels:
    texels: Texels = np.clip(values * 255 + 0.5, 0, 255).astype(np.uint8)
    return texels
