"""What 0 to 5 means as movement: one table for every rig and identity, and the code that measures it.

An intensity is a movement: at 5 the skin at an AU's measuring points moves by `full_scale` distances between the eye
centres, and linearly less below. Movement is the mean displacement of the skin around a point, under a Gaussian as wide
as a fingertip, the mean over an AU's points. `calibration.json` holds the full scales, the points (FaceMesh's numbers),
which shapes of a rig make an AU, and how far they move it at weight 1; `measure` makes the last.

Two AUs are measured otherwise: AU25 is the gap between the lips, AU45 the share of the eye's opening that is closed.

The scale is linear, where the letters of FACS are uneven steps of appearance judged by people: it makes rigs and
identities comparable, not coders. The top of AU26, from 4 on, is what FACS calls AU27.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from dsrfau_edge.action_units import MAX_INTENSITY, Site, sites_of
from dsrfau_edge.errors import DataError

from .meshes import FloatArray, IntArray
from .rigs.base import Field, Identity, Rig
from .rigs.makehuman import NAME as CANONICAL
from .rigs.makehuman import base_mesh
from .rigs.registration import landmark_vertices

#: Measured on the whole mesh, not driven by a shape of their own.
GAP, CLOSURE = "AU25", "AU45"
_LID = 0.08  # half width of the middle of an eye, decimetres
_RIM = 3  # vertices of a lower lid's rim
_FINGERTIP = 0.045  # decimetres, standard deviation of a measuring point


@dataclass(frozen=True, slots=True)
class Table:
    """The committed table."""

    full_scale: Mapping[str, float]  # AU → eye distances that are intensity 5
    points: Mapping[str, tuple[int, ...]]  # site → FaceMesh points where it is measured
    shapes: Mapping[str, Mapping[str, Mapping[str, float]]]  # rig → site → shape → share
    movement: Mapping[str, Mapping[str, float]]  # rig → site → decimetres at weight 1


@lru_cache(maxsize=1)
def table() -> Table:
    """Read `calibration.json`."""
    raw = json.loads(Path(__file__).with_name("calibration.json").read_text("utf-8"))
    shapes = {
        rig: {site.name: _sided(mixed[site.au], site) for site in sites_of(mixed)}
        for rig, mixed in raw["shapes"].items()
    }
    points = {
        site.name: tuple(raw["points"][site.au][place])
        for au in raw["points"]
        for place, site in enumerate(sites_of([au]))
    }
    return Table(raw["full_scale"], points, shapes, raw["movement"])


def _sided(mixed: Mapping[str, float], site: Site) -> dict[str, float]:
    return {name.replace("*", site.side.capitalize()): share for name, share in mixed.items()}


def full_scale(au: str) -> float:
    """Movement that is intensity 5, in eye distances."""
    return table().full_scale[au]


def shapes_of(rig: Rig) -> Mapping[str, Mapping[str, float]]:
    """Shapes of a rig and their shares by site.

    Raises:
        DataError: the table has no row for the rig.
    """
    found = table().shapes.get(rig.name)
    if found is None:
        raise DataError(f"calibration.json has no row for the rig {rig.name!r}. Add its shapes and measure them.")
    return found


def field(rig: Rig, site: str) -> Field:
    """Displacement field of an AU on one side at weight 1."""
    whole = np.zeros_like(rig.rest)
    for shape, share in shapes_of(rig)[site].items():
        indices, deltas = rig.shapes[shape]
        whole[indices] += np.float32(share) * deltas
    moved = np.flatnonzero(np.abs(whole).max(1)).astype(np.int32)
    return moved, whole[moved]


class Ruler:
    """Measures movement at the points of a rig."""

    def __init__(self, rig: Rig) -> None:
        """Find the skin around every point, and the lids and lips.

        Raises:
            DataError: the rig lacks a shape of the table, or the table the rig.
        """
        self.rig = rig
        missing = {shape for mixed in shapes_of(rig).values() for shape in mixed} - set(rig.shapes)
        if missing:
            names = ", ".join(sorted(missing))
            raise DataError(f"The rig {rig.name} lacks the shapes {names}: its data are incomplete. Get them again.")
        self._skin = np.unique(rig.surfaces["skin"].source)
        places = rig.rest[self._skin]
        self._around: dict[str, list[tuple[IntArray, FloatArray]]] = {}
        for site in table().points:
            self._around[site] = []
            for point in measuring_points(site):
                near = np.exp(-((places - point) ** 2).sum(1) / (2 * _FINGERTIP**2))
                kept = near > 0.01 * near.max()
                self._around[site].append((self._skin[kept], (near[kept] / near[kept].sum()).astype(np.float32)))
        self._lips = self._find_lips()
        self._lids = {site: self._find_lids(site) for site in ("AU45_left", "AU45_right")}

    def movement(self, site: str, displacement: FloatArray) -> float:
        """Movement at a site of displacements `[V, 3]`, in their unit."""
        around = self._around[site]
        return float(np.mean([weights @ np.linalg.norm(displacement[indices], axis=1) for indices, weights in around]))

    def lip_gap(self, identity: Identity, positions: FloatArray) -> float:
        """How far the lips are parted beyond the identity's rest, in eye distances (never negative)."""
        upper, lower = self._lips

        def gap(where: FloatArray) -> float:
            return float(where[upper, 1].min() - where[lower, 1].max())

        return max(0.0, gap(positions) - max(gap(identity.neutral), 0.0)) / identity.eye_distance

    def closing(self, identity: Identity, site: str) -> float:
        """Weight of the blink at which the lids of an identity meet."""
        upper, lower = self._lids[site]
        travel = np.zeros_like(self.rig.rest)
        indices, deltas = field(self.rig, site)
        travel[indices] = deltas
        return self.opening(identity.neutral, site) / float(travel[lower, 1].mean() - travel[upper, 1].mean())

    def opening(self, positions: FloatArray, site: str) -> float:
        """Distance between the lids of an eye, decimetres (never negative)."""
        upper, lower = self._lids[site]
        return max(0.0, float(positions[upper, 1].mean() - positions[lower, 1].mean()))

    def _find_lids(self, site: str) -> tuple[IntArray, IntArray]:
        """Vertices on the rims of the upper and the lower lid, around the middle of the eye."""
        drop = np.zeros(len(self.rig.rest))
        indices, deltas = field(self.rig, site)
        drop[indices] = -deltas[:, 1]
        places = self.rig.rest[self._skin]
        middle = float(measuring_points(site)[0, 0])
        falls = drop[self._skin] * (np.abs(places[:, 0] - middle) < _LID)
        under = measuring_points(site.replace("AU45", "AU07"))[0]
        nearest = np.argsort(np.linalg.norm(places - under, axis=1))[:_RIM]
        return self._skin[falls > 0.85 * falls.max()], self._skin[nearest]

    def _find_lips(self) -> tuple[IntArray, IntArray]:
        """Vertices on the midline of the upper and the lower lip: the jaw carries the lower ones."""
        drop = np.zeros(len(self.rig.rest))
        indices, deltas = self.rig.shapes["jawOpen"]
        drop[indices] = -deltas[:, 1] / self.movement("AU26", _dense(self.rig, "jawOpen"))
        x, y, z = self.rig.rest[self._skin].T
        middle = (np.abs(x) < 0.03) & (z > 1.42) & (y > 6.45) & (y < 6.8)
        carried = drop[self._skin]
        return self._skin[middle & (carried < 0.16)], self._skin[middle & (carried > 0.5)]


