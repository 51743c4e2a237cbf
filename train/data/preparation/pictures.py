"""Pictures of a plan, read in order. A frame of a video is known by its number, so a video must be whole.

OpenCV passes over what it cannot decode without saying so: every later frame would then be taken for the one before it.
The only trace is that fewer frames come than the file's header states. Such a video is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from dsrfau_edge.errors import InputError
from dsrfau_edge.face.images import Image, as_bgr, read_image
from dsrfau_edge.stream import opencv_name


def read_still(path: Path) -> Image | None:
    """A picture from a file; None if it is missing or damaged."""
    try:
        return read_image(path)
    except InputError:
        return None


class Video:
    """Frames of a video at chosen positions; it is read from its beginning to its end."""

    def __init__(self, path: Path, positions: Sequence[int]) -> None:
        """Remember what to read.

        Args:
            path: the video.
            positions: frames to give, counted from 0.
        """
        self._path = path
        self._wanted = frozenset(positions)
        self.stated = 0  # by the header; 0 where it does not say
        self.read = 0

    def __iter__(self) -> Iterator[tuple[int, Image | None]]:
        capture = cv2.VideoCapture(opencv_name(self._path))
        try:
            self.stated = _stated(capture)
            while capture.grab():
                if self.read in self._wanted:
                    yield self.read, _frame(capture)
                self.read += 1
        finally:
            capture.release()

    def whole(self, *, allowance: int = 0) -> bool:
        """Whether, now that it is read, all came that the header states, but for `allowance` frames at its end."""
        return self.read > 0 and self.read >= self.stated - allowance


def frames_stated(path: Path) -> int | None:
    """Number of frames that a video's header states, 0 where it does not; None if it is no video OpenCV reads."""
    capture = cv2.VideoCapture(opencv_name(path))
    try:
        return _stated(capture) if capture.isOpened() else None
    finally:
        capture.release()


def _stated(capture: cv2.VideoCapture) -> int:
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if np.isfinite(count) and 0 < count < 1 << 31 else 0


def _frame(capture: cv2.VideoCapture) -> Image | None:
    there, frame = capture.retrieve()
    if not there or frame is None:
        return None
    try:
        return as_bgr(frame)
    except InputError:
        return None
