"""Counting what a set holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from toy_data import SITES, toy_sample, write_toy

from dsrfau_edge.errors import DataError
from dsrfau_edge.train.data.shards import ShardEntry, read_index, write_index, write_shard
from dsrfau_edge.train.synthesis.statistics import BANDS, bands, gather, picture


def _set(folder: Path, rows: list[list[float]], metas: list[dict[str, object]] | None = None) -> Path:
    """A set of the toy's sites with these intensities."""
    write_toy(folder, 2)
    samples = [
        dataclasses.replace(
            toy_sample(number), intensities=np.asarray(row, np.float32), meta=(metas or [{}] * 99)[number]
        )
        for number, row in enumerate(rows)
    ]
    entry: ShardEntry = write_shard(folder, "shard-000000.tar", samples)
    write_index(folder, dataclasses.replace(read_index(folder), shards=(entry,)))
    return folder


def test_bands_are_the_letters() -> None:
    assert [BANDS[row] for row in bands(np.array([0, 0.99, 1.0, 1.49, 1.5, 3.2, 4.49, 4.5, 5.0]))] == list("00AABCDEE")


def test_counts(tmp_path: Path) -> None:
    sites = len(SITES)
    rows = [[0.0] * sites, [3.0] * sites, [np.nan] * sites]
    metas = [{"rig": "one", "pose": [0, 0, 0]}, {"rig": "two", "pose": [-31, 4, 80]}, {"rig": "two"}]
    found = gather(_set(tmp_path / "set", rows, metas))
    assert found.count == 3
    assert found.rigs == {"one": 1, "two": 2}
    for row in found.bands:
        assert dict(zip(BANDS, row.tolist(), strict=True)) == {"0": 1, "A": 0, "B": 0, "C": 1, "D": 0, "E": 0}
    assert (found.shares == 1).all()
    assert found.poses.sum(1).tolist() == [2, 2, 2]
    assert found.poses[2, -1] == 1  # beyond the last step
    assert any("no face in band A" in line for line in found.warnings())


def test_a_pair_that_is_never_apart_is_warned_of(tmp_path: Path) -> None:
    rows = [[4.0] * len(SITES)] * 12
    assert any("never comes without" in line for line in gather(_set(tmp_path / "a", rows)).warnings())
    apart = rows + [[4.0, 4.0] + [0.0] * (len(SITES) - 2), [0.0] * (len(SITES) - 1) + [4.0]]
    assert not any("never comes without" in line for line in gather(_set(tmp_path / "b", apart)).warnings())


def test_the_picture_can_be_looked_at(tmp_path: Path) -> None:
    drawn = cv2.imdecode(np.frombuffer(picture(gather(write_toy(tmp_path / "set"))), np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape[0] > 300
    assert drawn.std() > 5


def test_no_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dsrfau-synth"):
        gather(tmp_path)
    empty = _set(tmp_path / "empty", [])
    with pytest.raises(DataError, match="no faces"):
        gather(empty)
