"""A picture for looking at a prepared set: crops with their sites, each in the colour of its intensity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from dsrfau_edge.action_units import MAX_INTENSITY
from dsrfau_edge.face.images import Image
from dsrfau_edge.shards import Sample, ShardIndex, iter_samples

COUNT, COLUMNS = 24, 6
_TILE, _GAP, _LINE = 220, 6, 18
_BACK, _TEXT, _FAINT = (30, 26, 24), (238, 236, 234), (158, 152, 148)
_BRIGHTEST = 3  # sites named under a crop


def preview(folder: Path, index: ShardIndex) -> bytes:
    """JPEG of samples spread evenly over the set.

    The thin square is what the network sees of a crop without augmentation; a hollow ring is a site without a label.

    Args:
        folder: the set's.
        index: its index, not empty.
    """
    tiles = [_tile(sample, index) for sample in _spread(folder, index)]
    columns = min(COLUMNS, len(tiles))
    tiles += [np.full_like(tiles[0], _BACK)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], 1) for start in range(0, len(tiles), columns)]
    return bytes(cv2.imencode(".jpg", np.concatenate(rows), [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes())


def _spread(folder: Path, index: ShardIndex) -> Iterator[Sample]:
    """Up to `COUNT` samples at even distances; only the shards that hold them are read."""
    places = {int(place) for place in np.linspace(0, index.count - 1, min(COUNT, index.count)).round()}
    first = 0
    for shard in index.shards:
        mine = {place - first for place in places if first <= place < first + shard.count}
        first += shard.count
        if mine:
            for place, sample in enumerate(iter_samples(folder, index, [shard.file])):
                if place in mine:
                    yield sample


def _tile(sample: Sample, index: ShardIndex) -> Image:
    scale = _TILE / index.crop_size
    crop = np.asarray(cv2.imdecode(np.frombuffer(sample.image, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    picture = np.array(cv2.resize(crop, (_TILE, _TILE), interpolation=cv2.INTER_CUBIC), np.uint8)
    room = round((index.crop_size - index.input_size) / 2 * scale)
    cv2.rectangle(picture, (room, room), (_TILE - room - 1, _TILE - room - 1), _FAINT, 1)
    places = np.rint((sample.centres + 0.5) * scale - 0.5).astype(int)
    for order in np.argsort(np.nan_to_num(sample.intensities, nan=-1.0), kind="stable"):  # the strongest on top
        _mark(picture, (int(places[order, 0]), int(places[order, 1])), float(sample.intensities[order]))
    tile = np.full((_TILE + 2 * _LINE + _GAP, _TILE + _GAP, 3), _BACK, np.uint8)
    tile[:_TILE, :_TILE] = picture
    font = cv2.FontFace("sans")
    cv2.putText(tile, sample.identity[-32:], (2, _TILE + _LINE - 4), _FAINT, font, 13, 400)
    cv2.putText(tile, _strongest(sample, index), (2, _TILE + 2 * _LINE - 4), _TEXT, font, 13, 400)
    return tile


def _mark(picture: Image, place: tuple[int, int], intensity: float) -> None:
    if np.isnan(intensity):
        cv2.circle(picture, place, 3, _FAINT, 1, cv2.LINE_AA)
        return
    level = np.array([[round(30 + 200 * min(max(intensity / MAX_INTENSITY, 0), 1))]], np.uint8)  # its ends are dark
    blue, green, red = (int(value) for value in cv2.applyColorMap(level, cv2.COLORMAP_TURBO)[0, 0])
    cv2.circle(picture, place, 4, (blue, green, red), cv2.FILLED, cv2.LINE_AA)
    cv2.circle(picture, place, 4, _BACK, 1, cv2.LINE_AA)


def _strongest(sample: Sample, index: ShardIndex) -> str:
    order = np.argsort(-np.nan_to_num(sample.intensities, nan=-1.0), kind="stable")[:_BRIGHTEST]
    words = [
        f"{index.sites[site].replace('_left', 'L').replace('_right', 'R')} {sample.intensities[site]:.1f}"
        for site in order
        if sample.intensities[site] >= 0.5
    ]
    return "  ".join(words) or "neutral"
