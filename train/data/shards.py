"""Prepared data on disk: tar shards of encoded crops with their labels, and one index.

A folder holds `index.json` and `shard-000000.tar`, …; a shard's members are `KEY.jpg` (or `.png`) and `KEY.json`, which
is WebDataset's naming, so that stock tools read them too. A shard is written under another name and renamed when it is
whole: it is complete or absent. The index is written last, likewise.

Stored crops are larger than what the network sees: the template's frame is the centre `input_size` pixels of a picture
of side `crop_size`; the rest is room for augmentation.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import DataError

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
            f"{folder} holds no {INDEX_NAME}: it is not prepared data. Make some with `dsrfau-synth`."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read as an index of shards ({error!r}). Prepare the data again.") from error


def write_index(folder: str | Path, index: ShardIndex) -> None:
    """Write the index atomically."""
    path = Path(folder) / INDEX_NAME
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps({"schema": SCHEMA, **asdict(index)}, indent=1), encoding="utf-8")
    part.replace(path)


def write_shard(folder: str | Path, name: str, samples: Iterable[Sample]) -> ShardEntry:
    """Write one shard, whole or not at all; the bytes depend on the samples alone.

    Returns:
        The entry for the index.
    """
    path = Path(folder) / name
    part = path.with_name(f"{name}.{os.getpid()}.part")
    count, identities = 0, set()
    try:
        with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in samples:
                suffix = "png" if sample.image.startswith(b"\x89PNG") else "jpg"
                _add(tar, f"{sample.key}.{suffix}", sample.image)
                _add(tar, f"{sample.key}.json", _label_bytes(sample))
                count += 1
                identities.add(sample.identity)
        digest = hashlib.sha256(part.read_bytes()).hexdigest()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return ShardEntry(name, count, digest, tuple(sorted(identities)))


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


def entry_of(path: Path) -> ShardEntry:
    """Entry of a finished shard, read back from the file (to resume an interrupted run)."""
    samples = list(_read_shard(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ShardEntry(path.name, len(samples), digest, tuple(sorted({sample.identity for sample in samples})))


def iter_samples(
    folder: str | Path, index: ShardIndex | None = None, shards: Iterable[str] | None = None
) -> Iterator[Sample]:
    """Samples of a data folder, shard after shard.

    Args:
        folder: the data folder.
        index: its index, if already read.
        shards: names of the shards to read; all of them by default (workers on several machines take disjoint parts).

    Raises:
        DataError: a shard is missing, was cut short, or does not fit the index.
    """
    index = index or read_index(folder)
    wanted = None if shards is None else set(shards)
    for entry in index.shards:
        if wanted is not None and entry.file not in wanted:
            continue
        count = 0
        for sample in _read_shard(Path(folder) / entry.file):
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


def _read_shard(path: Path) -> Iterator[Sample]:
    try:
        with tarfile.open(path) as tar:
            image: tuple[str, bytes] | None = None
            for member in tar:
                stream = tar.extractfile(member)
                if stream is None:
                    continue
                content = stream.read()
                if not member.name.endswith(".json"):
                    image = (Path(member.name).stem, content)
                elif image is not None and image[0] == Path(member.name).stem:
                    yield _sample(*image, json.loads(content))
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a shard ({error!r}). Prepare the data again.") from error


def _sample(key: str, image: bytes, label: Mapping[str, Any]) -> Sample:
    intensities = [np.nan if value is None else value for value in label["intensities"]]
    centres = np.asarray(label["centres"], np.float32).reshape(-1, 2)
    return Sample(key, image, np.asarray(intensities, np.float32), centres, label["identity"], label["meta"])
