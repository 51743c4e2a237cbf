"""Messages to systemd, by the protocol of sd_notify(3): datagrams to the socket that $NOTIFY_SOCKET names."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Mapping

_log = logging.getLogger(__name__)


class Notifier:
    """Does nothing where no manager asked for notifications. Never raises and never waits."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # "@" stands for the zero byte that begins an abstract address.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self.watchdog = _watchdog(environment)
        if not address:
            return
        if address[0] not in "@/" or not hasattr(socket, "AF_UNIX"):
            _log.warning("NOTIFY_SOCKET=%s is not a socket that can be written to; systemd is told nothing.", address)
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)

    def send(self, *lines: str) -> None:
        """Send assignments such as `READY=1`."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            _log.debug("systemd could not be told %s: %s", lines, error)

    def close(self) -> None:
        """Free the socket."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Seconds within which systemd wants to hear from this process; None where it does not."""
    try:
        seconds = int(environment.get("WATCHDOG_USEC", "")) / 1e6
        process = int(environment.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return seconds if seconds > 0 and process == os.getpid() else None
