"""What lies under a folder, and frame numbers in the names of files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from dsrfau_edge.errors import DataError, UsageError
from dsrfau_edge.stream import IMAGE_SUFFIXES, VIDEO_SUFFIXES

_NUMBER = re.compile(r"(\d+)\D*$")


def require_folder(path: Path) -> Path:
    """The folder.

    Raises:
        DataError: it is none.
    """
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise DataError(f"{path} {what}: give the folder of the set.")
    return path


def files_under(folder: Path) -> Iterator[Path]:
    """All files, sorted by folder and name; hidden ones and folders met twice over links are left out."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def is_picture(path: Path) -> bool:
    """Whether the file's ending is that of a picture."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_video(path: Path) -> bool:
    """Whether the file's ending is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def by_number(pictures: Iterable[Path]) -> tuple[dict[int, Path], list[Path]]:
    """Pictures by the last number in their names (`0012.jpg`, `frame_12.png`), and those that have none.

    Raises:
        DataError: two have the same number.
    """
    found: dict[int, Path] = {}
    without = []
    for path in pictures:
        number = _NUMBER.search(path.stem)
        if number is None:
            without.append(path)
            continue
        other = found.setdefault(int(number[1]), path)
        if other != path:
            raise DataError(f"{other} and {path} have the same frame number {int(number[1])}. Keep one of them.")
    return dict(sorted(found.items())), without


def relative(path: Path, folder: Path) -> str:
    """The path from the folder on, with forward slashes."""
    return path.relative_to(folder).as_posix()


def require_size(size: int) -> int:
    """A side that networks take.

    Raises:
        UsageError: it is none.
    """
    if size < 32 or size % 32:
        raise UsageError(f"--size is {size}: the networks take multiples of 32.")
    return size
