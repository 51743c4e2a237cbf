"""Augmentation of one stored crop: geometry, light, and what cameras and networks do to pictures.

NumPy and OpenCV only. All of it is a function of the random generator handed in, so that a sample is the same
whichever worker makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far and how often; probabilities 0–1, `shift` as a share of the side, angles in degrees."""

    rotation: float = 12.0
    scale: float = 0.15
    shift: float = 0.06
    flip: float = 0.5
    grey: float = 0.5
    light: float = 0.9
    blur: float = 0.25
    low_resolution: float = 0.25
    smallest_side: int = 36
    noise: float = 0.5
    jpeg: float = 0.3
    patches: float = 0.2


def centre_crop(image: Image, centres: Floats, side: int) -> tuple[Image, Floats]:
    """The template's frame of a stored crop: its centre `side` pixels, and the centres in it."""
    low = (image.shape[0] - side) // 2
    return np.ascontiguousarray(image[low : low + side, low : low + side]), centres - np.float32(low)


def mirror_order(sites: Sequence[str]) -> npt.NDArray[np.intp]:
    """Index of each site's counterpart in a mirrored picture: `AU12_left` and `AU12_right` change places."""
    other = {"_left": "_right", "_right": "_left"}
    position = {name: index for index, name in enumerate(sites)}

    def counterpart(name: str) -> str:
        for suffix, opposite in other.items():
            if name.endswith(suffix):
                return name.removesuffix(suffix) + opposite
        return name

    return np.asarray([position.get(counterpart(name), index) for index, name in enumerate(sites)], np.intp)


