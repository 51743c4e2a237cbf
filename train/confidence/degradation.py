"""What a robot's camera and the world do to a face: a prepared crop becomes a picture with that face in it, made worse.

The picture then goes through the whole front end, so that what detector and landmarks make of it counts too.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from ..evaluation.nuisances import cloth

Image = npt.NDArray[np.uint8]
Occlusion = Literal["patch", "mask", "sunglasses"]
_CLEAN = 0.2  # share of pictures with no defect but their size
_DEFECTS = ("blur", "motion", "light", "noise", "jpeg", "roll", "occluder", "cut")
#: Distance between the centres of the eyes in the default template, in sides of its frame.
EYE_DISTANCE = 0.32
_SMALLEST = 64  # side of a picture in pixels
_GAMMA = 2.2


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is done to one face.

    Attributes:
        eye_distance: in pixels of the picture, of a frontal face.
        surroundings: side of the picture in sides of the crop.
        roll: degrees, clockwise.
        blur: standard deviation of a Gaussian, in eye distances.
        motion: length of a straight smear in eye distances, and its direction in degrees.
        light: factor on linear light; below 1 dark, above 1 too bright.
        noise: standard deviation of the sensor's noise, in grey levels.
        jpeg: quality.
        occluder: what is before the face, its place and size in sides of the template's frame, and its angle.
        cut: part of the face's frame that lies outside the picture, and the edge (0 left, 1 top, 2 right, 3 bottom).
    """

    eye_distance: float
    surroundings: float = 1.6
    roll: float = 0.0
    blur: float = 0.0
    motion: tuple[float, float] = (0.0, 0.0)
    light: float = 1.0
    noise: float = 1.0
    jpeg: int = 95
    occluder: tuple[Occlusion, tuple[float, float], tuple[float, float], float] | None = None
    cut: tuple[float, int] = (0.0, 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Degraded:
    """A picture, `matrix` `[2, 3]` from the crop's pixels to its own, and the mask of what is hidden of the crop."""

    picture: Image
    matrix: npt.NDArray[np.float64]
    hidden: npt.NDArray[np.bool_] = field(repr=False)


def draw_circumstances(rng: np.random.Generator) -> Circumstances:
    """Draw circumstances: any size, and none to three defects of any strength."""
    count = 0 if rng.random() < _CLEAN else int(rng.integers(1, 4))
    has = set(rng.choice(_DEFECTS, count, replace=False).tolist())
    dark = rng.random() < 0.6
    return Circumstances(
        eye_distance=float(np.exp(rng.uniform(math.log(8), math.log(60)))),
        surroundings=float(rng.uniform(1.2, 2)),
        roll=float(rng.uniform(-50, 50)) if "roll" in has else float(rng.normal(0, 5)),
        blur=float(rng.uniform(0, 0.18)) if "blur" in has else 0.0,
        motion=(float(rng.uniform(0, 0.5)), float(rng.uniform(0, 180))) if "motion" in has else (0.0, 0.0),
        light=float(np.exp(rng.uniform(*((-4.5, 0) if dark else (0, 2.5))))) if "light" in has else 1.0,
        noise=float(rng.uniform(2, 30)) if "noise" in has else float(rng.uniform(0, 3)),
        jpeg=int(rng.integers(8, 60)) if "jpeg" in has else int(rng.integers(75, 98)),
        occluder=_draw_occluder(rng) if "occluder" in has else None,
        cut=(float(rng.uniform(0.02, 0.5)), int(rng.integers(4))) if "cut" in has else (0.0, 0),
    )


def _draw_occluder(
    rng: np.random.Generator,
) -> tuple[Occlusion, tuple[float, float], tuple[float, float], float]:
    kind = rng.choice(["patch", "patch", "mask", "sunglasses"])
    if kind == "mask":
        return "mask", (0.5, float(rng.uniform(0.66, 0.78))), (float(rng.uniform(0.3, 0.4)), 0.26), 0.0
    if kind == "sunglasses":
        return "sunglasses", (0.5, 0.37), (float(rng.uniform(0.12, 0.16)), float(rng.uniform(0.07, 0.11))), 0.0
    place = float(rng.uniform(0.15, 0.85)), float(rng.uniform(0.15, 0.95))
    return "patch", place, (float(rng.uniform(0.1, 0.3)), float(rng.uniform(0.06, 0.2))), float(rng.uniform(0, 180))


def degrade(crop: Image, input_size: int, circumstances: Circumstances, rng: np.random.Generator) -> Degraded:
    """The picture of one face under these circumstances.

    Args:
        crop: as stored, upright, with the template's frame in its middle.
        input_size: side of that frame in pixels.
        circumstances: what is done.
        rng: source of noise and textures.
    """
    hidden = np.zeros(crop.shape[:2], np.uint8)
    if circumstances.occluder is not None:
        crop, hidden = _occluded(crop, input_size, circumstances, rng)
    picture, matrix = _placed(crop, input_size, circumstances)
    picture = _blurred(picture, circumstances)
    light = circumstances.light
    exposed = 255 * np.clip((picture.astype(np.float32) / 255) ** _GAMMA * light, 0, 1) ** (1 / _GAMMA)
    grain = rng.standard_normal(picture.shape, np.float32) * circumstances.noise
    noisy = np.clip(exposed + grain, 0, 255)
    code = cv2.imencode(".jpg", noisy.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, circumstances.jpeg])[1]
    return Degraded(np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8), matrix, hidden.astype(bool))


