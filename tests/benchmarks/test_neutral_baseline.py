"""The measures of the neutral baseline's benchmark, on films that are made up."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

SITES = ("AU12_left", "AU12_right", "AU25")


@pytest.fixture(scope="module")
def neutral():
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    yield importlib.import_module("neutral_baseline")
    sys.path.remove(folder)


def film(neutral, rest, name="clay-1", frames=120):
    """Somebody who smiles in every third second, read by a network that adds what the person's face shows at rest."""
    smiles = (np.arange(frames) // 10) % 3 == 2
    truth = np.outer(smiles * 3.0, [1, 1, 0])
    raw = truth + rest * (5 - truth) / 5
    return neutral.Film(name, truth, ~smiles, raw, np.full(frames, 0.9))


def test_a_baseline_takes_off_what_was_added(neutral):
    films = [film(neutral, np.array([1.0, 2.0, 0.1])), film(neutral, np.zeros(3), "wax-2")]
    for mode in ("online", "held"):
        found = neutral.score(films, SITES, mode=mode)
        assert found["all AUs, at rest"]["count"] == 1, "a face that rests at zero is not counted"
        assert found["non-zero AUs, at rest"]["count"] == 1, "AU25 reads 0.1 at rest, which is less than it takes"
        assert found["non-zero AUs, at rest"]["before"] == pytest.approx(1.5, abs=0.2)
        for what, row in found.items():
            assert row["change"] == pytest.approx(row["after"] / row["before"] - 1)
            assert row["change"] < (-0.5 if "rest" in what else -0.3)  # while it moves, smoothing lags


def test_what_is_only_subtracted_lowers_what_is_strong(neutral):
    films = [film(neutral, np.array([2.0, 2.0, 2.0]))]
    strong = [neutral.score(films, SITES, stretched=flag)["non-zero AUs, strong"]["after"] for flag in (True, False)]
    assert strong[1] > strong[0] + 0.5


def test_a_person_who_is_not_corrected_in_time_is_told(neutral):
    with pytest.raises(ValueError, match="clay-1"):
        neutral.score([film(neutral, np.ones(3))], SITES, ready_after=9.0)


def test_frames_without_a_face_are_passed_over(neutral):
    whole = film(neutral, np.array([1.0, 1.0, 1.0]))
    raw = whole.raw.copy()
    raw[70:75] = np.nan
    for row in neutral.score([neutral.Film("clay-1", whole.truth, whole.rest, raw, whole.trust)], SITES).values():
        assert np.isfinite(row["after"])


def test_films_are_read_as_they_were_written(neutral, tmp_path):
    made = film(neutral, np.ones(3))
    np.savez_compressed(tmp_path / "0000.npz", **neutral.dataclasses.asdict(made))
    (read,) = neutral.load(tmp_path)
    assert read.person == made.person
    assert np.array_equal(read.raw, made.raw)
    assert read.rest.dtype == bool


def test_a_play_is_mostly_rest(neutral):
    pytest.importorskip("torch", reason="synthesis lives beside training")
    asked = neutral.play(np.random.default_rng(0), 600)
    assert len(asked) == 600
    assert 0.4 < np.mean([not levels for levels in asked]) < 0.75
    assert {"AU45_left", "AU12_left"} <= {site for levels in asked for site in levels}


@pytest.mark.parametrize("given", [["baseline"], ["render", "--films", "films", "--frames", "60"]])
def test_usage(neutral, given, capsys):
    with pytest.raises(SystemExit):
        neutral.parse(given)
    assert "--f" in capsys.readouterr().err
