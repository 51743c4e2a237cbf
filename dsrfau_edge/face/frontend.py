"""Faces of a picture as aligned crops: detector, landmarks, alignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..stages import Stage, untimed
from .alignment import AlignmentTemplate, warp
from .detector import Detection, FaceDetector, Range
from .landmarks import FaceMesh, Landmarks, Roi, roi_from_detection
from .network import Engine

DetectorRange = Literal["auto", "short", "full"]
Box = tuple[float, float, float, float]
_NEAR = 0.2  # of the longer side of the picture


@dataclass(frozen=True, slots=True)
class AlignedFace:
    """One face: box (x0, y0, x1, y1) and landmarks in pixels of the picture, `matrix` from there to its `crop`."""

    box: Box
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
        engine: Engine = "opencv",
        threads: int | None = None,
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
            engine: what runs the face models, see `network.load`.
            threads: likewise.
        """
        ranges: tuple[Range, ...] = ("short", "full") if detector_range == "auto" else (detector_range,)
        self._detectors = [FaceDetector(range_, min_score, engine=engine, threads=threads) for range_ in ranges]
        self._mesh = FaceMesh(engine, threads)
        self._size = size
        self._stage = stage
        self.template = template
        self.max_faces = max_faces

    def __call__(self, image: npt.NDArray[np.uint8]) -> list[AlignedFace]:
        """Faces of a BGR picture `[H, W, 3]`, the largest first; an empty list where there are none."""
        return self.find(image)[: self.max_faces]

    def find(
        self, image: npt.NDArray[np.uint8], known: Sequence[Box] = (), turn: int | None = None
    ) -> list[AlignedFace]:
        """Faces, the largest first.

        Args:
            image: BGR `[H, W, 3]`.
            known: boxes of faces that need not be found again, with what of them lies outside the picture.
            turn: look with one of the detectors alone, each turn with the next; by default with all that it takes.
        """
        faces: list[AlignedFace] = []
        places = list(known)
        detectors = self._detectors if turn is None else [self._detectors[turn % len(self._detectors)]]
        for detector in detectors:
            near = any(side(box) >= _NEAR * max(image.shape[:2]) for box in places)
            if near and detector is not detectors[0]:
                break  # whoever is that close is alone or among others as close
            with self._stage("detect"):
                found = detector.detect(image)
            new = [one for one in found if not any(same_place(one.box, box) for box in places)]
            aligned = ((self.align(image, one), one.box) for one in sorted(new, key=lambda one: -one.area))
            # Counted after the landmarks have had their say: a false detection must not take a face's place.
            kept = list(islice(((face, box) for face, box in aligned if face is not None), self.max_faces))
            faces += [face for face, _ in kept]
            places += [box for _, box in kept]
            faces.sort(key=lambda face: -side(face.box))
        return faces

    def landmarks(self, image: npt.NDArray[np.uint8], roi: Roi) -> Landmarks:
        """Points of the face in a region, in one pass; their presence says whether there is one."""
        with self._stage("landmarks"):
            return self._mesh(image, roi)

    def cut(
        self, image: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
        """Matrix and crop of the face whose points `[468, 2]` or wider are given.

        Raises:
            InputError: the points coincide, so that there is no face to align.
        """
        with self._stage("align"):
            matrix = self.template.matrix(landmarks, self._size)
            return matrix, warp(image, matrix, self._size)

    def align(self, image: npt.NDArray[np.uint8], detection: Detection) -> AlignedFace | None:
        """Landmarks and crop of one detection; None where the landmark network sees no face in it."""
        with self._stage("landmarks"):
            landmarks = self._mesh.place(image, roi_from_detection(detection))
        if landmarks is None:
            return None
        try:
            matrix, crop = self.cut(image, landmarks.points)
        except InputError:
            return None
        return AlignedFace(inside(detection.box, image), detection.score, landmarks, matrix, crop)


def side(box: Box) -> float:
    """The longer side of a box."""
    return max(box[2] - box[0], box[3] - box[1])


def centre(box: Box) -> complex:
    """Centre of a box, x being the real part."""
    return complex(box[0] + box[2], box[1] + box[3]) / 2


def same_place(one: Box, other: Box) -> bool:
    """Whether two boxes are of one face: their centres are closer than half a side of the smaller one."""
    return abs(centre(one) - centre(other)) < min(side(one), side(other)) / 2


def inside(box: Box, image: npt.NDArray[np.uint8]) -> Box:
    """The part of a box that lies in the picture."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
