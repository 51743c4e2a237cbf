"""The measures of the signals' benchmark, on films that are made up."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SITES = ("AU12_left", "AU12_right", "AU25")


@pytest.fixture(scope="module")
def signals():
    path = Path(__file__).parents[2] / "benchmarks/signals.py"
    spec = importlib.util.spec_from_file_location("signals_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def film(signals, rest, name="clay-1", frames=120):
    """Somebody who smiles in every third second, read by a network that adds what the person's face shows at rest."""
    smiles = (np.arange(frames) // 10) % 3 == 2
    truth = np.outer(smiles * 3.0, [1, 1, 0])
    raw = truth + rest * (5 - truth) / 5
    return signals.Film(name, truth, ~smiles, raw, np.full(frames, 0.9))


def test_a_baseline_takes_off_what_was_added(signals):
    films = [film(signals, np.array([1.0, 2.0, 0.1])), film(signals, np.zeros(3), "wax-2")]
    for mode in ("online", "held"):
        found = signals.score(films, SITES, mode=mode)
        assert found["all AUs, at rest"]["count"] == 1, "a face that rests at zero is not counted"
        assert found["non-zero AUs, at rest"]["count"] == 1, "AU25 reads 0.1 at rest, which is less than it takes"
        assert found["non-zero AUs, at rest"]["before"] == pytest.approx(1.5, abs=0.2)
        for what, row in found.items():
            assert row["change"] == pytest.approx(row["after"] / row["before"] - 1)
            assert row["change"] < (-0.5 if "rest" in what else -0.3)  # while it moves, smoothing lags


def test_what_is_only_subtracted_lowers_what_is_strong(signals):
    films = [film(signals, np.array([2.0, 2.0, 2.0]))]
    strong = [signals.score(films, SITES, stretched=flag)["non-zero AUs, strong"]["after"] for flag in (True, False)]
    assert strong[1] > strong[0] + 0.5


def test_a_person_who_is_not_corrected_in_time_is_told(signals):
    with pytest.raises(ValueError, match="clay-1"):
        signals.score([film(signals, np.ones(3))], SITES, ready_after=9.0)


def test_frames_without_a_face_are_passed_over(signals):
    whole = film(signals, np.array([1.0, 1.0, 1.0]))
    raw = whole.raw.copy()
    raw[70:75] = np.nan
    for row in signals.score([signals.Film("clay-1", whole.truth, whole.rest, raw, whole.trust)], SITES).values():
        assert np.isfinite(row["after"])


def test_films_are_read_as_they_were_written(signals, tmp_path):
    made = film(signals, np.ones(3))
    np.savez_compressed(tmp_path / "0000.npz", **signals.dataclasses.asdict(made))
    (read,) = signals.load(tmp_path)
    assert read.person == made.person
    assert np.array_equal(read.raw, made.raw)
    assert read.rest.dtype == bool


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


def test_a_play_is_mostly_rest(signals):
    pytest.importorskip("torch", reason="synthesis lives beside training")
    asked = signals.play(np.random.default_rng(0), 600)
    assert len(asked) == 600
    assert 0.4 < np.mean([not levels for levels in asked]) < 0.75
    assert {"AU45_left", "AU12_left"} <= {site for levels in asked for site in levels}


@pytest.mark.parametrize("given", [["baseline"], ["noise", "--frames", "60"]])
def test_usage(signals, given, capsys):
    with pytest.raises(SystemExit):
        signals.parse(given)
    assert "--f" in capsys.readouterr().err
