"""What a robot's camera does to a face, done to the crops before the network; and parts of the data that are hard.

Every alteration is a function of the crop and a number, so that all runs and runtimes see the same pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dsrfau_edge.errors import UsageError

from .bootstrap import Resampling, measure
from .groups import METRICS, MIN_SAMPLES, glasses_of, yaw_of
from .pooling import Alter, Image, Pooled
from .scores import Scores, difference, scores_of

_SMALL_SIDE, _QUALITY, _TURNED = 48, 30, 20.0
_PATCH_CELLS = (3, 6, 12, 24)  # structure of the occluding patch, cells per side from coarse to fine


def grey(crop: Image, number: int) -> Image:
    """Without colour."""
    del number
    return np.asarray(cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)


def small(crop: Image, number: int) -> Image:
    """As from a face of 48 pixels: the crop, which a face fills, shrunk to that side and enlarged back."""
    del number
    side = crop.shape[0]
    shrunk = cv2.resize(crop, (_SMALL_SIDE, _SMALL_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)


def jpeg(crop: Image, number: int) -> Image:
    """Through a JPEG of quality 30."""
    del number
    encoded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def occluded(crop: Image, number: int, seed: int = 0) -> Image:
    """Half of the crop behind a textured patch: by the number, its left, right or lower half in turn."""
    side = crop.shape[0]
    half, other = side // 2, side - side // 2
    region = (np.s_[:, :half], np.s_[:, other:], np.s_[other:, :])[number % 3]
    covered: Image = crop.copy()
    covered[region] = cloth(side, np.random.default_rng([seed, number]))[region]
    return covered


def cloth(side: int, rng: np.random.Generator) -> Image:
    """Cloth-like noise of one drawn colour, `[side, side, 3]`."""
    base = rng.uniform(40, 215, 3)
    noise = np.zeros((side, side), np.float32)
    for cells in _PATCH_CELLS:
        layer = rng.normal(0, 1, (cells, cells)).astype(np.float32)
        noise += cv2.resize(layer, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(base + 14 * noise[:, :, None], 0, 255), np.uint8)


@dataclass(frozen=True, slots=True)
class Nuisance:
    """One of them: either an alteration of the crops or a part of the data, told from a sample's record.

    `part` says of a record whether the sample is in the part; None where it does not say.
    """

    about: str
    alter: Alter | None = None
    part: Callable[[Mapping[str, Any]], bool | None] | None = None


def _turned(meta: Mapping[str, Any]) -> bool | None:
    yaw = yaw_of(meta)
    return None if yaw is None else yaw >= _TURNED


def _with_glasses(meta: Mapping[str, Any]) -> bool | None:
    worn = glasses_of(meta)
    return None if worn is None else worn != "no"


NUISANCES: Mapping[str, Nuisance] = {
    "grey": Nuisance("no colour", alter=grey),
    "face48": Nuisance("the crop shrunk to 48 px and enlarged back", alter=small),
    "jpeg30": Nuisance("JPEG of quality 30", alter=jpeg),
    "occlusion": Nuisance("half of the crop covered: left, right, lower in turn", alter=occluded),
    "yaw30": Nuisance("turned by 20° or more, against the rest", part=_turned),
    "glasses": Nuisance("with glasses, against without", part=_with_glasses),
}


@dataclass(frozen=True, slots=True)
class Effect:
    """Scores under a nuisance, and `change` = with it minus without it; None where too few samples are of a part."""

    name: str
    about: str
    samples: int
    others: int
    scores: Scores | None
    change: Scores | None


def require_nuisances(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once, if there are such nuisances.

    Raises:
        UsageError: there is no such one.
    """
    for name in names:
        if name not in NUISANCES:
            raise UsageError(f"There is no nuisance {name!r}. Known: {', '.join(NUISANCES)}.")
    return tuple(dict.fromkeys(names))


def alterations(names: Sequence[str], seed: int = 0) -> dict[str, Alter]:
    """Those of the nuisances that alter the crops, for `predict_views`; the seed is that of the covering patches."""
    chosen: dict[str, Alter] = {}
    for name in names:
        alter = NUISANCES[name].alter
        if name == "occlusion":
            chosen[name] = lambda crop, number: occluded(crop, number, seed)
        elif alter is not None:
            chosen[name] = alter
    return chosen


def effect(pooled: Pooled, name: str, resampling: Resampling) -> Effect:
    """What a nuisance costs. An altered crop is compared with itself, a part of the data with the rest of it."""
    nuisance = NUISANCES[name]
    labels, plain, aus = pooled.labels, pooled.predictions(), pooled.common.aus
    if nuisance.part is None:
        before = measure(labels, plain, resampling, METRICS)
        after = measure(labels, pooled.predictions(name), resampling, METRICS)
        count = len(labels)
        return Effect(name, nuisance.about, count, count, scores_of(after, aus), difference(before, after, aus))
    told = [nuisance.part(meta) for meta in pooled.meta]
    inside, outside = (np.array([one is wanted for one in told], bool) for wanted in (True, False))
    parts = [resampling.take(mask) for mask in (inside, outside)]
    sizes = int(inside.sum()), int(outside.sum())
    if min(sizes) < MIN_SAMPLES or min(part.identities for part in parts) < 2:
        return Effect(name, nuisance.about, *sizes, None, None)
    after, before = (
        measure(labels[mask], plain[mask], part, METRICS) for mask, part in zip((inside, outside), parts, strict=True)
    )
    return Effect(name, nuisance.about, *sizes, scores_of(after, aus), difference(before, after, aus))
