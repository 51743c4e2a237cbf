"""Messages as CDR, the bytes in which ROS 2 sends and records them, and back; by `rosbags`, which is pure Python."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from dsrfau_edge.errors import InputError, RuntimeUnavailable

from .definitions import BY_NAME, definition, field_kinds
from .messages import TYPES, Message

_Convert = Callable[[Any], Any]


class Cdr:
    """Encodes and decodes our messages: little-endian CDR (XCDR1) with its four bytes of header."""

    def __init__(self) -> None:
        """Prepare the types.

        Raises:
            RuntimeUnavailable: rosbags is not installed.
        """
        try:
            from rosbags.serde import SerdeError
            from rosbags.typesys import Stores, get_types_from_msg, get_typestore
        except ImportError as error:
            raise RuntimeUnavailable(
                "Encoding ROS messages needs rosbags, which is not installed. Install it: "
                "pip install 'dsrfau-edge[mcap]'."
            ) from error
        self._broken = SerdeError
        self._store = get_typestore(Stores.EMPTY)
        for kind in TYPES:
            self._store.register(get_types_from_msg(definition(kind), kind.TYPE))
        self._outward: dict[str, _Convert] = {}
        for kind in TYPES:
            self._outward[kind.TYPE] = self._converter(kind)

    def encode(self, message: Message) -> bytes:
        """The message's bytes."""
        name = message.TYPE
        return bytes(self._store.serialize_cdr(self._outward[name](message), name))

    def decode(self, name: str, data: bytes) -> Any:
        """The message of a type (such as `hri_msgs/msg/IdsList`) from its bytes, which may come from anyone.

        Raises:
            InputError: there is no such type here, or these are not the bytes of one.
        """
        if name not in BY_NAME:
            raise InputError(f"There is no message {name} here. Known: {', '.join(sorted(BY_NAME))}.")
        if len(data) < 4 or data[:2] not in (b"\0\0", b"\0\1"):
            raise InputError(f"These bytes are no {name}: they do not begin like CDR.")
        try:
            found = self._store.deserialize_cdr(data, name)
        except self._broken as error:
            raise InputError(f"These bytes are no {name}: {error}.") from error
        return _inward(BY_NAME[name], found)

    def _converter(self, kind: type[Any]) -> _Convert:
        made = self._store.types[kind.TYPE]
        parts = [(name, self._field(*parsed)) for name, parsed in field_kinds(kind).items()]

        def convert(message: Any) -> Any:
            return made(*(part(getattr(message, name)) for name, part in parts))

        return convert

    def _field(self, base: str, count: int | None) -> _Convert:
        if base in BY_NAME:
            one = self._outward[base]
            return one if count is None else lambda values: [one(value) for value in values]
        if count is None:
            return _same
        if base == "string":
            return list
        if base == "uint8":
            return lambda values: np.frombuffer(values, np.uint8)
        return lambda values: np.asarray(values, base)


@cache
def shared_cdr() -> Cdr:
    """One for the process: preparing it takes a while, and it holds no state.

    Raises:
        RuntimeUnavailable: rosbags is not installed.
    """
    return Cdr()


def _same(value: Any) -> Any:
    return value


def _inward(kind: type[Any], found: Any) -> Any:
    values = []
    for name, (base, count) in field_kinds(kind).items():
        value = getattr(found, name)
        if base in BY_NAME:
            part = BY_NAME[base]
            value = _inward(part, value) if count is None else tuple(_inward(part, item) for item in value)
        elif base == "uint8" and count is not None:
            value = bytes(value)
        elif count is not None:
            value = tuple(value) if base == "string" else tuple(value.tolist())
        values.append(value)
    return kind(*values)
