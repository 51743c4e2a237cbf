"""Which FaceMesh point stands for which of the 70 landmarks of `hri_msgs/msg/FacialLandmarks`.

The message follows the 68 points of iBUG 300-W, as dlib and OpenPose number them, and two pupils. "Right" is the
person's own and comes first. FaceMesh marks each of these places except the pupils, which its 468 points do not
include.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .messages import LANDMARK_COUNT, NormalizedPointOfInterest2D

#: FaceMesh index by landmark. The jaw's are points of the face's outline; other points lie on the same features.
FACEMESH: tuple[int, ...] = (
    *(127, 234, 93, 132, 58, 136, 150, 176),  # 0-7 right ear, right profile
    152,  # 8 menton
    *(400, 379, 365, 288, 361, 323, 454, 356),  # 9-16 left profile, left ear
    *(70, 63, 105, 66, 107),  # 17-21 right eyebrow, from outside
    *(336, 296, 334, 293, 300),  # 22-26 left eyebrow, from inside
    *(168, 197, 5, 4),  # 27-30 sellion, nose
    *(98, 97, 2, 326, 327),  # 31-35 nostrils, from the right
    *(33, 160, 158, 133, 153, 144),  # 36-41 right eye: outer corner, upper lid, inner corner, lower lid
    *(362, 385, 387, 263, 373, 380),  # 42-47 left eye: inner corner, upper lid, outer corner, lower lid
    *(61, 40, 37, 0, 267, 270, 291),  # 48-54 outer edge of the upper lip, from the right corner
    *(321, 314, 17, 84, 91),  # 55-59 outer edge of the lower lip, from the left
    *(78, 81, 13, 311, 308),  # 60-64 inner edge of the upper lip, from the right corner
    *(402, 14, 178),  # 65-67 inner edge of the lower lip, from the left
)
_INDICES = np.array(FACEMESH)
_UNKNOWN = NormalizedPointOfInterest2D(0.0, 0.0, 0.0)


def hri_landmarks(
    points: npt.NDArray[np.floating[Any]], size: tuple[int, int], confidence: float
) -> tuple[NormalizedPointOfInterest2D, ...]:
    """The 70 landmarks of a face.

    Coordinates have to be 0 to 1, so that one outside the picture is moved to its edge, with confidence 0. The pupils,
    which are not known, are (0, 0) with confidence 0.

    Args:
        points: FaceMesh points `[468, 2]` or wider, in pixels of the picture.
        size: the picture's width and height in pixels.
        confidence: that this is a face, 0 to 1.
    """
    places = np.asarray(points, np.float64)[_INDICES, :2] / size
    inside = np.all((places >= 0) & (places <= 1), axis=1).tolist()
    held = np.clip(np.nan_to_num(places), 0, 1).astype(np.float32).tolist()
    sure = float(np.float32(confidence))
    known = [
        NormalizedPointOfInterest2D(x, y, sure if seen else 0.0) for (x, y), seen in zip(held, inside, strict=True)
    ]
    return (*known, *[_UNKNOWN] * (LANDMARK_COUNT - len(known)))
