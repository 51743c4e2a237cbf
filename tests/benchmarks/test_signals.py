"""The measures of the signals' benchmark."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def signals():
    folder = Path(__file__).parents[2] / "benchmarks"
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("signals_benchmark", folder / "signals.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(folder))


def test_sensor_noise_is_stronger_in_the_dark_and_keeps_the_mean(signals):
    rng = np.random.default_rng(0)
    for level in (40, 200):
        picture = np.full((200, 200, 3), level, np.uint8)
        shot = signals.sensor(picture, rng, full=4000.0, read=6.0).astype(float)
        assert shot.mean() == pytest.approx(level, abs=1)
        assert shot.std() > 1
    dim, bright = (signals.sensor(picture, rng, full=full, read=6.0).astype(float).std() for full in (1000.0, 9000.0))
    assert dim > 2 * bright


def test_a_larger_step_and_a_faster_camera_are_followed_sooner(signals):
    assert signals.followed(30, 4.0) < signals.followed(30, 1.0)
    assert signals.followed(60, 4.0) < signals.followed(10, 4.0)
    assert signals.followed(30, 4.0) <= 0.12


def test_hysteresis_calms_an_au_at_the_threshold(signals):
    values = np.random.default_rng(0).normal(2, 0.05, 600)
    assert signals.onsets(values, 1.0) > 100 > 3 * signals.onsets(values, 0.75)


@pytest.mark.parametrize("given", [[], ["noise", "--frames", "60"]])
def test_usage(signals, given, capsys):
    with pytest.raises(SystemExit):
        signals.parse(given)
    assert "usage" in capsys.readouterr().err
