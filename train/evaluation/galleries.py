"""Crops to look at: the worst of each AU, and where the heatmaps are on the face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import CATALOGUE, MAX_INTENSITY, PRESENCE_THRESHOLD

from .evaluation import Evaluation
from .pooling import Image, Values
from .subjects import open_session

_TILE, _GAP, _LINE, _LEFT = 132, 6, 16, 150
_BACK, _TEXT, _FAINT = (30, 26, 24), (238, 236, 234), (165, 158, 152)
_TOO_LOW, _TOO_HIGH = (235, 180, 70), (90, 150, 245)  # BGR: blue and orange
_SIZE = 13
_WORST, _FACES, _SITES, _LIVELY = 7, 8, 7, 5
_OPACITY, _DIMMED = 0.85, 0.8


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture, two lines under it, and the colour of the second."""

    picture: Image
    first: str
    second: str
    colour: tuple[int, int, int] = _FAINT


def worst(labels: Values, predictions: Values, identities: npt.NDArray[np.str_], count: int) -> list[int]:
    """Samples with the largest differences of `[n]` labels (NaN = unlabelled), largest first, one of each identity."""
    apart = np.abs(predictions - labels)
    chosen: dict[str, int] = {}
    for number in np.argsort(-apart, kind="stable"):
        if len(chosen) == count or np.isnan(apart[number]):
            break
        chosen.setdefault(str(identities[number]), int(number))
    return list(chosen.values())


def failures(found: Evaluation) -> bytes:
    """PNG: a row of each AU's worst crops, of different persons, with label and prediction."""
    pooled = found.pooled
    labels = np.clip(pooled.labels, 0, MAX_INTENSITY)
    predictions = np.clip(pooled.predictions(), 0, MAX_INTENSITY)
    rows = []
    for column, au in enumerate(pooled.common.aus):
        tiles = [
            _failure(pooled.crop(number), labels[number, column], predictions[number, column])
            for number in worst(labels[:, column], predictions[:, column], pooled.identities, _WORST)
        ]
        rows.append(((au, CATALOGUE[au].title), tiles))
    return _sheet(rows, "the worst crops of each AU, one of a person; label → prediction", _WORST)


def _failure(crop: Image, label: float, prediction: float) -> Tile:
    high = prediction > label
    return Tile(
        crop, f"{label:.1f} → {prediction:.1f}", f"{abs(prediction - label):.1f} too {'high' if high else 'low'}",
        _TOO_HIGH if high else _TOO_LOW,
    )  # fmt: skip


def lively(labels: Values, identities: npt.NDArray[np.str_], count: int, seed: int) -> list[int]:
    """Samples drawn from those with most AUs present, one of each identity; five AUs are as good as more."""
    order = np.random.default_rng([seed, 1]).permutation(len(labels))
    present = np.minimum((np.nan_to_num(labels) >= PRESENCE_THRESHOLD).sum(1), _LIVELY)
    chosen: dict[str, int] = {}
    for number in order[np.argsort(-present[order], kind="stable")]:
        if len(chosen) == count:
            break
        chosen.setdefault(str(identities[number]), int(number))
    return list(chosen.values())


def heatmaps(found: Evaluation) -> bytes:
    """PNG: faces with the heatmaps of their strongest sites by label; a ring marks the site's centre."""
    pooled, sites = found.pooled, found.pooled.common.sites
    numbers = lively(pooled.labels, pooled.identities, _FACES, found.request.seed)
    maps = _maps(found, numbers)
    columns = [pooled.data.index.sites.index(site) for site in sites]
    labels, predictions = pooled.site_labels, pooled.views[""]
    rows = []
    for number in numbers:
        crop, centres = pooled.data.frame(int(pooled.positions[number]))
        tiles = [Tile(crop, "", "")]
        for column in strongest(labels[number], _SITES):
            picture = _overlaid(crop, maps[number][column], centres[columns[column]])
            text = f"{labels[number, column]:.1f} → {predictions[number, column]:.1f}"
            tiles.append(Tile(picture, sites[column].replace("_", " "), text, _TEXT))
        rows.append((_about(pooled.identities[number]), tiles))
    return _sheet(rows, "heatmaps of the strongest sites; label → prediction; ring: where the site is", _SITES + 1)


