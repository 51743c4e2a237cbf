"""Results sent over a socket as JSON lines, by a thread of its own that nothing waits for."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UsageError
from .lines import line
from .peer import MAX_DATAGRAM, Peer

if TYPE_CHECKING:
    from ..results import FrameResult

_log = logging.getLogger(__name__)
_TIMEOUT = 5.0  # that connecting may take
_TOLD = 3  # losses that are told without -v
_STEP = 0.2  # a sending that takes longer looks whether it is to end


@dataclass(slots=True)
class Sent:
    """What became of the results of one peer.

    Attributes:
        sent: handed to the system, which does not prove that they were read.
        dropped: given up because the peer was not there or too slow.
        too_large: of these, those that fit into no datagram.
        connects: how often the peer was reached.
    """

    sent: int = 0
    dropped: int = 0
    too_large: int = 0
    connects: int = 0


class Sender:
    """Sends every result to one peer.

    The peer may be gone, refuse, never read, or come later: results wait in a queue of bounded length, the oldest make
    room for the newest, and are counted. A lost connection is made anew, after a pause that doubles up to `longest`; a
    new one begins with a whole line. UDP gives one datagram a result, and leaves out one that is too large for that.
    """

    def __init__(
        self,
        peer: str | Peer,
        *,
        waiting: int = 256,
        backoff: float = 0.25,
        longest: float = 5.0,
        linger: float = 2.0,
    ) -> None:
        """Begin to connect, without waiting for it.

        Args:
            peer: `tcp://HOST:PORT`, `udp://HOST:PORT` or `unix:PATH`.
            waiting: results that may wait.
            backoff: seconds before the first attempt to reach a peer again.
            longest: seconds before any.
            linger: seconds that `close` waits for what is still in the queue.

        Raises:
            UsageError: the peer is no address, or a number makes no sense.
        """
        if waiting < 1 or backoff <= 0 or longest < backoff or linger < 0:
            raise UsageError(f"A sender with {waiting=}, {backoff=}, {longest=}, {linger=} makes no sense.")
        self.peer = peer if isinstance(peer, Peer) else Peer.parse(peer)
        self._waiting, self._backoff, self._longest, self._linger = waiting, backoff, longest, linger
        self._queue: deque[bytes] = deque()
        self._counts = Sent()
        self._condition = threading.Condition()
        self._closing = self._dead = False
        self._reachable: bool | None = None
        self._losses = 0
        self._thread = threading.Thread(target=self._run, name=f"send to {self.peer.name}", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> Sent:
        """As of now."""
        with self._condition:
            return Sent(self._counts.sent, self._counts.dropped, self._counts.too_large, self._counts.connects)

    def write(self, result: FrameResult) -> None:
        """Lay a result in the queue; never waits."""
        content = line(result).encode("utf-8")
        with self._condition:
            if self.peer.kind == "udp" and len(content) > MAX_DATAGRAM:
                self._refuse(len(content))
                return
            if len(self._queue) >= self._waiting:
                self._queue.popleft()
                self._counts.dropped += 1
            self._queue.append(content)
            self._condition.notify_all()

    def close(self) -> None:
        """Send what is still waiting, for a moment; the rest counts as dropped."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._thread.join(self._linger)
        with self._condition:
            self._dead = True
            self._counts.dropped += len(self._queue)
            self._queue.clear()
            self._condition.notify_all()

    def _refuse(self, size: int) -> None:
        if not self._counts.too_large:
            _log.warning(
                "A result of %d bytes is too large for a datagram (%d) and is left out, as further ones are. Send to "
                "tcp://..., or less: --max-faces, --aus.", size, MAX_DATAGRAM,
            )  # fmt: skip
        self._counts.too_large += 1
        self._counts.dropped += 1

    def _run(self) -> None:
        pause = self._backoff
        while self._wanted():
            try:
                with contextlib.closing(self.peer.connect(_TIMEOUT)) as connected:
                    self._reached()
                    pause = self._backoff if self._feed(connected) else pause
            except OSError as error:
                self._lost(error)
            with self._condition:
                if not self._finished():
                    self._condition.wait_for(self._finished, pause)
            pause = min(2 * pause, self._longest)

    def _wanted(self) -> bool:
        with self._condition:
            return not self._finished()

    def _finished(self) -> bool:
        return self._dead or (self._closing and not self._queue)

    def _feed(self, connected: socket.socket) -> bool:
        """Send from the queue until the end; whether anything was sent.

        Raises:
            OSError: the peer is gone.
        """
        connected.settimeout(_STEP)
        any_sent = False
        while (content := self._next()) is not None:
            try:
                complete = self._send(connected, content)
            except OSError:
                self._count(sent=False)
                if any_sent:
                    self._lost(None)
                    return True
                raise
            self._count(sent=complete)
            any_sent = any_sent or complete
            if not complete:
                return any_sent
        return any_sent

    def _next(self) -> bytes | None:
        with self._condition:
            self._condition.wait_for(lambda: self._queue or self._closing or self._dead)
            return self._queue.popleft() if self._queue and not self._dead else None

    def _send(self, connected: socket.socket, content: bytes) -> bool:
        """Whether it was sent before the end came."""
        if self.peer.kind == "udp":
            connected.send(content)
            return True
        rest = memoryview(content)
        while rest:
            try:
                rest = rest[connected.send(rest) :]
            except TimeoutError:
                if self._dead:
                    return False
        return True

    def _count(self, *, sent: bool) -> None:
        with self._condition:
            if sent:
                self._counts.sent += 1
            else:
                self._counts.dropped += 1

    def _reached(self) -> None:
        with self._condition:
            self._counts.connects += 1
        if self.peer.kind == "udp":  # which connects to anything
            return
        if self._reachable is False:
            _log.log(self._level(), "%s is there again.", self.peer.name)
        self._reachable = True

    def _lost(self, error: OSError | None) -> None:
        if self._reachable is not False:
            why = f" ({error.strerror or error})" if error is not None else ""
            self._losses += 1
            _log.log(
                self._level(), "%s cannot be reached%s. Results wait for it, the last %d of them; it is tried again.",
                self.peer.name, why, self._waiting,
            )  # fmt: skip
        self._reachable = False

    def _level(self) -> int:
        """A peer that comes and goes for hours must not fill the screen."""
        return logging.WARNING if self._losses <= _TOLD else logging.INFO


def told(sender: Sender) -> str:
    """For people, at the end."""
    counts = sender.counts
    text = f"Sent {counts.sent} result{'' if counts.sent == 1 else 's'} to {sender.peer.name}"
    if not counts.dropped:
        return f"{text}."
    why = "; it was never reached" if not counts.connects else ""
    large = f", {counts.too_large} of them too large for a datagram" if counts.too_large else ""
    return f"{text}; {counts.dropped} dropped{large}{why}."
