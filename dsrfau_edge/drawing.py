"""The annotated picture: boxes and heatmaps on the faces, and beside them a bar per AU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .action_units import CATALOGUE, MAX_INTENSITY
from .face.images import Image, as_bgr
from .results import Face

_HEIGHTS = (640, 1080)  # a picture is scaled to lie between these, so that bars and letters stay readable beside it
_PANEL = 400
_MARGIN = 18
_HEADER = 46
_TILE = 86
#: BGR. One accent per face, in turn; values of one face wear its colour everywhere.
_ACCENTS = ((235, 180, 70), (90, 170, 245), (130, 205, 110), (215, 130, 205), (100, 215, 225))
_BACK, _TRACK, _TEXT, _FAINT = (30, 26, 24), (62, 56, 52), (238, 236, 234), (158, 152, 148)
_FULL_HEAT = 0.65  # opacity of a heatmap's peak of intensity 5


@dataclass(slots=True)
class _Pen:
    """Text of one size after another on one picture; a font is not shared, since OpenCV caches glyphs in it."""

    canvas: Image
    font: cv2.FontFace

    def text(
        self, words: str, x: float, y: float, size: int, colour: tuple[int, int, int], *, bold: bool = False
    ) -> None:
        cv2.putText(self.canvas, words, (round(x), round(y)), colour, self.font, size, 650 if bold else 400)

    def width(self, words: str, size: int, *, bold: bool = False) -> int:
        return int(cv2.getTextSize((0, 0), words, (0, 0), self.font, size, 650 if bold else 400)[2])

    def right(self, words: str, x: float, y: float, size: int, colour: tuple[int, int, int]) -> None:
        self.text(words, x - self.width(words, size), y, size, colour)


def annotate(image: npt.NDArray[np.uint8], faces: Sequence[Face], *, aus: Sequence[str] | None = None) -> Image:
    """Draw faces on a copy of the picture they were found in.

    Args:
        image: the picture.
        faces: of that picture; heatmaps are drawn where a face has them.
        aus: the AUs to show; by default those of the first face. Give them for video, so that every frame has the same
            size, also one without faces.

    Returns:
        A new picture, BGR uint8; its size depends on the size of `image` and the number of AUs alone.
    """
    shown = list(aus if aus is not None else faces[0].aus if faces else ())
    picture = as_bgr(image)
    row = 25
    wanted = max(_HEADER + row * len(shown) + 3 * _MARGIN + _TILE, _HEIGHTS[0])
    height = round(np.clip(picture.shape[0], wanted, max(wanted, _HEIGHTS[1])))
    scale = min(height / picture.shape[0], 2 * _HEIGHTS[1] / picture.shape[1])
    scaled = _scaled(picture, scale)
    for face in reversed(faces):  # the largest on top
        if face.heatmaps:
            _blend_heatmaps(scaled, face, scale, shown)
    pen = _Pen(scaled, cv2.FontFace("sans"))
    for face in reversed(faces):
        _draw_box(pen, face, scale)
    # Even sides, which video codecs ask for.
    canvas = np.full((height + height % 2, scaled.shape[1] + _PANEL + scaled.shape[1] % 2, 3), _BACK, np.uint8)
    top = (height - scaled.shape[0]) // 2
    canvas[top : top + scaled.shape[0], : scaled.shape[1]] = scaled
    pen.canvas = canvas
    _draw_panel(pen, picture, faces, shown, left=scaled.shape[1] + _MARGIN, row=row)
    return canvas


def _scaled(picture: Image, scale: float) -> Image:
    size = (max(round(picture.shape[1] * scale), 1), max(round(picture.shape[0] * scale), 1))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.array(cv2.resize(picture, size, interpolation=method), np.uint8)


def _draw_box(pen: _Pen, face: Face, scale: float) -> None:
    colour = _ACCENTS[face.id % len(_ACCENTS)]
    x0, y0, x1, y1 = (round(value * scale) for value in face.box)
    arm = max(min(x1 - x0, y1 - y0) // 5, 4)
    for x, y, dx, dy in ((x0, y0, arm, arm), (x1, y0, -arm, arm), (x0, y1, arm, -arm), (x1, y1, -arm, -arm)):
        corner = np.array([[x + dx, y], [x, y], [x, y + dy]], np.int32)
        cv2.polylines(pen.canvas, [corner], isClosed=False, color=colour, thickness=3, lineType=cv2.LINE_AA)
    flags = " ".join(face.quality.flags).replace("_", " ")
    label = f"face {face.id}" + (f", {flags}" if flags else "")
    size = 15
    width = pen.width(label, size, bold=True)
    x0 = max(min(x0, pen.canvas.shape[1] - width - 12), 0)
    y0 = max(y0 - 8, 22)
    cv2.rectangle(pen.canvas, (x0, y0 - 18), (x0 + width + 12, y0 + 4), colour, cv2.FILLED)
    pen.text(label, x0 + 6, y0 - 2, size, _BACK, bold=True)


def _blend_heatmaps(scaled: Image, face: Face, scale: float, aus: Sequence[str]) -> None:
    """Lay the strongest of a face's maps over the picture, each map's opacity being its intensity."""
    maps = [heat for site, heat in (face.heatmaps or {}).items() if site.split("_")[0] in aus]
    if not maps:
        return
    strongest = np.clip(np.max(maps, axis=0) / MAX_INTENSITY, 0, 1).astype(np.float32)
    cell = face.crop_size / strongest.shape[0]
    # Grid to crop (g = (x + 0.5) / cell - 0.5), crop to picture, picture to its scaled copy; all in pixel centres.
    to_crop = np.array([[cell, 0, cell / 2 - 0.5], [0, cell, cell / 2 - 0.5], [0, 0, 1]])
    to_picture = np.vstack([cv2.invertAffineTransform(face.matrix), [0, 0, 1]])
    to_scaled = np.array([[scale, 0, scale / 2 - 0.5], [0, scale, scale / 2 - 0.5], [0, 0, 1]])
    matrix = (to_scaled @ to_picture @ to_crop)[:2]
    size = (scaled.shape[1], scaled.shape[0])
    heat = cv2.warpAffine(strongest, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    rows, columns = np.flatnonzero(heat.max(1) > 0.01), np.flatnonzero(heat.max(0) > 0.01)
    if not rows.size or not columns.size:
        return
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scaled[part] = _mix(scaled[part], heat[part])


def _mix(picture: Image, heat: npt.NDArray[np.float32]) -> Image:
    """Colour a picture by heat 0 to 1."""
    colours = cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    opacity = (_FULL_HEAT * np.sqrt(heat))[:, :, None]
    return np.asarray(np.rint(picture * (1 - opacity) + colours * opacity), np.uint8)


def _draw_panel(pen: _Pen, picture: Image, faces: Sequence[Face], aus: Sequence[str], *, left: int, row: int) -> None:
    height = pen.canvas.shape[0]
    block = _HEADER + row * len(aus) + _MARGIN
    room = max((height - _MARGIN) // block, 1) if aus else 0
    if not faces:
        pen.text("no face found", left, _MARGIN + 20, 20, _FAINT)
    for index, face in enumerate(faces[:room]):
        _draw_bars(pen, face, aus, (left, _MARGIN + index * block), row)
    used = _MARGIN + min(len(faces), room) * block
    if len(faces) > room:
        pen.text(f"and {len(faces) - room} more", left, height - _MARGIN // 2, 14, _FAINT)
    if faces and faces[0].heatmaps and height - used >= _TILE + _MARGIN:
        _draw_gallery(pen, picture, faces[0], aus, (left, used))


def _draw_bars(pen: _Pen, face: Face, aus: Sequence[str], corner: tuple[int, int], row: int) -> None:
    left, top = corner
    right = left + _PANEL - 2 * _MARGIN
    accent = _ACCENTS[face.id % len(_ACCENTS)]
    pen.text(f"face {face.id}", left, top + 20, 19, accent, bold=True)
    pen.right(f"confidence {face.confidence:.2f}", right, top + 20, 14, _FAINT)
    letters = face.letters
    start, end = left + 188, right - 62
    for index, au in enumerate(aus):
        base = top + _HEADER + index * row
        value, present = face.aus[au], bool(letters[au])
        pen.text(au, left, base + 12, 14, _TEXT if present else _FAINT, bold=present)
        pen.text(CATALOGUE[au].title, left + 46, base + 12, 13, _TEXT if present else _FAINT)
        cv2.rectangle(pen.canvas, (start, base + 1), (end, base + 13), _TRACK, cv2.FILLED)
        tip = start + round((end - start) * value / MAX_INTENSITY)
        shade = accent if present else tuple(round(0.45 * channel + 30) for channel in accent)
        if tip > start:
            cv2.rectangle(pen.canvas, (start, base + 1), (tip, base + 13), shade, cv2.FILLED)
        for step in range(1, math.ceil(MAX_INTENSITY)):
            x = start + round((end - start) * step / MAX_INTENSITY)
            cv2.line(pen.canvas, (x, base + 1), (x, base + 13), _BACK, 1)
        pen.right(f"{value:.1f}", right - 22, base + 12, 14, _TEXT if present else _FAINT)
        pen.text(letters[au], right - 12, base + 12, 14, accent, bold=True)


def _draw_gallery(pen: _Pen, picture: Image, face: Face, aus: Sequence[str], corner: tuple[int, int]) -> None:
    """Heatmaps of the strongest AUs on the aligned face, as many as fit in a row."""
    from .face.alignment import warp

    left, top = corner
    gap = 6
    count = (_PANEL - 2 * _MARGIN + gap) // (_TILE + gap)
    crop = cv2.resize(warp(picture, face.matrix, face.crop_size), (_TILE, _TILE), interpolation=cv2.INTER_AREA)
    for index, au in enumerate(sorted(aus, key=lambda au: -face.aus[au])[:count]):
        maps = [heat for site, heat in (face.heatmaps or {}).items() if site.split("_")[0] == au]
        heat = np.clip(np.max(maps, axis=0) / MAX_INTENSITY, 0, 1).astype(np.float32)
        tile = _mix(crop, cv2.resize(heat, (_TILE, _TILE), interpolation=cv2.INTER_LINEAR))
        x = left + index * (_TILE + gap)
        pen.canvas[top : top + _TILE, x : x + _TILE] = tile
        cv2.rectangle(pen.canvas, (x, top), (x + 44, top + 18), _BACK, cv2.FILLED)
        pen.text(au, x + 4, top + 14, 13, _TEXT, bold=True)
