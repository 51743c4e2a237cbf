"""What is fed to the models: crops that rotate, and real frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..face.images import Image
    from ..runtimes.base import Crops

PORTRAIT = Path(__file__).resolve().parents[1] / "assets" / "portrait.jpg"
_MOST = 64
_MOST_BYTES = 512 << 20


def crops_of(bundle: Bundle) -> tuple[Crops, str]:
    """Crops to run through a bundle's model, at most 64, and where they are from.

    Its own calibration crops, evenly chosen; else those of a student that comes with the package and cuts faces out in
    the same way; else smooth noise, which tells the time but little of the accuracy.
    """
    from ..bundle import Bundle, bundled_names

    found = bundle.read_calibration()
    if len(found):
        return _spread(found), "the bundle's own calibration crops"
    for name in bundled_names():
        other = Bundle.open(name, verify=False)
        same = (other.manifest.input_size, other.manifest.template) == (
            bundle.manifest.input_size,
            bundle.manifest.template,
        )
        if same and len(found := other.read_calibration()):
            return _spread(found), f"the calibration crops of {name}, whose faces are cut out in the same way"
    return generated(bundle.manifest.input_size), "generated pictures, not faces: the bundle carries no crops"


def _spread(crops: Crops) -> Crops:
    chosen: Crops = crops[np.linspace(0, len(crops) - 1, min(len(crops), _MOST)).round().astype(int)]
    return chosen


def generated(size: int, count: int = _MOST) -> Crops:
    """Smooth pictures, the same each time: uint8 `[count, size, size, 3]`."""
    random = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, size)[None, :, None]
    rows, columns = (
        np.sin(angles * random.uniform(0.5, 4, (count, 1, 3)) + random.uniform(0, 2 * np.pi, (count, 1, 3)))
        for _ in range(2)
    )
    pictures: Crops = np.clip(127 + 60 * (rows[:, :, None] + columns[:, None]), 0, 255).astype(np.uint8)
    return pictures


def rotation(crops: Crops, batch: int) -> list[Crops]:
    """Inputs of calls `[batch, size, size, 3]` that go through all crops, two at least where there are two crops.

    They are cut out beforehand, so that no call is timed together with a copy. The first `len(crops)` of all that they
    hold, one after another, are the crops in their order.
    """
    count = len(crops)
    calls, step = (-(-count // batch), batch) if count > batch else (min(2, count), 1)
    return [np.ascontiguousarray(crops[(call * step + np.arange(batch)) % count]) for call in range(calls)]


def read_frames(sources: Sequence[str], most: int) -> tuple[list[Image], dict[str, Any]]:
    """Frames of pictures and videos, at most `most` of each, decoded beforehand, and what is to be told of them.

    Raises:
        InputError: a source cannot be read.
    """
    frames: list[Image] = []
    told = []
    digest = hashlib.sha256()
    for source in sources:
        count = 0
        for image in _images(source, most):
            frames.append(image)
            digest.update(str(image.shape).encode() + image.tobytes())
            count += 1
            if sum(frame.nbytes for frame in frames) > _MOST_BYTES:
                raise InputError(
                    f"Decoded, the frames up to number {count} of {source} take more than {_MOST_BYTES >> 20} MiB of "
                    "memory. Take fewer with --frames, or smaller ones."
                )
        told.append({"source": Path(source).name, "frames": count})
    sizes = sorted({f"{frame.shape[1]}x{frame.shape[0]}" for frame in frames})
    return frames, {"sources": told, "sizes": sizes, "sha256": digest.hexdigest()}


def _images(source: str, most: int) -> Iterator[Image]:
    from ..face.images import as_bgr
    from ..stream import open_source

    opened = open_source(source)
    if opened.kind == "live":
        raise InputError(f"{source} gives other frames each time. Record it, and give the file with --video.")
    for frame in islice(opened.frames(), most):
        yield as_bgr(frame.image)
