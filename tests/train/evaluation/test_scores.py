"""Scores and their intervals, against definitions written out and against a naive bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from dsrfau_edge.errors import DataError, UsageError
from dsrfau_edge.metrics import evaluate, icc_3_1
from dsrfau_edge.train.evaluation import Estimate, bootstrap, compare, score
from dsrfau_edge.train.evaluation.bootstrap import METRICS, measure, resample
from dsrfau_edge.train.evaluation.scores import difference

NAN = float("nan")
NAMES = ("AU01", "AU12", "AU25")


def drawn(seed, samples=200, people=12):
    rng = np.random.default_rng(seed)
    labels = rng.uniform(0, 5, (samples, 3)) * (rng.random((samples, 3)) < 0.6)
    predictions = labels * [0.8, 0.4, 1.1] + rng.normal(0.2, 0.6, (samples, 3))
    labels[rng.random((samples, 3)) < 0.1] = NAN
    return labels, predictions, np.array([f"p{n}" for n in rng.integers(0, people, samples)])


def pairs_won(labels, predictions):
    with_unit, without = predictions[labels >= 1], predictions[labels < 1]
    apart = with_unit[:, None] - without[None]
    return ((apart > 0) + 0.5 * (apart == 0)).mean()


@pytest.mark.parametrize("seed", range(3))
def test_the_values_are_those_of_the_plain_metrics(seed):
    labels, predictions, identities = drawn(seed)
    scores = score(labels, predictions, NAMES, identities, bootstrap=0)
    plain = evaluate(labels, predictions, NAMES)
    for name in NAMES:
        for metric in ("icc", "pcc", "mae", "mse"):
            assert scores.rows[name].metrics[metric].value == pytest.approx(plain["per_au"][name][metric], abs=5.1e-5)
        assert scores.rows[name].count == plain["per_au"][name]["count"]
    assert scores.mean["icc"].value == pytest.approx(plain["mean"]["icc"], abs=1e-4)
    assert scores.samples == 200


@pytest.mark.parametrize("seed", range(3))
def test_presence_is_counted_from_one_on(seed):
    labels, predictions, identities = drawn(seed)
    predictions = np.clip(np.round(predictions, 1), 0, 5)  # ties
    scores = score(labels, predictions, NAMES, identities, bootstrap=0)
    for column, name in enumerate(NAMES):
        known = ~np.isnan(labels[:, column])
        label, prediction = labels[known, column], predictions[known, column]
        hits = ((label >= 1) & (prediction >= 1)).sum()
        wrong = ((label >= 1) != (prediction >= 1)).sum()
        metrics = scores.rows[name].metrics
        assert metrics["f1"].value == pytest.approx(2 * hits / (2 * hits + wrong))
        assert metrics["auc"].value == pytest.approx(pairs_won(label, prediction))
        assert scores.rows[name].positives == (label >= 1).sum()


@pytest.mark.parametrize("few", [500, 5], ids=["pairs of identities", "ranks of samples"])
def test_the_intervals_are_those_of_a_bootstrap_of_whole_identities_done_by_hand(monkeypatch, few):
    monkeypatch.setattr(bootstrap, "_FEW", few)
    labels, predictions, identities = drawn(5)
    predictions = np.round(predictions, 1)  # ties
    resampling = resample(identities, count=40, seed=3)
    measured = measure(labels, predictions, resampling)
    clipped = np.clip(predictions, 0, 5)
    for draw in (0, 17, 39):
        chosen = np.concatenate(
            [np.tile(np.flatnonzero(resampling.codes == one), int(times))
             for one, times in enumerate(resampling.weights[draw])]
        ).astype(int)  # fmt: skip
        for column in range(3):
            known = chosen[~np.isnan(labels[chosen, column])]
            label, prediction = labels[known, column], clipped[known, column]
            by_hand = {
                "icc": icc_3_1(label, prediction),
                "pcc": np.corrcoef(label, prediction)[0, 1],
                "mae": np.abs(label - prediction).mean(),
                "mse": ((label - prediction) ** 2).mean(),
                "auc": pairs_won(label, prediction),
            }
            for metric, value in by_hand.items():
                assert measured.replicates[metric][draw, column] == pytest.approx(value, abs=1e-9), metric
    estimate = score(labels, predictions, NAMES, identities, bootstrap=40, seed=3).rows["AU12"].metrics["icc"]
    assert estimate.interval == pytest.approx(np.quantile(measured.replicates["icc"][:, 1], [0.025, 0.975]))


def test_persons_are_drawn_and_not_frames():
    """A hundred copies of a person's frame say no more than one: the interval stays, as it would not for frames."""
    labels, predictions, identities = drawn(1, samples=30, people=30)
    once = score(labels, predictions, NAMES, identities, bootstrap=300)
    often = score(*(np.repeat(values, 20, axis=0) for values in (labels, predictions)), NAMES,
                  np.repeat(identities, 20), bootstrap=300)  # fmt: skip
    for name in NAMES:
        assert often.rows[name].metrics["mae"].interval == pytest.approx(once.rows[name].metrics["mae"].interval)


def test_a_seed_gives_the_same_intervals_and_another_one_others():
    labels, predictions, identities = drawn(0)
    first, again, other = (score(labels, predictions, NAMES, identities, bootstrap=50, seed=s) for s in (1, 1, 2))
    assert first.to_dict() == again.to_dict()
    assert first.mean["icc"].interval != other.mean["icc"].interval
    assert first.mean["icc"].value == other.mean["icc"].value


