"""Which AUs a face shows together, and how strongly: the prior that synthesis draws from.

Half of the faces take a combination met in life, with noise; half take independent draws, so that no pair of AUs is
always together and every band of every AU is filled; a few rest.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dsrfau_edge.action_units import ALL_AUS, MAX_INTENSITY, sites_of

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
    (0.7, {"AU18": 1, "AU25": 0.25, "AU01": 0.15}),
    (0.6, {"AU23": 1, "AU04": 0.5, "AU17": 0.25, "AU07": 0.3}),
    (0.7, {"AU24": 1, "AU17": 0.5, "AU14": 0.2, "AU04": 0.2}),
    (0.5, {"AU28": 1, "AU17": 0.2, "AU26": 0.2}),
    (0.5, {"AU25": 1, "AU26": 1, "AU05": 0.4, "AU02": 0.3, "AU01": 0.3}),
)
#: How often both sides move alike; few people can do these on one side.
_TOGETHER = {"AU45": 0.9, "AU01": 0.7, "AU05": 0.6}
_NEUTRAL = 0.06  # share of resting faces
_CLOSED_LIPS = ("AU23", "AU24", "AU28")
#: Units without a label of ours that move faces all the same, so that the network learns to leave them alone.
_DISTRACTORS = (
    "cheekPuffLeft",
    "cheekPuffRight",
    "jawForward",
    "jawLeft",
    "jawRight",
    "mouthLeft",
    "mouthRight",
    "mouthFunnel",
)


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw site intensities: half from combinations met in life, with noise, half from independent draws."""
    kind = rng.random()
    if kind < _NEUTRAL:
        levels: dict[str, float] = {}
    elif kind < 0.5 + _NEUTRAL / 2:
        levels = _combination(rng)
    else:
        levels = {au: float(rng.uniform(0, MAX_INTENSITY)) for au in ALL_AUS if rng.random() < 0.22}
    _settle(levels, rng)
    return _sides(levels, rng)


def distractors(rng: np.random.Generator) -> dict[str, float]:
    """Weights of a few unlabelled units, most often none."""
    return {name: float(rng.uniform(0.1, 0.7)) for name in _DISTRACTORS if rng.random() < 0.04}


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
    """Take out what no face does: a widened and closed eye, lips pressed and parted, a corner pulled up and down."""
    if "AU45" in levels:
        levels.pop("AU05", None)
        if rng.random() < 0.6:
            levels["AU45"] = MAX_INTENSITY
    rivals = [au for au in ("AU12", "AU15", "AU20", "AU14") if au in levels]
    for au in rng.permutation(rivals)[2:]:
        levels.pop(str(au))
    _settle_lips(levels, rng)
    if "AU18" in levels:
        levels.pop("AU12", None)
        levels.pop("AU20", None)
    if "AU12" in levels and "AU15" in levels:
        levels["AU15"] = min(levels["AU15"], MAX_INTENSITY - levels["AU12"])


def _settle_lips(levels: dict[str, float], rng: np.random.Generator) -> None:
    """Lips that are drawn in, pressed or tightened do not part, and do so one way at a time."""
    closed = [au for au in _CLOSED_LIPS if au in levels]
    if not closed:
        return
    kept = closed[int(rng.integers(len(closed)))]
    for au in (*_CLOSED_LIPS, "AU25", "AU18"):
        if au != kept:
            levels.pop(au, None)
    if "AU26" in levels:
        levels["AU26"] *= 0.3


def _sides(levels: Mapping[str, float], rng: np.random.Generator) -> dict[str, float]:
    intensities: dict[str, float] = {}
    for au, level in levels.items():
        sites = sites_of([au])
        chance = _TOGETHER.get(au, 0.25)
        together = len(sites) == 1 or rng.random() < chance
        lopsided = not together and rng.random() < 0.3
        weaker = int(rng.integers(2))
        for place, site in enumerate(sites):
            value = level if together else level + float(rng.normal(0, 0.25))
            if lopsided and place == weaker:
                value *= float(rng.uniform(0, 0.8))
            intensities[site.name] = float(np.clip(value, 0, MAX_INTENSITY))
    return intensities
