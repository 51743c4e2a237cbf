"""BlazeFace: faces in a picture, with six key points each.

Source: Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019; the two models,
their anchors and their box coding are MediaPipe's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from .network import Engine, FaceModel, load, sigmoid

Range = Literal["short", "full"]
RIGHT_EYE, LEFT_EYE = 0, 1  # the person's own; key points 2 to 5 are nose tip, mouth, right ear, left ear


@dataclass(frozen=True, slots=True)
class Detection:
    """A face found: box (x0, y0, x1, y1) and key points `[6, 2]` in pixels of the picture, score 0 to 1."""

    box: tuple[float, float, float, float]
    score: float
    keypoints: npt.NDArray[np.float32]

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return max(self.box[2] - self.box[0], 0.0) * max(self.box[3] - self.box[1], 0.0)


@dataclass(frozen=True, slots=True)
class _Model:
    network: FaceModel
    cells: tuple[tuple[int, int], ...]  # (stride, anchors in each cell)


_MODELS: Mapping[Range, _Model] = {
    "short": _Model(
        FaceModel("face_detection_short_range.tflite", 128, ("classificators", "regressors"), 1 / 127.5, -1.0),
        ((8, 2), (16, 6)),
    ),
    "full": _Model(
        FaceModel(
            "face_detection_full_range.tflite",
            192,
            ("reshaped_classifier_face_4", "reshaped_regressor_face_4"),
            1 / 127.5,
            -1.0,
        ),
        ((4, 1),),
    ),
}


class FaceDetector:
    """Finds faces.

    "short" is meant for up to 2 m from the camera, "full" for up to 5 m at three times the cost. Measured on a portrait
    in a square picture: faces of 12 % and 6 % of its side are always found, of 10 % and 5 % sometimes.
    """

    def __init__(
        self,
        range: Range = "short",
        min_score: float = 0.5,
        *,
        overlap: float = 0.3,
        engine: Engine = "opencv",
        threads: int | None = None,
    ) -> None:
        """Read the model.

        Args:
            range: which of MediaPipe's two models.
            min_score: faces below are dropped.
            overlap: intersection over union from which on two boxes are one face.
            engine: what runs the model, see `network.load`.
            threads: likewise.
        """
        self._size = _MODELS[range].network.size
        self._network = load(_MODELS[range].network, engine, threads)
        self._anchors = _anchors(_MODELS[range])
        self._min_score = min_score
        self._overlap = overlap

    def detect(self, image: npt.NDArray[np.uint8]) -> list[Detection]:
        """Faces of a BGR picture, the best score first."""
        picture, scale, shift = _letterbox(image, self._size)
        logits, codes = self._network(picture)
        scores = sigmoid(logits.reshape(-1))
        keep = np.flatnonzero(scores >= self._min_score)
        if keep.size == 0:
            return []
        # Codes are pixels of the model's picture relative to the anchor: centre, size, then six points.
        codes = codes.reshape(-1, 16)[keep]
        centres = self._anchors[keep]
        points = codes.reshape(-1, 8, 2) + centres[:, None]
        half = codes[:, 2:4] / 2
        points[:, 1] = points[:, 0] + half
        points[:, 0] -= half
        # Continuous coordinates of the letterboxed picture to pixel centres of the given one.
        points = (points - shift) / scale - 0.5
        merged = _merge(points, scores[keep], self._overlap)
        return [Detection((*map(float, p[0]), *map(float, p[1])), score, p[2:]) for p, score in merged]  # type: ignore[arg-type]


def _anchors(model: _Model) -> npt.NDArray[np.float32]:
    grids = []
    for stride, count in model.cells:
        side = model.network.size // stride
        y, x = np.mgrid[:side, :side]
        cells = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride
        grids.append(np.repeat(cells, count, axis=0))
    return np.concatenate(grids).astype(np.float32)


def _letterbox(
    image: npt.NDArray[np.uint8], size: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The picture centred in a black square of side `size`; scale (x, y) and shift (x, y) that were applied."""
    height, width = image.shape[:2]
    ratio = size / max(height, width)
    inner = (max(round(width * ratio), 1), max(round(height * ratio), 1))
    shrunk = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    square = np.zeros((size, size, 3), np.uint8)
    square[top : top + inner[1], left : left + inner[0]] = shrunk
    return square, np.array([inner[0] / width, inner[1] / height], np.float32), np.array([left, top], np.float32)


def _merge(
    points: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], overlap: float
) -> list[tuple[npt.NDArray[np.float32], float]]:
    """Blazeface's weighted suppression: overlapping boxes become their mean, weighted by score (section 4 there)."""
    order = np.argsort(-scores, kind="stable")
    faces = []
    while order.size:
        best = order[0]
        same = _iou(points[best], points[order]) > overlap
        same[0] = True
        group = order[same]
        faces.append((np.average(points[group], axis=0, weights=scores[group]).astype(np.float32), float(scores[best])))
        order = order[~same]
    return faces


def _iou(one: npt.NDArray[np.float32], many: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    corner = np.minimum(one[1], many[:, 1]) - np.maximum(one[0], many[:, 0])
    shared = np.clip(corner, 0, None).prod(-1)
    areas = np.clip(many[:, 1] - many[:, 0], 0, None).prod(-1)
    total = np.clip(one[1] - one[0], 0, None).prod() + areas - shared
    return np.asarray(shared / np.maximum(total, 1e-9), np.float32)
