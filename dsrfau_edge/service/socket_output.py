"""JSON lines to one peer; the outlet around it brings the queue, the thread and the attempts."""

from __future__ import annotations

import contextlib
import errno
import threading
from typing import TYPE_CHECKING

from dsrfau_edge.outputs.lines import line
from dsrfau_edge.outputs.peer import Peer

if TYPE_CHECKING:
    from dsrfau_edge.results import FrameResult

_TIMEOUT = 5.0  # seconds that connecting may take
_STEP = 0.2  # seconds after which a write that does not get on looks whether it is to end


class SocketOutput:
    """One connection. A write waits until the peer reads; `interrupt` ends that."""

    def __init__(self, peer: str) -> None:
        """Connect to `tcp://HOST:PORT`, `udp://HOST:PORT` or `unix:PATH`.

        Raises:
            UsageError: that is no address.
            OSError: nobody answers there.
        """
        self._peer = Peer.parse(peer)
        self._interrupted = threading.Event()
        try:
            self._socket = self._peer.connect(_TIMEOUT)
        except OSError as error:
            raise OSError(f"{peer} cannot be reached: {error.strerror or error}.") from error
        self._socket.settimeout(_STEP)

    def write(self, result: FrameResult) -> None:
        """Send a line; over UDP, a datagram.

        Raises:
            OSError: the peer is gone, or cannot take it.
        """
        rest = memoryview(line(result).encode())
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except TimeoutError:
                if self._interrupted.is_set():
                    raise OSError(f"{self._peer.name} does not read.") from None
            except OSError as error:
                what = f"{self._peer.name}: {error.strerror or error}."
                if error.errno == errno.EMSGSIZE:
                    what += f" A result of {len(rest)} bytes is too large for a datagram; use tcp://, or max_faces."
                raise OSError(what) from error

    def interrupt(self) -> None:
        """Have a write that waits give up; from any thread."""
        self._interrupted.set()

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self._socket.close()
