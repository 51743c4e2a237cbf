"""From a stream of results to everything that robots listen to: one making of messages, several ways out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from dsrfau_edge.errors import DsrfauError

from .face_messages import Batch, FaceMessages

if TYPE_CHECKING:
    from dsrfau_edge.face.images import Image
    from dsrfau_edge.results import FrameResult

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """One way out for messages."""

    def send(self, batch: Batch, image: Image | None) -> None:
        """Send or record a batch; `image` is the whole picture where results carry it. Must not wait for readers.

        Raises:
            DsrfauError: nothing more can be sent or recorded here, such as on a full disk.
        """

    def close(self) -> None:
        """Finish and let go. Harmless when called again."""


class RobotOutput:
    """Writes results to all sinks, under the same names of faces.

    A sink that fails is closed and reported, and the others go on; when the last has failed, `write` raises its error.
    """

    def __init__(self, messages: FaceMessages, sinks: Sequence[Sink]) -> None:
        self._messages = messages
        self._sinks = list(sinks)
        self._failure: DsrfauError | None = None
        self._closed = False

    def write(self, result: FrameResult) -> None:
        """Send one result's messages.

        Raises:
            DsrfauError: no sink is left to which it could go.
        """
        self._send(self._messages(result), result.image)
        if not self._sinks and self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def close(self) -> None:
        """Tell that all faces are gone, and close the sinks.

        Raises:
            DsrfauError: a sink had failed on the way.
        """
        if self._closed:
            return
        self._closed = True
        self._send(self._messages.end(), None)
        for sink in self._sinks:
            self._shut(sink)
        self._sinks.clear()
        if self._failure is not None:
            raise self._failure

    def _send(self, batch: Batch, image: Image | None) -> None:
        for sink in list(self._sinks):
            try:
                sink.send(batch, image)
            except DsrfauError as error:
                self._failed(error)
                self._sinks.remove(sink)
                self._shut(sink)

    def _shut(self, sink: Sink) -> None:
        try:
            sink.close()
        except DsrfauError as error:
            self._failed(error)

    def _failed(self, error: DsrfauError) -> None:
        _log.error("%s", error)
        self._failure = self._failure or error
