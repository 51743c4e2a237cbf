"""Prepared renders once more: every shard's hash checked, made smaller if wanted, of one rig alone if wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dsrfau_edge.errors import DataError, UsageError
from dsrfau_edge.shards import Sample, ShardIndex, crop_side, iter_samples, pack_shard, read_index

from .files import require_size
from .plan import OTHER_RIG, Item, Loss, Made, Plan, Task, shard_name

KIND = "rendered"


@dataclass(frozen=True, slots=True)
class ShrinkMaker:
    """Copies shards.

    Attributes:
        source: folder of the set.
        index: of the set.
        size: side of the network's input that the copies are for.
        rig: only faces of this rig; all by default.
        quality: of the crops' JPEG, where they are made smaller.
    """

    source: str
    index: ShardIndex
    size: int
    rig: str | None
    quality: int

    def __call__(self, task: Task, on_pictures: Callable[[int], None]) -> list[Made]:
        """Make a task's shards, each from the one of its number, and tell how many faces were dealt with."""
        made = []
        for number, _ in task.shards:
            entry = self.index.shards[number]
            samples = []
            for sample in iter_samples(self.source, self.index, [entry.file], landmarks=True):
                if self.rig is None or sample.meta.get("rig") == self.rig:
                    samples.append(self._shrunk(sample))
                on_pictures(1)
            lost = entry.count - len(samples)
            gone = (Loss(entry.file, OTHER_RIG, count=lost),) if lost else ()
            made.append(Made(number, pack_shard(shard_name(number), samples) if samples else None, gone))
        return made

    def _shrunk(self, sample: Sample) -> Sample:
        return sample if self.size == self.index.input_size else shrunk(sample, self.index, self.size, self.quality)


def plan(
    source: Path, *, size: int | None = None, rig: str | None = None, limit: int | None = None, quality: int = 95
) -> Plan:
    """What a rendered set gives.

    Args:
        source: folder of the set.
        size: side of the network's input, at most the set's; the set's own by default.
        rig: only faces of this rig.
        limit: stop after the shard with the face of this number.
        quality: of the crops' JPEG, where they are made smaller; those of the set's own size are copied as they are.

    Raises:
        DataError: it is no rendered set, a shard is missing or not the one that was written, or no face is of the rig.
        UsageError: the size is larger than the set's.
    """
    index = read_index(source)
    if index.kind != KIND:
        raise DataError(f"{source} is of the kind {index.kind!r}, not a rendered set. Prepare its own source instead.")
    size = require_size(size or index.input_size)
    if size > index.input_size:
        raise UsageError(f"--size {size} is larger than the set's {index.input_size}: render it at that size instead.")
    verify(source, index)
    tasks, first = [], 0
    for number, shard in enumerate(index.shards):
        if limit is None or first < limit:
            numbers = range(first, first + shard.count)
            items = tuple(Item(item, shard.file, None, "", (), {"sha256": shard.sha256}) for item in numbers)
            tasks.append(Task(((number, items),)))
        first += shard.count
    own = {"size": size, "rig": rig, "limit": limit, "quality": None if size == index.input_size else quality}
    _require_rig(source, index, rig)
    made = replace(
        index,
        crop_size=crop_side(size),
        input_size=size,
        shards=(),
        generator={**index.generator, "prepared": {**own, "from_input_size": index.input_size}},
    )
    return Plan(made, ShrinkMaker(str(source.resolve()), index, size, rig, quality), tuple(tasks), decides=own)


def verify(source: Path, index: ShardIndex) -> None:
    """Compare every shard with its hash.

    Raises:
        DataError: one is missing, or is not the one that was written.
    """
    for shard in index.shards:
        path = source / shard.file
        digest = hashlib.sha256()
        try:
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}. Copy the set again, or render it again.") from error
        if digest.hexdigest() != shard.sha256:
            raise DataError(f"{path} is not what the index says (SHA-256). Copy the set again, or render it again.")


def _require_rig(source: Path, index: ShardIndex, rig: str | None) -> None:
    rigs = index.generator.get("rigs")
    if rig is not None and isinstance(rigs, list) and rig not in rigs:
        raise DataError(f"{source} has no faces of the rig {rig!r}; it has {', '.join(map(str, rigs))}.")


def shrunk(sample: Sample, index: ShardIndex, size: int, quality: int) -> Sample:
    """A sample for a smaller input: picture, centres, landmarks and box follow.

    Args:
        sample: a face of the set.
        index: of the set.
        size: side of the network's input.
        quality: of the JPEG.

    Raises:
        DataError: the picture cannot be decoded.
    """
    image = cv2.imdecode(np.frombuffer(sample.image, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"The picture of sample {sample.key} cannot be decoded. Render the set again.")
    side = crop_side(size)
    scale = side / index.crop_size
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    centres = ((sample.centres + 0.5) * scale - 0.5).astype(np.float32)
    points = sample.landmarks
    if points is not None:
        points = ((points.astype(np.float32) + 0.5) * scale - 0.5).astype(np.float16)
    return replace(sample, image=encoded, centres=centres, landmarks=points, meta=_scaled(sample.meta, scale))


def _scaled(meta: Mapping[str, Any], scale: float) -> Mapping[str, Any]:
    """The record with the face's box (x, y, width, height) in the smaller crop's pixels."""
    box = meta.get("box")
    if not isinstance(box, list) or len(box) != 4:
        return meta
    x, y, width, height = (float(value) for value in box)
    moved = ((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5, width * scale, height * scale)
    return {**meta, "box": [round(value, 1) for value in moved]}
