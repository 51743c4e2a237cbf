"""Calibrated intensities: what 0 to 5 means as movement on a rig, and how to draw combinations of AUs.

An intensity is a movement: `intensity / 5 · full_scale`, in distances between the eye centres, is the largest
displacement of any vertex of the AU's shape on that identity; closing an eye stops where the lids meet. The table is
`calibration.json`. The mapping is linear, where the FACS letters are uneven steps of appearance judged by people; it
makes rigs and identities comparable, not coders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from dsrfau_edge.action_units import ALL_AUS, MAX_INTENSITY, sites_of

from .meshes import FloatArray, IntArray
from .rigs.base import Identity, Rig

SITES = tuple(site.name for site in sites_of(ALL_AUS))
#: Combinations met in life (Ekman and Friesen's emotion predictions and the co-occurrences of DISFA and BP4D), the AUs
#: with the chance that each takes part.
_EXPRESSIONS: tuple[tuple[float, dict[str, float]], ...] = (
    (3.0, {"AU12": 1, "AU06": 0.8, "AU25": 0.6, "AU26": 0.15, "AU10": 0.15, "AU07": 0.25}),
    (1.5, {"AU12": 1, "AU25": 0.5}),
    (1.0, {"AU01": 1, "AU02": 1, "AU05": 0.7, "AU25": 0.6, "AU26": 0.6}),
    (1.0, {"AU01": 1, "AU02": 0.9, "AU25": 0.2}),
    (1.2, {"AU04": 1, "AU07": 0.6, "AU05": 0.25, "AU17": 0.3}),
    (1.0, {"AU01": 1, "AU04": 0.7, "AU15": 0.8, "AU17": 0.6}),
    (1.0, {"AU09": 1, "AU10": 0.7, "AU04": 0.6, "AU07": 0.5, "AU25": 0.4, "AU06": 0.4}),
    (0.8, {"AU01": 1, "AU02": 0.7, "AU04": 0.7, "AU05": 0.7, "AU20": 0.9, "AU25": 0.7, "AU26": 0.4}),
    (0.8, {"AU15": 1, "AU17": 0.9}),
    (0.8, {"AU14": 1, "AU12": 0.2, "AU17": 0.2}),
    (0.8, {"AU25": 1, "AU26": 0.8}),
    (0.6, {"AU45": 1}),
    (0.6, {"AU06": 1, "AU07": 0.8, "AU45": 0.4, "AU04": 0.3}),
    (0.6, {"AU20": 1, "AU25": 0.5}),
)
_NEUTRAL = 0.07  # share of resting faces
#: Units without a label of ours that move faces all the same, so that the network learns to leave them alone.
_DISTRACTORS = (
    "cheekPuff",
    "jawForward",
    "jawLeft",
    "jawRight",
    "mouthLeft",
    "mouthRight",
    "mouthPucker",
    "mouthFunnel",
)


def lip_gap(rig: Rig, identity: Identity, positions: FloatArray) -> float:
    """How far the lips are parted beyond the identity's rest, in eye distances (never negative)."""
    upper, lower = _lips(rig)

    def gap(where: FloatArray) -> float:
        return float(where[upper, 1].min() - where[lower, 1].max())

    return max(0.0, gap(positions) - max(gap(identity.neutral), 0.0)) / identity.eye_distance


@lru_cache(maxsize=4)
def _lips(rig: Rig) -> tuple[IntArray, IntArray]:
    """Vertices on the midline of the upper and the lower lip: the jaw carries the lower ones."""
    indices, deltas = rig.shapes["jawOpen"]
    drop = np.zeros(len(rig.rest))
    drop[indices] = -deltas[:, 1]
    x, y, z = rig.rest.T
    skin = np.zeros(len(rig.rest), bool)
    skin[np.unique(rig.surfaces["skin"].source)] = True
    middle = skin & (np.abs(x) < 0.03) & (z > 1.42) & (y > 6.45) & (y < 6.8)
    upper, lower = middle & (drop < 0.06), middle & (drop > 0.2)
    return np.flatnonzero(upper).astype(np.int32), np.flatnonzero(lower).astype(np.int32)


@lru_cache(maxsize=1)
def calibration() -> dict[str, dict[str, object]]:
    """The committed table."""
    loaded: dict[str, dict[str, object]] = json.loads(Path(__file__).with_name("calibration.json").read_text("utf-8"))
    return loaded


def full_scale(au: str) -> float:
    """Movement that is intensity 5, in eye distances."""
    return float(calibration()["full_scale"][au])  # type: ignore[arg-type]


