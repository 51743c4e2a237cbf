"""Rendered sets once more: verified, copied as they are, smaller with everything in its place, one rig alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_data import AUS, CROP, INPUT, SITES, toy_sample

from dsrfau_edge.errors import DataError, UsageError
from dsrfau_edge.shards import Sample, ShardIndex, iter_samples, write_index, write_shard
from dsrfau_edge.train.data.preparation.rendered import plan
from dsrfau_edge.train.data.preparation.run import by_reason, prepare
from dsrfau_edge.train.data.prepared import load_prepared

from .making import decoded

RIGS = ("clay", "wire")


def rendered_sample(number: int) -> Sample:
    """A toy face with landmarks at its centres, and a rig."""
    sample = toy_sample(number)
    points = np.zeros((468, 2), np.float16)
    points[: len(SITES)] = sample.centres
    meta = {**sample.meta, "rig": RIGS[number // 2 % 2], "box": [10.0, 20.0, 40.0, 30.0], "seed": [0, number]}
    return replace(sample, landmarks=points, meta=meta)


def write_rendered(folder: Path, count: int = 8, *, kind: str = "rendered") -> Path:
    """Shards of four faces."""
    folder.mkdir(parents=True)
    shards = tuple(
        write_shard(folder, f"shard-{number:06d}.tar", map(rendered_sample, range(4 * number, 4 * number + 4)))
        for number in range(count // 4)
    )
    index = ShardIndex(
        kind=kind, aus=AUS, sites=SITES, crop_size=CROP, input_size=INPUT,
        template={"landmarks": [0], "points": [[0.5, 0.5]]}, licence="CC0-1.0", shards=shards,
        generator={"rigs": list(RIGS), "seed": 3},
    )  # fmt: skip
    write_index(folder, index)
    return folder


def test_at_its_own_size_a_set_is_copied_byte_for_byte(tmp_path: Path) -> None:
    source = write_rendered(tmp_path / "set")
    index = prepare(plan(source), tmp_path / "out", workers=1).index
    assert index.count == 8
    for shard in index.shards:
        assert (tmp_path / "out" / shard.file).read_bytes() == (source / shard.file).read_bytes()
    assert index.generator["seed"] == 3
    assert index.generator["prepared"]["from_input_size"] == INPUT


def test_smaller_crops_keep_everything_in_its_place(tmp_path: Path) -> None:
    source = write_rendered(tmp_path / "set")
    index = prepare(plan(source, size=32), tmp_path / "out", workers=2).index
    assert (index.input_size, index.crop_size, index.template) == (32, 40, {"landmarks": [0], "points": [[0.5, 0.5]]})
    pairs = zip(iter_samples(source, landmarks=True), iter_samples(tmp_path / "out", landmarks=True), strict=True)
    for large, small in pairs:
        assert (small.key, small.identity, small.meta["rig"]) == (large.key, large.identity, large.meta["rig"])
        np.testing.assert_array_equal(small.intensities, large.intensities)
        picture, coarse = decoded(large).astype(float), decoded(small).astype(float)
        assert coarse.shape == (40, 40, 3)
        np.testing.assert_allclose(coarse, picture.reshape(40, 2, 40, 2, 3).mean((1, 3)), atol=16)  # JPEG
        np.testing.assert_allclose(small.centres, (large.centres - 0.5) / 2, atol=0.02)
        assert small.landmarks is not None
        np.testing.assert_allclose(small.landmarks[: len(SITES)], small.centres, atol=0.03)
        assert small.meta["box"] == [4.8, 9.8, 20.0, 15.0]
    data = load_prepared([tmp_path / "out"])
    assert data.frame(0)[0].shape == (32, 32, 3)


def test_one_rig_alone(tmp_path: Path) -> None:
    source = write_rendered(tmp_path / "set")
    prepared = prepare(plan(source, rig="wire"), tmp_path / "out", workers=1)
    assert prepared.index.count == 4
    assert by_reason(prepared.lost) == {"other rig": 4}
    assert {sample.meta["rig"] for sample in iter_samples(tmp_path / "out")} == {"wire"}
    with pytest.raises(DataError, match="it has clay, wire"):
        plan(source, rig="ict")


def test_a_limit_ends_with_a_shard(tmp_path: Path) -> None:
    assert plan(write_rendered(tmp_path / "set"), limit=3).count == 4


def test_what_is_not_as_written_is_named(tmp_path: Path) -> None:
    source = write_rendered(tmp_path / "set")
    shard = source / "shard-000001.tar"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match=r"shard-000001\.tar is not what the index says"):
        plan(source)
    shard.unlink()
    with pytest.raises(DataError, match=r"shard-000001\.tar"):
        plan(source)


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    source = write_rendered(tmp_path / "set")
    with pytest.raises(UsageError, match="larger than"):
        plan(source, size=128)
    with pytest.raises(UsageError, match="multiples of 32"):
        plan(source, size=48)
    with pytest.raises(DataError, match="kind 'table'"):
        plan(write_rendered(tmp_path / "other", kind="table"))
    with pytest.raises(DataError, match=r"index\.json"):
        plan(tmp_path)
