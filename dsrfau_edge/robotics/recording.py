"""Recordings as MCAP, which Foxglove and `ros2 bag` open."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable, UsageError

from .cdr import shared_cdr
from .definitions import whole_definition
from .face_messages import Batch
from .messages import Message
from .pictures import jpeg_message

if TYPE_CHECKING:
    from mcap.writer import Writer

    from dsrfau_edge.face.images import Image

_CHUNK = 1 << 20  # bytes; a chunk is closed earlier when its time is up


class McapRecording:
    """Writes messages to a file, as CDR with `ros2msg` definitions.

    What was recorded is handed to the operating system every `flush_seconds`, as a chunk of its own that can be read
    without the end of the file, so that a process that is killed loses the last moments only. When the disk is full the
    file is cut back to its last whole chunk. Message times are those of their headers.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        image_topic: str | None = None,
        flush_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the file.

        Args:
            path: a new file; none is overwritten.
            image_topic: record whole pictures too, as JPEG, under this topic, such as `/image_raw/compressed`.
            flush_seconds: how much time a chunk spans at most.
            clock: seconds, for that.

        Raises:
            RuntimeUnavailable: mcap or rosbags is not installed.
            UsageError: there is such a file, or flush_seconds is not above 0.
            DsrfauError: the file cannot be made.
        """
        if not flush_seconds > 0:
            raise UsageError(f"flush_seconds is {flush_seconds}; give seconds above 0.")
        try:
            from mcap.writer import CompressionType, Writer
        except ImportError as error:
            raise RuntimeUnavailable(
                "Recording MCAP needs mcap, which is not installed. Install it: pip install 'dsrfau-edge[mcap]'."
            ) from error
        self._cdr = shared_cdr()
        self.path = Path(path)
        self._image_topic, self._flush_seconds, self._clock = image_topic, flush_seconds, clock
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._counts: dict[int, int] = {}
        self._file = _File(self.path)
        # Pictures are compressed already; the rest is small, and lz4 costs next to nothing.
        self._writer: Writer | None = Writer(self._file, chunk_size=_CHUNK, compression=CompressionType.LZ4)
        self._last_flush = clock()
        self._guarded(lambda writer: writer.start(profile="ros2", library="dsrfau-edge"))

    def send(self, batch: Batch, image: Image | None) -> None:
        """Record a batch, and the picture where that was asked.

        Raises:
            DsrfauError: it cannot be written; the file has been closed.
        """
        for item in batch.messages:
            self._add(item.topic, item.message)
        if self._image_topic is not None and image is not None:
            self._add(self._image_topic, jpeg_message(image, batch.header))
        if self._clock() - self._last_flush >= self._flush_seconds:
            self._guarded(lambda writer: writer.flush())
            self._file.mark()
            self._last_flush = self._clock()

    def close(self) -> None:
        """Write the file's index and close it.

        Raises:
            DsrfauError: it cannot be written; what was recorded before the last flush can be read.
        """
        self._guarded(lambda writer: writer.finish())
        self._writer = None
        self._file.close()

    def _add(self, topic: str, message: Message) -> None:
        data = self._cdr.encode(message)
        stamp = max(message.header.stamp.ns, 0)  # the file's times have no sign
        self._guarded(lambda writer: self._record(writer, topic, message, data, stamp))

    def _record(self, writer: Writer, topic: str, message: Message, data: bytes, stamp: int) -> None:
        channel = self._channels.get(topic)
        if channel is None:
            channel = writer.register_channel(topic, "cdr", self._schema(writer, message))
            self._channels[topic] = channel
        count = self._counts[channel] = self._counts.get(channel, 0) + 1
        writer.add_message(channel, log_time=stamp, publish_time=stamp, data=data, sequence=count & 0xFFFFFFFF)

    def _schema(self, writer: Writer, message: Message) -> int:
        if message.TYPE not in self._schemas:
            text = whole_definition(type(message)).encode()
            self._schemas[message.TYPE] = writer.register_schema(message.TYPE, "ros2msg", text)
        return self._schemas[message.TYPE]

    def _guarded(self, step: Callable[[Writer], object]) -> None:
        if self._writer is None:
            return
        try:
            step(self._writer)
        except OSError as error:
            self._writer = None
            self._file.cut()
            raise DsrfauError(
                f"The recording {self.path} ended early: {error.strerror or error}. What it holds up to there can be "
                "read. Free some space, or record elsewhere."
            ) from error


class _File:
    """A file written without a buffer of our own, which knows up to where it is whole."""

    def __init__(self, path: Path) -> None:
        try:
            self._raw = path.open("xb", buffering=0)
        except FileExistsError as error:
            raise UsageError(f"{path} exists already. Give another name; recordings are not overwritten.") from error
        except OSError as error:
            raise DsrfauError(f"{path} cannot be written: {error.strerror or error}. Give another place.") from error
        self._whole = 0
        self._at = 0

    def write(self, data: bytes) -> int:
        """All of it, or OSError."""
        rest = memoryview(data)
        while rest:
            written = self._raw.write(rest) or 0
            self._at += written
            rest = rest[written:]
        return len(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing waits here."""

    def mark(self) -> None:
        """What is written so far is whole."""
        self._whole = self._at

    def cut(self) -> None:
        """Drop what comes after the last mark, and close."""
        with contextlib.suppress(OSError):  # where it fails the end is a torn chunk, which readers have to skip
            os.ftruncate(self._raw.fileno(), self._whole)
        self.close()

    def close(self) -> None:
        self._raw.close()