def augment(
    image: Image,
    intensities: Floats,
    centres: Floats,
    *,
    side: int,
    mirrored: npt.NDArray[np.intp],
    config: Augmentation,
    rng: np.random.Generator,
) -> tuple[Image, Floats, Floats]:
    """One random view of a stored crop.

    Args:
        image: stored crop `[crop, crop, 3]`, BGR.
        intensities: `[S]`.
        centres: `[S, 2]` in pixels of the stored crop.
        side: side of the network's input.
        mirrored: from `mirror_order`.
        config: how far and how often.
        rng: the only source of chance.

    Returns:
        Crop `[side, side, 3]`, intensities `[S]` and centres `[S, 2]` in its pixels.
    """
    flip = bool(rng.random() < config.flip)
    matrix = _affine(image.shape[0], side, config, rng, flip=flip)
    view = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    placed = (centres @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    if flip:
        intensities, placed = intensities[mirrored], placed[mirrored]
    return _appearance(view, config, rng), intensities, placed


def _affine(
    stored: int, side: int, config: Augmentation, rng: np.random.Generator, *, flip: bool
) -> npt.NDArray[np.float64]:
    """Stored pixels to input pixels, `[2, 3]`."""
    angle = np.deg2rad(rng.uniform(-config.rotation, config.rotation))
    zoom = np.exp(rng.uniform(-config.scale, config.scale))
    shift = rng.uniform(-config.shift, config.shift, 2) * side
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if flip:
        turn = turn @ np.diag([-1.0, 1.0])
    middle = (side - 1) / 2 + shift - turn @ np.full(2, (stored - 1) / 2)
    return np.concatenate([turn, middle[:, None]], 1)


def _appearance(view: Image, config: Augmentation, rng: np.random.Generator) -> Image:
    """Everything that leaves the geometry alone, in the order in which a camera and a network would do it."""
    chances = rng.random(7)
    if chances[0] < config.patches:
        view = _patches(view, rng)
    if chances[1] < config.light:
        view = cv2.LUT(view, _light_table(rng))
    if chances[2] < config.grey:
        view = cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if chances[3] < config.blur:
        view = _blur(view, rng)
    if chances[4] < config.low_resolution:
        view = _low_resolution(view, config.smallest_side, rng)
    if chances[5] < config.noise:
        view = _noise(view, rng)
    if chances[6] < config.jpeg:
        quality = int(rng.integers(25, 90))
        view = _decoded(cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
    return np.asarray(view, np.uint8)


def _decoded(encoded: Image) -> Image:
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def _light_table(rng: np.random.Generator) -> Image:
    """Contrast, brightness, gamma and colour temperature as one table `[256, 1, 3]`."""
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    contrast, gamma = np.exp(rng.uniform(-0.4, 0.35)), np.exp(rng.uniform(-0.4, 0.4))
    warmth, tint = rng.uniform(-0.18, 0.18), rng.uniform(-0.06, 0.06)
    gains = np.array([1 - warmth, 1 + tint, 1 + warmth], np.float32)
    table = (levels**gamma - 0.5) * contrast + 0.5 + rng.uniform(-0.15, 0.15)
    return np.asarray(np.clip(table * gains * 255, 0, 255), np.uint8)[:, None]


def _blur(view: Image, rng: np.random.Generator) -> Image:
    if rng.random() < 0.6:
        sigma = float(rng.uniform(0.4, 1.8)) * view.shape[0] / 128
        return np.asarray(cv2.GaussianBlur(view, (0, 0), sigma), np.uint8)
    length = int(rng.integers(3, 8)) * view.shape[0] // 128 | 1
    kernel = np.zeros((length, length), np.float32)
    angle, middle = rng.uniform(0, np.pi), length // 2
    reach = (np.cos(angle) * middle, np.sin(angle) * middle)
    start = (round(middle - reach[0]), round(middle - reach[1]))
    cv2.line(kernel, start, (round(middle + reach[0]), round(middle + reach[1])), 1.0)
    return np.asarray(cv2.filter2D(view, -1, kernel / kernel.sum()), np.uint8)


def _low_resolution(view: Image, smallest: int, rng: np.random.Generator) -> Image:
    side = view.shape[0]
    small = int(np.exp(rng.uniform(np.log(min(smallest, side)), np.log(side))))
    way = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)[int(rng.choice(3, p=(0.6, 0.3, 0.1)))]
    return np.asarray(
        cv2.resize(cv2.resize(view, (small, small), interpolation=cv2.INTER_AREA), (side, side), interpolation=way),
        np.uint8,
    )


@lru_cache(maxsize=1)
def _noise_bank() -> npt.NDArray[np.float32]:
    """Normal deviates to cut pieces from: drawing fresh ones would cost more than all the rest."""
    return np.random.default_rng(0).standard_normal(1 << 20, np.float32)


def _noise(view: Image, rng: np.random.Generator) -> Image:
    """Sensor noise: of brightness alone or of each channel, fine-grained or in coarser grains."""
    side, channels = view.shape[0], 1 if rng.random() < 0.5 else 3
    grain = side if rng.random() < 0.7 else side // 2
    count = grain * grain * channels
    start = int(rng.integers(0, _noise_bank().size - count))
    noise = _noise_bank()[start : start + count].reshape(grain, grain, channels) * np.float32(rng.uniform(1, 10))
    if grain != side:
        noise = cv2.resize(noise, (side, side), interpolation=cv2.INTER_LINEAR).reshape(side, side, channels)
    return np.asarray(np.clip(view + noise, 0, 255), np.uint8)


def _patches(view: Image, rng: np.random.Generator) -> Image:
    """One or two small occluders, flat or textured, rectangles or ellipses."""
    view, side = view.copy(), view.shape[0]
    for _ in range(int(rng.integers(1, 3))):
        width, height = (int(value * side) for value in rng.uniform(0.08, 0.28, 2))
        x, y = int(rng.integers(0, side - width)), int(rng.integers(0, side - height))
        colour = rng.integers(0, 256, 3)
        if rng.random() < 0.5:
            cv2.ellipse(
                view, (x + width // 2, y + height // 2), (width // 2, height // 2), 0, 0, 360, colour.tolist(), -1
            )
        else:
            spread = int(rng.integers(1, 60))
            view[y : y + height, x : x + width] = np.clip(
                colour + rng.integers(-spread, spread + 1, (height, width, 1)), 0, 255
            )
    return view
