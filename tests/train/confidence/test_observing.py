"""Degraded faces are found, read and judged as on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from portrait_data import write_portraits
from toy_data import write_toy

from dsrfau_edge.action_units import ALL_AUS
from dsrfau_edge.errors import DataError
from dsrfau_edge.train.confidence.observing import Observations, observe
from dsrfau_edge.train.data.prepared import load_prepared
from dsrfau_edge.train.evaluation.subjects import open_session, open_subject


def observed(folder: Path, **options: Any) -> Observations:
    data, subject = load_prepared([folder]), open_subject(Path("dsrfau-nano"))
    session = open_session(subject, "onnxruntime", threads=1).session
    try:
        return observe(session, data, np.arange(len(data)), subject, **options)
    finally:
        session.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_portraits(tmp_path_factory.mktemp("portraits"), 16, identities=4, rigs=("clay", "wax"))


def test_faces_are_read_under_many_circumstances(folder: Path) -> None:
    done: list[int] = []
    found = observed(folder, views=2, step=done.append)
    assert sum(done) == 16
    assert len(found) + found.missed == 32
    assert len(found) > 8
    assert found.aus == ALL_AUS
    assert found.readings.shape == found.truths.shape == found.before.shape == found.hidden.shape == (len(found), 20)
    assert set(np.unique(found.truths)) <= {0.0, 1.5, 3.0, 4.5}
    assert set(found.rigs) == {"clay", "wax"}
    distances = [quality.eye_distance for quality in found.qualities]
    asked = [one.eye_distance for one in found.circumstances]
    assert np.corrcoef(np.log(distances), np.log(asked))[0, 1] > 0.95
    some = found.take(found.rigs == "clay")
    assert len(some) == len(some.qualities) == len(some.circumstances) == (found.rigs == "clay").sum()


def test_the_same_seed_gives_the_same(folder: Path) -> None:
    first, second, other = (observed(folder, views=1, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.readings, second.readings)
    assert first.circumstances == second.circumstances != other.circumstances


def test_other_alignments_and_pictures_without_faces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="alignment"):
        observed(write_toy(tmp_path / "other", 4))
    with pytest.raises(DataError, match="No face was found"):
        observed(write_portraits(tmp_path / "blank", 4, blank=True))
