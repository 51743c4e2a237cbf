"""Two pages over HTTP, by a server that trusts nobody who connects.

A request is read up to a size and within a time; there are so many connections at most, and where another comes the
oldest is cut, so that whoever holds connections open keeps nobody else out. What is no plain GET gets an error.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from dsrfau_edge.errors import DsrfauError

_log = logging.getLogger(__name__)

_MOST_BYTES = 8192
_SECONDS = 5.0
_MOST_CONNECTIONS = 32
_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Response:
    """A status, and a body with its type."""

    status: HTTPStatus
    body: bytes
    kind: str = _TEXT


Page = Callable[[], Response]


def json_response(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """A value as JSON."""
    return Response(status, (json.dumps(value, indent=1) + "\n").encode(), _JSON)


class HttpServer:
    """Serves pages by path until it is closed."""

    def __init__(
        self,
        address: tuple[str, int],
        pages: dict[str, Page],
        *,
        seconds: float = _SECONDS,
        most_connections: int = _MOST_CONNECTIONS,
    ) -> None:
        """Listen at host and port (0: any that is free).

        Raises:
            DsrfauError: that is not possible.
        """
        self._pages, self._seconds, self._most = pages, seconds, most_connections
        self._connections: dict[socket.socket, None] = {}  # oldest first
        self._lock = threading.Lock()
        self._closed = False
        host, port = address
        try:
            family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._socket = _listening(family, found)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DsrfauError(
                f"Cannot listen at {host}:{port}: {reason}. Give another address with --listen HOST:PORT."
            ) from error
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        if not ipaddress.ip_address(self.address[0].partition("%")[0]).is_loopback:
            _log.warning(
                "Health and metrics are served at %s:%d to whoever reaches this machine, without a password.",
                *self.address,
            )
        self._thread = threading.Thread(target=self._accept, name="http", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and cut all connections."""
        with self._lock:
            self._closed = True
            open_now = list(self._connections)
        with contextlib.suppress(OSError):  # wakes `accept`
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in open_now:
            _cut(connection)
        if self._thread.ident is not None:
            self._thread.join(2.0)

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._socket.accept()
            except OSError as error:
                _log.debug("A connection could not be accepted: %s", error)  # such as without free descriptors
                time.sleep(0.1)
                continue
            self._admit(connection)
            try:
                threading.Thread(target=self._serve, args=(connection,), name="http request", daemon=True).start()
            except RuntimeError:  # no more threads
                self._forget(connection)

    def _admit(self, connection: socket.socket) -> None:
        with self._lock:
            oldest = next(iter(self._connections), None) if len(self._connections) >= self._most else None
            if oldest is not None:
                del self._connections[oldest]
            self._connections[connection] = None
        if oldest is not None:
            _cut(oldest)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.pop(connection, None)
        connection.close()

    def _serve(self, connection: socket.socket) -> None:
        deadline = time.monotonic() + self._seconds
        try:
            head = _read_head(connection, deadline)
            if head is None:
                return
            response, with_body = self._answer(head)
            connection.settimeout(max(deadline - time.monotonic(), 1.0))
            connection.sendall(_encoded(response, with_body=with_body))
            connection.shutdown(socket.SHUT_WR)
            _drain(connection, deadline)
        except OSError as error:  # it is the peer's loss
            _log.debug("A request was not answered: %s", error)
        finally:
            self._forget(connection)

    def _answer(self, head: bytes) -> tuple[Response, bool]:
        """The response to a request's head, and whether to send its body."""
        if not head.endswith(b"\r\n\r\n"):
            return Response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"The request is too large.\n"), True
        parts = head.split(b"\r\n", 1)[0].split(b" ")
        if len(parts) != 3 or not parts[2].startswith(b"HTTP/1.") or not parts[1].startswith(b"/"):
            return Response(HTTPStatus.BAD_REQUEST, b"This is no HTTP/1 request.\n"), True
        method, target = parts[0], parts[1].split(b"?", 1)[0]
        if method not in (b"GET", b"HEAD"):
            return Response(HTTPStatus.METHOD_NOT_ALLOWED, b"Only GET and HEAD are served.\n"), True
        page = self._pages.get(target.decode("latin-1"))
        if page is None:
            known = " ".join(self._pages)
            return Response(HTTPStatus.NOT_FOUND, f"There are: {known}\n".encode()), method == b"GET"
        try:
            return page(), method == b"GET"
        except Exception:  # a page that cannot be made must not look like a service that is gone
            _log.exception("The page %s could not be made.", target.decode("latin-1"))
            return Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"The page could not be made.\n"), method == b"GET"


def _listening(family: int, address: Any) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(64)
    except OSError:
        found.close()
        raise
    return found


def _read_head(connection: socket.socket, deadline: float) -> bytes | None:
    """Everything up to the empty line; what there is of it if that is too large; None if it does not come in time."""
    head = b""
    while len(head) < _MOST_BYTES:
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        connection.settimeout(left)
        more = connection.recv(2048)
        if not more:
            return None
        head += more
        end = head.find(b"\r\n\r\n")
        if end >= 0:
            return head[: end + 4]
    return head[:_MOST_BYTES]


def _drain(connection: socket.socket, deadline: float) -> None:
    """Read what else was sent, to some extent: closing would discard the answer on its way otherwise."""
    left = 8 * _MOST_BYTES
    while left > 0 and (seconds := deadline - time.monotonic()) > 0:
        connection.settimeout(seconds)
        more = connection.recv(_MOST_BYTES)
        if not more:
            return
        left -= len(more)


def _encoded(response: Response, *, with_body: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {response.status.value} {response.status.phrase}",
        f"Content-Type: {response.kind}",
        f"Content-Length: {len(response.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *(["Allow: GET, HEAD"] if response.status == HTTPStatus.METHOD_NOT_ALLOWED else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (response.body if with_body else b"")


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
