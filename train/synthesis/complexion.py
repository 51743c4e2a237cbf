"""What is drawn on the skin of one person and stays: brow hairs, stubble and beard, tone, freckles, moles, pores."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .chart import HEIGHT, WIDTH, Chart, Points, lines, spline
from .meshes import FloatArray

_BROW = np.array([[0.105, 7.452], [0.21, 7.490], [0.37, 7.520], [0.515, 7.470]])
#: Regions of the left half in which a beard grows: outlines on the canonical head.
_REGIONS = {
    "moustache": ((0.00, 6.79), (0.08, 6.815), (0.20, 6.79), (0.30, 6.70), (0.32, 6.60), (0.27, 6.62), (0.15, 6.715),
                  (0.00, 6.70)),
    "chin": ((0.00, 6.475), (0.08, 6.465), (0.16, 6.47), (0.24, 6.54), (0.30, 6.60), (0.34, 6.52), (0.30, 6.32),
             (0.20, 6.20), (0.00, 6.16)),
    "jaw": ((0.28, 6.62), (0.36, 6.66), (0.50, 6.80), (0.60, 6.95), (0.66, 7.20), (0.74, 7.20), (0.74, 6.75),
            (0.60, 6.40), (0.45, 6.15), (0.00, 6.02), (0.00, 6.20), (0.20, 6.22), (0.30, 6.34)),
}  # fmt: skip
BEARDS = {
    "none": (),
    "moustache": ("moustache",),
    "goatee": ("moustache", "chin"),
    "full": ("moustache", "chin", "jaw"),
}


@dataclass(frozen=True, slots=True)
class Brow:
    """A drawn brow: lengths in decimetres of the canonical head."""

    width: float
    density: float  # hairs, 0 … 1
    height: float  # above its usual place
    arch: float  # −1 flat … 1 arched
    length: float  # of the hairs


@dataclass(frozen=True, slots=True)
class Complexion:
    """What marks one person's skin; shares are 0 … 1."""

    seed: int
    brow: Brow | None  # None: worn as a mesh
    beard: str  # one of BEARDS
    beard_density: float
    freckles: float
    moles: int
    blotches: float
    pores: float


