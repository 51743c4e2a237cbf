"""Differences by AU, and the gates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dsrfau_edge.errors import VerificationFailed
from dsrfau_edge.export.verification import (
    AuParity,
    Gate,
    Parity,
    au_intensities,
    broken_aus,
    check_precision,
    compare,
    drops,
    refusal,
)

AUS, SITES = ("AU04", "AU25"), ("AU04_left", "AU04_right", "AU25")


def parity(**means: float) -> Parity:
    return Parity("onnxruntime", 4, "crops", {au: AuParity(2 * mean, mean, 0.9) for au, mean in means.items()})


def test_an_au_is_the_mean_of_its_sites() -> None:
    values: Any = np.array([[1, 3, 5]], np.float32)
    np.testing.assert_array_equal(au_intensities(values, AUS, SITES), [[2, 5]])


def test_differences_by_hand() -> None:
    reference: Any = np.array([[0, 0, 1], [2, 2, 1], [4, 4, 1]], np.float32)
    found: Any = reference + np.array([[0.1, 0.3, 0], [0, 0, 0], [0, 0.2, 0.5]], np.float32)
    result = compare(reference, found, AUS, SITES)
    assert result["AU04"].largest == pytest.approx(0.2)
    assert result["AU04"].mean == pytest.approx(0.1)
    assert result["AU04"].pcc == pytest.approx(np.corrcoef([0, 2, 4], [0.2, 2, 4.1])[0, 1])
    assert result["AU25"].largest == pytest.approx(0.5)
    assert result["AU25"].pcc is None, "a constant has no correlation"


def test_summary() -> None:
    result = parity(AU04=0.1, AU25=0.3)
    assert result.mean == pytest.approx(0.2)
    assert result.largest == pytest.approx(0.6)
    assert result.worst[0] == "AU25"
    stored = result.to_dict()
    assert stored["aus"]["AU04"] == {"max": 0.2, "mean": 0.1, "pcc": 0.9}
    assert "note" not in stored


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_refused(value: float) -> None:
    good: Any = np.zeros((2, 3), np.float32)
    bad = good.copy()
    bad[1, 1] = value
    with pytest.raises(VerificationFailed, match="not numbers"):
        compare(good, bad, AUS, SITES)


@pytest.mark.parametrize(
    ("mean", "precision", "passes"),
    [(0.0004, "fp32", True), (0.0006, "fp32", False), (0.02, "fp16", True), (0.03, "fp16", False), (1.0, "int8", True)],
)
def test_rounding_has_bounds_of_its_own(mean: float, precision: str, passes: bool) -> None:
    if passes:
        check_precision(parity(AU04=mean, AU25=0), precision)
    else:
        with pytest.raises(VerificationFailed, match="Nothing was written"):
            check_precision(parity(AU04=mean, AU25=0), precision)


def test_a_gate_names_every_au_beyond_it() -> None:
    found = parity(AU04=0.1, AU12=0.01, AU25=0.3)
    broken = broken_aus(found, None, 0.05)
    assert list(broken) == ["AU25", "AU04"], "the worst first"
    message = refusal("int8", broken, None, 0.05)
    assert "AU25 0.300, AU04 0.100" in message
    assert "differs from the portable graph" in message
    assert not broken_aus(found, None, 0.3)


def test_what_a_conversion_costs_against_labels() -> None:
    """ICC(3,1) of AU04: perfect before; after, worse. AU25 is constant in the labels and has none."""
    labels: Any = np.array([[0, 1], [2, 1], [4, 1], [np.nan, 1]], np.float32)
    before: Any = np.array([[0, 1], [2, 1], [4, 2], [9, 1]], np.float32)
    after: Any = np.array([[0, 1], [3, 1], [4, 2], [9, 1]], np.float32)
    lost = drops(before, after, labels, AUS)
    assert set(lost) == {"AU04"}
    assert (lost["AU04"].before, lost["AU04"].count) == (1.0, 3)
    # Of (0,0), (2,3), (4,4): mean squares between 8.1667, error 0.1667; (8.1667 - 0.1667) / (8.1667 + 0.1667).
    assert lost["AU04"].after == pytest.approx(0.96, abs=1e-4)
    gate = Gate("toy data, 4 crops", lost)
    assert gate.worst[0] == "AU04"
    assert broken_aus(parity(AU04=0, AU25=9), gate, 0.05) == {}
    assert list(broken_aus(parity(AU04=0), gate, 0.01)) == ["AU04"]
    assert "ICC(3,1) on toy data" in refusal("int8", {"AU04": 0.04}, gate, 0.01)
    stored = gate.to_dict()
    assert stored["aus"]["AU04"]["fp32"] == 1.0
