"""CSV: our own columns, and OpenFace's."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..results import csv_header, csv_rows, openface_header, openface_rows
from .lines import Text

if TYPE_CHECKING:
    from ..results import FrameResult


@dataclass(frozen=True, slots=True)
class Columns:
    """What rows are made of.

    Attributes:
        aus: those to report.
        sided: those of them with a left and a right value.
        raw: also give `AU12_raw`, which results of streams have.
        neutral: also give `AU12_neutral`, which results of streams with a baseline have.
        about: of the bundle and the program, for formats that store such.
    """

    aus: tuple[str, ...]
    sided: tuple[str, ...]
    raw: bool = False
    neutral: bool = False
    about: Mapping[str, str] = field(default_factory=dict)


class Csv:
    """Our columns: one row a face; one with empty cells where a frame has none."""

    def __init__(self, stream: Text, columns: Columns) -> None:
        """Write to a stream, which whoever opened it closes."""
        self._stream, self._columns = stream, columns
        self._more = [kind for kind in ("raw", "neutral") if getattr(columns, kind)]
        self._begun = False

    def write(self, result: FrameResult) -> None:
        """Write one frame."""
        aus, sided = self._columns.aus, self._columns.sided
        rows = csv_rows(result, aus, sided)
        for row, face in zip(rows, result.faces or [None], strict=True):
            for kind in self._more:
                values = getattr(face, kind, None) or {}
                row += [f"{values[au]:.4f}" if au in values else "" for au in aus]
        header = [*csv_header(aus, sided), *(f"{au}_{kind}" for kind in self._more for au in aus)]
        _put(self._stream, rows if self._begun else [header, *rows])
        self._begun = True

    def close(self) -> None:
        """The stream is closed by whoever opened it."""


class OpenFaceCsv:
    """OpenFace's columns; frames are numbered as they are in the source, from 1."""

    def __init__(self, stream: Text, aus: Sequence[str]) -> None:
        self._stream, self._aus = stream, aus
        self._begun = False

    def write(self, result: FrameResult) -> None:
        """Write one frame."""
        rows = openface_rows(result, result.index + 1, self._aus)
        _put(self._stream, rows if self._begun else [openface_header(self._aus), *rows])
        self._begun = True

    def close(self) -> None:
        """The stream is closed by whoever opened it."""


def _put(stream: Text, rows: Sequence[Sequence[str]]) -> None:
    """Write a frame's rows in one piece, so that no frame stands there in part."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    stream.write(text.getvalue())
    stream.flush()