class ComplexionMap:
    """Draws the marks of one person after another and keeps the last."""

    def __init__(self, chart: Chart) -> None:
        """Keep the chart."""
        self._chart = chart
        self._known: tuple[Complexion, tuple[FloatArray, FloatArray, FloatArray]] | None = None

    def draw(self, complexion: Complexion) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Hair cover `[H, W]` (0 … 1), tone `[H, W, 3]` as a linear RGB multiplier, height `[H, W]` in decimetres."""
        if self._known is None or self._known[0] != complexion:
            rng = np.random.default_rng(complexion.seed)
            hair = np.maximum(self._brows(complexion.brow, rng), self._beard(complexion, rng))
            self._known = complexion, (hair, self._tone(complexion, rng), self._pores(complexion, rng))
        return self._known[1]

    def _brows(self, brow: Brow | None, rng: np.random.Generator) -> FloatArray:
        layer, under = np.zeros((2, HEIGHT, WIDTH), np.uint8)
        if brow is None:
            return layer.astype(np.float32)
        for sign in (1, -1):
            ends, levels = self._brow_hairs(brow, sign, rng)
            lines(layer, ends, levels)
            lines(under, ends, levels, 3)
        soft = cv2.GaussianBlur(under.astype(np.float32) / 255, (0, 0), 2.2)
        cover: FloatArray = np.clip(layer.astype(np.float32) / 255 * 0.75 + (0.25 + 0.35 * brow.density) * soft, 0, 1)
        return cover

    def _brow_hairs(self, brow: Brow, sign: int, rng: np.random.Generator) -> tuple[FloatArray, Points]:
        """Hairs grow upwards at the inner end and lie along the brow further out."""
        middle = _BROW + [[0, 0], [0, 0.4], [0, 1], [0, -0.1]] * np.array([[1, 0.022 * brow.arch]]) + [0, brow.height]
        middle = middle + rng.normal(0, 0.004, middle.shape)
        curve = spline(middle, 60)
        count = int(140 + 260 * brow.density)
        along = rng.beta(1.15, 1.05, count)
        at = curve[(along * 59).astype(int)]
        half = brow.width * np.interp(along, [0, 0.12, 0.5, 0.8, 1], [0.65, 1.0, 0.95, 0.6, 0.2])
        offset = np.clip(rng.normal(0, 0.5, count), -1, 1)
        root = at + np.column_stack([np.zeros(count), half * offset]) + rng.normal(0, 0.003, (count, 2))
        slope = np.interp(along, [0, 0.15, 0.4, 0.7, 1], [1.35, 0.85, 0.35, -0.05, -0.35]) - 0.35 * offset
        slope = slope + rng.normal(0, 0.15, count)
        length = brow.length * rng.uniform(0.7, 1.2, count) * np.interp(along, [0, 0.2, 1], [0.7, 1.0, 0.8])
        tip = root + length[:, None] * np.column_stack([np.cos(slope), np.sin(slope)])
        both = self._chart.pixels(np.concatenate([root, tip]) * [sign, 1])
        return np.hstack([both[:count], both[count:]]), rng.uniform(0.45, 1.0, count)

    def _beard(self, complexion: Complexion, rng: np.random.Generator) -> FloatArray:
        mask = np.zeros((HEIGHT, WIDTH), np.float32)
        if not BEARDS[complexion.beard]:
            return mask
        for region in BEARDS[complexion.beard]:
            for sign in (1, -1):
                outline = self._chart.pixels(np.asarray(_REGIONS[region]) * [sign, 1])
                cv2.fillPoly(mask, [outline.round().astype(np.int32)], 1.0)
        mask = cv2.GaussianBlur(mask, (0, 0), 5)
        mask *= np.clip(0.9 + 0.12 * _noise(rng, 20), 0, 1)
        hairs = rng.random((HEIGHT, WIDTH), dtype=np.float32)
        strands = cv2.blur(hairs, (1, 5))
        strands = np.clip((strands - 0.5) / strands.std() * 0.25 + 0.5, 0, 1)
        density = complexion.beard_density
        stubble = (hairs > 1 - 0.5 * min(2 * density, 1)) * 0.5 + 0.35 * min(2 * density, 1)
        grown = 0.45 + 0.65 * strands
        cover: FloatArray = np.clip(mask * ((1 - density) * stubble * (0.3 + density) + density * grown), 0, 0.96)
        return cover.astype(np.float32)

    def _tone(self, complexion: Complexion, rng: np.random.Generator) -> FloatArray:
        tone = np.ones((HEIGHT, WIDTH, 3), np.float32)
        red = (complexion.blotches * (0.5 * _noise(rng, 30) + 0.3 * _noise(rng, 8))).astype(np.float32)
        for x, y, size in ((0.0, 6.93, 14), (0.38, 6.98, 32), (-0.38, 6.98, 32), (0.0, 6.28, 22)):
            column, row = self._chart.pixels(np.array([[x, y]]))[0]
            _add_blob(red, column, row, size, 0.5 * complexion.blotches)
        tone += red[:, :, None] * np.array([0.05, -0.30, -0.26], np.float32)
        tone += (0.10 * complexion.blotches * _noise(rng, 45))[:, :, None]
        spots = np.zeros((HEIGHT, WIDTH), np.uint8)
        for column, row in rng.uniform([90, 150], [WIDTH - 90, 330], (int(260 * complexion.freckles), 2)):
            cv2.circle(spots, (int(column * 8), int(row * 8)), int(rng.uniform(3, 11)), rng.uniform(40, 160), -1, 16, 3)
        for column, row in rng.uniform([70, 60], [WIDTH - 70, 400], (complexion.moles, 2)):
            cv2.circle(
                spots, (int(column * 8), int(row * 8)), int(rng.uniform(8, 24)), rng.uniform(150, 230), -1, 16, 3
            )
        marks = cv2.GaussianBlur(spots, (0, 0), 0.8).astype(np.float32)[:, :, None] / 255
        toned: FloatArray = tone * (1 - marks * np.array([0.55, 0.72, 0.80], np.float32))
        return toned

    def _pores(self, complexion: Complexion, rng: np.random.Generator) -> FloatArray:
        fine = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 0.9)
        coarse = _noise(rng, 5)
        height: FloatArray = complexion.pores * (0.0004 * fine / fine.std() + 0.0007 * coarse)
        return height


def _noise(rng: np.random.Generator, scale: float) -> FloatArray:
    """Smooth noise of unit deviation; scale in pixels."""
    small = rng.normal(0, 1, (int(HEIGHT / scale) + 3, int(WIDTH / scale) + 3)).astype(np.float32)
    big: FloatArray = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return big / max(float(big.std()), 1e-6)


def _add_blob(layer: FloatArray, column: float, row: float, size: float, amount: float) -> None:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    layer += (amount * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * size**2))).astype(np.float32)
