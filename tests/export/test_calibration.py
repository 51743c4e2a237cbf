"""Which crops int8 is calibrated on: the same ones each time, the user's before the source's, never too silent."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import dsrfau_edge
from dsrfau_edge.errors import CalibrationError, UsageError
from dsrfau_edge.export.calibration import generated_crops, in_batches, load_calibration
from dsrfau_edge.export.conversion import ExportOptions
from dsrfau_edge.export.source import Source, load_source

PORTRAIT = Path(dsrfau_edge.__file__).parent / "assets" / "portrait.jpg"


@pytest.fixture
def source(tiny_bundle: Path) -> Source:
    return load_source(tiny_bundle)


def picture(path: Path, size: int = 32, seed: int = 0) -> None:
    noise = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)


@pytest.mark.parametrize(("count", "used", "held"), [(300, 96, 24), (40, 40, 10), (1, 1, 2), (2, 2, 3)])
def test_the_sources_own_crops(source: Source, count: int, used: int, held: int) -> None:
    found = load_calibration(source, count=count)
    assert found is not None
    assert (len(found.crops), len(found.held_out)) == (used, held)
    assert "carried by tiny" in found.origin
    again = load_calibration(source, count=count)
    assert again is not None
    np.testing.assert_array_equal(found.crops, again.crops)
    assert found.unseen is (used > 4)
    assert ("held-out" in found.compared_on) is (used > 4)
    assert found.describe()["held_out"] == (held if used > 4 else 0)
    if used > 4:
        seen = {crop.tobytes() for crop in found.crops}
        assert not any(crop.tobytes() in seen for crop in found.held_out), "the comparison is on unseen crops"


def test_without_any_crops_there_is_none(source: Source) -> None:
    assert load_calibration(replace(source, calibration=None)) is None


def test_ready_crops_are_taken_as_they_are(source: Source, tmp_path: Path) -> None:
    for index in range(9):
        picture(tmp_path / f"{index}.png", seed=index)
    (tmp_path / "notes.txt").write_text("not a picture")
    found = load_calibration(source, tmp_path, ready=True)
    assert found is not None
    assert len(found.crops) + len(found.held_out) == 9
    stored = {cv2.imread(str(path)).tobytes() for path in tmp_path.glob("*.png")}
    assert {crop.tobytes() for crop in (*found.crops, *found.held_out)} == stored


def test_crops_of_another_size_are_refused(source: Source, tmp_path: Path) -> None:
    picture(tmp_path / "large.png", 64)
    with pytest.raises(CalibrationError, match=r"64x64 pixels.*32x32.*Leave out --calib-crops"):
        load_calibration(source, tmp_path, ready=True)


def test_faces_are_found_and_aligned(source: Source, tmp_path: Path) -> None:
    shutil.copy(PORTRAIT, tmp_path)
    picture(tmp_path / "noise.png", 64)
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    found = load_calibration(source, tmp_path)
    assert found is not None
    assert found.crops.shape == (1, 32, 32, 3)


def test_pictures_without_faces_name_the_fix(source: Source, tmp_path: Path) -> None:
    picture(tmp_path / "noise.png", 64)
    with pytest.raises(CalibrationError, match="--calib-crops"):
        load_calibration(source, tmp_path)


def test_an_empty_or_missing_folder(source: Source, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="holds no pictures"):
        load_calibration(source, tmp_path)
    with pytest.raises(CalibrationError, match="not a folder"):
        load_calibration(source, tmp_path / "absent")
    with pytest.raises(UsageError, match="--calib-count 0"):
        ExportOptions(calib_count=0)


def test_generated_crops_are_the_same_each_time() -> None:
    first = generated_crops(32)
    assert first.shape == (32, 32, 32, 3)
    assert first.std() > 10
    np.testing.assert_array_equal(first, generated_crops(32))


@pytest.mark.parametrize(("count", "batch", "batches"), [(5, 2, 3), (3, 4, 1), (4, 4, 1), (1, 3, 1)])
def test_batches_are_full_and_cover_all(count: int, batch: int, batches: int) -> None:
    crops: Any = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
    found = list(in_batches(crops, batch))
    assert [len(part) for part in found] == [batch] * batches
    assert set(np.concatenate(found).ravel()) == set(range(count))
