"""Tiny trees in the layouts of DISFA, BP4D and tables; the face in them is the packaged portrait's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import dsrfau_edge
from dsrfau_edge.face.images import read_image
from dsrfau_edge.train.data.preparation.bp4d import AUS as BP4D_AUS
from dsrfau_edge.train.data.preparation.disfa import AUS as DISFA_AUS

Image = npt.NDArray[np.uint8]


@lru_cache(maxsize=1)
def portrait() -> Image:
    """The packaged portrait, made small."""
    image = read_image(Path(dsrfau_edge.__file__).parent / "assets" / "portrait.jpg")
    return np.asarray(cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA), np.uint8)


def nobody() -> Image:
    """A picture without a face."""
    return np.full((256, 256, 3), 90, np.uint8)


def shaded(number: int) -> Image:
    """The portrait, the brighter the higher the number (0 to 9): which frame a crop is from shows in its mean."""
    return np.asarray(np.rint(portrait() * (0.5 + 0.05 * number)), np.uint8)


def write_video(path: Path, frames: Iterable[Image]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, (256, 256))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def write_picture(path: Path, image: Image | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), portrait() if image is None else image)
    return path


def lines(values: Mapping[int, object], *, end: str = "\n", head: str = "") -> str:
    """A label file: `frame,intensity`."""
    return head + "".join(f"{number},{value}{end}" for number, value in values.items())


def write_labels(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def disfa_labels(root: Path, subject: str = "SN001", count: int = 4, aus: Sequence[str] = DISFA_AUS) -> dict[str, Path]:
    """Official label files: AU12 has the frame number (at most 5), every other AU 0."""
    folder = root / "ActionUnit_Labels" / subject
    return {
        au: write_labels(
            folder / f"{subject}_au{int(au[2:])}.txt",
            lines({number: min(number, 5) if au == "AU12" else 0 for number in range(1, count + 1)}),
        )
        for au in aus
    }


def disfa(root: Path, subject: str = "SN001", count: int = 4, *, frames: Sequence[Image] | None = None) -> Path:
    """A subject with labels and the left camera's video."""
    disfa_labels(root, subject, count)
    shown = [shaded(number) for number in range(count)] if frames is None else frames
    write_video(root / "Videos_LeftCamera" / f"LeftVideo{subject}_comp.avi", shown)
    return root


def bp4d_labels(root: Path, sequence: str, values: Mapping[int, object]) -> dict[str, Path]:
    """The same values for all AUs of a sequence."""
    return {au: write_labels(root / "AU-INT" / au / f"{sequence}_{au}.csv", lines(values)) for au in BP4D_AUS}


def bp4d(root: Path, sequence: str = "F001_T1", numbers: Sequence[int] = (2440, 2441, 2442)) -> Path:
    """A sequence whose intensities rise by one from frame to frame."""
    bp4d_labels(root, sequence, {number: min(place, 5) for place, number in enumerate(numbers)})
    subject, task = sequence.split("_")
    for number in numbers:
        write_picture(root / subject / task / f"{number:04d}.jpg")
    return root


def table(root: Path, text: str, pictures: Sequence[str] = ("a.jpg", "b.jpg")) -> Path:
    for name in pictures:
        write_picture(root / name)
    return write_labels(root / "labels.csv", text)
