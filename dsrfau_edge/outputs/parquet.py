"""Parquet: a typed table, one row a face; one with empty cells where a frame has none."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RuntimeUnavailable
from .columns import Columns
from .files import keep, part_of, room_for

if TYPE_CHECKING:
    from ..results import Face, FrameResult

SCHEMA = 1
_ROWS = 4096  # of a row group; what memory holds at most
# Bytes left for the footer, without which nothing of the file can be read: for the schema, and a column of a row group.
_FOOTER, _FOOTER_CELL = 1 << 16, 256


class Parquet:
    """Rows are written in groups, so that memory does not grow; the file takes its name when it is closed."""

    def __init__(self, path: Path, columns: Columns, *, group: int = _ROWS) -> None:
        """Begin the file.

        Args:
            path: of the file.
            columns: what rows are made of.
            group: rows that are written at once.

        Raises:
            OSError: it cannot be written.
            RuntimeUnavailable: pyarrow is not installed.
        """
        self._arrow, parquet = _import_arrow()
        self._columns, self._group = columns, group
        self._schema = self._arrow.schema(list(self._fields()), metadata=_metadata(columns))
        self._waiting: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        self._rows = self._count = self._groups = 0
        self._torn = False  # a row group was written in part
        self._path, self._part = path, part_of(path)
        self._writer = parquet.ParquetWriter(self._part, self._schema, compression="zstd")

    def write(self, result: FrameResult) -> None:
        """Write one frame.

        Raises:
            OSError: the disk is full. Close it then; the row groups before can be read.
        """
        start = {
            "source": result.source,
            "frame": result.index,
            "timestamp": result.timestamp,
            "width": result.size[0],
            "height": result.size[1],
        }
        for row in [{**start, **self._cells(face)} for face in result.faces] or [start]:
            self._rows += 1
            for name, values in self._waiting.items():
                values.append(row.get(name))
        if self._rows >= self._group:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the footer without which the file cannot be read."""
        try:
            try:
                if self._rows:
                    self._flush()
            finally:
                self._finish()
        finally:
            self._part.unlink(missing_ok=True)

    def _finish(self) -> None:
        """Let the file take its name, if all that is in it can be read."""
        if self._torn:
            with contextlib.suppress(OSError):
                self._writer.close()
            return
        self._writer.close()
        if self._count:
            keep(self._part, self._path)

    def _flush(self) -> None:
        table = self._arrow.Table.from_pydict(self._waiting, schema=self._schema)
        self._waiting = {name: [] for name in self._waiting}
        rows, self._rows = self._rows, 0
        self._groups += 1
        footer = _FOOTER + _FOOTER_CELL * self._groups * len(self._schema.names)
        if room_for(self._part) < table.nbytes + footer:
            raise OSError(errno.ENOSPC, f"the table stops after {self._count} rows, since the disk is full")
        self._torn = True
        self._writer.write_table(table, row_group_size=rows)
        self._torn = False
        self._count += rows

    def _fields(self) -> Iterator[Any]:
        arrow = self._arrow
        yield arrow.field("source", arrow.dictionary(arrow.int32(), arrow.string()), nullable=False)
        yield arrow.field("frame", arrow.int64(), nullable=False)
        yield arrow.field("timestamp", arrow.float64(), metadata={"unit": "s"})
        yield arrow.field("width", arrow.int32(), nullable=False)
        yield arrow.field("height", arrow.int32(), nullable=False)
        yield arrow.field("face", arrow.int64())
        for side in ("x0", "y0", "x1", "y1"):
            yield arrow.field(side, arrow.float32(), metadata={"unit": "pixel"})
        yield arrow.field("confidence", arrow.float32())
        yield arrow.field("flags", arrow.list_(arrow.string()))
        for name in self._values():
            yield arrow.field(name, arrow.float32())
        for au in self._columns.aus:
            yield arrow.field(f"{au}_present", arrow.bool_())

    def _values(self) -> Iterator[str]:
        columns = self._columns
        yield from columns.aus
        yield from (f"{au}_{side}" for au in columns.sided for side in ("left", "right"))
        kinds = ["confidence"] + ["raw"] * columns.raw + ["neutral"] * columns.neutral
        yield from (f"{au}_{kind}" for kind in kinds for au in columns.aus)

    def _cells(self, face: Face) -> dict[str, Any]:
        columns = self._columns
        cells: dict[str, Any] = dict(zip(("x0", "y0", "x1", "y1"), map(float, face.box), strict=True))
        cells |= {"face": face.id, "confidence": face.confidence, "flags": list(face.quality.flags)}
        cells |= {au: face.aus[au] for au in columns.aus}
        for au in columns.sided:
            cells |= {f"{au}_left": face.left[au], f"{au}_right": face.right[au]}
        presence = face.presence
        for au in columns.aus:
            cells |= {f"{au}_confidence": face.confidences[au], f"{au}_present": presence[au]}
        for kind in ("raw", "neutral"):
            values = getattr(face, kind) or {}
            if getattr(columns, kind):
                cells |= {f"{au}_{kind}": values.get(au) for au in columns.aus}
        return cells


def _metadata(columns: Columns) -> dict[str, str]:
    about = {"schema": SCHEMA, "intensity": "FACS, 0 to 5", "aus": list(columns.aus), **columns.about}
    return {"dsrfau_edge": json.dumps(about)}


def _import_arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise RuntimeUnavailable(
            "Parquet needs pyarrow, which is not installed or does not load. Install it: "
            "pip install 'dsrfau-edge[parquet]'"
        ) from error
    return pyarrow, pyarrow.parquet
