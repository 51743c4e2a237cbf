"""The same crops through the portable graph and through what was made of it: how far apart are the intensities?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import VerificationFailed
from ..metrics import evaluate, sites_to_aus
from ..runtimes.base import Crops, Floats, ModelFiles, SessionOptions
from ..runtimes.registry import runtimes

#: Largest difference of an AU's intensity that fp32 and fp16 may show; what int8 may lose is the user's to say.
GATES = {"fp32": 1e-3, "fp16": 5e-2}
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class AuParity:
    """Differences of one AU's intensity (0..5): largest, mean, and the correlation (None for a constant AU)."""

    largest: float
    mean: float
    pcc: float | None


@dataclass(frozen=True, slots=True)
class Parity:
    """A comparison with the portable fp32 graph in ONNX Runtime.

    Attributes:
        runtime: what ran the converted model.
        crops: how many crops were compared.
        crops_from: where they are from.
        aus: differences by AU.
        note: what the comparison does not cover.
    """

    runtime: str
    crops: int
    crops_from: str
    aus: dict[str, AuParity]
    note: str = ""

    @property
    def largest(self) -> float:
        """Largest difference of any AU on any crop."""
        return max(au.largest for au in self.aus.values())

    @property
    def mean(self) -> float:
        """Mean difference over AUs and crops."""
        return sum(au.mean for au in self.aus.values()) / len(self.aus)

    @property
    def worst(self) -> tuple[str, AuParity]:
        """The AU with the largest mean difference."""
        return max(self.aus.items(), key=lambda item: item[1].mean)

    def to_dict(self) -> dict[str, Any]:
        """As stored in the manifest."""
        return {
            "reference": "portable fp32 graph, onnxruntime",
            "runtime": self.runtime,
            "crops": self.crops,
            "crops_from": self.crops_from,
            "max": _rounded(self.largest),
            "mean": _rounded(self.mean),
            "aus": {
                name: {"max": _rounded(au.largest), "mean": _rounded(au.mean), "pcc": _rounded(au.pcc)}
                for name, au in self.aus.items()
            },
            **({"note": self.note} if self.note else {}),
        }


@dataclass(frozen=True, slots=True)
class Drop:
    """ICC(3,1) of one AU against its labels: of the portable graph, of the converted model, and from how many crops."""

    before: float
    after: float
    count: int

    @property
    def drop(self) -> float:
        """What was lost; negative where the converted model agrees better."""
        return self.before - self.after


@dataclass(frozen=True, slots=True)
class Gate:
    """What a conversion cost on labelled crops, by AU."""

    origin: str
    aus: dict[str, Drop]

    @property
    def mean(self) -> float:
        """Mean drop of ICC over the AUs."""
        return sum(drop.drop for drop in self.aus.values()) / len(self.aus)

    @property
    def worst(self) -> tuple[str, Drop]:
        """The AU that lost most."""
        return max(self.aus.items(), key=lambda item: item[1].drop)

    def to_dict(self) -> dict[str, Any]:
        """As stored in the manifest."""
        return {
            "metric": "ICC(3,1)",
            "crops_from": self.origin,
            "mean_drop": _rounded(self.mean),
            "aus": {
                au: {"fp32": drop.before, "converted": drop.after, "count": drop.count} for au, drop in self.aus.items()
            },
        }


def au_intensities(intensities: Floats, aus: Sequence[str], sites: Sequence[str]) -> Floats:
    """Intensities by AU `[N, A]` from those by site `[N, S]`: the mean over an AU's sites."""
    return np.asarray(sites_to_aus(intensities, sites, aus), np.float32)


def run(model: ModelFiles, runtime: str, crops: Crops, *, threads: int | None = None) -> Floats:
    """Site intensities `[N, S]` of crops through one runtime, some at a time, so that many need little memory."""
    session = runtimes()[runtime].load(model, None, SessionOptions(threads=threads))
    try:
        parts = [session.infer(crops[first : first + _AT_ONCE]) for first in range(0, len(crops), _AT_ONCE)]
        return np.concatenate([part.intensities for part in parts])
    finally:
        session.close()


def compare(reference: Floats, found: Floats, aus: Sequence[str], sites: Sequence[str]) -> dict[str, AuParity]:
    """Differences by AU of two sets of site intensities `[N, S]`.

    Raises:
        VerificationFailed: a value is not a number.
    """
    if not np.isfinite(found).all():
        raise VerificationFailed(
            "The converted model gives values that are not numbers. Nothing was written. Try --precision fp32."
        )
    expected, got = au_intensities(reference, aus, sites), au_intensities(found, aus, sites)
    difference = np.abs(expected - got)
    return {
        au: AuParity(
            float(difference[:, index].max()),
            float(difference[:, index].mean()),
            _pcc(expected[:, index], got[:, index]),
        )
        for index, au in enumerate(aus)
    }


def drops(reference: Floats, found: Floats, labels: Floats, aus: Sequence[str]) -> dict[str, Drop]:
    """What a conversion costs against labels, by AU; AUs without labels that vary are left out.

    Args:
        reference: intensities of the portable graph by AU `[N, A]`.
        found: of what was made of it.
        labels: `[N, A]`, NaN where unlabelled.
        aus: names of the columns.
    """
    before, after = (evaluate(labels, values, aus)["per_au"] for values in (reference, found))
    return {
        au: Drop(before[au]["icc"], after[au]["icc"], before[au]["count"])
        for au in aus
        if before[au]["icc"] is not None and after[au]["icc"] is not None
    }


def broken_aus(parity: Parity, gate: Gate | None, max_drop: float) -> dict[str, float]:
    """AUs beyond `max_drop`, worst first: by drop of ICC where there are labels, else by mean difference."""
    lost = (
        {au: drop.drop for au, drop in gate.aus.items()} if gate else {name: au.mean for name, au in parity.aus.items()}
    )
    return {au: value for au, value in sorted(lost.items(), key=lambda item: -item[1]) if value > max_drop}


def check_precision(parity: Parity, precision: str) -> None:
    """Refuse an fp32 or fp16 model that differs by more than rounding.

    Raises:
        VerificationFailed: it does.
    """
    allowed = GATES.get(precision)
    if allowed is not None and parity.largest > allowed:
        raise VerificationFailed(
            f"The {precision} model differs from the portable graph by up to {parity.largest:.4f} in an intensity; "
            f"{allowed:g} is allowed. Nothing was written. Update the target's package, or try another precision."
        )


def refusal(precision: str, broken: Mapping[str, float], gate: Gate | None, max_drop: float) -> str:
    """The message for a model beyond the user's gate."""
    named = ", ".join(f"{au} {value:.3f}" for au, value in broken.items())
    what = (
        f"loses more than --max-drop {max_drop:g} of ICC(3,1) on {gate.origin}"
        if gate
        else f"differs from the portable graph by more than --max-drop {max_drop:g} on average"
    )
    return (
        f"The {precision} model {what}: {named}. Nothing was written. Calibrate on more faces of your own (--calib "
        "DIR), try another --calib-method, keep layers in float (--auto-keep-float), or use --fp16."
    )


def _pcc(expected: Floats, got: Floats) -> float | None:
    if len(expected) < 2 or np.ptp(expected) == 0 or np.ptp(got) == 0:
        return None
    return float(np.corrcoef(expected, got)[0, 1])


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
