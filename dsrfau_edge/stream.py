"""Where frames come from: pictures, folders of pictures, videos, cameras and stream addresses, read one at a time."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2

from .errors import InputError, UsageError
from .face.images import Image, read_image
from .video_feed import OPEN_TIMEOUT, PIPELINE, READ_TIMEOUT, VideoFeed, advice
from .video_feed import opencv_name as opencv_name

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
    """One picture, BGR uint8 `[H, W, 3]`: where it is from, its number there from 0, its time in seconds if known.

    `arrival` is when it came, on `time.monotonic()`, where that is of interest.
    """

    source: str
    index: int
    timestamp: float | None
    image: Image
    arrival: float | None = None


class Source(Protocol):
    """Something that gives frames.

    Attributes:
        name: as the user gave it, an address without its password.
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
        for index, file in enumerate(self.pictures()):
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
        return len(self._found())

    def pictures(self) -> list[Path]:
        """Their paths in order.

        Raises:
            InputError: the folder cannot be read or holds none.
        """
        found = self._found()
        if not found:
            raise InputError(f"{self.name} holds no pictures. Give a folder with JPEG, PNG or similar files in it.")
        return sorted(found, key=lambda file: natural_key(file.name))

    def _found(self) -> list[Path]:
        try:
            return [file for file in self._path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
        except OSError as error:
            raise InputError(f"{self.name} cannot be read: {error.strerror or error}. Check the path.") from error


class VideoSource:
    """A video file, or a camera, address or pipeline that gives frames live."""

    def __init__(self, name: str, target: str | int, *, live: bool) -> None:
        self.name, self.target = name, target
        self.kind: Kind = "live" if live else "video"
        self.rate: float | None = None
        self.count: int | None = None

    def open(self, *, open_timeout: float = OPEN_TIMEOUT, read_timeout: float = READ_TIMEOUT) -> VideoFeed:
        """Open it; as often as wanted.

        Raises:
            InputError: it cannot be opened.
            RuntimeUnavailable: it is a pipeline, and this OpenCV has no GStreamer.
        """
        live = self.kind == "live"
        feed = VideoFeed(self.name, self.target, live=live, open_timeout=open_timeout, read_timeout=read_timeout)
        self.rate, self.count = feed.rate, feed.count
        return feed

    def frames(self, *, every: int = 1, on_error: OnError | None = None) -> Iterator[Frame]:
        """The frames; those skipped are not decoded where the format allows that."""
        del on_error
        feed = self.open()
        try:
            count = 0
            for frame in self._read(feed, every):
                count += 1
                yield frame
            if not count:
                raise InputError(f"{self.name} gave no frames: {advice(self.target, live=self.kind == 'live')}")
        finally:
            feed.release()

    def _read(self, feed: VideoFeed, every: int) -> Iterator[Frame]:
        index, started = -1, time.monotonic()
        while feed.grab():
            index += 1
            if index % every:
                continue
            arrival = time.monotonic()
            try:
                image = feed.retrieve()
            except InputError as error:
                _log.warning("%s", error)
                continue
            yield Frame(
                self.name, index, arrival - started if self.kind == "live" else feed.time(), image, arrival=arrival
            )


def open_source(source: str | Path | int) -> Source:
    """The source that a path, folder, camera number, device path, address or GStreamer pipeline stands for.

    Nothing is read yet.

    Raises:
        InputError: there is no such file, or its kind is not known.
    """
    name = str(source)
    if PIPELINE in name or "://" in name:
        return VideoSource(without_password(name), name, live=True)
    path = Path(name)
    if name.startswith(("/dev/video", "/dev/v4l/")) or path.is_char_device():  # there or not: it may be plugged in
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


def video_frames(frames: Any) -> Iterable[Any]:
    """The frames of a path, or of what gives frames by itself.

    Raises:
        InputError: there is no such file, or it holds pictures without times.
        UsageError: it is neither a path nor to be iterated over.
    """
    if isinstance(frames, (str, Path)):
        source = open_source(frames)
        if source.kind in ("image", "folder"):
            raise InputError(
                f"{source.name} is no video, and pictures have no times. Call the predictor with each picture, or give "
                "Predictor.video pairs of a time in seconds and a picture."
            )
        return source.frames()
    if not isinstance(frames, Iterable):
        raise UsageError(
            f"A video cannot be read from {type(frames).__name__}. Give a path, or pairs of a time in seconds and a "
            "picture; Predictor.live takes camera numbers."
        )
    return frames


def seconds_of(timestamp: Any) -> float | None:
    """A time as a number; NaN for what is none, which is refused where times are checked."""
    if timestamp is None:
        return None
    try:
        return math.nan if isinstance(timestamp, (str, bytes)) else float(timestamp)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def without_password(address: str) -> str:
    """An address or pipeline as results, logs and errors may show it: without `user:password@`."""
    return re.sub(r"://[^/\s]*@", "://", address)


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which numbers in names count as numbers."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((0, int(part), part) if part.isdigit() else (1, 0, part.casefold()) for part in parts if part)
