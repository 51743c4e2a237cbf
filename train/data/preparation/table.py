"""Any folder of pictures with one CSV: `path,subject,AU01,AU12_left,…`, an empty cell being unlabelled."""

from __future__ import annotations

import csv
import io
import math
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from dsrfau_edge.action_units import ALL_AUS, CATALOGUE, MAX_INTENSITY, canonical_au, sites_of
from dsrfau_edge.errors import DataError, UsageError

from .labels import read_text
from .options import Options, plan_of
from .plan import MISSING, UNLABELLED, Item, Loss, Plan, sided

LICENCE = "the table's owner says under what terms its pictures and labels may be used"
_SHOWN = 5  # bad cells named in a message


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: intensities by column (AU or site), only those that are there."""

    line: int
    path: str
    subject: str
    intensities: Mapping[str, float]


def plan(source: Path, options: Options, *, licence: str | None = None) -> Plan:
    """What a table gives.

    Args:
        source: a CSV beside its pictures, or a folder that holds just one.
        options: of all kinds.
        licence: of the pictures and labels, in a line; recorded in the set and in what is trained on it.

    Raises:
        DataError: the table is not as documented.
    """
    file = _file(source)
    rows, columns = read_table(file)
    root = file.parent.resolve()
    aus = tuple(au for au in ALL_AUS if any(column.partition("_")[0] == au for column in columns))
    sites = [site.name for site in sites_of(aus)]
    items, lost = list[Item](), list[Loss]()
    for row in options.chosen(range(len(rows))):
        one = rows[row]
        path = _inside(one, root, file)
        intensities = sided(one.intensities, sites)
        if all(map(math.isnan, intensities)):
            lost.append(Loss(path, UNLABELLED, one.line))
        elif not (root / path).is_file():
            lost.append(Loss(path, MISSING, one.line))
        else:
            identity = f"table-{root.name}:{one.subject}"
            items.append(
                Item(len(items), path, None, identity, intensities, {"subject": one.subject, "line": one.line})
            )
    return plan_of("table", root, items, options, aus=aus, licence=licence or LICENCE, lost=lost, labels={})


def _file(source: Path) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        raise DataError(f"{source} does not exist: give a CSV, or the folder that holds it.")
    found = sorted(path for path in source.iterdir() if path.suffix.lower() == ".csv")
    if len(found) != 1:
        told = ", ".join(path.name for path in found) or "none"
        raise DataError(f"{source} should hold one CSV and holds {told}. Give the CSV itself.")
    return found[0]


def read_table(file: Path) -> tuple[list[Row], tuple[str, ...]]:
    """Read and check a table.

    Args:
        file: the CSV.

    Returns:
        Its rows, and the names of its columns of labels, in the catalogue's spelling.

    Raises:
        DataError: it is not as documented; the first lines at fault are named.
    """
    reader = csv.reader(io.StringIO(read_text(file), newline=""), strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: {error}. Save it as comma-separated text.") from error
    if len(lines) < 2:
        raise DataError(
            f"{file} holds no rows. It needs a line of column names (path,subject,AU01,…) and one a picture."
        )
    head = _head(file, lines[0][1])
    wrong = [line for line, cells in lines[1:] if len(cells) != len(head)]
    if wrong:
        raise DataError(f"{file}, line {wrong[0]}: it has not the {len(head)} cells of the first line. Mend it.")
    rows, bad = [], list[str]()
    for line, cells in lines[1:]:
        rows.append(_row(line, dict(zip(head, cells, strict=True)), bad))
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise DataError(
            f"{file}: {'; '.join(bad[:_SHOWN])}{more}. Intensities are numbers from 0 to 5; leave the cell empty where "
            "one is not known."
        )
    _require_once(file, rows)
    return rows, tuple(name for name in head if name not in _NEEDED)


_NEEDED = ("path", "subject")


def _head(file: Path, cells: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns in the catalogue's spelling."""
    names, unknown = list[str](), list[str]()
    for cell in cells:
        name = cell.lower() if cell.lower() in _NEEDED else _label(cell)
        names.append(name or cell)
        if not name:
            unknown.append(cell)
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        hint = " It is separated by semicolons: save it with commas." if len(cells) == 1 and ";" in cells[0] else ""
        raise DataError(f"{file} has no column {' and none '.join(missing)}.{hint} The first line names the columns.")
    if unknown:
        raise DataError(
            f"{file} has columns that are not known: {', '.join(map(repr, unknown))}. Labels are AU01 … AU45, or of a "
            f"side AU12_left (known: {', '.join(ALL_AUS)}); remove the others."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{file} has more than one column {', '.join(twice)}. Keep one of each.")
    if len(names) == len(_NEEDED):
        raise DataError(f"{file} has no column of labels, such as AU12. Unlabelled pictures are of the kind `photos`.")
    return tuple(names)


def _label(text: str) -> str:
    """Column in the catalogue's spelling (`AU12`, `AU12_left`); empty if there is no such."""
    au, separator, side = text.partition("_")
    try:
        known = canonical_au(au)
    except UsageError:
        return ""
    if not separator:
        return known
    name = f"{known}_{side.lower()}"
    return name if name in {site.name for site in CATALOGUE[known].sites} else ""


def _row(line: int, cells: Mapping[str, str], bad: list[str]) -> Row:
    intensities = {}
    for column, text in cells.items():
        if column in _NEEDED:
            if not text:
                bad.append(f"line {line}: no {column}")
            continue
        if not text or text.lower() == "nan":
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.inf
        if 0 <= value <= MAX_INTENSITY:
            intensities[column] = value
        else:
            bad.append(f"line {line}: {column} is {text[:20]!r}")
    return Row(line, cells["path"], cells["subject"], intensities)


def _require_once(file: Path, rows: Sequence[Row]) -> None:
    seen: dict[str, int] = {}
    for row in rows:
        other = seen.setdefault(posixpath.normpath(row.path.replace("\\", "/")), row.line)
        if other != row.line:
            raise DataError(f"{file}: {row.path} stands in line {other} and in line {row.line}. Keep one of them.")


def _inside(row: Row, root: Path, file: Path) -> str:
    """The row's path, relative to the folder.

    Raises:
        DataError: it leads out of it.
    """
    path = row.path.replace("\\", "/")
    absolute = PurePosixPath(path).is_absolute() or PureWindowsPath(row.path).is_absolute()
    if absolute or not (root / path).resolve().is_relative_to(root):
        raise DataError(
            f"{file}, line {row.line}: {row.path} leads out of {root}. Paths are relative to the table's folder and "
            "stay in it."
        )
    return path
