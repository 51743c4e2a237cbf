"""Steady crops: the points that a face is aligned by, smoothed over time before the crop is cut out.

Landmarks tremble by a fraction of a pixel from frame to frame even where nothing moves. Cut out by them, a still face
trembles in its crop, and its intensities with it. The smoothing is a One-Euro filter's: strong at rest, hardly any in
motion, so that the crop does not lag behind the face.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..signals.one_euro import OneEuro, OneEuroFilter
from .alignment import AlignmentTemplate

#: In units of the distance between the outermost points of the template, so that near and far faces are alike.
_SETTINGS = OneEuro(min_cutoff=0.6, beta=12.0, derivative_cutoff=1.5)


class SteadyPoints:
    """The alignment points of one face over time."""

    def __init__(self, template: AlignmentTemplate) -> None:
        """Smooth the points that `template` uses."""
        self._places = list(template.landmarks)
        self._filter = OneEuroFilter(_SETTINGS)
        self._unit = 0.0

    def __call__(self, points: npt.NDArray[np.float32], timestamp: float) -> npt.NDArray[np.float32]:
        """FaceMesh points `[468, 3]` of a frame at `timestamp` seconds, those of the template smoothed."""
        chosen = points[self._places, :2].astype(np.float64)
        if not self._unit:
            self._unit = max(float(np.ptp(chosen[:, 0]) + np.ptp(chosen[:, 1])), 1e-3)
        smooth = np.asarray(self._filter((chosen / self._unit).ravel().tolist(), timestamp)) * self._unit
        steady: npt.NDArray[np.float32] = points.copy()
        steady[self._places, :2] = smooth.reshape(-1, 2)
        return steady

    def reset(self) -> None:
        """Begin anew."""
        self._filter.reset()
        self._unit = 0.0
