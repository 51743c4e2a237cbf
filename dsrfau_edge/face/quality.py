"""How well a face can be read: its size, how much of it is in the picture, sharpness, light, noise and turn.

All of it comes from what is there anyway, the landmarks and the aligned crop; `confidence` makes use of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from .alignment import warp

if TYPE_CHECKING:
    from .frontend import AlignedFace

#: FaceMesh points: the person's own right and left eye (outer and inner corner), forehead and chin.
_POINTS = [33, 133, 362, 263, 10, 152]
_LEANING = 5.0  # degrees: from forehead to chin, a face that looks straight ahead recedes by so much
_SIZE = 128
_FACE = slice(32, 112), slice(24, 104)  # rows and columns of the aligned face without its background
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)
_NOISE_SCALE = math.sqrt(math.pi / 2) / 6
#: Beyond these the mean error on degraded renders is at least 15 % above that of clear frontal faces, see
#: docs/confidence.md.
_SMALL, _CUT_OFF, _BLURRED, _DARK, _BRIGHT, _NOISY, _TURNED, _TILTED = 20.0, 0.95, 0.20, 30.0, 230.0, 3.0, 30.0, 20.0


@dataclass(frozen=True, slots=True)
class Quality:
    """What limits the reading of one face.

    Attributes:
        eye_distance: between the centres of the eyes in pixels of the picture, as seen.
        inside: part of the face that lies in the picture, 0 to 1.
        sharpness: 0 (no detail) to 1, of the aligned face at 128 x 128 pixels.
        yaw: turn of the head in degrees, positive towards the person's left; from the landmarks' depth, so a rough one.
        flags: what is out of the ordinary, of `small`, `cut_off`, `blurred`, `dark`, `overexposed`, `noisy`,
            `turned_away` and `tilted`.
        pitch: nod of the head in degrees, positive downwards; as rough, and too small beyond 30.
        roll: of the head in the picture's plane in degrees, positive clockwise; it is undone, and does no harm.
        brightness: mean grey level of the face, 0 to 255.
        noise: standard deviation of the finest grain in grey levels.
    """

    eye_distance: float
    inside: float
    sharpness: float
    yaw: float
    flags: tuple[str, ...]
    pitch: float = 0.0
    roll: float = 0.0
    brightness: float = 128.0
    noise: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As in the JSON output."""
        return {
            "eye_distance": round(self.eye_distance, 1),
            "inside": round(self.inside, 3),
            "sharpness": round(self.sharpness, 3),
            "yaw": round(self.yaw, 1),
            "pitch": round(self.pitch, 1),
            "roll": round(self.roll, 1),
            "brightness": round(self.brightness, 1),
            "noise": round(self.noise, 2),
            "flags": list(self.flags),
        }


def assess(face: AlignedFace, image: npt.NDArray[np.uint8]) -> Quality:
    """Quality of a face in the BGR picture it was found in; never fails, whatever the points are."""
    eye_distance, yaw, pitch, roll = _pose(face)
    inside = _inside(face.landmarks.points, image.shape[1], image.shape[0])
    sharpness, brightness, noise = _texture(_seen_at(face, image, _SIZE))
    checks = {
        "small": eye_distance < _SMALL,
        "cut_off": inside < _CUT_OFF,
        "blurred": sharpness < _BLURRED,
        "dark": brightness < _DARK,
        "overexposed": brightness > _BRIGHT,
        "noisy": noise > _NOISY,
        "turned_away": abs(yaw) > _TURNED,
        "tilted": abs(pitch) > _TILTED,
    }
    flags = tuple(name for name, found in checks.items() if found)
    return Quality(eye_distance, inside, sharpness, yaw, flags, pitch, roll, brightness, noise)


def _pose(face: AlignedFace) -> tuple[float, float, float, float]:
    """Distance between the eyes in pixels; yaw, pitch and roll in degrees."""
    # Plain numbers: after a network has run, each small numpy call costs tens of microseconds.
    points = [
        point if all(map(math.isfinite, point)) else [0.0] * 3 for point in face.landmarks.points[_POINTS].tolist()
    ]
    right, left = _middle(points[0], points[1]), _middle(points[2], points[3])
    across = [b - a for a, b in zip(right, left, strict=True)]
    along = [b - a for a, b in zip(points[4], points[5], strict=True)]
    flat = math.hypot(across[0], across[1])
    # Depth grows away from the camera: with the head turned to its left, the left eye is the farther one.
    yaw = math.degrees(math.atan2(across[2], flat))
    pitch = math.degrees(math.atan2(along[2], math.hypot(along[0], along[1])))
    roll = math.degrees(math.atan2(across[1], across[0]))
    return flat, yaw, pitch - _LEANING if any(along) else 0.0, roll


def _middle(one: list[float], other: list[float]) -> list[float]:
    return [(a + b) / 2 for a, b in zip(one, other, strict=True)]


def _inside(points: npt.NDArray[np.float32], width: int, height: int) -> float:
    """Part of the points that lies in the picture."""
    x0, y0 = points.min(0)[:2].tolist()
    x1, y1 = points.max(0)[:2].tolist()
    if x0 >= -0.5 and y0 >= -0.5 and x1 <= width - 0.5 and y1 <= height - 0.5:
        return 1.0
    return float(in_picture(points[:, :2], width, height).mean())


def in_picture(points: npt.NDArray[np.floating[Any]], width: int, height: int) -> npt.NDArray[np.bool_]:
    """Which of the points `[N, 2]` lie in a picture."""
    return np.asarray(((points >= -0.5) & (points <= (width - 0.5, height - 0.5))).all(-1))


def _seen_at(face: AlignedFace, image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """The aligned face at one size, whatever the network's: a measure must not depend on the bundle in use."""
    if len(face.crop) == size:
        return face.crop
    ratio = size / len(face.crop)
    matrix = face.matrix * ratio
    matrix[:, 2] += (ratio - 1) / 2
    return warp(image, matrix, size)


def _texture(crop: npt.NDArray[np.uint8]) -> tuple[float, float, float]:
    """Sharpness, mean brightness and noise of the face in a crop.

    Sharpness is how much of the detail a blur takes away: next to nothing of a picture that is blurred already. The
    idea of Crete et al., "The blur effect", 2007, with a 5 x 5 mean; of rows and columns the worse, since motion smears
    one direction alone. Noise after Immerkær, "Fast noise variance estimation", 1996.
    """
    grey = cv2.cvtColor(crop[_FACE], cv2.COLOR_BGR2GRAY)
    had, kept = _steps(grey), _steps(cv2.blur(grey, (5, 5)))
    sharpness = min(1 - min(left / there, 1.0) if there > 0 else 0.0 for left, there in zip(kept, had, strict=True))
    grain = cv2.norm(cv2.filter2D(grey, cv2.CV_16S, _NOISE), cv2.NORM_L1) * _NOISE_SCALE / grey.size
    return sharpness, cv2.mean(grey)[0], grain


def _steps(grey: Any) -> tuple[float, float]:
    """Sums of the absolute differences between neighbours, along the rows and along the columns."""
    return cv2.norm(grey[:, 1:], grey[:, :-1], cv2.NORM_L1), cv2.norm(grey[1:], grey[:-1], cv2.NORM_L1)
