"""JSON lines: one object a frame. No form of output but pictures, videos and Rerun's frames ever carries pixels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..results import FrameResult


class Text(Protocol):
    """Where lines go: stdout, a `LineFile`."""

    def write(self, text: str, /) -> int:
        """Take text."""

    def flush(self) -> None:
        """Hand it on."""


def line(result: FrameResult) -> str:
    """A result as one line of JSON, with its end."""
    return json.dumps(result.to_dict(), ensure_ascii=False) + "\n"


class JsonLines:
    """One JSON object a frame."""

    def __init__(self, stream: Text) -> None:
        self._stream = stream

    def write(self, result: FrameResult) -> None:
        """Write one frame."""
        self._stream.write(line(result))
        self._stream.flush()

    def close(self) -> None:
        """The stream is closed by whoever opened it."""
