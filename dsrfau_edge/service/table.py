"""Reading a configuration strictly: every value has its type, and a key that nobody asks for is an error."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, overload

from dsrfau_edge.errors import UsageError

T = TypeVar("T")
D = TypeVar("D")
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "a table"}


class Table:
    """A table of a TOML file, from which keys are taken one by one."""

    def __init__(self, values: Any, where: str) -> None:
        """Take the table; `where` names it in errors.

        Raises:
            UsageError: it is none.
        """
        if not isinstance(values, Mapping):
            raise UsageError(f"{where} is {_shown(values)}; it has to be a table.")
        self._values, self.where = dict(values), where
        self._known: list[str] = []

    @overload
    def take(self, key: str, kinds: tuple[type, ...]) -> Any: ...

    @overload
    def take(self, key: str, kinds: type[T]) -> T: ...

    @overload
    def take(self, key: str, kinds: tuple[type, ...], default: Any) -> Any: ...

    @overload
    def take(self, key: str, kinds: type[T], default: D) -> T | D: ...

    def take(self, key: str, kinds: Any, default: Any = ...) -> Any:
        """The value of a key; a whole number serves as a number too.

        Raises:
            UsageError: it is missing and has no default, or of another type.
        """
        self._known.append(key)
        if key not in self._values:
            if default is ...:
                raise UsageError(f"{self.where} lacks {key}.")
            return default
        value = self._values.pop(key)
        allowed = kinds if isinstance(kinds, tuple) else (kinds,)
        if float in allowed and isinstance(value, int) and not isinstance(value, bool):
            return value if int in allowed else float(value)
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            wanted = " or ".join(_NAMES[kind] for kind in allowed)
            raise UsageError(f"{self.where}: {key} is {_shown(value)}; it has to be {wanted}.")
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of texts that is not empty, or None where it is not given.

        Raises:
            UsageError: it is another thing.
        """
        found = self.take(key, list, None)
        if found is None:
            return None
        if not found or not all(isinstance(one, str) for one in found):
            raise UsageError(f"{self.where}: {key} is {_shown(found)}; it has to be a list of names.")
        return tuple(found)

    def tables(self, key: str) -> list[Table]:
        """A list of tables; empty where it is not given.

        Raises:
            UsageError: it is another thing.
        """
        found = self.take(key, list, [])
        return [Table(one, f"[[{key}]] number {number}") for number, one in enumerate(found, 1)]

    def end(self) -> None:
        """Nothing may be left.

        Raises:
            UsageError: there are keys that nobody asked for.
        """
        for key in self._values:
            near = difflib.get_close_matches(key, self._known, 1)
            meant = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(sorted(self._known))}."
            raise UsageError(f"{self.where} has the unknown key {key}.{meant}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
