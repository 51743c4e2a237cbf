"""Labelled crops for the accuracy gate: what the conversion cost in agreement with people, not only with fp32."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError
from ..metrics import sites_to_aus
from ..runtimes.base import Crops, Floats
from ..shards import Sample, ShardIndex, iter_samples, read_index
from .source import Source


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCrops:
    """Crops `[n, size, size, 3]`, their intensities by AU `[n, A]` (NaN = unlabelled) in the order of the network's.

    Attributes:
        crops: BGR uint8.
        labels: intensities 0..5.
        origin: where they are from.
    """

    crops: Crops = field(repr=False)
    labels: Floats = field(repr=False)
    origin: str


def load_labelled(source: Source, folder: Path, *, count: int = 1000) -> LabelledCrops:
    """At most `count` crops of a folder of prepared data, evenly spread over it.

    Raises:
        DataError: it is no prepared data, or was prepared for another size, alignment or other AUs.
    """
    index = read_index(folder)
    _check_fit(source, folder, index)
    wanted = set(np.linspace(0, index.count - 1, min(count, index.count)).round().astype(int).tolist())
    chosen = [sample for place, sample in enumerate(iter_samples(folder, index)) if place in wanted]
    if not chosen:
        raise DataError(f"{folder} holds no samples. Give --gate-data a folder of dsrfau-train prepare that does.")
    labels = sites_to_aus(np.stack([sample.intensities for sample in chosen]), index.sites, source.aus)
    if np.isnan(labels).all():
        raise DataError(f"{folder} labels none of the network's AUs ({', '.join(source.aus)}). Give other --gate-data.")
    crops = np.stack([_frame(sample, index, folder) for sample in chosen])
    return LabelledCrops(crops, labels.astype(np.float32), f"{index.kind} data, {len(chosen)} crops")


def _check_fit(source: Source, folder: Path, index: ShardIndex) -> None:
    if index.input_size != source.input_size:
        raise DataError(
            f"{folder} holds crops for an input of {index.input_size} pixels, and {source.name} takes "
            f"{source.input_size}. Prepare the data again with --size {source.input_size}."
        )
    if dict(index.template) != dict(source.template):
        raise DataError(
            f"{folder} was aligned otherwise than {source.name} was trained. Prepare the data again with this version."
        )


def _frame(sample: Sample, index: ShardIndex, folder: Path) -> Crops:
    """The network's view of a stored crop, which has room for augmentation around it."""
    picture = cv2.imdecode(np.frombuffer(sample.image, np.uint8), cv2.IMREAD_COLOR)
    side, size = index.crop_size, index.input_size
    if picture is None or picture.shape != (side, side, 3):
        raise DataError(f"Sample {sample.key} of {folder} is no picture of {side}x{side} pixels. Prepare it again.")
    first = (side - size) // 2
    view: Crops = picture[first : first + size, first : first + size].astype(np.uint8, copy=False)
    return view
