"""The same crops through the portable graph and through what was made of it: how far apart are the intensities?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import VerificationFailed
from ..runtimes.base import Crops, Floats, ModelFiles, SessionOptions
from ..runtimes.registry import runtimes

#: Largest difference of an AU's intensity that fp32 and fp16 may show; what int8 may lose is the user's to say.
GATES = {"fp32": 1e-3, "fp16": 5e-2}


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


def au_intensities(intensities: Floats, aus: Sequence[str], sites: Sequence[str]) -> Floats:
    """Intensities by AU `[N, A]` from those by site `[N, S]`: the mean over an AU's sites."""
    members = [[index for index, site in enumerate(sites) if site.split("_")[0] == au] for au in aus]
    return np.stack([intensities[:, group].mean(axis=1) for group in members], axis=1)


def run(model: ModelFiles, runtime: str, crops: Crops, *, threads: int | None = None) -> Floats:
    """Site intensities `[N, S]` of crops through one runtime."""
    session = runtimes()[runtime].load(model, None, SessionOptions(threads=threads))
    try:
        return session.infer(crops).intensities
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


def check_gates(parity: Parity, precision: str, max_drop: float | None) -> None:
    """Refuse a model that differs too much.

    Args:
        parity: the comparison.
        precision: fp32 and fp16 have a gate of their own on the largest difference.
        max_drop: gate on the mean difference of every AU, in intensity units.

    Raises:
        VerificationFailed: it is beyond a gate.
    """
    gate = GATES.get(precision)
    if gate is not None and parity.largest > gate:
        raise VerificationFailed(
            f"The {precision} model differs from the portable graph by up to {parity.largest:.4f} in an intensity; "
            f"{gate:g} is allowed. Nothing was written. Update the target's package, or try another precision."
        )
    if max_drop is None:
        return
    beyond = {name: au.mean for name, au in parity.aus.items() if au.mean > max_drop}
    if beyond:
        named = ", ".join(f"{name} {mean:.3f}" for name, mean in sorted(beyond.items(), key=lambda item: -item[1]))
        raise VerificationFailed(
            f"The {precision} model differs from the portable graph by more than --max-drop {max_drop:g} on average: "
            f"{named}. Nothing was written. Calibrate on more faces of your own (--calib DIR), try another "
            "--calib-method, or use --fp16."
        )


def _pcc(expected: Floats, got: Floats) -> float | None:
    if len(expected) < 2 or np.ptp(expected) == 0 or np.ptp(got) == 0:
        return None
    return float(np.corrcoef(expected, got)[0, 1])


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
