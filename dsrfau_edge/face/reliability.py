"""How often a reading is right, by AU: the model that was fitted to one network and is stored in its bundle.

The confidence of an AU is the probability that its intensity is within 1.0, one FACS letter, of the truth, among faces
of which half show the AU (an intensity of 1 or more) and half do not. It is a logistic function of the intensity that
was read and of hardships, each 0 on a clear frontal face, none of which ever adds to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import mul
from typing import Any

from ..action_units import MAX_INTENSITY
from ..errors import BundleError
from .quality import Quality

SCHEMA = 1
#: An intensity is right when it is this close to the truth: one FACS letter.
WITHIN = 1.0
MEANING = "P(|intensity - truth| <= 1) where half of the faces show the AU"
#: What makes a face hard to read, in the order of `hardships`.
HARDSHIPS = (
    "small", "tiny", "dull", "blurred", "dark", "bright", "noise", "cut", "turned", "turned_far", "down", "up", "doubt",
)  # fmt: skip
#: Terms of the intensity that was read.
READING = 3
_LARGEST = 50.0  # of a logit
_STEEPEST = 1e6  # of a factor


@dataclass(frozen=True, slots=True)
class AuReliability:
    """One AU's logistic model: intercept, factors of the reading's terms and of the hardships (none above 0)."""

    intercept: float
    reading: tuple[float, ...]
    hardships: tuple[float, ...]

    def confidence(self, intensity: float, hard: Sequence[float]) -> float:
        """Probability that the intensity is right."""
        logit = self.intercept + sum(map(mul, self.reading, reading_terms(intensity)))
        logit += sum(map(mul, self.hardships, hard))
        return 1 / (1 + math.exp(-min(max(logit, -_LARGEST), _LARGEST)))


@dataclass(frozen=True, slots=True)
class Reliability:
    """The models of all AUs of a network, and what they were fitted on."""

    aus: Mapping[str, AuReliability]
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As stored in a manifest or checkpoint."""
        models = {
            au: {
                "intercept": round(one.intercept, 4),
                "reading": [round(value, 4) for value in one.reading],
                "hardships": [round(value, 4) for value in one.hardships],
            }
            for au, one in self.aus.items()
        }
        stored = {"schema": SCHEMA, "meaning": MEANING, "within": WITHIN, "hardships": list(HARDSHIPS)}
        return {**stored, "aus": models, "about": dict(self.about)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], aus: Sequence[str], where: str = "the bundle") -> Reliability:
        """Read what `to_dict` wrote, for these AUs.

        Raises:
            BundleError: it is something else, of another schema, or lacks an AU.
        """
        try:
            if raw["schema"] != SCHEMA or tuple(raw["hardships"]) != HARDSHIPS or raw["within"] != WITHIN:
                raise _bad(where, f"it is of another version than this one reads (schema {SCHEMA})")
            models = {au: _model(raw["aus"][au]) for au in aus}
            return cls(models, dict(raw.get("about") or {}))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise _bad(where, f"a part is missing or of the wrong kind ({error!r})") from error


def hardships(quality: Quality, presence: float) -> tuple[float, ...]:
    """What makes a face hard to read, in the order of `HARDSHIPS`; each 0 or more, and 0 on a clear frontal face."""
    eyes, sharp, light = max(quality.eye_distance, 1.0), quality.sharpness, quality.brightness
    turn, nod = abs(quality.yaw), quality.pitch
    sure = math.log(max(presence, 1e-7) / max(1 - presence, 1e-7))
    return (
        max(math.log2(48 / eyes), 0.0),
        max(math.log2(20 / eyes), 0.0),
        max(0.4 - sharp, 0.0) * 4,
        max(0.2 - sharp, 0.0) * 8,
        max(math.log2(110 / (light + 2)), 0.0),
        max(light - 180, 0.0) / 40,
        min(max(quality.noise - 1.5, 0.0), 24.0) / 8,
        (1 - quality.inside) * 3,
        turn / 30,
        max(turn - 30, 0.0) / 15,
        max(nod, 0.0) / 20,
        max(-nod, 0.0) / 20,
        max(6 - sure, 0.0) / 2,
    )


def reading_terms(intensity: float) -> tuple[float, ...]:
    """The intensity as the logistic model takes it: linear, quadratic, and how far below presence."""
    share = intensity / MAX_INTENSITY
    return share, share * share, max(1 - intensity, 0.0)


def _model(raw: Mapping[str, Any]) -> AuReliability:
    reading, hard = tuple(map(float, raw["reading"])), tuple(map(float, raw["hardships"]))
    values = (float(raw["intercept"]), *reading, *hard)
    if (
        len(reading) != READING
        or len(hard) != len(HARDSHIPS)
        or not all(abs(one) < _STEEPEST for one in values)
        or max(hard) > 0
    ):
        raise ValueError("factors that are not the model's")
    return AuReliability(values[0], reading, hard)


def _bad(where: str, problem: str) -> BundleError:
    return BundleError(
        f"The confidences stored in {where} cannot be used: {problem}. Fit them again: dsrfau-train confidence "
        f"{where} --data DATA, or export the bundle again with this version."
    )
