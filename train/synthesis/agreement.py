"""Does a label mean the same on two rigs? Movement measured on posed meshes of many identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import ALL_AUS, MAX_INTENSITY, sites_of

from .calibration import CLOSURE, GAP, Ruler, full_scale, measuring_points, weights_for
from .meshes import FloatArray
from .rigs.base import Identity, Rig, pose

_LEVELS = (1.0, 2.0, 3.0, 4.0, 5.0)
_REGION = 0.06  # decimetres, standard deviation: wider than a measuring point


@dataclass(frozen=True, slots=True)
class Agreement:
    """Mean difference of one AU between two rigs, in intensity, for equal labels."""

    au: str
    site: float  # movement at the measuring points, what the calibration makes equal
    region: float  # movement of the skin far around them, which it does not see; 5 is the rigs' mean at label 5


def agreement(rigs: Sequence[Rig], *, people: int = 8, seed: int = 0) -> list[Agreement]:
    """Compare two rigs over the labels 1 to 5 on `people` identities of each."""
    site_levels, region_levels = zip(*(_realized(rig, people, seed) for rig in rigs), strict=True)
    found = []
    for au in ALL_AUS:
        if au == GAP:  # the label itself is measured
            continue
        site = np.abs(site_levels[0][au] - site_levels[1][au]).mean()
        wide = np.stack([levels[au] for levels in region_levels])
        wide = wide / wide[:, -1].mean() * MAX_INTENSITY
        found.append(Agreement(au, float(site), float(np.abs(wide[0] - wide[1]).mean())))
    return found


def _realized(rig: Rig, people: int, seed: int) -> tuple[dict[str, npt.NDArray[np.float64]], ...]:
    """Per AU, over the labels: the intensity that the points show, and how far the region moves in eye distances."""
    ruler = Ruler(rig)
    identities = [rig.identity(str(number), np.random.default_rng([seed, number])) for number in range(people)]
    skin = np.unique(rig.surfaces["skin"].source)
    sites, regions = {}, {}
    for au in ALL_AUS:
        if au == GAP:
            continue
        site = sites_of([au])[0].name
        near = _around(rig.rest[skin], measuring_points(site))
        rows = []
        for level in _LEVELS:
            for person in identities:
                positions = pose(rig, person, weights_for(ruler, person, {site: level}))
                moved = positions - person.neutral
                region = float(near @ np.linalg.norm(moved[skin], axis=1)) / person.eye_distance
                rows.append((_shown(ruler, person, site, positions), region))
        table = np.asarray(rows).reshape(len(_LEVELS), people, 2).mean(1)
        sites[au], regions[au] = table[:, 0], table[:, 1]
    return sites, regions


def _shown(ruler: Ruler, person: Identity, site: str, positions: FloatArray) -> float:
    """Intensity that the posed mesh shows at a site."""
    if site.startswith(CLOSURE):
        return MAX_INTENSITY * (1 - ruler.opening(positions, site) / ruler.opening(person.neutral, site))
    moved = ruler.movement(site, positions - person.neutral) / person.eye_distance
    return moved / full_scale(site[:4]) * MAX_INTENSITY


def _around(places: FloatArray, points: FloatArray) -> npt.NDArray[np.float64]:
    near = sum(np.exp(-((places - point) ** 2).sum(1) / (2 * _REGION**2)) for point in points)
    weights: npt.NDArray[np.float64] = near / np.sum(near)
    return weights
