"""From intensities to a rig's shapes, and from the posed mesh to labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dsrfau_edge.action_units import ALL_AUS, MAX_INTENSITY, sites_of

from .calibration import Ruler, full_scale, table
from .meshes import FloatArray
from .rigs.base import Identity

SITES = tuple(site.name for site in sites_of(ALL_AUS))
_LID_DEGREES = 35.0  # of gaze that move the lids by a whole shape


def measured(
    ruler: Ruler,
    identity: Identity,
    positions: FloatArray,
    intensities: Mapping[str, float],
    weights: Mapping[str, float],
) -> FloatArray:
    """Labels `[S]` in the order of `SITES`: the driven intensities, AU25 and AU26 as the mesh has them in the end."""
    jaw = weights.get("jawOpen", 0.0) * table().movement[ruler.rig.name]["AU26"] / identity.eye_distance
    labels = {
        **intensities,
        "AU25": ruler.lip_gap(identity, positions) / full_scale("AU25") * MAX_INTENSITY,
        "AU26": jaw / full_scale("AU26") * MAX_INTENSITY,
    }
    return np.asarray([min(labels.get(name, 0.0), MAX_INTENSITY) for name in SITES], np.float32)


def lip_part_weights(rng: np.random.Generator, level: float) -> dict[str, float]:
    """Shapes that part the lips for a drawn AU25: the lower lip first, then a little jaw."""
    low = level / MAX_INTENSITY * float(rng.uniform(1.0, 2.0))
    jaw = level / MAX_INTENSITY * float(rng.uniform(0.05, 0.3))
    return {"mouthLowerDownLeft": low, "mouthLowerDownRight": low, "jawOpen": jaw}


def gaze_weights(yaw: float, pitch: float) -> dict[str, float]:
    """Shapes of the lids that go with a gaze, degrees to the person's left and down; it is no AU and has no label."""
    across, up = yaw / _LID_DEGREES, -pitch / _LID_DEGREES
    shares = {
        "eyeLookUpLeft": up, "eyeLookUpRight": up, "eyeLookDownLeft": -up, "eyeLookDownRight": -up,
        "eyeLookOutLeft": across, "eyeLookInRight": across, "eyeLookInLeft": -across, "eyeLookOutRight": -across,
    }  # fmt: skip
    return {name: share for name, share in shares.items() if share > 0}
