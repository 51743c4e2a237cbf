"""How well a face can be read: its size, how much of it is in the picture, sharpness and turn.

The confidences made from these are a heuristic: they order faces and AUs by how far to trust them; they are not
calibrated probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from ..action_units import Site, site_centres
from .alignment import warp

if TYPE_CHECKING:
    from .frontend import AlignedFace

_RIGHT_EYE, _LEFT_EYE = (33, 133), (263, 362)  # the person's own: outer and inner corner
_SIDE_ANGLE = math.radians(25)  # how far to the side the cheeks' normals point, roughly
_SHARPNESS_SIZE = 128
#: (worthless, good): a quantity counts 0 below the first, 1 above the second, and in proportion between them.
_EYE_DISTANCE = (8.0, 32.0)
_INSIDE = (0.6, 1.0)
_SHARPNESS = (0.08, 0.25)
_SMALL, _CUT_OFF, _BLURRED, _TURNED = 20.0, 0.95, 0.16, 35.0


@dataclass(frozen=True, slots=True)
class Quality:
    """What limits the reading of one face.

    Attributes:
        eye_distance: between the centres of the eyes in pixels of the picture, as seen.
        inside: part of the face that lies in the picture, 0 to 1.
        sharpness: 0 (no detail) to 1, of the aligned face at 128 x 128 pixels.
        yaw: turn of the head in degrees, positive towards the person's left; from the landmarks' depth, so a rough one.
        flags: what is out of the ordinary, of `small`, `cut_off`, `blurred` and `turned_away`.
    """

    eye_distance: float
    inside: float
    sharpness: float
    yaw: float
    flags: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As in the JSON output."""
        return {
            "eye_distance": round(self.eye_distance, 1),
            "inside": round(self.inside, 3),
            "sharpness": round(self.sharpness, 3),
            "yaw": round(self.yaw, 1),
            "flags": list(self.flags),
        }


def assess(face: AlignedFace, image: npt.NDArray[np.uint8]) -> Quality:
    """Quality of a face in the BGR picture it was found in."""
    height, width = image.shape[:2]
    points = face.landmarks.points.astype(np.float64)
    eyes = points[list(_LEFT_EYE)].mean(0) - points[list(_RIGHT_EYE)].mean(0)
    flat = float(np.hypot(eyes[0], eyes[1]))
    # Depth grows away from the camera: with the head turned to its left, the left eye is the farther one.
    yaw = math.degrees(math.atan2(eyes[2], flat))
    inside = float(_in_picture(points[:, :2], width, height).mean())
    sharpness = _sharpness(_seen_at(face, image, _SHARPNESS_SIZE))
    checks = {
        "small": flat < _SMALL,
        "cut_off": inside < _CUT_OFF,
        "blurred": sharpness < _BLURRED,
        "turned_away": abs(yaw) > _TURNED,
    }
    return Quality(flat, inside, sharpness, yaw, tuple(name for name, found in checks.items() if found))


def site_confidences(
    face: AlignedFace, quality: Quality, sites: Sequence[Site], width: int, height: int
) -> npt.NDArray[np.float32]:
    """Confidence 0 to 1 of each site, `[len(sites)]`.

    Detection score times landmark presence, times how good size, sharpness and the part in the picture are, times how
    far the site faces the camera; 0 for a site outside the picture.
    """
    common = (
        face.score
        * face.landmarks.presence
        * _ramp(quality.eye_distance, *_EYE_DISTANCE)
        * _ramp(quality.inside, *_INSIDE)
        * _ramp(quality.sharpness, *_SHARPNESS)
    )
    flat = face.landmarks.points[:, :2]
    upright = flat @ face.matrix[:, :2].T + face.matrix[:, 2]
    back = cv2.invertAffineTransform(face.matrix)
    centres = site_centres(upright.astype(np.float32), sites) @ back[:, :2].T + back[:, 2]
    seen = _in_picture(centres, width, height)
    yaw = math.radians(quality.yaw)
    facing = np.array([_facing(yaw, site) for site in sites])
    return np.asarray(common * seen * facing, np.float32)


def _facing(yaw: float, site: Site) -> float:
    """Cosine of the angle at which a site is seen, 1 for all sites of a frontal face."""
    if site.side == "centre":
        return max(math.cos(yaw), 0.0)
    away = yaw if site.side == "left" else -yaw
    if away <= 0:
        return max(math.cos(yaw), 0.0)
    return max(math.cos(min(away + _SIDE_ANGLE, math.pi / 2)) / math.cos(_SIDE_ANGLE), 0.0)


def _in_picture(points: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray[np.bool_]:
    return np.asarray(((points >= -0.5) & (points <= (width - 0.5, height - 0.5))).all(-1))


def _ramp(value: float, low: float, high: float) -> float:
    return float(np.clip((value - low) / (high - low), 0, 1))


def _seen_at(face: AlignedFace, image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """The aligned face at one size, whatever the network's: a measure must not depend on the bundle in use."""
    if len(face.crop) == size:
        return face.crop
    ratio = size / len(face.crop)
    matrix = face.matrix * ratio
    matrix[:, 2] += (ratio - 1) / 2
    return warp(image, matrix, size)


def _sharpness(crop: npt.NDArray[np.uint8]) -> float:
    """How much of the detail a blur takes away: next to nothing of a picture that is blurred already.

    The idea of Crete et al., "The blur effect", 2007, with a 5 x 5 mean in both directions at once.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    centre = slice(_SHARPNESS_SIZE // 4, -_SHARPNESS_SIZE // 8)  # the face without its background
    sharp = grey[centre, centre].astype(np.float32)
    dull = cv2.blur(sharp, (5, 5))
    kept = sum(float(np.abs(np.diff(dull, axis=axis)).sum()) for axis in (0, 1))
    had = sum(float(np.abs(np.diff(sharp, axis=axis)).sum()) for axis in (0, 1))
    return 1 - min(kept / had, 1.0) if had > 0 else 0.0
