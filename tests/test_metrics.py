"""Metrics against pingouin and against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dsrfau_edge.errors import DataError
from dsrfau_edge.metrics import evaluate, icc_3_1, markdown_table, pcc, sites_to_aus

NAN = float("nan")


def pingouins_icc3(labels, predictions):
    pingouin = pytest.importorskip("pingouin")
    pandas = pytest.importorskip("pandas")
    count = len(labels)
    table = pandas.DataFrame(
        {
            "target": np.tile(np.arange(count), 2),
            "rater": np.repeat(["label", "prediction"], count),
            "rating": np.concatenate([labels, predictions]),
        }
    )
    result = pingouin.intraclass_corr(table, targets="target", raters="rater", ratings="rating").set_index("Type")
    return float(result.loc["ICC3" if "ICC3" in result.index else "ICC(C,1)", "ICC"])


@pytest.mark.parametrize("seed", range(4))
def test_icc_is_pingouins_icc3(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, 40).astype(float)
    predictions = labels * rng.uniform(0.3, 1) + rng.normal(0.5, 1, 40)
    assert icc_3_1(labels, predictions) == pytest.approx(pingouins_icc3(labels, predictions), abs=1e-9)


_RISING = np.linspace(0, 5, 30) ** 1.3 / 2
_ONE_ACTIVE = np.eye(1, 30, 7)[0] * 4


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [
        (_RISING, _RISING),
        (_RISING, _RISING + 1),
        (_RISING, 5 - _RISING),
        (_RISING, np.full(30, 0.1)),
        (np.full(30, 0.3), _RISING),
        (_ONE_ACTIVE, _RISING),
        (_ONE_ACTIVE, 0.2 * _ONE_ACTIVE),
        (np.array([0.0, 5.0, 0.0]), np.array([0.0, 0.0, 5.0])),
    ],
    ids=["equal", "offset", "opposite", "constant prediction", "constant label", "one", "compressed", "three"],
)
def test_icc_is_pingouins_icc3_where_data_is_degenerate(labels, predictions):
    assert icc_3_1(labels, predictions) == pytest.approx(pingouins_icc3(labels, predictions), abs=1e-9)


@pytest.mark.parametrize("level", [0.0, 0.1, 1 / 3])
def test_icc_of_raters_that_do_not_vary(level):
    """Where pingouin returns what rounding leaves: 0 where one is constant, exactly, and nothing where both are."""
    constant = np.full(30, level)
    assert icc_3_1(_RISING, constant) == icc_3_1(constant, _RISING) == 0.0
    assert np.isnan(icc_3_1(constant, constant))
    assert np.isnan(icc_3_1(constant, constant + 0.7))
    assert np.isnan(pcc(_RISING, constant))
    assert np.isnan(icc_3_1(np.array([1.0]), np.array([2.0])))


def test_a_label_that_does_not_vary_is_not_scored():
    labels = np.stack([_RISING, np.full(30, 0.1)], 1)
    scores = evaluate(labels, np.stack([_RISING, _RISING], 1), ["AU01", "AU02"])
    assert scores["per_au"]["AU02"]["icc"] is None
    assert scores["mean"]["icc"] == 1.0


def test_icc_of_shrout_and_fleiss():
    # Shrout and Fleiss (1979), table 2, judges 1 and 4: worked out with the formula by hand.
    first, fourth = np.array([9.0, 6, 8, 7, 10, 6]), np.array([8.0, 2, 6, 3, 9, 7])
    ratings = np.stack([first, fourth], 1)
    between = 2 * ((ratings.mean(1) - ratings.mean()) ** 2).sum() / 5
    difference = first - fourth
    error = ((difference - difference.mean()) ** 2).sum() / 2 / 5
    assert icc_3_1(first, fourth) == pytest.approx((between - error) / (between + error))


def test_icc_ignores_an_offset_and_punishes_compression():
    labels = np.linspace(0, 5, 20)
    assert icc_3_1(labels, labels - 1) == pytest.approx(1)
    assert pcc(labels, labels * 0.3) == pytest.approx(1)
    assert icc_3_1(labels, labels * 0.3) == pytest.approx(2 * 0.3 / (1 + 0.09))


def test_unlabelled_values_are_left_out_and_values_clipped():
    labels = np.array([[0.0, NAN], [7.0, 2.0], [NAN, 3.0]])
    predictions = np.array([[-3.0, 9.0], [5.0, 2.0], [0.0, 1.0]])
    scores = evaluate(labels, predictions, ["AU01", "AU12"])
    assert scores["per_au"]["AU01"] == {"icc": 1.0, "pcc": 1.0, "mae": 0.0, "mse": 0.0, "count": 2}
    assert scores["per_au"]["AU12"]["mae"] == 1.0
    assert scores["mean"]["mae"] == 0.5


def test_what_is_not_defined_is_none_and_not_in_the_mean():
    labels = np.array([[1.0, 0.0, NAN], [2.0, 0.0, NAN]])
    scores = evaluate(labels, np.array([[1.0, 0.0, 1.0], [2.0, 0.0, 1.0]]), ["AU01", "AU02", "AU04"])
    assert scores["per_au"]["AU02"] == {"icc": None, "pcc": None, "mae": 0.0, "mse": 0.0, "count": 2}
    assert scores["per_au"]["AU04"]["mae"] is None
    assert scores["mean"]["pcc"] == 1.0
    assert "| AU04 | – | – | – | – |" in markdown_table(scores)


def test_infinite_predictions_are_an_error():
    with pytest.raises(DataError, match="not finite"):
        evaluate(np.zeros((2, 1)), np.array([[0.0], [np.inf]]), ["AU01"])


def test_sites_to_aus():
    values = np.array([[1.0, 3.0, 5.0], [NAN, 2.0, NAN]])
    units = sites_to_aus(values, ["AU12_left", "AU12_right", "AU25"], ["AU12", "AU25"])
    np.testing.assert_allclose(units, [[2.0, 5.0], [2.0, NAN]])
