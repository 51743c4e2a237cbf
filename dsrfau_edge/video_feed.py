"""One opening of a camera, a stream address, a GStreamer pipeline or a video file, by OpenCV."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, cast

import cv2

from .errors import InputError, RuntimeUnavailable
from .face.images import Image, as_bgr

_log = logging.getLogger(__name__)

PIPELINE = " ! "
#: Seconds that OpenCV may take to open an address, and to wait for its next frame.
OPEN_TIMEOUT, READ_TIMEOUT = 10.0, 5.0
_UNKNOWN_RATE = 30.0
# One buffer to fill while the other is read: with a single one a camera can lose every other frame, and more only
# make frames older.
_BUFFERS = 2
# Reads that fail in a row after which a source is at its end.
_MOST_DAMAGED = 10


class VideoFeed:
    """Frames of a source that OpenCV reads, from its opening to its release; for one thread at a time.

    Attributes:
        rate: frames per second, where the source tells.
        count: frames that a file's container announces, where it does.
    """

    def __init__(
        self,
        name: str,
        target: str | int,
        *,
        live: bool,
        open_timeout: float = OPEN_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        """Open it.

        Args:
            name: as errors call it.
            target: camera number, device path, pipeline, address or path.
            live: whether frames come by themselves.
            open_timeout: seconds, of addresses.
            read_timeout: seconds, likewise.

        Raises:
            InputError: it cannot be opened.
            RuntimeUnavailable: it is a pipeline, and this OpenCV has no GStreamer.
        """
        self.name, self._target, self._live = name, target, live
        timeouts = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(1000 * open_timeout)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(1000 * read_timeout)),
        ]
        try:
            self._capture = self._open(timeouts)
        except cv2.error as error:  # a number beyond C's
            raise InputError(f"{name} cannot be opened: {advice(target, live=live)}") from error
        if not self._capture.isOpened():
            self._capture.release()
            raise InputError(f"{name} cannot be opened: {advice(target, live=live)}")
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate = rate if 0 < rate < 1000 else None
        count = float(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = int(count) if not live and 0 < count < 1e9 else None
        self._grabbed, self._damaged, self._last = 0, 0, -1.0
        self._patience = read_timeout / 2  # a read that fails later than this has waited in vain

    def grab(self) -> bool:
        """Wait for the next frame, without decoding it where the backend can; False where no more comes.

        A damaged frame looks like an end, but the frames after it can still be read.
        """
        if self._damaged:
            self._damaged -= 1
            self._grabbed += 1
            return True
        began = time.monotonic()
        for failures in range(_MOST_DAMAGED):
            if self._capture.grab():
                # First those are told that could not be decoded, then this one.
                self._damaged = failures
                self._grabbed += 1
                return True
            if time.monotonic() - began > self._patience:
                break
        if self.count and 0 < self._grabbed < 0.9 * self.count:
            _log.warning("%s ends after %d of %d frames: it seems damaged.", self.name, self._grabbed, self.count)
        return False

    def retrieve(self) -> Image:
        """Decode the frame grabbed last.

        Raises:
            InputError: it is damaged.
        """
        if self._damaged:
            raise InputError(f"A frame of {self.name} is damaged.")
        try:
            whole, image = self._capture.retrieve()
        except cv2.error as error:
            raise InputError(f"A frame of {self.name} is damaged: {error}") from error
        if not whole or image is None or not image.size:
            raise InputError(f"A frame of {self.name} is damaged.")
        return as_bgr(image)

    def time(self) -> float:
        """Seconds of the frame grabbed last, after those of the last one; without meaning if it is damaged.

        The container's own time, which is right for variable rates too; by number and rate where it has none.
        """
        if self._damaged:
            return max(self._last, 0.0)
        stamp = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if not (stamp > self._last and (stamp > 0 or self._grabbed == 1)):
            step = 1 / (self.rate or _UNKNOWN_RATE)
            stamp = (self._grabbed - 1) * step
            if stamp <= self._last:
                stamp = self._last + step
        self._last = stamp
        return stamp

    def release(self) -> None:
        """Close it."""
        self._capture.release()

    def _open(self, timeouts: list[int]) -> Any:
        target = self._target
        if isinstance(target, int):
            return _unbuffered(cv2.VideoCapture(target))
        if PIPELINE in target:
            _require_gstreamer()
            # Without timeouts, which older OpenCV refuses for GStreamer; who reads live has a watchdog of his own.
            return cv2.VideoCapture(target, cv2.CAP_GSTREAMER)
        if not self._live:
            return cv2.VideoCapture(opencv_name(target))
        if "://" not in target:
            backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
            return _unbuffered(cv2.VideoCapture(opencv_name(target), backend))
        return cv2.VideoCapture(target, cv2.CAP_FFMPEG, timeouts)


def _unbuffered(capture: Any) -> Any:
    if capture.isOpened():
        capture.set(cv2.CAP_PROP_BUFFERSIZE, _BUFFERS)
    return capture


def _require_gstreamer() -> None:
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise RuntimeUnavailable(
            "This is a GStreamer pipeline, and the OpenCV in use is built without GStreamer, as the one from PyPI is. "
            "Build it with GStreamer: apt-get install libgstreamer-plugins-base1.0-dev, then "
            "CMAKE_ARGS=-DWITH_GSTREAMER=ON pip install --force-reinstall --no-deps --no-binary opencv-python "
            "opencv-python. Or let gst-launch-1.0 read the camera, as docs/devices.md shows. (A system's OpenCV 4 does "
            "not do.) Or give a camera number or an address."
        )


def advice(target: str | int, *, live: bool) -> str:
    """Why a source does not open, as far as its kind tells, and what to do."""
    if isinstance(target, int):
        return "there is no such camera, or another program uses it. Cameras are numbered from 0."
    if PIPELINE in target:
        return "GStreamer does not run this pipeline to an appsink. Try it with gst-launch-1.0 first."
    if live and "://" not in target:
        return "there is no camera at this path, or another program uses it. v4l2-ctl --list-devices shows those there."
    if live:
        return "the address does not answer with a video. Check it, and the network."
    return "it is not a video that OpenCV reads, or it is damaged. Convert it, for instance to MP4 (H.264)."


def opencv_name(path: str | Path) -> str:
    """A file's name for OpenCV, which crashes the process when text holds bytes that are no UTF-8.

    It takes bytes too, as they are, though its type hints do not say so.
    """
    return cast(str, os.fsencode(path))
