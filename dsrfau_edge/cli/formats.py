"""The forms in which `dsrfau-predict` writes its results: a table for people; JSON lines and CSV for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from typing import Protocol, TextIO

from dsrfau_edge.action_units import CATALOGUE, MAX_INTENSITY
from dsrfau_edge.results import Face, FrameResult, csv_header, csv_rows, openface_header, openface_rows

FORMATS = ("table", "jsonl", "csv", "openface-csv")
_BAR = 20


class Writer(Protocol):
    """Takes results as they come."""

    def write(self, result: FrameResult) -> None:
        """Write one frame."""


def writer(form: str, stream: TextIO, aus: Sequence[str], sided: Sequence[str]) -> Writer:
    """The writer of one of `FORMATS`; `aus` are those to report, `sided` those with a left and a right value."""
    if form == "jsonl":
        return JsonLines(stream)
    if form == "csv":
        return Csv(stream, aus, sided)
    if form == "openface-csv":
        return OpenFaceCsv(stream, aus)
    return Table(stream)


class JsonLines:
    """One JSON object a frame."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, result: FrameResult) -> None:
        """Write one frame."""
        self._stream.write(json.dumps(result.to_dict(), ensure_ascii=False) + "\n")
        self._stream.flush()


class Csv:
    """Our columns: one row a face."""

    def __init__(self, stream: TextIO, aus: Sequence[str], sided: Sequence[str]) -> None:
        self._rows = csv.writer(stream, lineterminator="\n")
        self._stream, self._aus, self._sided = stream, aus, sided
        self._begun = False

    def write(self, result: FrameResult) -> None:
        """Write one frame."""
        if not self._begun:
            self._rows.writerow(csv_header(self._aus, self._sided))
            self._begun = True
        self._rows.writerows(csv_rows(result, self._aus, self._sided))
        self._stream.flush()


class OpenFaceCsv:
    """OpenFace's columns; frames are numbered as they are in the source, from 1."""

    def __init__(self, stream: TextIO, aus: Sequence[str]) -> None:
        self._rows = csv.writer(stream, lineterminator="\n")
        self._stream, self._aus = stream, aus
        self._begun = False

    def write(self, result: FrameResult) -> None:
        """Write one frame."""
        if not self._begun:
            self._rows.writerow(openface_header(self._aus))
            self._begun = True
        self._rows.writerows(openface_rows(result, result.index + 1, self._aus))
        self._stream.flush()


class Table:
    """For people: a table a face of a picture, a line a face of a video frame."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._full, self._empty = ("█", "·") if _can_show(stream, "█·") else ("#", ".")

    def write(self, result: FrameResult) -> None:
        """Write one frame."""
        lines = self._picture(result) if result.timestamp is None else self._frame(result)
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()

    def _picture(self, result: FrameResult) -> list[str]:
        count = len(result.faces)
        faces = "no face found" if not count else f"{count} face{'s' if count > 1 else ''}"
        lines = [f"{result.source} ({result.size[0]} x {result.size[1]}): {faces}"]
        for face in result.faces:
            lines += ["", *self._face(face)]
        return [*lines, ""]

    def _face(self, face: Face) -> list[str]:
        box = " ".join(str(round(value)) for value in face.box)
        flags = f", {', '.join(face.quality.flags).replace('_', ' ')}" if face.quality.flags else ""
        titles = max((len(CATALOGUE[au].title) for au in face.aus), default=0)
        lines = [
            f"face {face.id}: confidence {face.confidence:.2f}, box {box}{flags}",
            f"  {'AU':<5} {'':<{titles}}  intensity     {'':<{_BAR}}   left  right  trust",
        ]
        letters = face.letters
        for au, value in face.aus.items():
            full = round(_BAR * value / MAX_INTENSITY)
            bar = self._full * full + self._empty * (_BAR - full)
            sides = "  ".join(f"{side[au]:5.2f}" if au in side else f"{'':5}" for side in (face.left, face.right))
            start = f"  {au:<5} {CATALOGUE[au].title:<{titles}}  {value:9.2f} {letters[au]:<1}"
            lines.append(f"{start}  {bar}  {sides}   {face.confidences[au]:.2f}")
        return lines

    def _frame(self, result: FrameResult) -> list[str]:
        start = f"frame {result.index:>6}  {result.timestamp or 0.0:9.3f} s  "
        if not result.faces:
            return [f"{start}no face"]
        lines = []
        for face in result.faces:
            ordered = sorted(face.aus.items(), key=lambda item: -item[1])
            letters = face.letters
            shown = "  ".join(f"{au} {value:.1f} {letters[au]}" for au, value in ordered if letters[au])
            lines.append(f"{start}face {face.id}  {shown or 'no AU present'}")
        return lines


def _can_show(stream: TextIO, characters: str) -> bool:
    try:
        characters.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
