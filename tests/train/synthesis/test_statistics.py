"""Counts of a set against sets whose counts are known."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_data import AUS, SITES, toy_sample, write_toy

from dsrfau_edge.action_units import letter
from dsrfau_edge.errors import DataError, RuntimeUnavailable
from dsrfau_edge.metrics import sites_to_aus
from dsrfau_edge.shards import ShardIndex, iter_samples, read_index, write_index, write_shard
from dsrfau_edge.train.synthesis.statistics import ANGLES, BANDS, POSE_STEPS, bands, gather, picture


def write_set(folder: Path, rows: list[list[float]], **meta: object) -> Path:
    """A set whose intensities are these rows."""
    folder.mkdir()
    samples = [
        dataclasses.replace(
            toy_sample(number), intensities=np.asarray(row, np.float32), meta=meta, identity=f"p{number % 3}"
        )
        for number, row in enumerate(rows)
    ]
    shards = (write_shard(folder, "shard-000000.tar", samples),)
    index = ShardIndex(
        kind="toy", aus=AUS, sites=SITES, crop_size=80, input_size=64, template={}, licence="CC0-1.0", shards=shards
    )
    write_index(folder, index)
    return folder


def test_bands_are_the_projects_letters() -> None:
    values = np.round(np.arange(0, 5.01, 0.05), 2)
    assert [BANDS[band] for band in bands(values)] == [letter(float(value)) or "0" for value in values]


def test_counts_agree_with_the_samples(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy", 600)  # more than two batches
    found = gather(folder)
    index = read_index(folder)
    levels = sites_to_aus(np.stack([sample.intensities for sample in iter_samples(folder)]), index.sites, index.aus)
    assert found.count == 600
    assert found.bands.sum(1).tolist() == [600, 600]
    for unit in range(2):
        assert found.bands[unit, 0] == (levels[:, unit] < 1).sum()
        assert found.bands[unit, 5] == (levels[:, unit] >= 4.5).sum()
    both = ((levels >= 1).sum(1) == 2).sum()
    assert found.together[0, 1] == found.together[1, 0] == both
    assert found.shares[0, 1] == pytest.approx(both / (levels[:, 0] >= 1).sum())
    assert found.rigs == {"?": 600}
    assert found.identities == {"?": 8}
    assert found.poses.sum() == 0
    assert found.pose_lines() == []


def test_rigs_identities_sides_and_poses_are_counted(tmp_path: Path) -> None:
    found = gather(write_set(tmp_path / "set", [[3, 0, 0], [2, 2, 0], [0, 1, 5]], rig="clay", pose=[35.0, -20.0, 91.0]))
    assert found.rigs == {"clay": 3}
    assert found.identities == {"clay": 3}
    assert found.lopsided.tolist() == [2, 0]
    yaw, pitch, roll = (POSE_STEPS[row.argmax()] for row in found.poses)
    assert (yaw, pitch, roll) == (35, -20, 45)
    assert found.poses.sum(1).tolist() == [3, 3, 3]
    assert "35°" in found.pose_lines()[0]


def test_missing_labels_are_not_absent_units(tmp_path: Path) -> None:
    nan = float("nan")
    found = gather(write_set(tmp_path / "set", [[2, 2, nan], [2, nan, 3], [0, 0, nan]]))
    assert found.bands.sum(1).tolist() == [3, 1]
    assert found.together[0, 1] == 1
    assert found.comparable[0, 1] == 1
    assert found.to_dict()["together"]["AU25"]["AU12"] == 1
    empty = gather(write_set(tmp_path / "none", [[0, 0, nan]]))
    assert empty.to_dict()["together"]["AU25"]["AU12"] is None


def test_empty_bands_and_units_that_are_never_apart_are_named(tmp_path: Path) -> None:
    tied = [[level, level, level] for level in (0, 1, 2, 3, 5)] * 3
    warnings = gather(write_set(tmp_path / "tied", tied)).warnings()
    assert "AU12: no face in band D" in warnings
    assert any(text.startswith("AU12 never comes without AU25 (12 faces)") for text in warnings)
    assert any(text.startswith("AU25 never comes without AU12") for text in warnings)
    apart = [*tied, [4, 4, 0], [0, 0, 4], [4, 4, 4]]
    assert gather(write_set(tmp_path / "apart", apart)).warnings() == []


def test_a_set_without_faces_and_no_set_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no faces"):
        gather(write_set(tmp_path / "empty", []))
    with pytest.raises(DataError, match="dsrfau-synth"):
        gather(tmp_path)


def test_labels_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many faces a set has, only a batch of labels is held."""
    from dsrfau_edge.train.synthesis import statistics

    most = 0

    class Watched(statistics._Tally):
        def add(self, sample: object) -> None:
            nonlocal most
            super().add(sample)  # type: ignore[arg-type]
            most = max(most, len(self._waiting))

    monkeypatch.setattr(statistics, "_Tally", Watched)
    monkeypatch.setattr(statistics, "_BATCH", 16)
    assert statistics.gather(write_toy(tmp_path / "toy", 200)).count == 200
    assert most < 16


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    import cv2

    found = gather(write_set(tmp_path / "set", [[3, 0, 0], [2, 2, 0]], rig="clay", pose=[1.0, 2.0, 3.0]))
    drawn = cv2.imdecode(np.frombuffer(picture(found), np.uint8), cv2.IMREAD_COLOR)
    assert min(drawn.shape[:2]) > 300
    assert picture(found) == picture(found)
    assert len(ANGLES) == 3


def test_the_picture_without_matplotlib_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = gather(write_set(tmp_path / "set", [[3, 0, 0]]))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RuntimeUnavailable, match=r"dsrfau-edge\[synth\]"):
        picture(found)
