"""Differences by AU, and the gates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dsrfau_edge.errors import VerificationFailed
from dsrfau_edge.export.verification import AuParity, Parity, au_intensities, check_gates, compare

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
    ("mean", "precision", "max_drop", "passes"),
    [
        (0.0004, "fp32", None, True),
        (0.0006, "fp32", None, False),
        (0.02, "fp16", None, True),
        (0.03, "fp16", None, False),
        (1.0, "int8", None, True),
        (0.04, "int8", 0.05, True),
        (0.06, "int8", 0.05, False),
        (0.02, "fp16", 0.01, False),
    ],
)
def test_gates(mean: float, precision: str, max_drop: float | None, passes: bool) -> None:
    if passes:
        check_gates(parity(AU04=mean, AU25=0), precision, max_drop)
    else:
        with pytest.raises(VerificationFailed, match="Nothing was written"):
            check_gates(parity(AU04=mean, AU25=0), precision, max_drop)


def test_a_gate_names_every_au_beyond_it() -> None:
    with pytest.raises(VerificationFailed, match=r"AU25 0\.300, AU04 0\.100.*--calib"):
        check_gates(parity(AU04=0.1, AU12=0.01, AU25=0.3), "int8", 0.05)
