"""How far the intensities of what was timed are from those of the portable fp32 graph in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..action_units import MAX_INTENSITY
from ..metrics import pcc, sites_to_aus
from ..runtimes.base import Floats

REFERENCE = "portable fp32 graph, onnxruntime, cpu"


def compare(reference: Floats, found: Floats, aus: Sequence[str], sites: Sequence[str], origin: str) -> dict[str, Any]:
    """Differences of site intensities `[N, S]`, told by AU.

    Args:
        reference: of the portable graph.
        found: of what was timed.
        aus: names of the AUs.
        sites: names of the S sites.
        origin: where the crops are from.

    Returns:
        `mean` and `max` of |ΔAU| over crops and AUs on the scale 0..5, `pcc` the lowest correlation of an AU, the names
        of the worst AUs (None for AUs that do not vary), and every AU's values. A value that is not a number gives
        `finite` False and no differences.
    """
    about = {"reference": REFERENCE, "crops": len(found), "crops_from": origin}
    if not np.isfinite(found).all():
        return {**about, "finite": False, "mean": None, "max": None, "pcc": None, "aus": {}}
    expected, got = (sites_to_aus(np.clip(values, 0, MAX_INTENSITY), sites, aus) for values in (reference, found))
    difference = np.abs(expected - got)
    by_au = {}
    for index, au in enumerate(aus):
        correlation = pcc(expected[:, index], got[:, index])
        by_au[au] = {
            "mean": _rounded(float(difference[:, index].mean())),
            "max": _rounded(float(difference[:, index].max())),
            "pcc": None if np.isnan(correlation) else round(correlation, 6),
        }
    known = {au: values["pcc"] for au, values in by_au.items() if values["pcc"] is not None}
    lowest = min(known, key=lambda au: known[au] or 0.0) if known else None
    return {
        **about,
        "finite": True,
        "mean": _rounded(float(difference.mean())),
        "max": _rounded(float(difference.max())),
        "pcc": None if lowest is None else known[lowest],
        "lowest_pcc_au": lowest,
        "worst_au": str(aus[int(difference.mean(0).argmax())]),
        "aus": by_au,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