def shape_weights(rig: Rig, identity: Identity, intensities: Mapping[str, float]) -> dict[str, float]:
    """Weights of a rig's shapes that give these site intensities on this identity; AU25 is left out (it is measured).

    Where one shape serves two sites (inner brows move together on this rig) their mean is taken.
    """
    shapes_of: dict[str, list[str]] = calibration()["rigs"][rig.name]  # type: ignore[assignment]
    weights: dict[str, float] = {}
    for au, shapes in shapes_of.items():
        values = [intensities.get(site.name, 0.0) for site in sites_of([au])]
        per_shape = values if len(shapes) == len(values) else [float(np.mean(values))] * len(shapes)
        for shape, value in zip(shapes, per_shape, strict=True):
            weight = value / MAX_INTENSITY * full_scale(au) / displacement(rig, identity, shape)
            weights[shape] = min(weight, 1.0) if au == "AU45" else weight
    return {shape: weight for shape, weight in weights.items() if weight > 0}


def displacement(rig: Rig, identity: Identity, shape: str) -> float:
    """Largest displacement of a shape at weight 1, in eye distances of an identity."""
    return float(np.linalg.norm(rig.shapes[shape][1], axis=1).max()) / identity.eye_distance


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw site intensities: half from combinations met in life, with noise, half from independent draws."""
    kind = rng.random()
    if kind < _NEUTRAL:
        levels: dict[str, float] = {}
    elif kind < 0.5 + _NEUTRAL / 2:
        levels = _combination(rng)
    else:
        levels = {au: float(rng.uniform(0, MAX_INTENSITY)) for au in ALL_AUS if rng.random() < 0.24}
    _settle(levels, rng)
    return _sides(levels, rng)


def distractors(rng: np.random.Generator) -> dict[str, float]:
    """Weights of a few unlabelled units, most often none."""
    return {name: float(rng.uniform(0.1, 0.7)) for name in _DISTRACTORS if rng.random() < 0.04}


def measured(
    rig: Rig,
    identity: Identity,
    positions: FloatArray,
    intensities: Mapping[str, float],
    weights: Mapping[str, float],
) -> FloatArray:
    """Labels `[S]` in the order of `SITES`: the driven intensities, AU25 and AU26 as the mesh has them in the end."""
    jaw = weights.get("jawOpen", 0.0) * displacement(rig, identity, "jawOpen")
    labels = {
        **intensities,
        "AU25": lip_gap(rig, identity, positions) / full_scale("AU25") * MAX_INTENSITY,
        "AU26": jaw / full_scale("AU26") * MAX_INTENSITY,
    }
    return np.asarray([min(labels.get(name, 0.0), MAX_INTENSITY) for name in SITES], np.float32)


def _combination(rng: np.random.Generator) -> dict[str, float]:
    shares = np.asarray([share for share, _ in _EXPRESSIONS])
    chosen = _EXPRESSIONS[int(rng.choice(len(_EXPRESSIONS), p=shares / shares.sum()))][1]
    strength = float(rng.uniform(0.8, MAX_INTENSITY))
    levels = {
        au: float(np.clip(strength + rng.normal(0, 0.9), 0.3, MAX_INTENSITY))
        for au, chance in chosen.items()
        if rng.random() < chance
    }
    for au in ALL_AUS:
        if au not in levels and rng.random() < 0.05:
            levels[au] = float(rng.uniform(0, MAX_INTENSITY))
    return levels


def _settle(levels: dict[str, float], rng: np.random.Generator) -> None:
    """Take out what no face does: a widened and closed eye, a corner pulled fully up and down."""
    if "AU45" in levels:
        levels.pop("AU05", None)
        if rng.random() < 0.6:
            levels["AU45"] = MAX_INTENSITY
    rivals = [au for au in ("AU12", "AU15", "AU20", "AU14") if au in levels]
    if len(rivals) > 2:
        for au in rivals[2:]:
            levels.pop(au)
    if "AU12" in levels and "AU15" in levels:
        levels["AU15"] = min(levels["AU15"], MAX_INTENSITY - levels["AU12"])


def _sides(levels: Mapping[str, float], rng: np.random.Generator) -> dict[str, float]:
    intensities: dict[str, float] = {}
    for au, level in levels.items():
        sites = sites_of([au])
        together = len(sites) == 1 or au == "AU01" or (au == "AU45" and rng.random() < 0.9) or rng.random() < 0.25
        lopsided = not together and rng.random() < 0.3
        weaker = int(rng.integers(2))
        for place, site in enumerate(sites):
            value = level if together else level + float(rng.normal(0, 0.25))
            if lopsided and place == weaker:
                value *= float(rng.uniform(0, 0.8))
            intensities[site.name] = float(np.clip(value, 0, MAX_INTENSITY))
    return intensities


def lip_part_weights(rng: np.random.Generator, level: float) -> dict[str, float]:
    """Shapes that part the lips for a drawn AU25: the lower lip first, then a little jaw."""
    low = level / MAX_INTENSITY * float(rng.uniform(1.0, 2.0))
    jaw = level / MAX_INTENSITY * float(rng.uniform(0.05, 0.3))
    return {"mouthLowerDownLeft": low, "mouthLowerDownRight": low, "jawOpen": jaw}
