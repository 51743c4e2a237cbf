"""Prepared data on disk: tar shards of encoded crops with their labels, and one index.

A folder holds `index.json` and `shard-000000.tar`, …; the members of a shard are `KEY.jpg` (or `.png`), `KEY.json` and,
where face landmarks are known, `KEY.npy`: the naming of WebDataset, so that stock tools read them too. A shard is
written under another name and renamed when it is whole: it is complete or absent. The index is written last, likewise.

Stored crops are larger than what the network sees: the template's frame is the centre `input_size` pixels of a picture
of side `crop_size`; the rest is room for augmentation.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import DataError, UsageError

SCHEMA = 1
INDEX_NAME = "index.json"
MARGIN = 0.125


def crop_side(input_size: int) -> int:
    """Side of a stored crop for a network input of this side."""
    return round(input_size * (1 + 2 * MARGIN))


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One shard as the index names it."""

    file: str
    count: int
    sha256: str
    identities: tuple[str, ...]
    size: int | None = None  # bytes; sets of earlier versions do not say


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """What a folder of shards holds."""

    kind: str
    aus: tuple[str, ...]
    sites: tuple[str, ...]
    crop_size: int
    input_size: int
    template: Mapping[str, Any]
    licence: str
    shards: tuple[ShardEntry, ...] = ()
    generator: Mapping[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of samples in all shards."""
        return sum(shard.count for shard in self.shards)


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled crop: encoded picture, intensities `[S]` (NaN = unlabelled), site centres `[S, 2]` in its pixels."""

    key: str
    image: bytes
    intensities: npt.NDArray[np.float32]
    centres: npt.NDArray[np.float32]
    identity: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    #: FaceMesh's points `[468, 2]` in its pixels, where they are known and were asked for.
    landmarks: npt.NDArray[np.float16] | None = None


@dataclass(frozen=True, slots=True)
class PackedShard:
    """A whole shard in memory: its line of the index and the file's bytes."""

    entry: ShardEntry
    content: bytes


def read_index(folder: str | Path) -> ShardIndex:
    """Read a data folder's index.

    Raises:
        DataError: there is none, or it is not one this version reads.
    """
    path = Path(folder) / INDEX_NAME
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["schema"] != SCHEMA:
            raise DataError(
                f"{path}: schema {raw['schema']} is not the one this version reads ({SCHEMA}). Prepare it again."
            )
        shards = tuple(ShardEntry(**{**entry, "identities": tuple(entry["identities"])}) for entry in raw["shards"])
        fields = {name: raw[name] for name in ShardIndex.__slots__ if name in raw}
        return ShardIndex(**{**fields, "aus": tuple(raw["aus"]), "sites": tuple(raw["sites"]), "shards": shards})
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no {INDEX_NAME}: it is not prepared data. Make some with `dsrfau-synth render`."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read as an index of shards ({error!r}). Prepare the data again.") from error


def shards_for(index: ShardIndex, rank: int, world: int) -> tuple[str, ...]:
    """The shards of one of `world` workers: disjoint parts that are the whole together. For `iter_samples`.

    Args:
        index: the set's index.
        rank: number of this worker, from 0. A loader with processes of its own counts those:
            `rank * processes + process` of `world * processes`.
        world: number of workers.

    Raises:
        UsageError: there is no worker of this number.
        DataError: there are fewer shards than workers, so one would have nothing.
    """
    if not 0 <= rank < world:
        raise UsageError(f"There is no worker {rank} of {world}. Number them 0 to {max(world - 1, 0)}.")
    if len(index.shards) < world:
        raise DataError(
            f"{len(index.shards)} shards are too few for {world} workers: some would have nothing to read. Give fewer "
            "workers, or a larger set."
        )
    return tuple(shard.file for shard in index.shards[rank::world])


def write_index(folder: str | Path, index: ShardIndex) -> None:
    """Write the index atomically.

    Raises:
        DataError: the folder cannot be written to.
    """
    identities = {identity for shard in index.shards for identity in shard.identities}
    size = sum(shard.size or 0 for shard in index.shards)
    total = {"samples": index.count, "identities": len(identities), "bytes": size}
    content = json.dumps({"schema": SCHEMA, "total": total, **asdict(index)}, indent=1)
    store(Path(folder) / INDEX_NAME, content.encode())


def write_shard(folder: str | Path, name: str, samples: Iterable[Sample]) -> ShardEntry:
    """Write one shard, whole or not at all; the bytes depend on the samples alone.

    Returns:
        The entry for the index.

    Raises:
        DataError: the folder cannot be written to.
    """
    packed = pack_shard(name, samples)
    store(Path(folder) / name, packed.content)
    return packed.entry


