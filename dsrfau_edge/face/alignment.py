"""From a face anywhere in a picture to the upright crop that a network sees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import BundleError, InputError

_MESH_POINTS = 468
#: Fill outside the picture: zero once the network has normalised it, like the padding of its convolutions.
_OUTSIDE = (127, 127, 127)


@dataclass(frozen=True, slots=True)
class AlignmentTemplate:
    """Where chosen FaceMesh points stand in a crop: x and y as fractions of its side, 0 at its left and upper edge."""

    landmarks: tuple[int, ...]
    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        """Check that the points can fix a similarity.

        Raises:
            BundleError: they cannot.
        """
        fits = len(self.landmarks) == len(self.points) >= 2 and len(set(self.points)) >= 2
        known = all(0 <= index < _MESH_POINTS for index in self.landmarks)
        if not (fits and known and all(len(point) == 2 and all(map(math.isfinite, point)) for point in self.points)):
            raise BundleError(
                "The alignment template is not one: it needs two or more FaceMesh points (0 to 467), each with a "
                "finite x and y. Export the bundle again from its checkpoint."
            )

    def to_dict(self) -> dict[str, Any]:
        """As stored in manifests and data indices."""
        return {"landmarks": list(self.landmarks), "points": [list(point) for point in self.points]}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> AlignmentTemplate:
        """Read what `to_dict` wrote.

        Raises:
            BundleError: it is something else.
        """
        try:
            landmarks = tuple(int(index) for index in raw["landmarks"])
            points = tuple((float(x), float(y)) for x, y in raw["points"])
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"The alignment template cannot be read ({error!r}). Export the bundle again from its checkpoint."
            ) from error
        return cls(landmarks, points)

    def matrix(
        self, landmarks: npt.NDArray[np.floating[Any]], size: int, margin: float = 0.0
    ) -> npt.NDArray[np.float64]:
        """Similarity `[2, 3]` (turn, scale, shift; no mirroring) from pixels of the picture to pixels of the crop.

        The least-squares fit of Umeyama (1991), which in the plane is one complex division.

        Args:
            landmarks: FaceMesh points `[468, 2]` or wider, in pixels of the picture.
            size: side of the template's frame in pixels.
            margin: room around that frame on each side, as a fraction of it: the crop has side
                `round(size * (1 + 2 * margin))` and the frame at its centre.

        Raises:
            InputError: the points coincide, so that there is no face to align.
        """
        source = np.asarray(landmarks, np.float64)[list(self.landmarks), :2] @ (1, 1j)
        room = (round(size * (1 + 2 * margin)) - size) / 2
        target = np.asarray(self.points) @ (1, 1j) * size + (room - 0.5) * (1 + 1j)
        spread = source - source.mean()
        power = float(np.vdot(spread, spread).real)
        turn = np.vdot(spread, target - target.mean()) / power if power > 1e-9 else np.nan
        if not np.isfinite(turn) or abs(turn) < 1e-9:
            raise InputError("The face cannot be aligned: its landmarks coincide. Give a picture with a larger face.")
        shift = target.mean() - turn * source.mean()
        return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def warp(
    image: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], side: int, *, border: int = cv2.BORDER_CONSTANT
) -> npt.NDArray[np.uint8]:
    """Crop `[side, side, 3]` of a picture under a similarity `matrix` (picture to crop, pixel centres).

    Where the crop is much smaller than its part of the picture, that part is averaged down first: bilinear sampling
    alone would skip pixels, and the aliasing would depend on the distance of the face.
    """
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    image, matrix = _part(image, matrix, side, max(int(1 / max(scale, 1e-6)), 1))
    crop: npt.NDArray[np.uint8] = cv2.warpAffine(
        image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=_OUTSIDE
    )
    return crop


def _part(
    image: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], side: int, factor: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """The part of the picture under the crop, averaged over `factor` x `factor` pixels, and the matrix that fits it.

    Only the part goes on: OpenCV warps no picture of 32,767 or more pixels a side.
    """
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]], float) - 0.5
    back = cv2.invertAffineTransform(matrix)
    found = corners @ back[:, :2].T + back[:, 2]
    height, width = image.shape[:2]
    low = np.clip(np.floor(found.min(0)) - factor, 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(found.max(0)) + factor, low + 1, [width, height]).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    if factor == 1:
        return part, np.column_stack([matrix[:, :2], matrix[:, :2] @ low + matrix[:, 2]])
    cells = np.maximum((high - low) // factor, 1)
    # Whole cells, for which OpenCV's averaging is several times as fast.
    part = part[: cells[1] * factor, : cells[0] * factor]
    small: npt.NDArray[np.uint8] = cv2.resize(part, tuple(map(int, cells)), interpolation=cv2.INTER_AREA)
    stretch = np.array([part.shape[1], part.shape[0]]) / cells  # pixels of the picture per pixel of `small`
    origin = low + (stretch - 1) / 2
    return small, np.column_stack([matrix[:, :2] * stretch, matrix[:, :2] @ origin + matrix[:, 2]])


#: The frame our networks are trained in: corners of the eyes, bridge and base of the nose (points that expressions
#: hardly move) where the mean face has them, over 411 nearly frontal photo-real faces (SFHQ) aligned by similarity and
#: made symmetric. The eyes stand at 0.36 of the side and 0.32 of it apart, so that a dropped jaw still fits. Everything
#: but training reads the template from the checkpoint or manifest.
DEFAULT_TEMPLATE = AlignmentTemplate(
    landmarks=(33, 133, 362, 263, 168, 2),
    points=(
        (0.2685, 0.3548),
        (0.4115, 0.3652),
        (0.5885, 0.3652),
        (0.7315, 0.3548),
        (0.5, 0.3372),
        (0.5, 0.5855),
    ),
)