def strongest(labels: Values, count: int) -> list[int]:
    """Columns of the highest of `[S]` labels, highest first, without those that are not labelled."""
    order = np.argsort(-labels, kind="stable")  # NaN comes last
    return [int(column) for column in order[:count] if not np.isnan(labels[column])]


def _about(identity: str) -> tuple[str, str]:
    return ("", str(identity))


def _maps(found: Evaluation, numbers: Sequence[int]) -> dict[int, npt.NDArray[np.float32]]:
    """Heatmaps `[S, h, h]` of chosen samples, each from the model that predicted it, in the order of the sites."""
    pooled, request = found.pooled, found.request
    maps: dict[int, npt.NDArray[np.float32]] = {}
    for model, ran in enumerate(found.ran):
        mine = [number for number in numbers if pooled.model[number] == model]
        if not mine:
            continue
        columns = [ran.subject.sites.index(site) for site in pooled.common.sites]
        opened = open_session(
            ran.subject,
            request.runtime,
            request.device,
            precision=request.precision,
            threads=request.threads,
            heatmaps=True,
        )
        try:
            found_maps = opened.session.infer(np.stack([pooled.crop(number) for number in mine])).heatmaps
        finally:
            opened.session.close()
        if found_maps is not None:
            maps.update(zip(mine, found_maps[:, columns], strict=True))
    return maps


def _overlaid(crop: Image, heat: npt.NDArray[np.float32], centre: npt.NDArray[np.float32]) -> Image:
    """A crop, enlarged to a tile and dimmed, under its heatmap, whose opacity is its value."""
    dim = cv2.cvtColor(cv2.cvtColor(_fitted(crop), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    picture = _DIMMED * dim.astype(np.float32)
    level = np.clip(cv2.resize(heat, (_TILE, _TILE), interpolation=cv2.INTER_LINEAR) / MAX_INTENSITY, 0, 1)
    colours = cv2.applyColorMap(np.rint(level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    opacity = (_OPACITY * np.sqrt(level))[:, :, None]
    mixed = np.asarray(np.rint(picture * (1 - opacity) + colours * opacity), np.uint8)
    x, y = ((centre + 0.5) * (_TILE / crop.shape[0]) - 0.5).tolist()
    cv2.circle(mixed, (round(x * 8), round(y * 8)), 11 * 8, (120, 230, 120), 1, cv2.LINE_AA, 3)
    return mixed


def _fitted(picture: Image) -> Image:
    method = cv2.INTER_AREA if picture.shape[0] > _TILE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (_TILE, _TILE), interpolation=method), np.uint8)


def _sheet(rows: Sequence[tuple[tuple[str, str], Sequence[Tile]]], title: str, columns: int) -> bytes:
    """Rows of tiles with two words on their left, as PNG."""
    font = cv2.FontFace("sans")
    height = _TILE + 2 * _LINE + 2 * _GAP
    top = 2 * _LINE
    canvas = np.full((top + len(rows) * height, _LEFT + columns * (_TILE + _GAP), 3), _BACK, np.uint8)

    def write(text: str, x: int, y: int, colour: tuple[int, int, int], size: int = _SIZE) -> None:
        cv2.putText(canvas, text, (x, y), colour, font, size, 450)

    write(title, _GAP, _LINE + 4, _FAINT)
    for row, ((name, about), tiles) in enumerate(rows):
        y = top + row * height
        write(name, _GAP, y + _LINE, _TEXT, 15)
        for line, words in enumerate(_wrap(about, font)):
            write(words, _GAP, y + (2 + line) * _LINE, _FAINT, 12)
        for column, tile in enumerate(tiles):
            x = _LEFT + column * (_TILE + _GAP)
            canvas[y : y + _TILE, x : x + _TILE] = _fitted(tile.picture)
            write(tile.first, x, y + _TILE + _LINE - 2, _TEXT)
            write(tile.second, x, y + _TILE + 2 * _LINE - 2, tile.colour)
    return cv2.imencode(".png", canvas)[1].tobytes()


def _wrap(text: str, font: cv2.FontFace) -> list[str]:
    """Lines that fit beside the tiles, broken at spaces and hyphens."""
    lines: list[str] = []
    for word in text.replace("-", "- ").replace("_", "_ ").split():
        longer = f"{lines[-1]}{'' if lines[-1][-1] in '-_' else ' '}{word}" if lines else word
        if lines and cv2.getTextSize((0, 0), longer, (0, 0), font, 12, 450)[2] <= _LEFT - 2 * _GAP:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