def pack_shard(name: str, samples: Iterable[Sample]) -> PackedShard:
    """One shard in memory; the bytes depend on the samples alone."""
    stream, count, identities = io.BytesIO(), 0, set()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            suffix = "png" if sample.image.startswith(b"\x89PNG") else "jpg"
            _add(tar, f"{sample.key}.{suffix}", sample.image)
            _add(tar, f"{sample.key}.json", _label_bytes(sample))
            if sample.landmarks is not None:
                _add(tar, f"{sample.key}.npy", _array_bytes(sample.landmarks))
            count += 1
            identities.add(sample.identity)
    content = stream.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    return PackedShard(ShardEntry(name, count, digest, tuple(sorted(identities)), len(content)), content)


def store(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, and on the disk when this returns.

    Raises:
        DataError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        try:
            with part.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
        finally:
            with contextlib.suppress(OSError):  # a full or read-only place has said so already
                part.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> DataError:
    """What to say of a place that cannot be written to."""
    return DataError(
        f"{path} cannot be written: {error.strerror or error}. Free some space or see to the permissions, and give the "
        "same command again; or give another folder."
    )


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _label_bytes(sample: Sample) -> bytes:
    label = {
        "intensities": [None if np.isnan(value) else round(float(value), 3) for value in sample.intensities],
        "centres": [[round(float(value), 2) for value in centre] for centre in sample.centres],
        "identity": sample.identity,
        "meta": dict(sample.meta),
    }
    return json.dumps(label, separators=(",", ":")).encode()


def _array_bytes(points: npt.NDArray[np.float16]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(points, "<f2"), version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def entry_of(path: Path) -> ShardEntry:
    """Entry of a finished shard, read back from the file (to resume an interrupted run)."""
    identities = [sample.identity for sample in _read_shard(path, landmarks=False)]
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return ShardEntry(path.name, len(identities), digest, tuple(sorted(set(identities))), len(content))


def iter_samples(
    folder: str | Path,
    index: ShardIndex | None = None,
    shards: Iterable[str] | None = None,
    *,
    landmarks: bool = False,
) -> Iterator[Sample]:
    """Samples of a data folder, shard after shard.

    Args:
        folder: the data folder.
        index: its index, if already read.
        shards: names of the shards to read (see `shards_for`); all of them by default.
        landmarks: whether to read the face landmarks as well; they are passed over otherwise.

    Raises:
        DataError: a shard is missing, was cut short, or does not fit the index.
    """
    index = index or read_index(folder)
    wanted = None if shards is None else set(shards)
    for entry in index.shards:
        if wanted is not None and entry.file not in wanted:
            continue
        count = 0
        for sample in _read_shard(Path(folder) / entry.file, landmarks=landmarks):
            if sample.intensities.shape != (len(index.sites),) or sample.centres.shape != (len(index.sites), 2):
                raise DataError(
                    f"{entry.file}: sample {sample.key} does not have the index's {len(index.sites)} sites."
                )
            count += 1
            yield sample
        if count != entry.count:
            raise DataError(
                f"{entry.file} holds {count} samples, the index says {entry.count}. Prepare the data again."
            )


def _read_shard(path: Path, *, landmarks: bool) -> Iterator[Sample]:
    try:
        with tarfile.open(path) as tar:
            yield from _members(tar, landmarks=landmarks)
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a shard ({error!r}). Prepare the data again.") from error


def _members(tar: tarfile.TarFile, *, landmarks: bool) -> Iterator[Sample]:
    image: tuple[str, bytes] | None = None
    known: Sample | None = None  # its landmarks may follow
    for member in tar:
        key, _, kind = member.name.rpartition(".")
        stream = tar.extractfile(member) if kind != "npy" or landmarks else None
        if stream is None:
            continue
        if kind == "npy":
            if known is not None and known.key == key:
                points = np.lib.format.read_array(io.BytesIO(stream.read()), allow_pickle=False)
                known = replace(known, landmarks=points.astype(np.float16).reshape(-1, 2))
        elif kind != "json":
            image = (key, stream.read())
        elif image is not None and image[0] == key:
            if known is not None:
                yield known
            known = _sample(*image, json.loads(stream.read()))
    if known is not None:
        yield known


def _sample(key: str, image: bytes, label: Mapping[str, Any]) -> Sample:
    intensities = [np.nan if value is None else value for value in label["intensities"]]
    centres = np.asarray(label["centres"], np.float32).reshape(-1, 2)
    return Sample(key, image, np.asarray(intensities, np.float32), centres, label["identity"], label["meta"])
