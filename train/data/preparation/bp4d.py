"""BP4D, the intensity subset of FERA 2015: `AU-INT/AU06/F001_T1_AU06.csv` and frames in `F001/T1/`.

Source: Valstar et al., "FERA 2015: Second Facial Expression Recognition and Analysis Challenge", 2015.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dsrfau_edge.errors import DataError

from .files import files_under, is_picture, relative, require_folder
from .labels import read_sequence
from .options import Options, plan_of
from .plan import NO_LABELS, NO_PICTURES, Loss, Plan
from .sequences import Gathered, require_same_start

AUS = tuple(f"AU{number:02d}" for number in (6, 10, 12, 14, 17))
LICENCE = "BP4D: by agreement with its owner (Binghamton University), for research; no picture or crop may be passed on"
UNKNOWN = 9.0
_SEQUENCE = re.compile(r"([FM]\d{3})[/_ -](T\d{1,2})(?![0-9A-Za-z])", re.IGNORECASE)
_LABELS = re.compile(r"^([FM]\d{3})_(T\d{1,2})(?:_AU(\d{1,2}))?\.csv$", re.IGNORECASE)
_AU_FOLDER = re.compile(r"^AU(\d{1,2})$", re.IGNORECASE)


def plan(
    source: Path,
    options: Options,
    *,
    pictures: Path | None = None,
    subjects: Sequence[str] = (),
    first_frame: int | None = None,
) -> Plan:
    """What a BP4D folder gives.

    Args:
        source: the folder with `AU-INT` somewhere below.
        options: of all kinds.
        pictures: where to look for frames; `source` by default.
        subjects: only these, such as F001.
        first_frame: the number in the name of the frame that the labels call 1, if not 1.

    Raises:
        DataError: it is not such a folder, or labels and pictures do not fit together.
    """
    root = require_folder(pictures or source).absolute()
    labels = _labels(require_folder(source))
    frames = _frames(root)
    wanted = _wanted(source, subjects, {subject for subject, _ in labels.keys() | frames.keys()})
    gathered = Gathered(AUS, options)
    for key in sorted(key for key in labels.keys() | frames.keys() if key[0] in wanted):
        name = "_".join(key)
        if key not in labels:
            gathered.lost.append(Loss(name, NO_LABELS, count=len(frames[key])))
            continue
        sequence = read_sequence(labels[key], unknown=(UNKNOWN,))
        if key not in frames:
            gathered.lost.append(Loss(name, NO_PICTURES, count=len(sequence.numbers)))
            continue
        found = gathered.numbered(frames[key], root, first=first_frame)
        if first_frame is None:
            require_same_start(name, sequence, found)
        gathered.add(name, f"bp4d-{key[0]}", sequence, found, {"subject": key[0], "task": key[1]})
    own = {"first_frame": first_frame, "subjects": sorted(wanted) if subjects else []}
    return plan_of(
        "bp4d", root, gathered.items, options, aus=AUS, licence=LICENCE, lost=gathered.lost, labels=gathered.labels,
        own=own,
    )  # fmt: skip


def _wanted(source: Path, subjects: Sequence[str], there: set[str]) -> set[str]:
    """The subjects asked for; all by default."""
    wanted = {name.upper() for name in subjects} or there
    if wanted - there:
        raise DataError(
            f"{source} has nothing of {', '.join(sorted(wanted - there))}; it has {', '.join(sorted(there))}."
        )
    return wanted


def _labels(source: Path) -> dict[tuple[str, str], dict[str, Path]]:
    files: dict[tuple[str, str], dict[str, Path]] = {}
    for path in files_under(source):
        named, folder = _LABELS.match(path.name), _AU_FOLDER.match(path.parent.name)
        if named is None or not (named[3] or folder):
            continue
        numbers = {int(text) for text in (named[3], folder[1] if folder else None) if text}
        if len(numbers) > 1:
            raise DataError(f"{path}: the folder names another AU than the file. Put it where it belongs.")
        au = f"AU{numbers.pop():02d}"
        if au not in AUS:
            raise DataError(
                f"{path}: BP4D's intensity subset has no {au}; it has {', '.join(AUS)}. Is this another set?"
            )
        key = (named[1].upper(), named[2].upper())
        other = files.setdefault(key, {}).setdefault(au, path)
        if other != path:
            raise DataError(f"{other} and {path} both hold {au} of {'_'.join(key)}. Keep one of them.")
    if not files:
        raise DataError(
            f"{source} holds no BP4D intensities, files such as AU-INT/AU06/F001_T1_AU06.csv. Give the folder that "
            "the set was unpacked into."
        )
    return files


def _frames(root: Path) -> dict[tuple[str, str], list[Path]]:
    """Pictures of each sequence, all in one folder."""
    folders: dict[tuple[str, str], dict[Path, list[Path]]] = {}
    for path in files_under(root):
        if is_picture(path):
            found = _SEQUENCE.findall(relative(path.parent, root.parent))
            if found:
                key = (found[-1][0].upper(), found[-1][1].upper())
                folders.setdefault(key, {}).setdefault(path.parent, []).append(path)
    for key, places in folders.items():
        if len(places) > 1:
            told = " and ".join(str(place) for place in list(places)[:2])
            raise DataError(f"{'_'.join(key)} has pictures in several folders: {told}. Name one kind with --pictures.")
    return {key: next(iter(places.values())) for key, places in folders.items()}
