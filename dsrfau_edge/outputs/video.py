"""An annotated video file that grows frame by frame, and stays readable when the disk is full."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import cv2

from ..errors import DsrfauError
from ..face.images import Image
from ..stream import opencv_name
from .files import keep, part_of, room_for

# What is left on the disk when a recording stops: OpenCV says nothing when it cannot write, and the index at the end of
# an MP4, without which nothing of it can be read, needs room too.
_RESERVE = 8 << 20
_INDEX = 64  # bytes of it a frame


class VideoFile:
    """Written beside its name, which it takes when closed."""

    def __init__(self, path: Path, first: Image, rate: float, *, reserve: int = _RESERVE) -> None:
        """Begin.

        Args:
            path: of the file; `.avi` is written as Motion JPEG, everything else as MPEG-4.
            first: a picture of the size that all frames will have.
            rate: frames a second.
            reserve: bytes that are left on the disk.

        Raises:
            DsrfauError: this OpenCV cannot write such a file.
            OSError: the folder cannot be written to.
        """
        self._path, self._reserve, self._frames = path, reserve, 0
        self._size = (first.shape[1], first.shape[0])
        self._part = part_of(path)
        codec = "MJPG" if path.suffix.lower() == ".avi" else "mp4v"
        self._writer: Any = cv2.VideoWriter(opencv_name(self._part), cv2.VideoWriter.fourcc(*codec), rate, self._size)
        if not self._writer.isOpened():
            self._part.unlink(missing_ok=True)
            raise DsrfauError(
                f"{path} cannot be written as a video: this OpenCV has no {codec} encoder for it, or cannot take "
                f"{self._size[0]}x{self._size[1]} pixels. Give --draw a name ending in .avi, or smaller frames."
            )

    def add(self, picture: Image) -> None:
        """Append a frame; one of another size (a stream may change it) is fitted to the first.

        Raises:
            OSError: the disk is nearly full, or the file as large as it may be. Close it then; it can be read.
        """
        left = room_for(self._part) - _INDEX * self._frames
        if left < self._reserve:
            raise OSError(
                errno.ENOSPC,
                f"the recording stops after {self._frames} frames, since the disk is full",
                str(self._path),
            )
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(picture)
        self._frames += 1

    def close(self) -> None:
        """Finish it."""
        self._writer.release()
        if self._frames:
            keep(self._part, self._path)
        else:
            self._part.unlink(missing_ok=True)
