"""Checks that the signals share: of settings, and of the rows of values that come in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from ..errors import InputError, UsageError


def check_setting(name: str, value: Any, low: float, high: float, hint: str) -> None:
    """Refuse a setting that is no number from `low` to `high`; `hint` says what to give.

    Raises:
        UsageError: so it is.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and low <= value <= high):  # NaN lies in no range
        raise UsageError(f"{name} is {value!r}; give {hint}.")


def check_count(name: str, value: Any, low: int, hint: str) -> None:
    """Refuse a setting that is no whole number from `low` on.

    Raises:
        UsageError: so it is.
    """
    number = isinstance(value, Integral) and not isinstance(value, bool)
    if not (number and value >= low):
        raise UsageError(f"{name} is {value!r}; give {hint}.")


def check_type(name: str, value: Any, kinds: tuple[type, ...], hint: str) -> None:
    """Refuse a setting of another type; what is truthy is no switch.

    Raises:
        UsageError: so it is.
    """
    if not isinstance(value, kinds):
        raise UsageError(f"{name} is {value!r}; give {hint}.")


def check_row(values: Sequence[float], count: int, timestamp: float) -> None:
    """Refuse a row of another length, or one with a value or time that is no finite number.

    Raises:
        InputError: so it is. Whoever asked is to be left as it was.
    """
    if len(values) != count:
        raise InputError(
            f"{len(values)} values came where {count} are expected. Give one value a site, in their order."
        )
    # A sum is finite where all of its parts are, and adding is faster than asking each.
    if not math.isfinite(sum(values)):
        raise InputError("A value is not a finite number. Leave out the frames whose values are unknown.")
    if not math.isfinite(timestamp):
        raise InputError(f"The timestamp is {timestamp}. Give the time of the frame in seconds.")
