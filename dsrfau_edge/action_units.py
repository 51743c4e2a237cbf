"""The action-unit catalogue: FACS number, name, muscle, and the sites on the face where each unit shows.

A *site* is a place where one unit is estimated; the network has one heatmap per site, and an AU's intensity is the mean
over its sites. Left and right are the person's own. Site centres follow the landmark rules of SCC-Heatmap (Fan et al.,
AAAI 2020) for AU 6, 10, 12, 14 and 17 and of JAA-Net (Shao et al., IJCV 2021) for the others, carried over from the
68-point scheme to the 468 points of MediaPipe's FaceMesh.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from .errors import UsageError

Side = Literal["left", "right", "centre"]

MAX_INTENSITY = 5.0
#: An AU counts as present from this intensity on; letters start at the same value, so the two never disagree.
PRESENCE_THRESHOLD = 1.0
_INNER_EYE_CORNERS = (362, 133)  # FaceMesh indices, left and right


@dataclass(frozen=True, slots=True)
class Site:
    """One place on the face: the mean of FaceMesh points, moved by `outward` and `up` inner-eye distances."""

    au: str
    side: Side
    landmarks: tuple[int, ...]
    outward: float = 0.0
    up: float = 0.0

    @property
    def name(self) -> str:
        """Name as used in manifests and data, such as `AU12_left`, or `AU25` for a site on the midline."""
        return self.au if self.side == "centre" else f"{self.au}_{self.side}"


@dataclass(frozen=True, slots=True)
class ActionUnit:
    """One FACS action unit."""

    number: int
    title: str
    muscle: str
    sites: tuple[Site, ...]

    @property
    def name(self) -> str:
        """Name with two digits, such as `AU04`."""
        return f"AU{self.number:02d}"


def _pair(
    number: int,
    title: str,
    muscle: str,
    left: tuple[int, ...],
    right: tuple[int, ...],
    *,
    outward: float = 0,
    up: float = 0,
) -> ActionUnit:
    au = f"AU{number:02d}"
    sites = (Site(au, "left", left, outward, up), Site(au, "right", right, outward, up))
    return ActionUnit(number, title, muscle, sites)


def _single(number: int, title: str, muscle: str, landmarks: tuple[int, ...], *, up: float = 0) -> ActionUnit:
    return ActionUnit(number, title, muscle, (Site(f"AU{number:02d}", "centre", landmarks, 0.0, up),))


CATALOGUE: dict[str, ActionUnit] = {
    unit.name: unit
    for unit in (
        _pair(1, "inner brow raiser", "frontalis, medial part", (336, 285), (107, 55), up=0.5),
        _pair(2, "outer brow raiser", "frontalis, lateral part", (293, 283), (63, 53), up=1 / 3),
        _pair(4, "brow lowerer", "corrugator, depressor supercilii", (296, 295), (66, 65), up=-1 / 3),
        _pair(5, "upper lid raiser", "levator palpebrae superioris", (386,), (159,)),
        _pair(6, "cheek raiser", "orbicularis oculi, orbital part", (346, 280), (117, 50)),
        _pair(7, "lid tightener", "orbicularis oculi, palpebral part", (374,), (145,)),
        _pair(9, "nose wrinkler", "levator labii superioris alaeque nasi", (358,), (129,), up=0.5),
        _pair(10, "upper lip raiser", "levator labii superioris", (269,), (39,)),
        _pair(12, "lip corner puller", "zygomaticus major", (291,), (61,)),
        _pair(14, "dimpler", "buccinator", (291, 361), (61, 132)),
        _pair(15, "lip corner depressor", "depressor anguli oris", (291,), (61,)),
        _single(17, "chin raiser", "mentalis", (17, 152)),
        _single(18, "lip pucker", "incisivii labii", (0,)),
        _pair(20, "lip stretcher", "risorius", (291,), (61,), outward=0.3),
        _single(23, "lip tightener", "orbicularis oris, outer part", (13, 14)),
        _single(24, "lip pressor", "orbicularis oris, inner part", (13, 14)),
        _single(25, "lips part", "depressor labii or relaxed mentalis", (13, 14)),
        _single(26, "jaw drop", "relaxed masseter", (17,), up=-0.5),
        _single(28, "lip suck", "orbicularis oris", (17,)),
        _pair(45, "blink", "relaxed levator palpebrae, orbicularis oculi", (386, 374), (159, 145)),
    )
}

ALL_AUS: tuple[str, ...] = tuple(CATALOGUE)


def canonical_au(name: str | int) -> str:
    """Return the catalogue's spelling of an AU: `12`, `"12"`, `"au12"`, `"AU4"` → `"AU12"`, `"AU04"`.

    Raises:
        UsageError: the catalogue has no such AU.
    """
    digits = str(name).strip().upper().removeprefix("AU")
    canonical = f"AU{int(digits):02d}" if digits.isdecimal() else str(name)
    if canonical not in CATALOGUE:
        raise UsageError(f"Unknown action unit {name!r}. Known: {', '.join(ALL_AUS)}.")
    return canonical


def sites_of(aus: Iterable[str | int] = ALL_AUS) -> tuple[Site, ...]:
    """Sites of the given AUs in catalogue order of sides, as the network's channels are ordered."""
    return tuple(site for au in aus for site in CATALOGUE[canonical_au(au)].sites)


def site_centres(landmarks: npt.NDArray[np.float32], sites: Sequence[Site]) -> npt.NDArray[np.float32]:
    """Centres of sites on an upright (aligned) face.

    Args:
        landmarks: FaceMesh points in pixels of the aligned crop, `[468, 2]` or wider.
        sites: the sites to place.

    Returns:
        `[len(sites), 2]` x and y in the same pixels.
    """
    points = np.asarray(landmarks, np.float32)[:, :2]
    left, right = points[_INNER_EYE_CORNERS[0]], points[_INNER_EYE_CORNERS[1]]
    places, weights, shifts = _placing(tuple(sites))
    ruler = np.float32(math.hypot(*(left - right).tolist()))
    return np.asarray((points[places] * weights).sum(1) + shifts * ruler, np.float32)


@cache
def _placing(
    sites: tuple[Site, ...],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Landmarks `[S, K]` of each site, their weights `[S, K, 1]`, and its shift `[S, 2]` in inner-eye distances."""
    most = max((len(site.landmarks) for site in sites), default=1)
    places = np.zeros((len(sites), most), np.intp)
    weights = np.zeros((len(sites), most, 1), np.float32)
    outward = {"left": 1.0, "right": -1.0, "centre": 0.0}  # an unmirrored picture shows the person's left on its right
    for row, site in enumerate(sites):
        count = len(site.landmarks)
        places[row, :count], weights[row, :count] = site.landmarks, 1 / count
    shifts = [(site.outward * outward[site.side], -site.up) for site in sites]
    return places, weights, np.array(shifts, np.float32).reshape(-1, 2)


def letter(intensity: float) -> str:
    """FACS letter: "" below the presence threshold, then A (trace) to E (maximum), nearest step."""
    if not intensity >= PRESENCE_THRESHOLD:
        return ""
    return "ABCDE"[min(int(intensity + 0.5), 5) - 1]
