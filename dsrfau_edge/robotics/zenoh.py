"""Messages over Zenoh, for robots beyond one DDS domain."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable, UsageError

from .face_messages import Batch
from .messages import Message

if TYPE_CHECKING:
    from dsrfau_edge.face.images import Image

Form = Literal["cdr", "json"]
#: Where a session listens that was told neither where to listen nor to what to connect: for this machine alone.
LOCAL = "tcp/127.0.0.1:7447"
_KEY = re.compile(r"[^/*$?#\s]+(/[^/*$?#\s]+)*")
_ENDPOINT = re.compile(r"[a-z_0-9-]+/\S+")
_CONNECT_MS = 5000


class ZenohPublisher:
    """Publishes each message at its topic below a key: `fleet/robot7/humans/faces/qkzra/facs`.

    The payload's encoding names the form and the message, such as `application/cdr;hri_msgs/msg/FacialActionUnits`.
    Nothing waits for peers: what a congested network cannot take is dropped by Zenoh.
    """

    def __init__(
        self, key: str, *, connect: Sequence[str] = (), listen: Sequence[str] = (), form: Form = "cdr"
    ) -> None:
        """Open a session.

        Args:
            key: what comes before the topic, such as `fleet/robot7`.
            connect: routers or peers to connect to, such as `tcp/192.0.2.1:7447`. Nothing listens then, unless asked.
            listen: where peers may connect; `tcp/127.0.0.1:7447` where neither is given.
            form: `cdr` as in ROS 2, or `json`.

        Raises:
            RuntimeUnavailable: zenoh, or rosbags for CDR, is not installed.
            UsageError: the key or an endpoint is none.
            DsrfauError: no connection within 5 s, or the endpoint is in use.
        """
        self._key = check_key(key)
        self._form = form
        check_endpoints(connect, listen)
        self._encode = _encoder(form)
        try:
            import zenoh
        except ImportError as error:
            raise RuntimeUnavailable(
                "Zenoh needs eclipse-zenoh, which is not installed. Install it: pip install 'dsrfau-edge[zenoh]'."
            ) from error
        self._failure = zenoh.ZError
        self._encoding = zenoh.Encoding.APPLICATION_CDR if form == "cdr" else zenoh.Encoding.APPLICATION_JSON
        self._encodings: dict[str, Any] = {}
        self._drop = zenoh.CongestionControl.DROP
        try:
            self._session: Any = zenoh.open(_config(zenoh, connect, listen))
        except zenoh.ZError as error:
            target = ", ".join([*connect, *listen] or [LOCAL])
            raise DsrfauError(
                f"Zenoh cannot use {target}: {_reason(error)}. Start the router or peer first, or give another "
                "--zenoh-connect or --zenoh-listen."
            ) from error

    def send(self, batch: Batch, image: Image | None) -> None:
        """Publish a batch.

        Raises:
            DsrfauError: the session has ended.
        """
        del image
        try:
            for item in batch.messages:
                name = item.message.TYPE
                if name not in self._encodings:
                    self._encodings[name] = self._encoding.with_schema(name)
                self._session.put(
                    f"{self._key}{item.topic}",
                    self._encode(item.message),
                    encoding=self._encodings[name],
                    congestion_control=self._drop,
                )
        except self._failure as error:
            raise DsrfauError(f"Publishing over Zenoh failed: {_reason(error)}. Start again.") from error

    def close(self) -> None:
        """End the session."""
        with contextlib.suppress(self._failure):
            self._session.close()


def check_key(key: str) -> str:
    """The key, if it is one.

    Raises:
        UsageError: it is none, or holds a wildcard.
    """
    if not _KEY.fullmatch(key):
        raise UsageError(
            f"{key!r} is no Zenoh key to publish under. Give names with slashes between, such as fleet/robot7, without "
            "spaces and * $ ? #."
        )
    return key


def check_endpoints(connect: Sequence[str], listen: Sequence[str]) -> None:
    """Refuse what is no endpoint.

    Raises:
        UsageError: one is none.
    """
    for endpoint in (*connect, *listen):
        if not _ENDPOINT.fullmatch(endpoint):
            raise UsageError(f"{endpoint!r} is no Zenoh endpoint. Give one such as tcp/192.0.2.1:7447.")


def to_json(message: Message) -> bytes:
    """A message as JSON, named as its fields are; bytes in base64."""
    return json.dumps(asdict(message), default=lambda data: base64.b64encode(data).decode()).encode()


def _encoder(form: Form) -> Any:
    if form == "json":
        return to_json
    if form != "cdr":
        raise UsageError(f"There is no form {form!r} of Zenoh's payload. Give cdr or json.")
    from .cdr import shared_cdr

    return shared_cdr().encode


def _config(zenoh: Any, connect: Sequence[str], listen: Sequence[str]) -> Any:
    config = zenoh.Config()
    listen = listen or ([] if connect else [LOCAL])
    settings = {
        "mode": "peer" if listen else "client",  # a client listens nowhere
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": False,
        "connect/timeout_ms": _CONNECT_MS,
        "connect/exit_on_failure": True,
        "connect/endpoints": list(connect),
        "listen/endpoints": list(listen),
    }
    for name, value in settings.items():
        config.insert_json5(name, json.dumps(value))
    return config


def _reason(error: Exception) -> str:
    return str(error).split(" at /")[0].rstrip(". ")  # what follows is a path of whoever built the library
