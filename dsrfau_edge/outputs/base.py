"""What an output is, and several of them at once.

To add one: write a class with `write` and `close` in a file of its own (heavy imports inside it, with an error that
names the extra to install), then give `dsrfau-predict` its option in `cli/predict_options.py` and one line in
`cli/predict_outputs.py` that makes it from the option's value. Results come as `FrameResult`s; there is nothing else to
know.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..errors import DsrfauError, UsageError

if TYPE_CHECKING:
    from ..results import FrameResult
    from ..stream import Source


@runtime_checkable
class Output(Protocol):
    """Takes results as they come; for one thread.

    `write` must not keep a stream waiting for a peer. What it raises as `OSError` or `DsrfauError` ends this output and
    no other; a `UsageError` ends all.
    """

    def write(self, result: FrameResult) -> None:
        """Take one frame's result; its picture is in `result.image`, unless the user wants none."""

    def close(self) -> None:
        """Finish what was written. Called once, also after an error."""


@runtime_checkable
class BySource(Protocol):
    """An output that starts something new with each source, such as a file a video."""

    def begin(self, source: Source) -> None:
        """The results that follow are of this source."""


class Outputs:
    """Several outputs as one.

    One that fails is reported and closed, and the others go on; the error of the last one that is left is raised.
    """

    def __init__(self, failed: Callable[[str, Exception], None]) -> None:
        """Start without any.

        Args:
            failed: told the name of an output that failed, and why.
        """
        self._failed = failed
        self._outputs: dict[str, Output] = {}
        self.ended: set[str] = set()  # names of those that failed

    def add(self, name: str, output: Output) -> None:
        """Add one; `name` is what messages call it."""
        self._outputs[name] = output

    def begin(self, source: Source) -> None:
        """A new source begins."""
        self._each(lambda output: output.begin(source) if isinstance(output, BySource) else None)

    def write(self, result: FrameResult) -> None:
        """Give a result to all of them.

        Raises:
            OSError, DsrfauError: none is left that takes results; the reader of a pipe is gone.
        """
        self._each(lambda output: output.write(result))

    def close(self) -> None:
        """Finish all of them, also where one fails; that is reported."""
        for name, output in list(self._outputs.items()):
            try:
                output.close()
            except (OSError, DsrfauError) as error:
                self.ended.add(name)
                self._failed(name, error)
        self._outputs.clear()

    def _each(self, call: Callable[[Output], None]) -> None:
        for name, output in list(self._outputs.items()):
            try:
                call(output)
            except (BrokenPipeError, UsageError):  # `| head` has had enough; or nothing would be as it was asked for
                raise
            except (OSError, DsrfauError) as error:
                del self._outputs[name]
                self.ended.add(name)
                with contextlib.suppress(OSError, DsrfauError):  # the first error is the one to tell
                    output.close()
                if not self._outputs:
                    raise
                self._failed(name, error)
