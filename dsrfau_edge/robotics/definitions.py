"""`.msg` definitions of our messages, written from their fields."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from .messages import TYPES

_KIND = re.compile(r"(?P<base>[A-Za-z0-9_/]+)(\[(?P<count>\d*)\])?")
#: Full name, such as `std_msgs/msg/Header`, to class.
BY_NAME: dict[str, type[Any]] = {kind.TYPE: kind for kind in TYPES}
_RULE = "=" * 80


def parse_kind(kind: str) -> tuple[str, int | None]:
    """A field's type as base and length: None of a single value, 0 of a sequence, else of an array.

    `"float32[99]"` is `("float32", 99)`, `"string[]"` is `("string", 0)`, `"std_msgs/Header"` is
    `("std_msgs/msg/Header", None)`.
    """
    match = _KIND.fullmatch(kind)
    if match is None:
        raise ValueError(f"{kind!r} is no type of a field")
    base, count = match["base"], match["count"]
    if "/" in base:
        base = "/msg/".join(base.split("/"))
    return base, None if count is None else int(count or 0)


def field_kinds(message: type[Any]) -> dict[str, tuple[str, int | None]]:
    """Fields in their order, each with base and length."""
    return {item.name: parse_kind(item.metadata["ros"]) for item in fields(message)}


def definition(message: type[Any]) -> str:
    """The `.msg` text of one message alone."""
    return "".join(f"{item.metadata['ros']} {item.name}\n" for item in fields(message))


def whole_definition(message: type[Any]) -> str:
    """With those of all messages that it is made of, as recordings carry it (`ros2msg`)."""
    parts = [definition(message)]
    for part in _parts(message):
        package, name = part.TYPE.split("/msg/")
        parts.append(f"{_RULE}\nMSG: {package}/{name}\n{definition(part)}")
    return "".join(parts)


def _parts(message: type[Any]) -> list[type[Any]]:
    found: dict[type[Any], None] = {}
    for base, _ in field_kinds(message).values():
        if base in BY_NAME:
            found[BY_NAME[base]] = None
            found.update(dict.fromkeys(_parts(BY_NAME[base])))
    return list(found)
