"""The measures behind pseudo-labels, on made-up scores."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def load() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks/pseudo_labels.py"
    spec = importlib.util.spec_from_file_location("pseudo_labels", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MEASURES = load()


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [
        ([1, 2, 3], [1, 1, 1], [1, 2, 3]),
        ([3, 1], [1, 1], [2, 2]),
        ([3, 1], [1, 3], [1.5, 1.5]),
        ([1, 3, 2, 2, 5], [1, 1, 1, 2, 1], [1, 2.25, 2.25, 2.25, 5]),
        ([3, 2, 1], [1, 1, 1], [2, 2, 2]),
    ],
)
def test_falling_neighbours_are_pooled(values: list[float], weights: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(MEASURES.monotone(values, weights), expected)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 9)), min_size=1, max_size=30))
def test_pooling_rises_and_keeps_the_mean(rows: list[tuple[float, int]]) -> None:
    values, weights = (np.array(column, float) for column in zip(*rows, strict=True))
    told = MEASURES.monotone(values, weights)
    assert (np.diff(told) >= 0).all()
    assert (told * weights).sum() == pytest.approx((values * weights).sum())


def test_a_map_finds_what_made_the_scores() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 5, 2000)
    scores = (truth / 5) ** 2
    x, y = MEASURES.fitted(scores, truth)
    assert (np.diff(x) > 0).all()
    np.testing.assert_allclose(np.interp(scores, x, y), truth, atol=0.25)
    folds = rng.integers(0, 5, 2000)
    assert np.abs(MEASURES.cross_validated(scores, truth, folds) - truth).mean() < 0.1
    noise = MEASURES.cross_validated(rng.uniform(0, 1, 2000), truth, folds)
    assert abs(np.corrcoef(noise, truth)[0, 1]) < 0.1  # nothing is learnt from chance


def test_an_identity_keeps_its_fold() -> None:
    folds = [MEASURES.fold_of(f"somebody-{number}") for number in range(200)]
    assert set(folds) == set(range(MEASURES.FOLDS))
    assert folds == [MEASURES.fold_of(f"somebody-{number}") for number in range(200)]


def test_agreement_of_two_trackers() -> None:
    pairs = [({"smile": value, "dead": 0.0}, {"smile": value / 2, "dead": 0.0}) for value in (0.0, 0.4, 0.8)]
    rows = MEASURES.agreement(pairs)
    assert rows["smile"]["r"] == pytest.approx(1)
    assert rows["smile"]["difference"] == pytest.approx(0.2)
    assert rows["smile"]["largest"] == 0.8
    assert np.isnan(rows["dead"]["r"])


def test_the_packaged_maps_are_of_these_steps() -> None:
    path = Path(__file__).parents[2] / "train/data/preparation/blendshapes.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    assert raw["about"]["command"].startswith("python benchmarks/pseudo_labels.py fit")
    options = MEASURES.parse(["fit", "--landmarker", "a.task", "--data", "faces", "--output", "maps.json"])
    assert (options.step, options.count) == ("fit", 1500)
    for au, one in raw["maps"].items():
        assert len(one["scores"]) == len(one["intensities"]) <= MEASURES.BINS, au
