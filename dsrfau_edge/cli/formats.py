"""The forms in which `dsrfau-predict` writes its results: a table for people; the others for programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dsrfau_edge.action_units import CATALOGUE, MAX_INTENSITY
from dsrfau_edge.outputs.columns import Columns, Csv, OpenFaceCsv
from dsrfau_edge.outputs.files import LineFile
from dsrfau_edge.outputs.lines import JsonLines, Text

if TYPE_CHECKING:
    from dsrfau_edge.outputs.base import Output
    from dsrfau_edge.results import Face, FrameResult

FORMATS = ("table", "jsonl", "csv", "openface-csv", "parquet")
_BAR = 20


#: By the ending of the output's name.
_BY_SUFFIX = {".json": "jsonl", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
SUFFIXES = {"table": ".txt", "jsonl": ".jsonl", "csv": ".csv", "openface-csv": ".csv", "parquet": ".parquet"}


def form_of(output: Path | None) -> str:
    """The form that a name asks for by its ending; a table where it asks for none."""
    return _BY_SUFFIX.get(output.suffix.lower(), "table") if output is not None else "table"


def writer(form: str, stream: Text, columns: Columns) -> Output:
    """The writer of one of the text `FORMATS`."""
    if form == "jsonl":
        return JsonLines(stream)
    if form == "csv":
        return Csv(stream, columns)
    if form == "openface-csv":
        return OpenFaceCsv(stream, columns.aus)
    return Table(stream)


class FileOutput:
    """Results in one file, or on stdout."""

    def __init__(self, form: str, path: Path | None, columns: Columns) -> None:
        """Open it.

        Raises:
            OSError: it cannot be written.
        """
        self._file: LineFile | None = None
        if form == "parquet" and path is not None:
            from dsrfau_edge.outputs.parquet import Parquet

            self._rows: Output = Parquet(path, columns)
            return
        self._file = LineFile(path) if path is not None else None
        self._rows = writer(form, self._file or sys.stdout, columns)

    def write(self, result: FrameResult) -> None:
        """Write one frame."""
        self._rows.write(result)

    def close(self) -> None:
        """Finish the file."""
        self._rows.close()
        if self._file is not None:
            self._file.close()


class Table:
    """For people: a table a face of a picture, a line a face of a video frame."""

    def __init__(self, stream: Text) -> None:
        self._stream = stream
        self._full, self._empty = ("█", "·") if _can_show(stream, "█·") else ("#", ".")

    def write(self, result: FrameResult) -> None:
        """Write one frame."""
        lines = self._picture(result) if result.timestamp is None else self._frame(result)
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """The stream is closed by whoever opened it."""

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


def _can_show(stream: Text, characters: str) -> bool:
    try:
        characters.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
