"""Where messages wait for the thread that predicts: room for one of each topic, the newest."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """The newest item of each key; any thread may use it.

    Keys take turns in the order in which they began to wait, so that no face starves another.
    """

    def __init__(self) -> None:
        self._items: dict[str, T] = {}
        self._condition = threading.Condition()
        self._closed = False
        #: Items that were replaced by a newer one before anybody took them.
        self.dropped = 0

    def put(self, key: str, item: T) -> None:
        """Lay an item in, in place of the one of the same key that still waits."""
        with self._condition:
            if self._closed:
                return
            self.dropped += key in self._items
            self._items[key] = item
            self._condition.notify()

    def take(self, timeout: float | None = None) -> tuple[str, T] | None:
        """The key that waits longest, and its item; None after `timeout` seconds without one, or when closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._items or self._closed, timeout)
            if not self._items:
                return None
            key = next(iter(self._items))
            return key, self._items.pop(key)

    def forget(self, key: str) -> None:
        """Throw away what waits under a key."""
        with self._condition:
            self._items.pop(key, None)

    def clear(self) -> None:
        """Throw away all that waits."""
        with self._condition:
            self._items.clear()

    def close(self) -> None:
        """Take nothing in any more, and send whoever waits home."""
        with self._condition:
            self._closed = True
            self._items.clear()
            self._condition.notify_all()
