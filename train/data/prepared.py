"""Prepared data in memory, and its identity-exclusive splits. No torch: evaluation of a bundle reads the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import DataError, UsageError

from .augment import centre_crop
from .shards import INDEX_NAME, Sample, ShardIndex, iter_samples, read_index

Indices = npt.NDArray[np.intp]
#: What synthesis writes for a part that is drawn by rule: not one look but the absence of a named one.
_DRAWN = "procedural"
SPLITS = ("train", "held-out", "held-out-looks", "all")


@dataclass(frozen=True, slots=True)
class PreparedData:
    """All samples of one or several data folders with the same sites, pictures still encoded.

    The pictures lie in one buffer, so that worker processes share it instead of copying it object by object.
    """

    index: ShardIndex
    sources: tuple[dict[str, Any], ...]
    buffer: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    intensities: npt.NDArray[np.float32]
    centres: npt.NDArray[np.float32]
    identities: npt.NDArray[np.str_]
    looks: tuple[tuple[str, ...], ...] = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.keys)

    def encoded(self, position: int) -> npt.NDArray[np.uint8]:
        """The encoded picture of one sample."""
        return self.buffer[self.offsets[position] : self.offsets[position + 1]]

    def image(self, position: int) -> npt.NDArray[np.uint8]:
        """The stored crop `[crop_size, crop_size, 3]`, BGR.

        Raises:
            DataError: it cannot be decoded or has another size than the index says.
        """
        image = cv2.imdecode(self.encoded(position), cv2.IMREAD_COLOR)
        side = self.index.crop_size
        if image is None or image.shape != (side, side, 3):
            found = "cannot be decoded" if image is None else f"has shape {image.shape}, not {side}×{side}"
            raise DataError(f"Sample {self.keys[position]} {found}. Prepare the data again.")
        return np.asarray(image, np.uint8)

    def frame(self, position: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """The network's view without augmentation: crop `[input_size, input_size, 3]` and centres `[S, 2]` in it."""
        return centre_crop(self.image(position), self.centres[position], self.index.input_size)

    def split(self, name: str, *, held_out: float, looks: bool = False) -> Indices:
        """Positions of a split.

        An identity belongs to the held-out ones by a hash of its name, whatever else is in the data. With `looks`, a
        share of the skins, hair styles and so on is held out likewise: training sees none of them.

        Args:
            name: `train`, `held-out`, `held-out-looks` (held-out identities that wear a held-out look) or `all`.
            held_out: share of the identities (and looks) to hold out, 0–1.
            looks: whether looks are held out as well.

        Raises:
            DataError: the split is empty.
            UsageError: there is no split of this name.
        """
        if name not in SPLITS:
            raise UsageError(f"Unknown split {name!r}. Known: {', '.join(SPLITS)}.")
        chosen = self._members(name, held_out=held_out, looks=looks)
        if not chosen.any():
            raise DataError(
                f"The split {name!r} of this data is empty ({len(set(self.identities.tolist()))} identities, "
                f"{held_out:.0%} held out). Prepare more identities, or change data.held_out."
            )
        return np.flatnonzero(chosen)

    def _members(self, name: str, *, held_out: float, looks: bool) -> npt.NDArray[np.bool_]:
        if name == "all":
            return np.ones(len(self), bool)
        unique, inverse = np.unique(self.identities, return_inverse=True)
        chosen = np.array([_hash_share(f"identity {identity}") < held_out for identity in unique], bool)
        outside: npt.NDArray[np.bool_] = np.asarray(chosen[inverse], bool)
        new_look = np.array([any(_hash_share(f"look {look}") < held_out for look in worn) for worn in self.looks], bool)
        if name == "held-out":
            return outside
        if name == "held-out-looks":
            outside &= new_look
            return outside
        return ~outside & ~new_look if looks else ~outside


def _hash_share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def load_prepared(folders: Sequence[str | Path], *, limit: int | None = None) -> PreparedData:
    """Read data folders into memory.

    Args:
        folders: the data folders; they must agree in sites, sizes and template.
        limit: read no more than so many samples of each (a trial run).

    Raises:
        DataError: a folder cannot be read, or two do not fit together.
    """
    if not folders:
        raise UsageError("No data given. Name a folder of prepared data with --data.")
    first, samples, sources = read_index(folders[0]), list[Sample](), []
    for folder in folders:
        index = read_index(folder)
        for name in ("aus", "sites", "crop_size", "input_size", "template"):
            if getattr(index, name) != getattr(first, name):
                raise DataError(
                    f"{folders[0]} and {folder} differ in their {name}. Prepare them alike, or train on one."
                )
        read = _read(folder, index, limit)
        samples += read
        sources.append(_source(folder, index, read))
    sizes = [len(sample.image) for sample in samples]
    return PreparedData(
        index=first,
        sources=tuple(sources),
        buffer=np.frombuffer(b"".join(sample.image for sample in samples), np.uint8),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        intensities=np.stack([sample.intensities for sample in samples]).astype(np.float32),
        centres=np.stack([sample.centres for sample in samples]).astype(np.float32),
        identities=np.asarray([sample.identity for sample in samples]),
        looks=tuple(_looks(sample) for sample in samples),
        keys=tuple(sample.key for sample in samples),
    )


def _read(folder: str | Path, index: ShardIndex, limit: int | None) -> list[Sample]:
    read: list[Sample] = []
    for sample in iter_samples(folder, index):
        if limit is not None and len(read) >= limit:
            break
        read.append(sample)
    if not read:
        raise DataError(f"{folder} holds no samples. Make some with `dsrfau-synth render`.")
    return read


def _looks(sample: Sample) -> tuple[str, ...]:
    """What the face wears, as names with their kind, such as `hair short01`; parts drawn by rule have no name."""
    look = sample.meta.get("look") or {}
    named = look.items() if isinstance(look, dict) else enumerate(look)
    return tuple(f"{kind} {name}" for kind, name in sorted(named) if isinstance(name, str) and name not in ("", _DRAWN))


def _source(folder: str | Path, index: ShardIndex, samples: Sequence[Sample]) -> dict[str, Any]:
    """What the checkpoint records of a data folder."""
    return {
        "kind": index.kind,
        "licence": index.licence,
        "identities": len({sample.identity for sample in samples}),
        "samples": len(samples),
        "index_sha256": hashlib.sha256((Path(folder) / INDEX_NAME).read_bytes()).hexdigest(),
        "generator": dict(index.generator),
    }
