"""Shards: whole or absent, the same bytes for the same samples, defects named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsrfau_edge.errors import DataError
from dsrfau_edge.train.data.shards import (
    Sample,
    ShardIndex,
    entry_of,
    iter_samples,
    read_index,
    write_index,
    write_shard,
)


def _samples(count: int = 3) -> list[Sample]:
    centres = np.array([[1.5, 2.25], [3.0, 4.0]], np.float32)
    values = np.array([1.5, np.nan], np.float32)
    return [Sample(f"{n:08d}", b"\xff\xd8picture%d" % n, values, centres, f"id{n % 2}", {"n": n}) for n in range(count)]


def _write(folder: Path) -> ShardIndex:
    entry = write_shard(folder, "shard-000000.tar", _samples())
    index = ShardIndex("test", ("AU12", "AU25"), ("AU12_left", "AU25"), 160, 128, {}, "none", (entry,))
    write_index(folder, index)
    return index


def test_what_is_written_is_read(tmp_path: Path) -> None:
    index = _write(tmp_path)
    assert read_index(tmp_path) == index
    for read, made in zip(iter_samples(tmp_path), _samples(), strict=True):
        assert (read.key, read.image, read.identity, read.meta) == (made.key, made.image, made.identity, made.meta)
        np.testing.assert_array_equal(read.intensities, made.intensities)
        np.testing.assert_allclose(read.centres, made.centres, atol=0.01)
    assert index.shards[0].identities == ("id0", "id1")


def test_same_samples_same_bytes_and_the_entry_is_found_again(tmp_path: Path) -> None:
    first, second = (write_shard(tmp_path, name, _samples()) for name in ("a.tar", "b.tar"))
    assert first.sha256 == second.sha256
    assert entry_of(tmp_path / "a.tar") == first


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> object:
        yield from _samples(1)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_shard(tmp_path, "a.tar", broken())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_defects_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no index.json"):
        read_index(tmp_path)
    index = _write(tmp_path)
    shard = tmp_path / index.shards[0].file
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DataError):
        list(iter_samples(tmp_path))
    shard.unlink()
    with pytest.raises(DataError, match="cannot be read as a shard"):
        list(iter_samples(tmp_path))
    (tmp_path / "index.json").write_text('{"schema": 99}')
    with pytest.raises(DataError, match="schema 99"):
        read_index(tmp_path)
