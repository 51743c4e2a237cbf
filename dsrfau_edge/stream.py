"""Where frames come from: pictures, folders of pictures, videos, cameras and stream addresses, read one at a time."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import cv2

from .errors import InputError
from .face.images import Image, as_bgr, read_image

_log = logging.getLogger(__name__)

Kind = Literal["image", "folder", "video", "live"]
#: Told of a frame that cannot be read; if it returns, reading goes on with the next.
OnError = Callable[[InputError], None]

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"}
    | {".ras", ".tif", ".tiff", ".webp"}
)
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm"}
    | {".wmv"}
)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture, BGR uint8 `[H, W, 3]`: where it is from, its number there from 0, its time in seconds if known."""

    source: str
    index: int
    timestamp: float | None
    image: Image


class Source(Protocol):
    """Something that gives frames.

    Attributes:
        name: as the user gave it.
        kind: what it is.
        rate: frames per second, where known; of a video known once its first frame was read.
        count: how many frames there are, where known, as `rate`. A container's announcement may be wrong.
    """

    name: str
    kind: Kind
    rate: float | None

    @property
    def count(self) -> int | None:
        """As above."""

    def frames(self, *, every: int = 1, on_error: OnError | None = None) -> Iterator[Frame]:
        """Every so manieth frame, read when it is asked for.

        Raises:
            InputError: the source cannot be read, or gives no frame at all; a single picture of a folder only where
                `on_error` is None.
        """


class ImageSource:
    """One picture."""

    kind: Kind = "image"
    rate: float | None = None
    count: int | None = 1

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def frames(self, *, every: int = 1, on_error: OnError | None = None) -> Iterator[Frame]:
        """The picture."""
        del every, on_error
        yield Frame(self.name, 0, None, read_image(self._path))


class FolderSource:
    """The pictures of a folder in natural order (2 before 10), without its subfolders."""

    kind: Kind = "folder"
    rate: float | None = None

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def frames(self, *, every: int = 1, on_error: OnError | None = None) -> Iterator[Frame]:
        """The pictures, one after another."""
        found = self._pictures()
        if not found:
            raise InputError(f"{self.name} holds no pictures. Give a folder with JPEG, PNG or similar files in it.")
        for index, file in enumerate(sorted(found, key=lambda file: natural_key(file.name))):
            if index % every:
                continue
            try:
                image = read_image(file)
            except InputError as error:
                if on_error is None:
                    raise
                on_error(error)
                continue
            yield Frame(str(file), index, None, image)

    @property
    def count(self) -> int | None:
        """Pictures that the folder holds now.

        Raises:
            InputError: it cannot be read.
        """
        return len(self._pictures())

    def _pictures(self) -> list[Path]:
        try:
            return [file for file in self._path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
        except OSError as error:
            raise InputError(f"{self.name} cannot be read: {error.strerror or error}. Check the path.") from error


class VideoSource:
    """A video file, or a camera or address that gives frames live."""

    def __init__(self, name: str, target: str | int, *, live: bool) -> None:
        self.name = name
        self.kind: Kind = "live" if live else "video"
        self.rate: float | None = None
        self.count: int | None = None
        self._target = target

    def frames(self, *, every: int = 1, on_error: OnError | None = None) -> Iterator[Frame]:
        """The frames; those skipped are not decoded where the format allows that."""
        del on_error
        capture = self._open()
        try:
            count = 0
            for frame in self._read(capture, every):
                count += 1
                yield frame
            if not count:
                raise InputError(f"{self.name} gave no frames: {self._advice()}")
        finally:
            capture.release()

    def _open(self) -> Any:
        try:
            target = self._target
            capture = cv2.VideoCapture(target if isinstance(target, int) else opencv_name(target))
        except cv2.error as error:  # a number beyond C's
            raise InputError(f"{self.name} cannot be opened: {self._advice()}") from error
        if not capture.isOpened():
            capture.release()
            raise InputError(f"{self.name} cannot be opened: {self._advice()}")
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        self.rate = rate if 0 < rate < 1000 else None
        count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = int(count) if self.kind == "video" and 0 < count < 1e9 else None
        return capture

    def _read(self, capture: Any, every: int) -> Iterator[Frame]:
        index, started, last = 0, time.monotonic(), -1.0
        while capture.grab():
            if index % every == 0:
                whole, image = capture.retrieve()
                if whole and image is not None and image.size:
                    stamp = time.monotonic() - started if self.kind == "live" else self._time(capture, index, last)
                    last = stamp
                    yield Frame(self.name, index, stamp, as_bgr(image))
            index += 1
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if self.kind == "video" and 0 < index < 0.9 * announced:
            _log.warning("%s ends after %d of %d frames: it seems to be damaged.", self.name, index, int(announced))

    def _time(self, capture: Any, index: int, last: float) -> float:
        """The container's own time, which is right for variable rates too; by number and rate where it has none."""
        stamp = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if stamp > last and (stamp > 0 or index == 0):
            return stamp
        return max(index / self.rate if self.rate else 0.0, last)

    def _advice(self) -> str:
        if isinstance(self._target, int):
            return "there is no such camera, or another program uses it. Cameras are numbered from 0."
        if self.kind == "live":
            return "the address does not answer with a video. Check it, and the network."
        return "it is not a video that OpenCV reads, or it is damaged. Convert it, for instance to MP4 (H.264)."


def open_source(source: str | Path | int) -> Source:
    """The source that a path, folder, camera number or address stands for. Nothing is read yet.

    Raises:
        InputError: there is no such file, or its kind is not known.
    """
    name = str(source)
    path = Path(name)
    if "://" in name:
        return VideoSource(name, name, live=True)
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        if name.isdecimal():
            return VideoSource(f"camera {name}", int(name), live=True)
        raise InputError(f"There is no file or folder {name}. Check the path.")
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return VideoSource(name, name, live=False)
    if suffix in IMAGE_SUFFIXES or not suffix or not path.is_file() or cv2.haveImageReader(opencv_name(name)):
        return ImageSource(path)  # whose reader explains what is wrong with it
    raise InputError(
        f"{name} is neither a picture nor a video, going by its ending {suffix!r}. Give JPEG, PNG, MP4 or similar."
    )


def opencv_name(path: str | Path) -> str:
    """A file's name for OpenCV, which crashes the process when text holds bytes that are no UTF-8.

    It takes bytes too, as they are, though its type hints do not say so.
    """
    return cast(str, os.fsencode(path))


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which numbers in names count as numbers."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((0, int(part), part) if part.isdigit() else (1, 0, part.casefold()) for part in parts if part)
