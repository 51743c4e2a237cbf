"""The benchmark of tracking: where a face should be, and that one at rest stays there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dsrfau_edge import Predictor

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "tracking.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("tracking_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_and_back(bench):
    assert [bench.there_and_back(n, 1.0, 2.0) for n in range(10)] == [0, 1, 2, 1, 0, -1, -2, -1, 0, 1]


def test_the_middle_stays_where_it_is_turned_about(bench):
    middle = np.array([bench.SIDE / 2] * 2 + [1])
    np.testing.assert_allclose(bench.similarity(0, 0, 1.3, 30) @ middle, middle[:2])
    np.testing.assert_allclose(bench.similarity(5, -2, 1, 0) @ middle, middle[:2] + (5, -2))


def test_a_face_that_hardly_moves_is_kept_and_one_that_jumps_about_is_not(bench):
    with Predictor("dsrfau-nano", runtime="onnxruntime") as predictor:
        picture = bench.first_frame()
        slow = bench.run(predictor, picture, lambda n: bench.similarity(2 * n, 0, 1, 0), 5)
        fast = bench.run(predictor, picture, lambda n: bench.similarity(300 * (-1) ** n, 0, 1, 0), 3)
    assert slow.kept == 5
    assert slow.worst < 0.05
    assert fast.kept == 0
