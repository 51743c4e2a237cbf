"""DISFA: label files `SN001/SN001_au1.txt`, and for each subject a video or a folder of extracted frames.

Source: Mavadati et al., "DISFA: A Spontaneous Facial Action Intensity Database", IEEE TAC 4(2), 2013.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsrfau_edge.errors import DataError

from .files import files_under, is_picture, is_video, relative, require_folder
from .labels import SequenceLabels, read_sequence
from .options import Options, plan_of
from .pictures import frames_stated
from .plan import DAMAGED, NO_LABELS, NO_PICTURES, Loss, Plan
from .sequences import Gathered, Pictures, require_same_length, require_same_start

AUS = tuple(f"AU{number:02d}" for number in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26))
CAMERAS = ("left", "right")
LICENCE = "DISFA: by agreement with its owner (University of Denver), for research; no picture or crop may be passed on"
_LABELS = re.compile(r"^(SN\d{3})_au(\d{1,2})\.txt$", re.IGNORECASE)
_SUBJECT = re.compile(r"SN\d{3}", re.IGNORECASE)
_CAMERA = re.compile(r"(?<![a-z])(left|right)(?=video|cam|frame|image|[^a-z]|$)", re.IGNORECASE)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Recording:
    """A video, or a folder with its frames; camera is "" where no name says which."""

    subject: str
    camera: str
    path: Path
    frames: tuple[Path, ...] = ()


def plan(
    source: Path,
    options: Options,
    *,
    camera: str = "left",
    pictures: Path | None = None,
    subjects: Sequence[str] = (),
    first_frame: int | None = None,
    allow_short: int = 0,
) -> Plan:
    """What a DISFA folder gives.

    Args:
        source: the folder with the label files somewhere below.
        options: of all kinds.
        camera: left or right.
        pictures: where to look for videos or frames; `source` by default.
        subjects: only these, such as SN001.
        first_frame: the number in the name of the extracted frame that the labels call 1.
        allow_short: frames that a video may end before its header says so.

    Raises:
        DataError: it is not such a folder, or labels and pictures do not fit together.
    """
    root = require_folder(pictures or source).absolute()
    labels = _labels(require_folder(source), subjects)
    recordings = _recordings(root, camera)
    gathered = Gathered(AUS, options)
    for subject in sorted({*labels, *recordings}):
        if subjects and subject not in {name.upper() for name in subjects}:
            continue
        if subject not in labels:
            gathered.lost.append(Loss(subject, NO_LABELS, count=_length(recordings[subject])))
        elif subject not in recordings:
            gathered.lost.append(Loss(subject, NO_PICTURES, count=len(labels[subject].numbers)))
        else:
            _add(gathered, labels[subject], recordings[subject], root, camera=camera, first_frame=first_frame)
    own = {"camera": camera, "first_frame": first_frame, "allow_short": allow_short, "subjects": sorted(subjects)}
    return plan_of(
        "disfa", root, gathered.items, options, aus=AUS, licence=LICENCE, lost=gathered.lost,
        labels=gathered.labels, own=own, allow_short=allow_short,
    )  # fmt: skip


def _labels(source: Path, subjects: Sequence[str]) -> dict[str, SequenceLabels]:
    files: dict[str, dict[str, Path]] = {}
    for path in files_under(source):
        named = _LABELS.match(path.name)
        if named is None:
            continue
        subject, au = named[1].upper(), f"AU{int(named[2]):02d}"
        if au not in AUS:
            raise DataError(f"{path}: DISFA has no labels of {au}; it has {', '.join(AUS)}. Is this another set?")
        other = files.setdefault(subject, {}).setdefault(au, path)
        if other != path:
            raise DataError(f"{other} and {path} both hold {au} of {subject}. Keep one of them.")
    if not files:
        raise DataError(
            f"{source} holds no DISFA labels, files such as ActionUnit_Labels/SN001/SN001_au1.txt. Give the folder "
            "that the set was unpacked into."
        )
    wanted = {name.upper() for name in subjects} or files.keys()
    missing = sorted(wanted - files.keys())
    if missing:
        raise DataError(f"{source} has no labels of {', '.join(missing)}; it has {', '.join(sorted(files))}.")
    return {subject: read_sequence(files[subject]) for subject in sorted(wanted)}


def _recordings(root: Path, camera: str) -> dict[str, _Recording]:
    """Each subject's recording by the chosen camera, or by one that no name tells."""
    found: dict[str, list[_Recording]] = {}
    folders: dict[Path, list[Path]] = {}
    for path in files_under(root):
        if is_video(path):
            _take(found, path, root)
        elif is_picture(path):
            folders.setdefault(path.parent, []).append(path)
    for folder, frames in folders.items():
        _take(found, folder, root, frames)
    return {
        subject: _only(
            subject, [one for one in several if one.camera == camera] or [one for one in several if not one.camera]
        )
        for subject, several in found.items()
        if any(one.camera in (camera, "") for one in several)
    }


def _take(found: dict[str, list[_Recording]], path: Path, root: Path, frames: Iterable[Path] = ()) -> None:
    """Take a recording in if its path says whose it is; what stands nearest to the end of the path counts."""
    names = relative(path, root.parent)
    subjects, cameras = _SUBJECT.findall(names), _CAMERA.findall(names)
    if subjects:
        recording = _Recording(subjects[-1].upper(), cameras[-1].lower() if cameras else "", path, tuple(frames))
        found.setdefault(recording.subject, []).append(recording)


def _only(subject: str, recordings: list[_Recording]) -> _Recording:
    if len(recordings) > 1:
        told = " and ".join(str(recording.path) for recording in recordings[:2])
        raise DataError(f"{subject} has several recordings: {told}. Name the folder of one kind with --pictures.")
    return recordings[0]


def _length(recording: _Recording) -> int:
    return len(recording.frames) or frames_stated(recording.path) or 1


def _add(
    gathered: Gathered,
    labels: SequenceLabels,
    recording: _Recording,
    root: Path,
    *,
    camera: str,
    first_frame: int | None,
) -> None:
    subject = recording.subject
    if recording.frames:
        pictures = gathered.numbered(recording.frames, root, first=first_frame)
        if first_frame is None:
            require_same_start(subject, labels, pictures)
    else:
        count = frames_stated(recording.path)
        if count is None:
            _logger.warning("%s cannot be opened as a video; %s is left out.", recording.path, subject)
            gathered.lost.append(Loss(relative(recording.path, root), DAMAGED, count=len(labels.numbers)))
            return
        pictures = Pictures({}, relative(recording.path, root), count or labels.numbers[-1])
        require_same_length(subject, labels, pictures)
    meta = {"subject": subject, "camera": recording.camera or None}
    gathered.add(subject, f"disfa-{subject}", labels, pictures, meta)
