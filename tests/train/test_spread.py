"""Intensities spread like the labels: by hand, and as a part of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_data import SITES, write_toy

torch = pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("lightning", reason="training needs the train extra")

from dsrfau_edge.train import spread  # noqa: E402
from dsrfau_edge.train.checkpoint import load_network  # noqa: E402
from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402
from dsrfau_edge.train.inference import predict_all  # noqa: E402
from dsrfau_edge.train.networks.heatmap import HeatmapNetwork, NetworkConfig  # noqa: E402
from dsrfau_edge.train.recipes import load_recipe  # noqa: E402
from dsrfau_edge.train.run import RunOptions, train_role  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return load_prepared([write_toy(tmp_path_factory.mktemp("toy"))])


def network():
    torch.manual_seed(0)
    return HeatmapNetwork(NetworkConfig("tiny", "separable", (8, 8, 8), pretrained=False), len(SITES)).eval()


def test_factors_are_the_labels_spread_over_the_predictions_within_the_limit(data, monkeypatch):
    """Labels of spread 2 and predictions of spread 1, 4 and 0.1: factors 2, 1 (never less) and the limit."""
    noise = np.random.default_rng(0).standard_normal(len(data)).astype(np.float32)
    noise[4:] = (noise[4:] - noise[4:].mean()) / noise[4:].std()
    labels, said = np.stack([2 * noise] * 3, 1), np.stack([noise, 4 * noise, 0.1 * noise], 1)
    labels[:4], said[:4] = np.nan, 1000.0  # where there is no label, a prediction counts nothing
    monkeypatch.setattr(spread, "predict_all", lambda *_: said)
    changed = network()
    before = changed.head.weight.clone(), changed.head.bias.clone()
    labelled = replace(data, intensities=labels)
    factors = spread.match_spread(changed, labelled, np.arange(len(data)), limit=3.0, seed=0)
    assert list(factors.values()) == pytest.approx([2.0, 1.0, 3.0], rel=1e-5)
    scale = torch.tensor([2.0, 1.0, 3.0])
    torch.testing.assert_close(changed.head.weight, before[0] * scale[:, None, None, None])
    torch.testing.assert_close(changed.head.bias, before[1] * scale)


def test_what_does_not_vary_is_left_alone(data):
    dead = network()
    torch.nn.init.zeros_(dead.head.weight)
    unlabelled = replace(data, intensities=np.full_like(data.intensities, np.nan))
    for one, values in ((dead, data), (network(), unlabelled)):
        factors = spread.match_spread(one, values, np.arange(len(data)), limit=3.0, seed=0)
        assert set(factors.values()) == {1.0}


def test_a_run_ends_with_it_and_says_so(tmp_path, data):
    plain = train_role("student", data, load_recipe("tiny"), RunOptions(tmp_path / "plain"))
    wide = train_role("student", data, load_recipe("tiny", ["student.spread=2.0"]), RunOptions(tmp_path / "wide"))
    assert "spread" not in plain.training
    factors = wide.training["spread"]
    assert tuple(factors) == SITES
    assert max(factors.values()) > 1
    everything = data.split("all", held_out=0.1)
    before, after = (
        predict_all(load_network(tmp_path / name / "student")[0], data, everything) for name in ("plain", "wide")
    )
    inside = (after < 5) & (before > 0)
    assert inside.any()
    np.testing.assert_allclose(after[inside], (before * list(factors.values()))[inside], rtol=1e-3, atol=1e-4)
