"""Where the time of a frame goes: a hook around each stage, for `dsrfau-bench` and for whoever traces a robot."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

#: Stages of a frame in their order. A stage is entered once for every detector range and every face that needs it.
STAGES = ("detect", "landmarks", "align", "infer", "assemble")

#: Gives a context manager that is entered when the stage of this name begins and left when it ends.
Stage = Callable[[str], AbstractContextManager[object]]

_NOTHING: AbstractContextManager[None] = nullcontext()


def untimed(name: str) -> AbstractContextManager[None]:
    """The hook that does nothing."""
    del name
    return _NOTHING
