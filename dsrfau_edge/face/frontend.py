"""Faces of a picture as aligned crops: detector, landmarks, alignment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..stages import Stage, untimed
from .alignment import AlignmentTemplate, warp
from .detector import Detection, FaceDetector, Range
from .landmarks import FaceMesh, Landmarks, roi_from_detection

DetectorRange = Literal["auto", "short", "full"]
_NEAR = 0.2  # of the longer side of the picture


@dataclass(frozen=True, slots=True)
class AlignedFace:
    """One face: box (x0, y0, x1, y1) and landmarks in pixels of the picture, `matrix` from there to its `crop`."""

    box: tuple[float, float, float, float]
    score: float
    landmarks: Landmarks
    matrix: npt.NDArray[np.float64]
    crop: npt.NDArray[np.uint8]


class FaceFrontEnd:
    """Finds faces and cuts them out as a network wants them. Threads may share one."""

    def __init__(
        self,
        template: AlignmentTemplate,
        size: int,
        *,
        detector_range: DetectorRange = "auto",
        max_faces: int | None = None,
        min_score: float = 0.5,
        stage: Stage = untimed,
    ) -> None:
        """Read the face models.

        Args:
            template: the alignment of the network that will see the crops.
            size: side of the crops in pixels.
            detector_range: "short" (faces within about 2 m of the camera; 1.6 ms a picture on 2 cores of a server CPU),
                "full" (about 5 m, 5.2 ms), or "auto": short, and full as well unless a face fills a fifth of the
                picture, since where the nearest face is small there may be others that short does not see.
            max_faces: keep the largest so many; all by default.
            min_score: detections below are dropped.
            stage: entered around `detect`, `landmarks` and `align`, see `stages`.
        """
        ranges: tuple[Range, ...] = ("short", "full") if detector_range == "auto" else (detector_range,)
        self._detectors = [FaceDetector(range_, min_score) for range_ in ranges]
        self._mesh = FaceMesh()
        self._template = template
        self._size = size
        self._max_faces = max_faces
        self._stage = stage

    def __call__(self, image: npt.NDArray[np.uint8]) -> list[AlignedFace]:
        """Faces of a BGR picture `[H, W, 3]`, the largest first; an empty list where there are none."""
        faces: list[AlignedFace] = []
        for detector in self._detectors:
            if faces and _side(faces[0].box) >= _NEAR * max(image.shape[:2]):
                break  # whoever is that close is alone or among others as close
            with self._stage("detect"):
                found = detector.detect(image)
            new = [one for one in found if not any(_same(one.box, face.box) for face in faces)]
            aligned = (self.align(image, one) for one in sorted(new, key=lambda one: -one.area))
            # Counted after the landmarks have had their say: a false detection must not take a face's place.
            faces += islice((face for face in aligned if face is not None), self._max_faces)
            faces.sort(key=lambda face: -_side(face.box))
        return faces[: self._max_faces]

    def align(self, image: npt.NDArray[np.uint8], detection: Detection) -> AlignedFace | None:
        """Landmarks and crop of one detection; None where the landmark network sees no face in it."""
        with self._stage("landmarks"):
            landmarks = self._mesh.place(image, roi_from_detection(detection))
        if landmarks is None:
            return None
        with self._stage("align"):
            try:
                matrix = self._template.matrix(landmarks.points, self._size)
            except InputError:
                return None
            crop = warp(image, matrix, self._size)
        return AlignedFace(_inside(detection.box, image), detection.score, landmarks, matrix, crop)


def _side(box: tuple[float, float, float, float]) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _same(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    """Whether two boxes are of one face: their centres are closer than half a side of the smaller one."""
    x = (one[0] + one[2] - other[0] - other[2]) / 2
    y = (one[1] + one[3] - other[1] - other[3]) / 2
    return math.hypot(x, y) < min(_side(one), _side(other)) / 2


def _inside(box: tuple[float, float, float, float], image: npt.NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """The part of a box that lies in the picture."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
