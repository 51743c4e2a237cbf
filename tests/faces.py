"""Made-up faces and frames for tests of what comes after prediction."""

from __future__ import annotations

import numpy as np

from dsrfau_edge.action_units import sites_of
from dsrfau_edge.face.quality import Quality
from dsrfau_edge.results import Assembler, Face, FrameResult

AUS = ("AU04", "AU12", "AU25")
SITES = sites_of(AUS)
#: AU04 left and right, AU12 left and right, AU25.
VALUES = (0.2, 0.6, 3.0, 2.0, 4.75)


def make_face(number=0, values=VALUES, *, heatmaps=False, flags=(), box=(20.0, 30.0, 120.0, 140.0)):
    """A face with three AUs, 32 x 32 crop, 8 x 8 heatmaps."""
    pairs = [(site.au, site.side) for site in SITES]
    aus, left, right = Assembler(AUS, pairs)(list(values))
    maps = None
    if heatmaps:
        maps = {site.name: np.zeros((8, 8), np.float32) for site in SITES}
        for index, (name, value) in enumerate(zip(maps, values, strict=True)):
            maps[name][2 + index % 4, 3] = value
    return Face(
        box=box,
        confidence=0.875,
        id=number,
        aus=aus,
        left=left,
        right=right,
        confidences={"AU04": 0.5, "AU12": 0.75, "AU25": 0.8},
        quality=Quality(40.0, 1.0, 0.3, 5.0, tuple(flags)),
        landmarks=np.zeros((468, 3), np.float32),
        matrix=np.array([[0.25, 0, -2], [0, 0.25, -4]]),
        crop_size=32,
        heatmaps=maps,
    )


def make_result(*faces, index=0, timestamp=None, source="a.jpg"):
    """A frame of 200 x 160 pixels."""
    return FrameResult(source, index, timestamp, (200, 160), faces)
