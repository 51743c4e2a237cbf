"""From blendshape scores to intensities: one monotone map for each AU, with how well it did where the truth is known.

The maps lie in `blendshapes.json`, which `benchmarks/pseudo_labels.py fit` writes; it says how they were measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dsrfau_edge.action_units import ALL_AUS, sites_of
from dsrfau_edge.errors import UsageError

_FILE = Path(__file__).with_name("blendshapes.json")
#: Blendshapes that answer to an AU; `{}` stands for Left or Right, the person's own. Of several, the mean counts.
SHAPES: Mapping[str, tuple[str, ...]] = {
    "AU01": ("browInnerUp",),
    "AU02": ("browOuterUp{}",),
    "AU04": ("browDown{}",),
    "AU05": ("eyeWide{}",),
    "AU07": ("eyeSquint{}",),
    "AU12": ("mouthSmile{}",),
    "AU17": ("mouthShrugLower",),
    "AU25": ("jawOpen", "mouthLowerDownLeft", "mouthLowerDownRight"),
    "AU26": ("jawOpen",),
    "AU45": ("eyeBlink{}",),
}


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """Intensity over score, linear between knots and level beyond them; `correlation` is that on renders not fitted."""

    scores: tuple[float, ...]
    intensities: tuple[float, ...]
    correlation: float

    def __call__(self, score: float) -> float:
        """Intensity 0 to 5 of a score 0 to 1."""
        return round(float(np.interp(score, self.scores, self.intensities)), 3)


def score_of(au: str, side: str, scores: Mapping[str, float]) -> float:
    """The tracker's score of one site.

    Args:
        au: one of `SHAPES`.
        side: left, right or centre.
        scores: blendshapes by name.
    """
    return float(np.mean([scores[name.format(side.title())] for name in SHAPES[au]]))


@lru_cache(maxsize=1)
def read_maps() -> Mapping[str, ScoreMap]:
    """The package's maps by AU."""
    raw = json.loads(_FILE.read_bytes())["maps"]
    return {
        au: ScoreMap(tuple(one["scores"]), tuple(one["intensities"]), one["measured"]["pcc"]) for au, one in raw.items()
    }


def about() -> dict[str, Any]:
    """How the maps were measured."""
    told: dict[str, Any] = json.loads(_FILE.read_bytes())["about"]
    return told


def labelled_aus(least: float) -> tuple[str, ...]:
    """AUs whose map correlates with the truth at least so much.

    Raises:
        UsageError: there is none.
    """
    maps = read_maps()
    chosen = tuple(au for au in ALL_AUS if au in maps and maps[au].correlation >= least)
    if not chosen:
        best = max(one.correlation for one in maps.values())
        raise UsageError(f"--min-correlation {least:g} leaves no AU: the best map reaches {best:.2f}. Give less.")
    return chosen


def intensities(scores: Mapping[str, float], aus: Sequence[str]) -> tuple[float, ...]:
    """Pseudo-labels of the AUs' sites, in their order."""
    maps = read_maps()
    return tuple(maps[site.au](score_of(site.au, site.side, scores)) for site in sites_of(aus))
