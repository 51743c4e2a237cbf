"""FaceMesh: 468 points on one face.

Source: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019; model and
region rules are MediaPipe's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .alignment import warp
from .detector import LEFT_EYE, RIGHT_EYE, Detection
from .network import Engine, FaceModel, load, sigmoid

_SIZE = 192
_MODEL = FaceModel("face_landmark.tflite", _SIZE, ("conv2d_20", "conv2d_30"), scale=1 / 255)
MIN_PRESENCE = 0.5
_ROI_SCALE = 1.5  # the region is this much larger than the face
_OUTER_EYE_CORNERS = (33, 263)  # the person's right and left


@dataclass(frozen=True, slots=True)
class Roi:
    """A square of the picture that holds one face: centre and side in pixels, angle in radians (clockwise)."""

    x: float
    y: float
    side: float
    angle: float

    def matrix(self, size: int) -> npt.NDArray[np.float64]:
        """Affine map `[2, 3]` from pixels of the picture to pixels of the upright region, `size` on a side."""
        scale = size / self.side
        cos, sin = scale * math.cos(self.angle), scale * math.sin(self.angle)
        middle = (size - 1) / 2
        return np.array(
            [
                [cos, sin, middle - cos * self.x - sin * self.y],
                [-sin, cos, middle + sin * self.x - cos * self.y],
            ]
        )


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Points `[468, 3]` in pixels of the picture (z: depth on the same scale, smaller = nearer); presence 0 to 1."""

    points: npt.NDArray[np.float32]
    presence: float


def roi_from_detection(detection: Detection) -> Roi:
    """Region of a face just detected: its box made square, turned along the eyes, half as large again."""
    x0, y0, x1, y1 = detection.box
    eyes = detection.keypoints[LEFT_EYE] - detection.keypoints[RIGHT_EYE]
    side = max(x1 - x0, y1 - y0, 1e-3)
    return Roi((x0 + x1) / 2, (y0 + y1) / 2, side * _ROI_SCALE, math.atan2(eyes[1], eyes[0]))


def roi_from_landmarks(points: npt.NDArray[np.float32]) -> Roi:
    """Region of a face whose points are known, from the last frame or a first pass."""
    flat = np.asarray(points, np.float64)[:, :2]
    across = flat[_OUTER_EYE_CORNERS[1]] - flat[_OUTER_EYE_CORNERS[0]]
    angle = math.atan2(across[1], across[0])
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    upright = flat @ turn.T
    low, high = upright.min(0), upright.max(0)
    x, y = turn.T @ ((low + high) / 2)
    return Roi(float(x), float(y), max(float((high - low).max()), 1e-3) * _ROI_SCALE, angle)


class FaceMesh:
    """Places 468 points on the face in a region."""

    def __init__(self, engine: Engine = "opencv", threads: int | None = None) -> None:
        self._network = load(_MODEL, engine, threads)

    def __call__(self, image: npt.NDArray[np.uint8], roi: Roi) -> Landmarks:
        """Points of the face in the region `roi` of a BGR picture; a presence near 0 says that there is none."""
        matrix = roi.matrix(_SIZE)
        picture = warp(image, matrix, _SIZE, border=cv2.BORDER_REPLICATE)
        raw, logit = self._network(picture)
        points = raw.reshape(-1, 3).astype(np.float64)
        points[:, :2] -= 0.5  # the network counts from a pixel's edge, we from its centre
        back = cv2.invertAffineTransform(matrix)
        flat = points[:, :2] @ back[:, :2].T + back[:, 2]
        depth = points[:, 2:] * (roi.side / _SIZE)
        return Landmarks(np.concatenate([flat, depth], 1).astype(np.float32), float(sigmoid(logit.reshape(-1))[0]))

    def place(self, image: npt.NDArray[np.uint8], roi: Roi) -> Landmarks | None:
        """Points after two passes, the second in the region that the first one's points give; None where no face is.

        That region is steadier than a detector's box, and it is the one that tracking will use.
        """
        first = self(image, roi)
        if first.presence < MIN_PRESENCE:
            return None
        found = self(image, roi_from_landmarks(first.points))
        return found if found.presence >= MIN_PRESENCE else None
