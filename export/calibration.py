"""The crops that int8 is calibrated on, and those it is compared on: the user's own faces, else the source's crops."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..bundle import read_crops
from ..errors import CalibrationError, InputError
from ..runtimes.base import Crops
from .source import Source

_log = logging.getLogger(__name__)

FEW = 100
#: Every so manieth crop is kept out of the calibration, so that the comparison is on faces it has not seen.
_HOLD_OUT_EVERY = 5
_MOST_HELD_OUT = 64
_GENERATED = 32
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationSet:
    """Crops `[n, size, size, 3]` to calibrate on and to compare on, and where they are from.

    Attributes:
        crops: to calibrate on.
        held_out: to compare on.
        origin: where both are from.
        unseen: whether none of `held_out` is among `crops`; too few crops cannot be parted.
    """

    crops: Crops = field(repr=False)
    held_out: Crops = field(repr=False)
    origin: str
    unseen: bool = True

    @property
    def compared_on(self) -> str:
        """What `held_out` is, for reports."""
        return "held-out crops" if self.unseen else "calibration crops (too few to hold any out)"

    def describe(self) -> dict[str, Any]:
        """As stored in the manifest."""
        digest = hashlib.sha256(self.crops.tobytes()).hexdigest()
        held_out = len(self.held_out) if self.unseen else 0
        return {"origin": self.origin, "count": len(self.crops), "held_out": held_out, "sha256": digest}


def load_calibration(
    source: Source, folder: Path | None = None, *, count: int = 300, ready: bool = False
) -> CalibrationSet | None:
    """Crops to calibrate on.

    Args:
        source: the network; its own crops are used where no folder is given.
        folder: pictures of faces; every face found is aligned with the network's template.
        count: at most so many crops, chosen evenly but the same ones each time.
        ready: the pictures are aligned crops of the network's input size already and are taken as they are.

    Returns:
        The crops, or None where neither a folder nor the source has any.

    Raises:
        CalibrationError: the folder holds no usable face, or a picture that is not a crop where crops were announced.
    """
    if count < 1:
        raise CalibrationError(f"--calib-count {count} leaves nothing to calibrate on. Give 1 or more; 300 is usual.")
    # A share is held out of what is used, so more must be found than is used.
    wanted = count + min(max(count // (_HOLD_OUT_EVERY - 1), 1), _MOST_HELD_OUT)
    if folder is not None:
        crops, origin = _from_folder(source, folder, wanted, ready=ready), "the user's pictures"
    elif source.calibration is not None:
        crops, origin = _spread(read_crops(source.calibration, source.input_size), wanted), f"carried by {source.name}"
    else:
        return None
    if not len(crops):
        raise CalibrationError("The calibration set holds no crops. Give pictures of faces with --calib DIR.")
    used, held_out = _split(crops)
    return CalibrationSet(used[:count], held_out, origin, unseen=len(crops) >= _HOLD_OUT_EVERY)


def generated_crops(size: int) -> Crops:
    """Smooth noise to compare on where there are no faces, the same each time: `[32, size, size, 3]`."""
    random = np.random.default_rng(0)
    crops = []
    for _ in range(_GENERATED):
        layers = [
            cv2.resize(random.normal(0, 30, (cells, cells, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
            for cells in (2, 4, 8, 16)
        ]
        crops.append(np.clip(127 + np.sum(layers, axis=0), 0, 255).astype(np.uint8))
    return np.stack(crops)


def in_batches(crops: Crops, batch: int) -> Iterator[Crops]:
    """Batches `[batch, size, size, 3]` of all crops; the last one is filled up from the start of the set."""
    for first in range(0, len(crops), batch):
        yield crops[np.arange(first, first + batch) % len(crops)]


def _split(crops: Crops) -> tuple[Crops, Crops]:
    if len(crops) < _HOLD_OUT_EVERY:
        return crops, crops
    held = np.arange(len(crops)) % _HOLD_OUT_EVERY == _HOLD_OUT_EVERY - 1
    held &= np.cumsum(held) <= _MOST_HELD_OUT
    return crops[~held], crops[held]


def _spread(crops: Crops, count: int) -> Crops:
    """At most `count` crops, evenly spaced, since neighbours in an archive are often the same person."""
    if len(crops) <= count:
        return crops
    chosen: Crops = crops[np.linspace(0, len(crops) - 1, count).round().astype(int)]
    return chosen


def _from_folder(source: Source, folder: Path, count: int, *, ready: bool) -> Crops:
    if not folder.is_dir():
        raise CalibrationError(f"{folder} is not a folder. Give --calib a folder with pictures of faces.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file())
    if not paths:
        raise CalibrationError(f"{folder} holds no pictures ({', '.join(sorted(PICTURES))}). Give pictures of faces.")
    order = np.random.default_rng(0).permutation(len(paths))
    shuffled = [paths[index] for index in order]
    found = _ready_crops(source, shuffled) if ready else _aligned_crops(source, shuffled)
    crops = [crop for crop, _ in zip(found, range(count), strict=False)]
    if not crops:
        raise CalibrationError(
            f"None of the {len(paths)} pictures in {folder} shows a face that is found. Give clear pictures of faces, "
            f"or say --calib-crops if they are aligned crops of {source.input_size}x{source.input_size} pixels already."
        )
    return np.stack(crops)


def _aligned_crops(source: Source, paths: list[Path]) -> Iterator[Crops]:
    from ..face.alignment import AlignmentTemplate
    from ..face.frontend import FaceFrontEnd
    from ..face.images import read_image

    front_end = FaceFrontEnd(AlignmentTemplate.from_dict(source.template), source.input_size)
    for path in paths:
        try:
            faces = front_end(read_image(path))
        except InputError as error:
            _log.warning("%s is left out of the calibration: %s", path, error)
            continue
        if not faces:
            _log.info("%s is left out of the calibration: no face is found in it.", path)
        yield from (face.crop for face in faces)


def _ready_crops(source: Source, paths: list[Path]) -> Iterator[Crops]:
    from ..face.images import read_image

    size = source.input_size
    for path in paths:
        try:
            crop = read_image(path)
        except InputError as error:
            raise CalibrationError(f"{path} cannot be read as a calibration crop: {error}") from error
        if crop.shape != (size, size, 3):
            raise CalibrationError(
                f"{path} has {crop.shape[1]}x{crop.shape[0]} pixels, and a crop for this network has {size}x{size}. "
                "Leave out --calib-crops to have faces found and aligned."
            )
        yield crop