def test_one_identity_has_no_intervals_and_says_so():
    labels, predictions, _ = drawn(0)
    scores = score(labels, predictions, NAMES, ["p"] * len(labels))
    assert scores.rows["AU01"].metrics["icc"].interval is None
    assert scores.mean["icc"].value is not None
    assert scores.notes == ("fewer than two identities: no intervals",)
    assert score(labels, predictions, NAMES, ["p"] * len(labels), bootstrap=0).notes == ()


def test_part_of_one_identity_has_no_intervals_either():
    labels, predictions, identities = drawn(0)
    resampling = resample(identities, count=20)
    mask = identities == "p3"
    measured = measure(labels[mask], predictions[mask], resampling.take(mask))
    assert measured.identities == 1
    assert measured.replicates["icc"].shape == (0, 3)


def test_labels_that_do_not_vary_have_no_icc_and_are_not_in_the_mean():
    labels, predictions, identities = drawn(0)
    labels[:, 1], labels[:, 2] = 0.1, NAN
    scores = score(labels, predictions, NAMES, identities, bootstrap=20)
    constant, unlabelled = scores.rows["AU12"].metrics, scores.rows["AU25"].metrics
    assert constant["icc"] == constant["pcc"] == constant["f1"] == constant["auc"] == Estimate(None)
    assert constant["mae"].value is not None
    assert all(unlabelled[metric].value is None for metric in METRICS)
    assert scores.mean["icc"].value == scores.rows["AU01"].metrics["icc"].value
    assert constant["icc"].text() == "–"


@pytest.mark.parametrize("level", [0.0, 0.1, 3.0])
def test_predictions_that_do_not_vary_tell_nothing_apart(level):
    labels, predictions, identities = drawn(0)
    scores = score(labels, np.full_like(predictions, level), NAMES, identities, bootstrap=20)
    for name in NAMES:
        assert scores.rows[name].metrics["icc"].value == 0
        assert scores.rows[name].metrics["icc"].interval == [0, 0]
        assert scores.rows[name].metrics["pcc"].value is None
        assert scores.rows[name].metrics["auc"].value == 0.5


def test_no_samples_are_all_undefined():
    scores = score(np.empty((0, 1)), np.empty((0, 1)), ["AU01"], [], bootstrap=20)
    assert scores.rows["AU01"].metrics["mae"].value is None
    assert scores.identities == 0


def test_a_metric_that_most_resamples_lack_has_no_interval():
    labels = np.full((36, 1), NAN)
    identities = np.repeat([f"p{n:02d}" for n in range(12)], 3)
    labels[:3], labels[3:6] = 3.0, 0.0  # one person with the unit, one without: 41 % of the resamples have both
    found = score(labels, np.nan_to_num(labels), ["AU01"], identities, bootstrap=400).rows["AU01"].metrics
    assert found["auc"] == Estimate(1.0)
    assert found["mae"].interval == [0, 0], "65 % to 88 % have one of the two"


def test_compare_is_paired():
    labels, predictions, identities = drawn(0, samples=400)
    worse = predictions + np.random.default_rng(9).normal(0, 0.3, predictions.shape)
    change = compare(labels, predictions, worse, NAMES, identities, bootstrap=300)
    alone = [score(labels, one, NAMES, identities, bootstrap=300).mean["mae"] for one in (predictions, worse)]
    assert change.mean["mae"].value == pytest.approx(alone[1].value - alone[0].value)
    low, high = change.mean["mae"].interval
    assert low > 0, "a small loss on every person is a loss"
    assert high - low < 0.5 * (alone[0].high - alone[0].low)
    same = compare(labels, predictions, predictions, NAMES, identities, bootstrap=20)
    assert same.mean["icc"].interval == [0, 0]


def test_difference_of_two_parts_uses_the_same_draws():
    labels, predictions, identities = drawn(2)
    resampling = resample(identities, count=25)
    mask = np.arange(len(labels)) % 2 == 0
    one, other = (measure(labels[m], predictions[m], resampling.take(m)) for m in (mask, ~mask))
    found = difference(one, other, NAMES)
    expected = other.replicates["mae"][:, 0] - one.replicates["mae"][:, 0]
    assert found.rows["AU01"].metrics["mae"].interval == pytest.approx(np.quantile(expected, [0.025, 0.975]))


def test_what_does_not_fit_together_is_refused():
    labels, predictions, identities = drawn(0)
    with pytest.raises(DataError, match="do not fit"):
        score(labels, predictions[:5], NAMES, identities)
    with pytest.raises(DataError, match="do not fit"):
        score(labels, predictions, NAMES, identities[:5])
    with pytest.raises(DataError, match="not finite"):
        score(labels, np.full_like(predictions, NAN), NAMES, identities)
    with pytest.raises(UsageError, match="resamples"):
        score(labels, predictions, NAMES, identities, bootstrap=-1)


def test_how_an_estimate_reads():
    assert Estimate(0.76, 0.741, 0.778).text() == "0.760 (0.741–0.778)"
    assert Estimate(-0.01, -0.05, 0.02).text(2) == "−0.01 (−0.05 to 0.02)"
    assert Estimate(0.76, 0.741, 0.778).text(interval=False) == "0.760"


def test_plain_types_hold_values_intervals_and_counts():
    labels, predictions, identities = drawn(0)
    plain = score(labels, predictions, NAMES, identities, bootstrap=20).to_dict()
    row = plain["per_au"]["AU12"]
    assert set(row) == {*METRICS, "intervals", "count", "positives"}
    assert row["intervals"]["icc"][0] <= row["icc"] <= row["intervals"]["icc"][1]
    assert plain["identities"] == 12
