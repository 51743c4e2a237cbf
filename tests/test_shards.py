"""Shards: whole or absent, the same bytes for the same samples, defects named."""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dsrfau_edge.errors import DataError, UsageError
from dsrfau_edge.shards import (
    Sample,
    ShardIndex,
    entry_of,
    iter_samples,
    read_index,
    shards_for,
    store,
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


def _with_landmarks() -> list[Sample]:
    points = np.linspace(0, 160, 936, dtype=np.float16).reshape(468, 2)
    first, second, third = _samples()
    return [replace(first, landmarks=points), second, replace(third, landmarks=points + 1)]


def test_landmarks_are_read_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = write_shard(tmp_path, "a.tar", _with_landmarks())
    index = ShardIndex("test", ("AU12", "AU25"), ("AU12_left", "AU25"), 160, 128, {}, "none", (entry,))
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames()[:3] == ["00000000.jpg", "00000000.json", "00000000.npy"]
    for read, made in zip(iter_samples(tmp_path, index, landmarks=True), _with_landmarks(), strict=True):
        assert (read.key, read.image) == (made.key, made.image)
        if made.landmarks is None:
            assert read.landmarks is None
        else:
            assert read.landmarks is not None
            assert read.landmarks.dtype == np.float16
            np.testing.assert_array_equal(read.landmarks, made.landmarks)
    monkeypatch.delattr(np.lib.format, "read_array")  # training needs none of it
    assert [sample.landmarks for sample in iter_samples(tmp_path, index)] == [None] * 3


def test_workers_take_disjoint_shards_that_are_the_whole(tmp_path: Path) -> None:
    index = _write(tmp_path)
    entries = tuple(write_shard(tmp_path, f"shard-{number:06d}.tar", _samples(number + 1)) for number in range(5))
    index = replace(index, shards=entries)
    shares = [shards_for(index, rank, 2) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == [entry.file for entry in entries]
    counts = [len(list(iter_samples(tmp_path, index, share))) for share in shares]
    assert counts == [1 + 3 + 5, 2 + 4]
    with pytest.raises(UsageError, match="no worker 2 of 2"):
        shards_for(index, 2, 2)
    with pytest.raises(DataError, match="too few for 6 workers"):
        shards_for(index, 0, 6)


def test_the_index_says_how_much_there_is_and_an_older_one_is_read(tmp_path: Path) -> None:
    index = _write(tmp_path)
    path = tmp_path / "index.json"
    raw = json.loads(path.read_text())
    size = (tmp_path / index.shards[0].file).stat().st_size
    assert raw["total"] == {"samples": 3, "identities": 2, "bytes": size}
    assert raw["shards"][0].pop("size") == size
    del raw["total"]
    path.write_text(json.dumps(raw))
    assert read_index(tmp_path).shards[0].size is None
    assert len(list(iter_samples(tmp_path))) == 3


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / f"a.tar.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"a\.tar cannot be written: No space left.*Free some space"):
        write_shard(tmp_path, "a.tar", _samples())
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written: .*another folder"):
        store(tmp_path / "missing" / "a.tar", b"")
