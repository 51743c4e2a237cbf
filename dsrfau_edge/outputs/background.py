"""An output whose peer may be slow or hang, written to by a thread of its own."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from ..errors import DsrfauError
from .base import Output

if TYPE_CHECKING:
    from ..results import FrameResult


class Background:
    """Never waits: results lie in a queue of bounded length, the oldest make room for the newest and are counted.

    `begin` is not passed on: results carry their source. An error of the output comes up at the next `write`, or at
    `close`.
    """

    def __init__(self, output: Output, *, waiting: int = 32, linger: float = 5.0) -> None:
        """Begin; `linger` is how many seconds `close` waits for what is still in the queue."""
        self.dropped = 0
        self._output, self._waiting, self._linger = output, waiting, linger
        self._queue: deque[FrameResult] = deque()
        self._condition = threading.Condition()
        self._closing = False
        self._error: OSError | DsrfauError | None = None
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    def write(self, result: FrameResult) -> None:
        """Lay a result in the queue."""
        with self._condition:
            self._raise()
            if len(self._queue) >= self._waiting:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(result)
            self._condition.notify_all()

    def close(self) -> None:
        """Write what is waiting, for a moment; the rest counts as dropped. An output that hangs is left behind."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._thread.join(self._linger)
        with self._condition:
            self.dropped += len(self._queue)
            self._queue.clear()
            self._raise()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        try:
            while (result := self._next()) is not None:
                self._output.write(result)
        except (OSError, DsrfauError) as error:
            self._error = error
        try:
            self._output.close()
        except (OSError, DsrfauError) as error:
            self._error = self._error or error

    def _next(self) -> FrameResult | None:
        with self._condition:
            self._condition.wait_for(lambda: self._queue or self._closing)
            return self._queue.popleft() if self._queue else None
