"""Our messages as ROS 2's own classes, which come with a ROS installation."""

from __future__ import annotations

import array
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from .definitions import BY_NAME, field_kinds
from .messages import TYPES, Message

_Convert = Callable[[Any], Any]


def ros_types() -> dict[str, Any]:
    """ROS 2's class of each of our messages, by full name such as `hri_msgs/msg/FacialActionUnits`.

    Raises:
        ModuleNotFoundError: the package of one is not installed.
    """
    found = {}
    for kind in TYPES:
        package, _, name = kind.TYPE.split("/")
        found[kind.TYPE] = getattr(import_module(f"{package}.msg"), name)
    return found


class RosMessages:
    """Makes ROS 2's messages from ours."""

    def __init__(self, types: Mapping[str, Any]) -> None:
        """Take the classes by full name."""
        self._types = types
        self._made: dict[str, _Convert] = {}
        for kind in TYPES:  # each after its parts
            self._made[kind.TYPE] = self._converter(kind)

    def __call__(self, message: Message) -> Any:
        """ROS 2's message."""
        return self._made[message.TYPE](message)

    def _converter(self, kind: type[Any]) -> _Convert:
        made = self._types[kind.TYPE]
        parts = [(name, self._field(*parsed)) for name, parsed in field_kinds(kind).items()]

        def convert(message: Any) -> Any:
            target = made()
            for name, part in parts:
                setattr(target, name, part(getattr(message, name)))
            return target

        return convert

    def _field(self, base: str, count: int | None) -> _Convert:
        if base in BY_NAME:
            one = self._made[base]
            return one if count is None else lambda values: [one(value) for value in values]
        if count is None:
            return _same
        if base == "string":
            return list
        if base == "uint8":  # as an array rclpy takes it whole; of bytes it would look at each
            return lambda values: array.array("B", values)
        return lambda values: np.asarray(values, base)


def _same(value: Any) -> Any:
    return value
