"""Prepared data in memory, one set or several together. No torch: evaluation of a bundle reads the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import ALL_AUS, sites_of
from dsrfau_edge.errors import DataError, UsageError
from dsrfau_edge.shards import INDEX_NAME, Sample, ShardIndex, iter_samples, read_index

from .augment import centre_crop
from .splits import Mask, hashed, held_out

Indices = npt.NDArray[np.intp]
#: What synthesis writes for a part that is drawn by rule: not one look but the absence of a named one.
_DRAWN = "procedural"
SPLITS = ("train", "held-out", "held-out-looks", "all")


@dataclass(frozen=True, slots=True)
class PreparedData:
    """All samples of one or several data folders, pictures still encoded.

    Sets that label different AUs are read with the sites of all; what a set does not label is NaN in its samples.
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
    #: Each sample's own record, as its maker wrote it: rig, pose, look and so on.
    meta: tuple[Mapping[str, Any], ...] = field(repr=False)
    #: Number of the folder each sample is from, `[n]`.
    sets: Indices

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

    def split(self, name: str, *, held_out: float, looks: bool = False, protocol: str = "identities") -> Indices:
        """Positions of a split; which persons it leaves out says the protocol (`splits.PROTOCOLS`).

        With `looks`, a share of the skins, hair styles and so on is held out likewise: training sees none of them.

        Args:
            name: `train`, `held-out`, `held-out-looks` (held-out identities that wear a held-out look) or `all`.
            held_out: share of the identities (and looks) to hold out, 0–1.
            looks: whether looks are held out as well.
            protocol: how the persons to hold out are chosen.

        Raises:
            DataError: the split is empty.
            UsageError: there is no split or protocol of this name.
        """
        if name not in SPLITS:
            raise UsageError(f"Unknown split {name!r}. Known: {', '.join(SPLITS)}.")
        chosen = self._members(name, share=held_out, looks=looks, protocol=protocol)
        if not chosen.any():
            raise DataError(
                f"The split {name!r} of this data is empty ({len(set(self.identities.tolist()))} identities, "
                f"{held_out:.0%} held out, protocol {protocol}). Prepare more identities, or change data.held_out."
            )
        return np.flatnonzero(chosen)

    def _members(self, name: str, *, share: float, looks: bool, protocol: str) -> Mask:
        if name == "all":
            return np.ones(len(self), bool)
        kinds = [self.sources[number]["kind"] for number in self.sets]
        train, outside = held_out(protocol, share, kinds=kinds, identities=self.identities.tolist(), meta=self.meta)
        if name == "held-out":
            return outside
        if name == "train" and not looks:
            return train
        worn = sorted({look for looks_ in self.looks for look in looks_})
        new = {look for look, chosen in zip(worn, hashed("look", worn, share), strict=True) if chosen}
        new_look = np.array([not new.isdisjoint(looks_) for looks_ in self.looks], bool)
        if name == "held-out-looks":
            outside &= new_look
            return outside
        train &= ~new_look
        return train


def load_prepared(folders: Sequence[str | Path], *, limit: int | None = None) -> PreparedData:
    """Read data folders into memory.

    Args:
        folders: the data folders; they must agree in sizes and template, and may differ in their AUs.
        limit: read no more than so many samples of each (a trial run).

    Raises:
        DataError: a folder cannot be read, or two do not fit together.
    """
    if not folders:
        raise UsageError("No data given. Name a folder of prepared data with --data.")
    indices = [read_index(folder) for folder in folders]
    first = _together(folders, indices)
    samples, sources, numbers = list[Sample](), [], list[int]()
    for number, (folder, index) in enumerate(zip(folders, indices, strict=True)):
        read = _read(folder, index, limit)
        samples += read if index.sites == first.sites else _spread(read, index.sites, first.sites)
        sources.append(_source(folder, index, read))
        numbers += [number] * len(read)
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
        meta=tuple(sample.meta for sample in samples),
        sets=np.asarray(numbers, np.intp),
    )


def _together(folders: Sequence[str | Path], indices: Sequence[ShardIndex]) -> ShardIndex:
    """The first set's index with the AUs and sites of all, in the catalogue's order."""
    first = indices[0]
    for folder, index in zip(folders, indices, strict=True):
        for name in ("crop_size", "input_size", "template"):
            if getattr(index, name) != getattr(first, name):
                raise DataError(
                    f"{folders[0]} and {folder} differ in their {name}. Prepare them alike, or train on one."
                )
    if all(index.sites == first.sites and index.aus == first.aus for index in indices):
        return first
    labelled = {au for index in indices for au in index.aus}
    aus = tuple(au for au in ALL_AUS if au in labelled)
    return replace(first, aus=aus, sites=tuple(site.name for site in sites_of(aus)))


def _spread(samples: Sequence[Sample], own: Sequence[str], sites: Sequence[str]) -> list[Sample]:
    """Samples of a set with fewer sites than all: the others are unlabelled, and lie where they change nothing."""
    columns = [sites.index(site) for site in own]
    spread = []
    for sample in samples:
        intensities = np.full(len(sites), np.nan, np.float32)
        centres = np.zeros((len(sites), 2), np.float32)
        intensities[columns], centres[columns] = sample.intensities, sample.centres
        spread.append(replace(sample, intensities=intensities, centres=centres))
    return spread


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
