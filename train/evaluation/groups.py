"""Who is in front of the camera and how: samples by what their own records say, and by the tone of the cheeks.

A record that says nothing of a key leaves its samples out of that key's groups; how many, the result says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import UsageError

from .bootstrap import Resampling, measure
from .pooling import Pooled
from .scores import Scores, scores_of

#: Fewer samples than this, or fewer than two identities, are counted and not scored.
MIN_SAMPLES = 30
METRICS = ("icc", "pcc", "mae")
#: Upper bounds (exclusive) with names, in order. Age is the rig's own scale, 0 young adult to 1 old.
_AGES = ((1 / 3, "young (below 0.33)"), (2 / 3, "middle (0.33 to 0.67)"), (math.inf, "old (0.67 and more)"))
_YAWS = ((10.0, "below 10°"), (20.0, "10° to 20°"), (30.0, "20° to 30°"), (math.inf, "30° and more"))
#: Individual typology angle in degrees: the bands of Chardon et al. (1991), and below them brown and dark.
_TONES = (
    (-30.0, "dark (below −30°)"), (10.0, "brown (−30° to 10°)"), (28.0, "tan (10° to 28°)"),
    (41.0, "intermediate (28° to 41°)"), (55.0, "light (41° to 55°)"), (math.inf, "very light (55° and more)"),
)  # fmt: skip
#: The cheeks in the aligned frame and the radius of what is read of them, as shares of its side.
_CHEEKS, _CHEEK_RADIUS = ((0.31, 0.55), (0.69, 0.55)), 0.05
_COLOURLESS = 1.5  # chroma below which a picture is grey and has no tone

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Group:
    """Samples that share a value of a key; `scores` is None where they are too few."""

    name: str
    samples: int
    identities: int
    scores: Scores | None


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of one key, and how many samples do not say which they are of."""

    key: str
    groups: tuple[Group, ...]
    unknown: int


def _band(value: float, bounds: Sequence[tuple[float, str]]) -> str:
    return next(name for bound, name in bounds if value < bound)


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _age(meta: Mapping[str, Any]) -> str | None:
    value = _number(meta.get("age"))
    return None if value is None else _band(value, _AGES)


def yaw_of(meta: Mapping[str, Any]) -> float | None:
    """How far the face is turned to either side, in degrees from 0; None where the record does not say."""
    pose = meta.get("pose")
    value = _number(pose[0]) if isinstance(pose, (list, tuple)) and pose else None
    return None if value is None else abs(value)


def _yaw(meta: Mapping[str, Any]) -> str | None:
    value = yaw_of(meta)
    return None if value is None else _band(value, _YAWS)


def glasses_of(meta: Mapping[str, Any]) -> str | None:
    """`yes` or `no`; None where the record does not say."""
    look = meta.get("look")
    return _word(look.get("glasses")) if isinstance(look, Mapping) else None


def typology_angle(crop: Image) -> float | None:
    """Individual typology angle of the cheeks of an aligned crop, degrees: `atan((L* - 50) / b*)`, light included.

    The median over two discs, in CIE L*a*b*. Light, shadow and the camera's white balance are part of it: this is the
    tone in the picture, not a person's skin. None for a picture without colour.
    """
    side = crop.shape[0]
    mask = np.zeros(crop.shape[:2], np.uint8)
    for x, y in _CHEEKS:
        centre = (round(x * side - 0.5), round(y * side - 0.5))
        cv2.circle(mask, centre, max(round(_CHEEK_RADIUS * side), 1), 255, cv2.FILLED)
    skin = crop[mask > 0].reshape(1, -1, 3).astype(np.float32) / 255
    light, green, blue = np.median(cv2.cvtColor(skin, cv2.COLOR_BGR2LAB)[0], axis=0)
    if math.hypot(float(green), float(blue)) < _COLOURLESS:
        return None
    return math.degrees(math.atan2(float(light) - 50, max(float(blue), 1e-6)))


def _tone(crop: Image) -> str | None:
    angle = typology_angle(crop)
    return None if angle is None else _band(angle, _TONES)


_BY_META: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "rig": lambda meta: _word(meta.get("rig")),
    "sex": lambda meta: _word(meta.get("sex")),
    "age": _age,
    "ancestry": lambda meta: _word(meta.get("ancestry")),
    "glasses": glasses_of,
    "yaw": _yaw,
}
KEYS = (*_BY_META, "tone")
_ORDERED = [name for bounds in (_AGES, _YAWS, _TONES) for _, name in bounds]


def require_keys(names: Sequence[str]) -> tuple[str, ...]:
    """The keys, each once, if there are such.

    Raises:
        UsageError: there is no such key.
    """
    for name in names:
        if name not in KEYS:
            raise UsageError(f"There are no groups by {name!r}. Known: {', '.join(KEYS)}.")
    return tuple(dict.fromkeys(names))


def membership(pooled: Pooled, key: str) -> list[str | None]:
    """Each sample's group, `[n]`; None where its record does not say."""
    if key == "tone":
        return [_tone(pooled.crop(number)) for number in range(len(pooled.positions))]
    return [_BY_META[key](meta) for meta in pooled.meta]


def group_scores(pooled: Pooled, key: str, resampling: Resampling, *, minimum: int = MIN_SAMPLES) -> Grouping:
    """Scores of each group of a key, per AU and mean; identities are drawn as for the whole.

    Groups differ in how much their labels vary, on which ICC and PCC depend: compare their MAE as well.
    """
    members = membership(pooled, key)
    names = sorted({name for name in members if name is not None},
                   key=lambda name: (_ORDERED.index(name) if name in _ORDERED else -1, name))  # fmt: skip
    labels, predictions = pooled.labels, pooled.predictions()
    groups = []
    for name in names:
        mask = np.array([member == name for member in members], bool)
        part = resampling.take(mask)
        scores = None
        if mask.sum() >= minimum and part.identities >= 2:
            scores = scores_of(measure(labels[mask], predictions[mask], part, METRICS), pooled.common.aus)
        groups.append(Group(name, int(mask.sum()), part.identities, scores))
    return Grouping(key, tuple(groups), sum(member is None for member in members))