def _placed(crop: Image, input_size: int, how: Circumstances) -> tuple[Image, npt.NDArray[np.float64]]:
    """The crop turned and scaled into a larger picture, or out over its edge."""
    side = crop.shape[0]
    scale = how.eye_distance / (EYE_DISTANCE * input_size)
    before = 1.0
    if scale < 1:  # averaged down, as a lens does
        small = max(round(side * scale), 4)
        before = small / side
        crop = np.asarray(cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA), np.uint8)
    room = max(round(side * scale * how.surroundings), _SMALLEST)
    angle, after = math.radians(how.roll), scale / before
    turn = after * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = np.array([(room - 1) / 2] * 2)
    part, edge = how.cut
    if part > 0:  # the frame's edge goes out over the picture's
        frame = input_size * scale
        middle[edge % 2] = frame * (0.5 - part) if edge < 2 else room - 1 - frame * (0.5 - part)
    within = np.column_stack([turn, middle - turn @ np.full(2, (crop.shape[0] - 1) / 2)])
    picture = cv2.warpAffine(crop, within, (room, room), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shrink = np.array([[before, 0, (before - 1) / 2], [0, before, (before - 1) / 2], [0, 0, 1]])
    return np.asarray(picture, np.uint8), within @ shrink


def _blurred(picture: Image, how: Circumstances) -> Image:
    sigma, (length, direction) = how.blur * how.eye_distance, how.motion
    if sigma > 0.2:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
    steps = round(length * how.eye_distance)
    if steps > 1:
        side = steps + 2
        kernel = np.zeros((side, side), np.float32)
        reach = steps / 2 * np.array([math.cos(math.radians(direction)), math.sin(math.radians(direction))])
        ends = [(side / 2 + sign * reach).round().astype(int).tolist() for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        picture = np.asarray(
            cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.uint8
        )
    return picture


def _occluded(crop: Image, input_size: int, how: Circumstances, rng: np.random.Generator) -> tuple[Image, Image]:
    """The crop behind something, and the mask `[side, side]` of what is hidden."""
    assert how.occluder is not None
    kind, place, size, angle = how.occluder
    side = crop.shape[0]
    room = (side - input_size) / 2
    mask = np.zeros((side, side), np.uint8)
    x, y = (round(room + value * input_size) for value in place)
    width, height = (max(round(value * input_size), 1) for value in size)
    if kind == "patch":
        corners = cv2.boxPoints(((x, y), (2 * width, 2 * height), angle))
        cv2.fillConvexPoly(mask, corners.round().astype(np.int32), 1)
    elif kind == "mask":
        cv2.ellipse(mask, (x, y), (width, height), 0, 0, 360, 1, -1)
    else:
        apart = round(EYE_DISTANCE / 2 * input_size)
        for eye in (x - apart, x + apart):
            cv2.ellipse(mask, (eye, y), (width, height), 0, 0, 360, 1, -1)
        cv2.line(mask, (x - apart, y), (x + apart, y), 1, max(height // 4, 1))
    texture = cloth(side, rng)
    if kind == "sunglasses":
        texture = (texture // 8).astype(np.uint8)
    return np.where(mask[..., None] > 0, texture, crop).astype(np.uint8), mask
