"""How far to trust each AU of one face: the one place where quality, the network's reading and its reliability meet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from ..action_units import Site, site_centres
from .quality import Quality, assess, in_picture
from .reliability import Reliability, hardships

if TYPE_CHECKING:
    from .frontend import AlignedFace

#: Degrees of measured yaw from which the far side of a face is hidden, and from which all of it is guessed; of pitch.
FAR_SIDE, TURNED, TILTED = 45.0, 60.0, 35.0
_SIDE_ANGLE = math.radians(25)  # how far to the side the cheeks' normals point, roughly
#: Of the heuristic: (worthless, good); a quantity counts 0 below the first, 1 above the second, else in proportion.
_EYE_DISTANCE, _INSIDE, _SHARPNESS = (8.0, 32.0), (0.6, 1.0), (0.08, 0.25)


class Judge:
    """Says how far to trust the AUs of a face; one for each loaded network. Threads may share one."""

    def __init__(self, sites: Sequence[Site], stored: Mapping[str, Any] | None = None, where: str = "bundle") -> None:
        """Take the network's sites and what its bundle stores of its reliability.

        Args:
            sites: in the order of the network's outputs.
            stored: the manifest's `confidence`; empty or None where the bundle has none.
            where: the bundle's path, for messages.

        Raises:
            BundleError: what is stored cannot be used.
        """
        self._sites = tuple(sites)
        aus = tuple(dict.fromkeys(site.au for site in sites))
        self._parts = [(au, [k for k, site in enumerate(sites) if site.au == au]) for au in aus]
        self.reliability = Reliability.from_dict(stored, aus, where) if stored else None

    @property
    def calibrated(self) -> bool:
        """Whether the confidences are probabilities fitted to this network, see `reliability`; else a heuristic."""
        return self.reliability is not None

    def __call__(
        self, face: AlignedFace, image: npt.NDArray[np.uint8], row: Sequence[float]
    ) -> tuple[Quality, dict[str, float]]:
        """Quality of a face, and the confidence 0 to 1 of each of its AUs.

        An AU has none where one of its sites cannot be seen: outside the picture, or turned away.

        Args:
            face: as the front end found it.
            image: BGR, where it found it.
            row: site intensities of the network, 0 to 5.
        """
        quality = assess(face, image)
        seen = self._seen(face, quality, image.shape[1], image.shape[0])
        if self.reliability is None:
            sites = heuristic(face, quality, self._sites, seen)
            return quality, {au: sum(sites[k] for k in parts) / len(parts) for au, parts in self._parts}
        hard = hardships(quality, face.landmarks.presence)
        models = self.reliability.aus
        return quality, {
            au: models[au].confidence(sum(row[k] for k in parts) / len(parts), hard)
            if seen is None or all(seen[k] for k in parts)
            else 0.0
            for au, parts in self._parts
        }

    def seen(self, face: AlignedFace, quality: Quality, image: npt.NDArray[np.uint8]) -> dict[str, bool]:
        """Whether every site of an AU can be seen, by AU."""
        sites = self._seen(face, quality, image.shape[1], image.shape[0])
        return {au: sites is None or all(sites[k] for k in parts) for au, parts in self._parts}

    def _seen(self, face: AlignedFace, quality: Quality, width: int, height: int) -> list[bool] | None:
        """Which sites can be seen; None for all of them."""
        turn = abs(quality.yaw)
        if turn <= FAR_SIDE and abs(quality.pitch) <= TILTED and quality.inside == 1:
            return None
        if turn > TURNED or abs(quality.pitch) > TILTED:
            return [False] * len(self._sites)
        seen = _inside(face, self._sites, width, height)
        far = "left" if quality.yaw > 0 else "right"
        return [one and not (turn > FAR_SIDE and site.side == far) for one, site in zip(seen, self._sites, strict=True)]


def clarity(face: AlignedFace, quality: Quality) -> float:
    """How well a face can be seen as a whole, 0 to 1; the same for every network, and no probability.

    Detection score times landmark presence, times how good size, sharpness and the part in the picture are.
    """
    return (
        face.score
        * face.landmarks.presence
        * _ramp(quality.eye_distance, *_EYE_DISTANCE)
        * _ramp(quality.inside, *_INSIDE)
        * _ramp(quality.sharpness, *_SHARPNESS)
    )


def heuristic(
    face: AlignedFace, quality: Quality, sites: Sequence[Site], seen: Sequence[bool] | None = None
) -> list[float]:
    """Confidence 0 to 1 of each site where nothing was fitted: an order, no probability.

    The face's clarity times how far the site faces the camera; 0 for a site that is not seen.
    """
    common = clarity(face, quality)
    yaw = math.radians(quality.yaw)
    facing = {side: _facing(yaw, side) for side in ("left", "right", "centre")}
    values = [common * facing[site.side] for site in sites]
    return values if seen is None else [value if one else 0.0 for value, one in zip(values, seen, strict=True)]


def _facing(yaw: float, side: str) -> float:
    """Cosine of the angle at which a side is seen, 1 for both sides of a frontal face."""
    away = {"left": yaw, "right": -yaw, "centre": 0.0}[side]
    if away <= 0:
        return max(math.cos(yaw), 0.0)
    return max(math.cos(min(away + _SIDE_ANGLE, math.pi / 2)) / math.cos(_SIDE_ANGLE), 0.0)


def _inside(face: AlignedFace, sites: Sequence[Site], width: int, height: int) -> list[bool]:
    """Which sites lie in the picture."""
    flat = face.landmarks.points[:, :2]
    upright = flat @ face.matrix[:, :2].T + face.matrix[:, 2]
    back = cv2.invertAffineTransform(face.matrix)
    centres = site_centres(upright.astype(np.float32), sites) @ back[:, :2].T + back[:, 2]
    found: list[bool] = in_picture(centres, width, height).tolist()
    return found


def _ramp(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)
