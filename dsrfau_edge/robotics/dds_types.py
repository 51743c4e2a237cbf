"""Our messages as types of Cyclone DDS, under the names that ROS 2 gives them on the wire."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from dsrfau_edge.errors import RuntimeUnavailable

from .definitions import BY_NAME, field_kinds

try:
    from cyclonedds.idl import make_idl_struct, types
except ImportError as error:
    raise RuntimeUnavailable(
        "DDS needs cyclonedds, which is not installed. Install it: pip install 'dsrfau-edge[dds]'."
    ) from error

_PRIMITIVES: dict[str, Any] = {
    "string": str,
    "uint8": types.uint8,
    "int32": types.int32,
    "uint32": types.uint32,
    "float32": types.float32,
}


def wire_name(name: str) -> str:
    """`hri_msgs/msg/IdsList` as ROS 2 names it in DDS, `hri_msgs::msg::dds_::IdsList_`."""
    package, _, message = name.split("/")
    return f"{package}::msg::dds_::{message}_"


@cache
def dds_type(name: str) -> type[Any]:
    """The DDS type of one of our messages, by its full ROS name."""
    kinds = {field: _field_type(*parsed) for field, parsed in field_kinds(BY_NAME[name]).items()}
    made: type[Any] = make_idl_struct(name.split("/")[-1], wire_name(name), kinds)
    return made


@cache
def _maker(name: str) -> Callable[[Any], Any]:
    made = dds_type(name)
    parts = [
        (field, base if base in BY_NAME else None, count) for field, (base, count) in field_kinds(BY_NAME[name]).items()
    ]

    def make(message: Any) -> Any:
        values = []
        for field, base, count in parts:
            value = getattr(message, field)
            if base is not None:
                one = _maker(base)
                value = one(value) if count is None else [one(item) for item in value]
            values.append(value)
        return made(*values)

    return make


def to_dds(message: Any) -> Any:
    """One of our messages as an object of its DDS type."""
    return _maker(message.TYPE)(message)


def _field_type(base: str, count: int | None) -> Any:
    one = dds_type(base) if base in BY_NAME else _PRIMITIVES[base]
    if count is None:
        return one
    return types.array[one, count] if count else types.sequence[one]
