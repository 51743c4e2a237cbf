"""What a live stream can read: each kind of source behind the same four calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import InputError, UsageError
from ..face.images import Image, as_bgr, read_image
from ..stream import FolderSource, Frame, VideoSource, open_source, seconds_of
from ..video_feed import VideoFeed
from .options import LiveOptions

_RATE = 30.0
_TAKES = (
    "Give a camera number, a device path, an address, a GStreamer pipeline, a file, a folder, an iterator of pictures, "
    "or a function that returns one."
)


class Feed(Protocol):
    """A source from its opening to its release; one thread uses it.

    Attributes:
        time: seconds in the source's own time of the frame grabbed last, if it has one.
    """

    time: float | None

    def grab(self) -> bool:
        """Wait for the next frame; False at the end."""

    def retrieve(self, index: int) -> Frame:
        """The frame grabbed last, with the number `index` unless it brings its own.

        Raises:
            InputError: it is damaged, or no picture.
        """

    def release(self) -> None:
        """Close it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where feeds come from.

    Attributes:
        name: as messages call it.
        open: makes a feed, or raises an error.
        lasts: it has no end, so that one is a loss; a camera.
        reopens: a second feed may be opened while the first one is stuck.
        paced: its frames are due at their own times.
        keeps: no frame is left out.
        opening: seconds that `open` may take.
    """

    name: str
    open: Callable[[], Feed]
    lasts: bool
    reopens: bool
    paced: bool
    keeps: bool
    opening: float = 10.0


def origin_of(source: Any, options: LiveOptions) -> Origin:
    """What a user's source is. Nothing is opened yet.

    Raises:
        InputError: there is no such file, or its kind is not known.
        UsageError: it is nothing that gives frames, or cannot be read as the options say.
    """
    if isinstance(source, (str, Path)) or (isinstance(source, (int, np.integer)) and not isinstance(source, bool)):
        return _named(source if isinstance(source, (str, Path)) else int(source), options)
    keeps = not options.realtime
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray, np.ndarray, dict)):
        given = iter(source)
        feed = IteratorFeed(given, owned=given is not source)
        return Origin("iterator", lambda: feed, lasts=False, reopens=False, paced=False, keeps=keeps)
    if callable(source):
        return Origin("iterator", lambda: _called(source), lasts=True, reopens=True, paced=False, keeps=keeps)
    raise UsageError(f"A live stream cannot be read from {type(source).__name__}. {_TAKES}")


def _named(source: str | Path | int, options: LiveOptions) -> Origin:
    if isinstance(source, int) and source < 0:
        raise UsageError(f"There is no camera {source}. Cameras are numbered from 0.")
    if not str(source):
        raise UsageError(f"The name of the source is empty. {_TAKES}")
    found = open_source(source)
    live = found.kind == "live"
    if live and not options.realtime:
        raise UsageError(f"realtime=False takes every frame, for which {found.name} does not wait. Leave it out.")

    def opened() -> Feed:
        if isinstance(found, VideoSource):
            feed = found.open(open_timeout=options.open_timeout, read_timeout=options.stall_after)
            return DeviceFeed(feed, found.name) if live else FileFeed(feed, found.name, options.rate)
        paths = found.pictures() if isinstance(found, FolderSource) else [Path(found.name)]
        return PicturesFeed(paths, options.rate or _RATE)

    return Origin(
        found.name, opened, lasts=live, reopens=live, paced=not live and options.realtime,
        keeps=not options.realtime, opening=options.open_timeout,
    )  # fmt: skip


def _called(source: Callable[[], Any]) -> IteratorFeed:
    try:
        return IteratorFeed(iter(source()), owned=True)
    except Exception as error:  # whatever a user's function raises
        raise InputError(f"The source cannot be opened: {_told(error)}") from error


class DeviceFeed:
    """A camera, address or pipeline: a frame's time is when it comes."""

    time: float | None = None

    def __init__(self, feed: VideoFeed, name: str) -> None:
        self._feed, self._name = feed, name

    def grab(self) -> bool:
        """Wait for the next."""
        return self._feed.grab()

    def retrieve(self, index: int) -> Frame:
        """Decode it."""
        return Frame(self._name, index, self.time, self._feed.retrieve())

    def release(self) -> None:
        """Close it."""
        self._feed.release()


class FileFeed(DeviceFeed):
    """A video file, in the container's time; by number where neither time nor rate are told."""

    def __init__(self, feed: VideoFeed, name: str, rate: float | None) -> None:
        super().__init__(feed, name)
        feed.rate = feed.rate or rate

    def grab(self) -> bool:
        """Read the next."""
        more = super().grab()
        if more:
            self.time = self._feed.time()
        return more


class PicturesFeed:
    """Pictures one after another at a fixed rate; those passed over are not even read."""

    def __init__(self, paths: list[Path], rate: float) -> None:
        self.time: float | None = None
        self._paths, self._rate, self._at = paths, rate, -1

    def grab(self) -> bool:
        """Go on to the next."""
        self._at += 1
        self.time = self._at / self._rate
        return self._at < len(self._paths)

    def retrieve(self, index: int) -> Frame:
        """Read it."""
        path = self._paths[self._at]
        return Frame(str(path), index, self.time, read_image(path))

    def release(self) -> None:
        """Nothing is open."""


class IteratorFeed:
    """Pictures, pairs of a time and a picture, or `Frame`s that a user's iterator gives."""

    def __init__(self, given: Iterator[Any], *, owned: bool) -> None:
        self.time: float | None = None
        self._given, self._owned = given, owned
        self._item: Any = None
        self._error: InputError | None = None

    def grab(self) -> bool:
        """Take the next.

        Raises:
            InputError: the iterator raises. Asked again, some go on; a generator is then at its end.
        """
        try:
            self._item = next(self._given)
        except StopIteration:
            if self._error is not None:
                raise IteratorDone(str(self._error)) from self._error.__cause__
            return False
        except Exception as error:  # whatever a user's iterator raises
            self._error = InputError(f"The iterator that gives frames raised {_told(error)}")
            raise self._error from error
        self._error = None
        return True

    def retrieve(self, index: int) -> Frame:
        """Its picture."""
        item, self._item = self._item, None
        if isinstance(item, Frame):
            time, image = seconds_of(item.timestamp), _own(item.image)
            return Frame(item.source, item.index, time, image, arrival=item.arrival)
        if isinstance(item, tuple) and len(item) == 2 and np.ndim(item[0]) == 0:
            return Frame("iterator", index, seconds_of(item[0]), _own(item[1]))
        return Frame("iterator", index, None, _own(item))

    def release(self) -> None:
        """Close the iterator if it was made here; one that the user made is the user's."""
        self._item = None
        if self._owned and callable(close := getattr(self._given, "close", None)):
            close()


def _own(picture: Any) -> Image:
    """A copy: the iterator may fill the same memory again while this picture waits or is looked at."""
    image: Image = as_bgr(picture).copy()
    return image


class IteratorDone(InputError):
    """An iterator ended after it had raised: there is nothing to try again."""


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
