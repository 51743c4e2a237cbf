"""Pictures for looking at rendered faces: a contact sheet with labels, and ladders of one AU from 0 to 5."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import ALL_AUS, CATALOGUE, MAX_INTENSITY, Side, Site, canonical_au, sites_of
from dsrfau_edge.errors import DataError, UsageError
from dsrfau_edge.shards import Sample, iter_samples, read_index

from .faces import Face, FaceFactory
from .scene import Scene, draw_scene

Image = npt.NDArray[np.uint8]
SHOWN = 0.5  # labels below are not written under a face
STEPS = tuple(float(level) for level in range(int(MAX_INTENSITY) + 1))
_TILE, _GAP, _LINE = 176, 6, 17
_BACK, _TEXT, _FAINT = (30, 26, 24), (238, 236, 234), (178, 170, 165)
_SIZE, _HEAD = 13, 15  # of letters, in pixels
_FRAME = 0.66  # part of a rendered picture's side that a ladder shows: the face without the surroundings


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture with what stands under it: a faint line on whose it is, and lines of labels."""

    picture: Image
    about: str
    labels: str


def calm(rng: np.random.Generator, *, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Scene:
    """A drawn scene from a middle distance, with a given turn, the eyes straight ahead and nothing before the face."""
    drawn = draw_scene(rng)
    return dataclasses.replace(
        drawn, yaw=float(yaw), pitch=float(pitch), roll=float(roll), distance=9.0, gaze=(0.0, 0.0), occluder=None
    )


def compact(sites: Sequence[Site], intensities: Sequence[float] | npt.NDArray[np.float32]) -> str:
    """Labels of `SHOWN` and more: `12 3.1` where the sides are alike, `4 L2.0 R0.6` where they differ."""
    values: dict[str, dict[str, float]] = {}
    for site, value in zip(sites, intensities, strict=True):
        values.setdefault(site.au, {})[site.side] = float(value)
    words = []
    for au, sides in values.items():
        known = [value for value in sides.values() if not np.isnan(value)]
        if not known or max(known) < SHOWN:
            continue
        number = int(au.removeprefix("AU"))
        if max(known) - min(known) < SHOWN:
            words.append(f"{number} {np.mean(known):.1f}")
        else:
            words.append(f"{number} L{sides['left']:.1f} R{sides['right']:.1f}")
    return " · ".join(words) or "neutral"


def pick(folder: str | Path, count: int, seed: int) -> Iterator[Tile]:
    """Faces drawn from all shards of a set, the same for the same seed; one shard is open at a time.

    Raises:
        DataError: there is no such set, it is damaged, or it is empty.
    """
    index = read_index(folder)
    if index.count == 0:
        raise DataError(f"{folder} holds no faces. Render some with `dsrfau-synth render`.")
    chosen = np.random.default_rng(seed).choice(index.count, min(count, index.count), replace=False)
    wanted, first = {int(number) for number in chosen}, 0
    sites = _known_sites(index.sites)
    for shard in index.shards:
        mine = {number - first for number in wanted if first <= number < first + shard.count}
        first += shard.count
        if mine:
            for place, sample in enumerate(iter_samples(folder, index, [shard.file])):
                if place in mine:
                    yield tile_of(sample, sites)


def _known_sites(names: Sequence[str]) -> tuple[Site, ...]:
    by_name = {site.name: site for site in sites_of(ALL_AUS)}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise DataError(f"The set has sites this version does not know: {', '.join(unknown)}. Render it again.")
    return tuple(by_name[name] for name in names)


def tile_of(sample: Sample, sites: Sequence[Site]) -> Tile:
    """A stored face.

    Raises:
        DataError: its picture cannot be decoded.
    """
    crop = cv2.imdecode(np.frombuffer(sample.image, np.uint8), cv2.IMREAD_COLOR)
    if crop is None:
        raise DataError(f"The picture of sample {sample.key} cannot be decoded. Prepare the data again.")
    rig = str(sample.meta.get("rig", ""))
    about = sample.identity if sample.identity.startswith(rig) else f"{rig} {sample.identity}"
    return Tile(np.asarray(crop, np.uint8), about, compact(sites, sample.intensities))


def sheet(tiles: Iterable[Tile], *, columns: int = 6) -> Image:
    """Contact sheet, row by row; a row is as high as its longest labels need.

    Raises:
        DataError: there are no tiles.
    """
    held = list(tiles)
    if not held:
        raise DataError("There are no faces to put on a sheet. Ask for at least one.")
    columns = min(columns, len(held))
    font = cv2.FontFace("sans")
    rows = []
    for start in range(0, len(held), columns):
        row = held[start : start + columns]
        lines = [[_clip(tile.about, font), *_wrap(tile.labels, font)] for tile in row]
        height = _TILE + max(map(len, lines)) * _LINE + 2 * _GAP
        strip = np.full((height, columns * (_TILE + _GAP) + _GAP, 3), _BACK, np.uint8)
        for place, (tile, text) in enumerate(zip(row, lines, strict=True)):
            left = _GAP + place * (_TILE + _GAP)
            strip[_GAP : _GAP + _TILE, left : left + _TILE] = _fitted(tile.picture)
            for number, line in enumerate(text):
                y = _GAP + _TILE + (number + 1) * _LINE - 4
                _write(strip, line, left, y, _FAINT if number == 0 else _TEXT, font)
        rows.append(strip)
    return np.concatenate(rows)


def parse_aus(text: str) -> tuple[str, ...]:
    """`all`, or one AU in any of the usual spellings.

    Raises:
        UsageError: there is no such AU; all of them are named.
    """
    return ALL_AUS if text.strip().lower() == "all" else (canonical_au(text),)


def ladder_sites(au: str, side: str) -> tuple[str, ...]:
    """Names of the sites a ladder drives: of one side or `both`.

    Raises:
        UsageError: the AU lies on the midline.
    """
    sites = CATALOGUE[au].sites
    if side == "both":
        return tuple(site.name for site in sites)
    chosen = tuple(site.name for site in sites if site.side == side)
    if not chosen:
        raise UsageError(f"{au} lies on the midline and has no {side} side. Leave --side out.")
    return chosen


def ladder(factory: FaceFactory, aus: Sequence[str], *, faces: int, seed: int, side: Side | str = "both") -> Image:
    """Intensity 0 to 5 from left to right; rows are people for one AU, or the AUs of one person for several.

    A row keeps person, look, light and pose; only the intensity differs.

    Raises:
        UsageError: a side was asked for that an AU does not have.
    """
    if len(aus) == 1:
        plans = [(number, aus[0], ladder_sites(aus[0], side)) for number in range(faces)]
    else:  # all on one person: those on the midline are shown whatever the side
        plans = [(0, au, ladder_sites(au, side if len(CATALOGUE[au].sites) > 1 else "both")) for au in aus]
    rows = []
    for number, au, sites in plans:
        person = factory.person(number)
        scene = calm(np.random.default_rng([seed, 4, number]), yaw=-8.0, pitch=2.0)
        pictures = [
            framed(factory.face(person, np.random.default_rng([seed, 5, number]), intensities=asked, scene=scene))
            for asked in (dict.fromkeys(sites, level) for level in STEPS)
        ]
        about = (CATALOGUE[au].title,) if len(aus) > 1 else (person.identity.name,)
        rows.append((pictures, (au, *about)))
    title = "both sides" if side == "both" else f"the person's {side}"
    return _table(rows, [f"{level:.0f}" for level in STEPS], title)


def framed(face: Face) -> Image:
    """The middle of a rendered picture."""
    side = face.picture.shape[0]
    margin = round(side * (1 - _FRAME) / 2)
    return face.picture[margin : side - margin, margin : side - margin]


def _table(rows: Sequence[tuple[Sequence[Image], Sequence[str]]], heads: Sequence[str], title: str) -> Image:
    """Rows of pictures with a label on the left, under column heads."""
    font = cv2.FontFace("sans")
    texts = [[line for part in label for line in _wrap(part, font, _TILE - 30)] for _, label in rows]
    left = _GAP + max(_width(line, font) for text in texts for line in text) + 2 * _GAP
    left = max(left, _width(title, font) + 3 * _GAP)
    top = 2 * _LINE
    size = (top + len(rows) * (_TILE + _GAP), left + len(heads) * (_TILE + _GAP), 3)
    canvas = np.full(size, _BACK, np.uint8)
    _write(canvas, title, _GAP, _LINE + 4, _FAINT, font)
    for column, head in enumerate(heads):
        x = left + column * (_TILE + _GAP) + (_TILE - _width(head, font, _HEAD)) // 2
        _write(canvas, head, x, _LINE + 4, _TEXT, font, _HEAD)
    for row, ((pictures, _), text) in enumerate(zip(rows, texts, strict=True)):
        y = top + row * (_TILE + _GAP)
        for number, line in enumerate(text):
            _write(canvas, line, _GAP, y + _LINE + number * _LINE, _FAINT if number else _TEXT, font)
        for column, picture in enumerate(pictures):
            x = left + column * (_TILE + _GAP)
            canvas[y : y + _TILE, x : x + _TILE] = _fitted(picture)
    return canvas


def _fitted(picture: Image) -> Image:
    method = cv2.INTER_AREA if picture.shape[0] > _TILE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (_TILE, _TILE), interpolation=method), np.uint8)


def _write(
    canvas: Image, text: str, x: int, y: int, colour: tuple[int, int, int], font: cv2.FontFace, size: int = _SIZE
) -> None:
    cv2.putText(canvas, text, (x, y), colour, font, size, 450)


def _width(text: str, font: cv2.FontFace, size: int = _SIZE) -> int:
    return int(cv2.getTextSize((0, 0), text, (0, 0), font, size, 450)[2])


def _wrap(text: str, font: cv2.FontFace, room: int = _TILE) -> list[str]:
    """Lines that fit into a tile's width, broken between labels, or else between words."""
    separator = " · " if " · " in text else " "
    lines: list[str] = []
    for word in text.split(separator):
        longer = f"{lines[-1]}{separator}{word}" if lines else word
        if lines and _width(longer, font) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _clip(text: str, font: cv2.FontFace) -> str:
    while len(text) > 1 and _width(text, font) > _TILE:
        text = f"{text[:-2]}…"
    return text
