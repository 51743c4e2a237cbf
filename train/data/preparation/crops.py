"""From pictures to samples: the device's own front end finds the face and cuts the crop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import site_centres, sites_of
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE, AlignmentTemplate
from dsrfau_edge.face.frontend import AlignedFace, FaceFrontEnd
from dsrfau_edge.face.images import Image
from dsrfau_edge.shards import Sample, crop_side, pack_shard

from .pictures import Video, read_still
from .plan import DAMAGED, MISSING, NO_FACE, SEVERAL, UNREADABLE, Item, Loss, Made, Task, shard_name

Told = Callable[[int], None]
Result = Sample | str  # or why there is none


def stored_frame(size: int) -> AlignmentTemplate:
    """The template in the larger frame of stored crops: `DEFAULT_TEMPLATE`'s own frame is its centre `size` pixels."""
    side = crop_side(size)
    room = (side - size) / 2
    points = tuple(((x * size + room) / side, (y * size + room) / side) for x, y in DEFAULT_TEMPLATE.points)
    return AlignmentTemplate(DEFAULT_TEMPLATE.landmarks, points)


@lru_cache(maxsize=1)
def front_end(size: int) -> FaceFrontEnd:
    """A process's front end, with crops as they are stored for inputs of this size."""
    return FaceFrontEnd(stored_frame(size), crop_side(size))


@dataclass(frozen=True, slots=True)
class Crop:
    """The largest face of a picture as it is stored: encoded crop, and FaceMesh's points `[468, 2]` in its pixels."""

    encoded: bytes
    points: npt.NDArray[np.float32]
    face: AlignedFace
    faces: int


def cut(image: Image, size: int, quality: int) -> Crop | None:
    """The crop of a picture's largest face, with the margin, for inputs of side `size`; None where no face is.

    Args:
        image: BGR `[H, W, 3]`.
        size: side of the network's input.
        quality: of the JPEG, 1 to 100.
    """
    found = front_end(size)(image)
    if not found:
        return None
    face = found[0]
    points = face.landmarks.points[:, :2] @ face.matrix[:, :2].T + face.matrix[:, 2]
    encoded = cv2.imencode(".jpg", face.crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return Crop(encoded, points.astype(np.float32), face, len(found))


@dataclass(frozen=True, slots=True)
class CropMaker:
    """Makes shards from pictures and videos.

    Attributes:
        root: folder that the items' paths start from.
        aus: of the set.
        input_size: side of the network's input.
        quality: of the crops' JPEG.
        allow_short: frames that a video may end before its header says so.
    """

    root: str
    aus: tuple[str, ...]
    input_size: int
    quality: int
    allow_short: int = 0

    def __call__(self, task: Task, on_pictures: Told) -> list[Made]:
        """Make a task's shards, and tell how many pictures were dealt with since the last time."""
        items = [item for _, part in task.shards for item in part]
        make = self._stills if items[0].position is None else self._frames
        results = make(items, on_pictures)
        return [_made(number, part, results) for number, part in task.shards]

    def label(self, item: Item, image: Image, face: AlignedFace) -> tuple[tuple[float, ...], dict[str, Any]] | str:
        """Intensities by site and more to record, or why the picture is lost; here those of the plan."""
        del image, face
        return item.intensities, {}

    def _stills(self, items: Sequence[Item], on_pictures: Told) -> dict[int, Result]:
        results: dict[int, Result] = {}
        for item in items:
            results[item.number] = self._result(item, read_still(Path(self.root, item.path)))
            on_pictures(1)
        return results

    def _frames(self, items: Sequence[Item], on_pictures: Told) -> dict[int, Result]:
        """Frames of one video; none of them if it turns out not to be whole."""
        wanted = {item.position: item for item in items if item.position is not None}
        results: dict[int, Result] = {item.number: MISSING for item in items}
        video = Video(Path(self.root, items[0].path), tuple(wanted))
        told = 0
        for position, image in video:
            item = wanted[position]
            results[item.number] = self._result(item, image)
            on_pictures(1)
            told += 1
        on_pictures(len(items) - told)
        return results if video.whole(allowance=self.allow_short) else {item.number: DAMAGED for item in items}

    def _result(self, item: Item, image: Image | None) -> Result:
        return UNREADABLE if image is None else self._sample(item, image)

    def _sample(self, item: Item, image: Image) -> Result:
        crop = cut(image, self.input_size, self.quality)
        if crop is None:
            return NO_FACE
        labelled = self.label(item, image, crop.face)
        if isinstance(labelled, str):
            return labelled
        intensities, more = labelled
        low, high = crop.points.min(0), crop.points.max(0)
        meta = {
            "source": item.path,
            **item.meta,
            **more,
            "box": [round(float(value), 1) for value in (*low, *(high - low))],
            "faces": crop.faces,
            "score": round(crop.face.score * crop.face.landmarks.presence, 3),
        }
        values = np.asarray(intensities, np.float32)
        centres = site_centres(crop.points, sites_of(self.aus))
        points = crop.points.astype(np.float16)
        return Sample(f"{item.number:08d}", crop.encoded, values, centres, item.identity, meta, points)


def _made(number: int, items: Sequence[Item], results: Mapping[int, Result]) -> Made:
    samples, lost = list[Sample](), list[Loss]()
    for item in items:
        result = results[item.number]
        if isinstance(result, str):
            lost.append(Loss(item.path, result, item.meta.get("frame", item.meta.get("line"))))
        else:
            samples.append(result)
    several = sum(sample.meta["faces"] > 1 for sample in samples)
    shard = pack_shard(shard_name(number), samples) if samples else None
    return Made(number, shard, tuple(lost), {SEVERAL: several} if several else {})