def _dense(rig: Rig, shape: str) -> FloatArray:
    whole = np.zeros_like(rig.rest)
    indices, deltas = rig.shapes[shape]
    whole[indices] = deltas
    return whole


@lru_cache(maxsize=1)
def _landmarks() -> FloatArray:
    """FaceMesh's points on the canonical head `[468, 3]`."""
    return base_mesh().positions[landmark_vertices()[CANONICAL]]


def measuring_points(site: str) -> FloatArray:
    """Where a site is measured on the canonical head `[P, 3]`, the same place on either side."""
    points = table().points
    own: FloatArray = _landmarks()[list(points[site])]
    side = {"left": "right", "right": "left"}.get(site.partition("_")[2])
    if side is None:
        return own
    twin = _landmarks()[list(points[f"{site[:4]}_{side}"])] * np.asarray([-1, 1, 1], np.float32)
    both: FloatArray = ((own + twin) / 2).astype(np.float32)
    return both


def measure(rig: Rig) -> dict[str, float]:
    """Movement of every site at weight 1, decimetres: a rig's row of the table."""
    ruler = Ruler(rig)
    moved = {}
    for site in shapes_of(rig):
        whole = np.zeros_like(rig.rest)
        indices, deltas = field(rig, site)
        whole[indices] = deltas
        moved[site] = round(ruler.movement(site, whole), 5)
    return moved


def weights_for(ruler: Ruler, identity: Identity, intensities: Mapping[str, float]) -> dict[str, float]:
    """Weights of a rig's shapes that give these site intensities on an identity; AU25 is left out (it is measured)."""
    moved = table().movement[ruler.rig.name]
    weights: dict[str, float] = {}
    for site, mixed in shapes_of(ruler.rig).items():
        level = intensities.get(site, 0.0) / MAX_INTENSITY
        if level <= 0:
            continue
        au = site[:4]
        most = ruler.closing(identity, site) if au == CLOSURE else full_scale(au) * identity.eye_distance / moved[site]
        for shape, share in mixed.items():
            weights[shape] = weights.get(shape, 0.0) + level * most * share
    return weights
