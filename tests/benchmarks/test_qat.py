"""The int8 benchmark: its drop with an interval, and its table."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dsrfau_edge.train.evaluation.bootstrap import resample

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "qat.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("qat_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(0).uniform(0, 5, (200, 3))


def people(count):
    return resample([f"person {number % 20}" for number in range(count)], count=200)


def test_no_rounding_costs_nothing(bench, labels):
    cost = bench.cost(labels, labels * 0.9, labels * 0.9, people(200))
    assert cost["drop"] == 0
    assert cost["interval"] == [0, 0]
    assert cost["mean_difference"] == 0


def test_noise_costs_agreement(bench, labels):
    noise = np.random.default_rng(1).normal(0, 0.5, labels.shape)
    cost = bench.cost(labels, labels, labels + noise, people(200))
    assert cost["icc_float"] == pytest.approx(1)
    assert cost["interval"][0] > 0
    assert cost["interval"][0] < cost["drop"] < cost["interval"][1]
    assert cost["mean_difference"] == pytest.approx(np.abs(noise).mean())
    assert cost["largest_difference"] == pytest.approx(np.abs(noise).max())


def test_table(bench):
    row = {
        "checkpoint": "run/student", "target": "onnx", "icc_float": 0.7, "icc": 0.69, "drop": 0.01,
        "interval": [0.008, 0.012], "mean_difference": 0.03, "largest_difference": 0.5,
    }  # fmt: skip
    text = bench.table([{**row, "target": "float", "icc": 0.7}, row])
    assert "| run/student | onnx | 0.6900 | +0.0100 (+0.0080 to +0.0120) | 0.0300 | 0.50 |" in text
    assert "| run/student | float | 0.7000 |  |  |  |" in text


@pytest.mark.parametrize("arguments", [["--data", "faces"], ["run", "--data", "faces", "--limit", "0"], ["run"]])
def test_arguments_that_make_no_sense(bench, arguments):
    with pytest.raises(SystemExit) as end:
        bench.main(arguments)
    assert end.value.code == 2
