"""Addresses that results can go to: `tcp://HOST:PORT`, `udp://HOST:PORT`, `unix:PATH`; and those of Rerun's viewer."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from ..errors import UsageError

#: Payload of a UDP datagram over IPv4, which IPv6 does not exceed by much.
MAX_DATAGRAM = 65507
_UNIX_PATH = 107  # bytes that the system takes
_TAKES = "Give tcp://HOST:PORT, udp://HOST:PORT or unix:PATH."


@dataclass(frozen=True, slots=True)
class Peer:
    """Where to send to.

    Attributes:
        name: as the user gave it.
        kind: how it is spoken to.
        host: name or address; the path of a Unix socket.
        port: of TCP and UDP.
    """

    name: str
    kind: Literal["tcp", "udp", "unix"]
    host: str
    port: int = 0

    @staticmethod
    def parse(text: str) -> Peer:
        """What a user typed.

        Raises:
            UsageError: it is no such address.
        """
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            path = path.removeprefix("//") if path.startswith("///") else path
            if not 0 < len(os.fsencode(path)) <= _UNIX_PATH or "\0" in path:
                raise UsageError(f"{text!r} is no path of a Unix socket, which has 1 to {_UNIX_PATH} bytes. {_TAKES}")
            return Peer(text, "unix", path)
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError(f"{text!r} is no address to send to ({error}). {_TAKES}") from error
        more = parts.path or parts.query or parts.fragment or parts.username is not None
        if parts.scheme not in ("tcp", "udp") or not host or not port or more:
            raise UsageError(f"{text!r} is no address to send to. {_TAKES}")
        return Peer(text, "tcp" if parts.scheme == "tcp" else "udp", host, port)

    def connect(self, timeout: float) -> socket.socket:
        """A connected socket, on which sending and receiving time out.

        Raises:
            OSError: nobody answers there.
        """
        if self.kind == "tcp":
            connected = socket.create_connection((self.host, self.port), timeout=timeout)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connected
        if self.kind == "unix":
            family, kind, protocol, address = socket.AF_UNIX, socket.SOCK_STREAM, 0, self.host
        else:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
            family, kind, protocol, address = found[0], found[1], found[2], found[4]  # type: ignore[assignment]
        connected = socket.socket(family, kind, protocol)
        try:
            connected.settimeout(timeout)
            connected.connect(address)
        except BaseException:
            connected.close()
            raise
        return connected


def viewer_address(target: str) -> str:
    """Rerun's own form of an address.

    Raises:
        UsageError: it is none.
    """
    full = target if "://" in target else f"rerun+http://{target}/proxy"
    try:
        parts = urlsplit(full)
        known = parts.scheme in ("rerun", "rerun+http", "rerun+https") and parts.hostname and parts.port
    except ValueError:
        known = None
    if not known:
        raise UsageError(
            f"--rerun {target!r} is no viewer. Give spawn, HOST:PORT (its default is 9876), or NAME.rrd; "
            "and sources before --rerun."
        )
    return full
