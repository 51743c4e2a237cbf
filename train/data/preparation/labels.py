"""Label files of lines `frame,intensity`: what is read, what is left unlabelled and counted, what is refused."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dsrfau_edge.action_units import MAX_INTENSITY
from dsrfau_edge.errors import DataError

UNKNOWN = "unknown"
OUT_OF_RANGE = "out of range"
NOT_A_NUMBER = "not a number"
CONTRADICTION = "frame twice, labels differ"
REPEATED = "frame twice, labels alike"
ABSENT = "frame not in the file"
NO_FILE = "no file for the AU"
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class FrameLabels:
    """One AU of one sequence: intensity by frame number (NaN = unlabelled), and the defects met, by frame."""

    values: Mapping[int, float]
    defects: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SequenceLabels:
    """All AUs of one sequence by frame number."""

    by_au: Mapping[str, FrameLabels]
    numbers: tuple[int, ...] = field(default=())

    def at(self, number: int) -> dict[str, float]:
        """Intensities of one frame, NaN where unlabelled."""
        return {au: labels.values.get(number, _NAN) for au, labels in self.by_au.items()}


def read_text(path: Path) -> str:
    """A text file, with or without a byte-order mark.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8 ({error.reason}). Save it as plain text.") from error


def read_frame_labels(path: Path, *, unknown: Sequence[float] = ()) -> FrameLabels:
    """Read one file of lines `frame,intensity`.

    Blank lines, a byte-order mark, either line ending and one header line are passed over. A value that is empty, NaN,
    one of `unknown` or outside 0–5, or that another line of the same frame contradicts, leaves the frame unlabelled.

    Args:
        path: the file.
        unknown: values that stand for "not coded".

    Raises:
        DataError: a line is something else, or the file holds no labels.
    """
    values: dict[int, float] = {}
    defects: list[tuple[int, str]] = []
    lines = [(place, line.strip()) for place, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    for order, (place, line) in enumerate(lines):
        cells = [cell.strip() for cell in line.split(",")]
        if order == 0 and len(cells) == 2 and not _is_number(cells[0]):
            continue  # a header
        if len(cells) != 2 or not (_is_number(cells[0]) and float(cells[0]).is_integer() and float(cells[0]) >= 0):
            raise DataError(f"{path}, line {place}: {line[:60]!r} is not `frame,intensity`. Mend or remove it.")
        number = int(float(cells[0]))
        value, defect = _intensity(cells[1], unknown, f"{path}, line {place}")
        if number in values:
            alike = values[number] == value or (math.isnan(values[number]) and math.isnan(value))
            value, defect = (value, REPEATED) if alike else (_NAN, CONTRADICTION)
        if defect:
            defects.append((number, defect))
        values[number] = value
    if not values:
        raise DataError(f"{path} holds no labels. Copy it again from where it came.")
    return FrameLabels(values, tuple(defects))


def _intensity(text: str, unknown: Sequence[float], where: str) -> tuple[float, str]:
    """The value, NaN with a reason where there is none to use."""
    if not text or text.lower() == "nan":
        return _NAN, NOT_A_NUMBER
    try:
        value = float(text)
    except ValueError as error:
        raise DataError(f"{where}: {text[:40]!r} is no intensity. Mend it, or leave the value empty.") from error
    if value in unknown:
        return _NAN, UNKNOWN
    return (value, "") if 0 <= value <= MAX_INTENSITY else (_NAN, OUT_OF_RANGE)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def read_sequence(files: Mapping[str, Path], *, unknown: Sequence[float] = ()) -> SequenceLabels:
    """Read all AUs of one sequence.

    Args:
        files: each AU's file.
        unknown: values that stand for "not coded".

    Raises:
        DataError: a file cannot be read.
    """
    by_au = {au: read_frame_labels(path, unknown=unknown) for au, path in files.items()}
    return SequenceLabels(by_au, tuple(sorted({number for labels in by_au.values() for number in labels.values})))


def count_defects(labels: SequenceLabels, chosen: Iterable[int], aus: Sequence[str]) -> Counter[str]:
    """Defects of the labels of chosen frames, by kind, one for each AU and frame."""
    wanted = set(chosen)
    counts: Counter[str] = Counter()
    for au in aus:
        if au not in labels.by_au:
            counts[NO_FILE] += len(wanted)
            continue
        own = labels.by_au[au]
        counts.update(defect for number, defect in own.defects if number in wanted)
        counts[ABSENT] += len(wanted - own.values.keys())
    return +counts
