"""The fit finds what made the readings wrong, is calibrated on others, and the scores say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dsrfau_edge.errors import DataError
from dsrfau_edge.face.quality import Quality
from dsrfau_edge.face.reliability import HARDSHIPS, Reliability
from dsrfau_edge.train.confidence.degradation import Circumstances
from dsrfau_edge.train.confidence.fitting import confidences, fit, half_and_half, halves, logistic, right
from dsrfau_edge.train.confidence.observing import Observations
from dsrfau_edge.train.confidence.scoring import calibration
from dsrfau_edge.train.confidence.study import study

AUS = ("AU12", "AU25")


def observations(count: int = 4000, *, seed: int = 0, **changes: Any) -> Observations:
    """Readings that are wrong the more often the larger the first hardship is; the second has no effect."""
    rng = np.random.default_rng(seed)
    hard = np.zeros((count, len(HARDSHIPS)))
    hard[:, :2] = rng.uniform(0, 3, (count, 2))
    truths = np.where(rng.random((count, 2)) < 0.25, rng.uniform(1, 4, (count, 2)), 0.0)
    wrong = rng.random((count, 2)) < 1 / (1 + np.exp(2 - 1.5 * hard[:, :1]))
    parts: dict[str, Any] = {
        "aus": AUS, "hardships": hard, "readings": np.clip(truths + 1.5 * wrong, 0, 5), "truths": truths,
        "before": rng.random((count, 2)), "seen": np.ones((count, 2), bool), "hidden": np.zeros((count, 2), bool),
        "evidence": np.empty((count, 0)), "identities": np.array([f"p{k % 60}" for k in range(count)]),
        "rigs": np.array([("clay", "wax")[k % 60 % 2] for k in range(count)]),
        "qualities": (Quality(40.0, 1.0, 0.4, 0.0, ()),) * count,
        "circumstances": (Circumstances(40.0),) * count, "poses": np.zeros((count, 3)), "missed": 0,
    }  # fmt: skip
    return Observations(**{**parts, **changes})


def test_half_of_the_weight_shows_the_unit() -> None:
    observed = observations()
    observed.truths[:100, 0] = np.nan
    weights = half_and_half(observed)
    assert (weights[:100, 0] == 0).all()
    for column in range(2):
        present = observed.truths[:, column] >= 1
        assert weights[present, column].sum() == pytest.approx(weights[:, column].sum() / 2)


def test_logistic_regression_finds_the_factors_and_keeps_signs() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.uniform(0, 2, (20000, 3))
    chance = 1 / (1 + np.exp(-(1.0 - 2.0 * inputs[:, 0] + 1.0 * inputs[:, 1])))
    known = rng.random(len(inputs)) < chance
    free = logistic(inputs, known, np.ones(len(inputs)), np.zeros(3, bool))
    np.testing.assert_allclose(free, [1.0, -2.0, 1.0, 0.0], atol=0.15)
    held = logistic(inputs, known, np.ones(len(inputs)), np.ones(3, bool))
    assert held[2] == 0
    assert (held[1:] <= 0).all()


def test_a_fit_is_calibrated_on_others_and_better_than_before() -> None:
    found = study(observations(8000))
    before, after = found.before[""], found.after[""]
    assert after.ece < 0.04
    assert after.ece < before.ece
    assert after.brier < before.brier
    assert after.auc > 0.7 > before.auc
    for au in AUS:
        factors = found.model.aus[au].hardships
        assert factors[0] < -0.8
        assert abs(factors[1]) < 0.2
        assert found.after[au].ece < 0.06
    assert set(found.rigs) == {"clay", "wax"}
    assert max(one.ece for one in found.rigs.values()) < 0.08
    persons = set(found.test.identities.tolist())
    assert found.model.about["identities"] + len(persons) == 60
    assert not halves(sorted(persons)).any()
    assert found.to_dict()["after"]["all"]["ece"] == pytest.approx(after.ece, abs=1e-4)
    assert Reliability.from_dict(found.model.to_dict(), AUS).aus["AU12"].hardships == pytest.approx(
        found.model.aus["AU12"].hardships, abs=1e-4
    )


def test_what_is_not_seen_has_no_confidence() -> None:
    observed = observations()
    model = fit(observed)
    observed.seen[::2, 0] = False
    values = confidences(model, observed)
    assert (values[::2, 0] == 0).all()
    assert (values[1::2] > 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identities": np.array(["one"] * 4000)}, "One person"),
        ({"truths": np.full((4000, 2), np.nan)}, "AU12: 0 right"),
        ({"truths": np.zeros((4000, 2))}, "0 faces that show it"),
    ],
)
def test_too_little_to_fit_says_what_is_missing(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        study(observations(**changes))


def test_scores_of_known_confidences() -> None:
    outcome = np.array([True, True, False, False])
    perfect = calibration(np.array([1.0, 1.0, 0.0, 0.0]), outcome, np.ones(4))
    assert (perfect.right, perfect.ece, perfect.brier, perfect.auc) == (0.5, 0, 0, 1)
    constant = calibration(np.full(4, 0.5), outcome, np.ones(4))
    assert (constant.ece, constant.brier, constant.auc) == (0, 0.25, 0.5)
    boast = calibration(np.full(4, 0.95), outcome, np.array([1.0, 1.0, 3.0, 3.0]))
    assert boast.right == 0.25
    assert boast.ece == pytest.approx(0.7)
    assert np.isnan(calibration(np.full(2, 0.5), np.array([True, True]), np.ones(2)).auc)
    assert right(observations(50)).shape == (50, 2)
