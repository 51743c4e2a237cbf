"""How far TensorRT's builder is, from its nested phases to one share of the whole."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .base import Progress


@dataclass(slots=True)
class _Phase:
    steps: int
    parent: str | None
    done: int = 0
    share: float = 0.0  # of the step that is under way


@dataclass(slots=True)
class Phases:
    """The phases that are under way. A phase inside another makes up the step that the outer one is at."""

    _active: dict[str, _Phase] = field(default_factory=dict)
    _highest: float = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of `steps` steps begins."""
        self._active[name] = _Phase(max(steps, 1), parent)

    def step(self, name: str) -> float:
        """A step of the phase is done.

        Returns:
            The share of the whole that is done, which never falls.
        """
        phase = self._active.get(name)
        if phase is not None:
            phase.done, phase.share = min(phase.done + 1, phase.steps), 0.0
            self._raise(phase)
        return self._highest

    def finish(self, name: str) -> float:
        """The phase is over, be it early. Returns the share of the whole."""
        phase = self._active.pop(name, None)
        if phase is not None:
            phase.done = phase.steps
            self._raise(phase)
        return self._highest

    def _raise(self, phase: _Phase) -> None:
        share = min((phase.done + phase.share) / phase.steps, 1.0)
        outer = self._active.get(phase.parent or "")
        if outer is None:
            self._highest = max(self._highest, share)
        else:
            outer.share = max(outer.share, share) if outer.done < outer.steps else 0.0
            self._raise(outer)


def make_monitor(trt: Any, progress: Progress | None, stopped: Callable[[], bool]) -> Any:
    """A progress monitor that tells `progress`.

    An error must not pass through TensorRT, which drops it: what `progress` raises is kept in `error` and stops the
    build at its next step, as `stopped` does.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.error: BaseException | None = None
            self._phases, self._lock = Phases(), threading.Lock()  # TensorRT calls from several threads

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._kept():
                self._phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._kept():
                self._tell(phase_name, self._phases.step(phase_name))
            return self.error is None and not stopped()

        def phase_finish(self, phase_name: str) -> None:
            with self._kept():
                self._tell(phase_name, self._phases.finish(phase_name))

        def _tell(self, name: str, share: float) -> None:
            if progress is not None and self.error is None:
                progress(f"TensorRT: {name}", share)

        @contextlib.contextmanager
        def _kept(self) -> Iterator[None]:
            try:
                with self._lock:
                    yield
            except BaseException as error:
                self.error = self.error or error

    return Monitor()


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was typed since, for asking; at the end it is raised.

    Python would raise it in whichever of our functions TensorRT calls next, which then drops it. Other handlers than
    Python's own, and calls from threads that get no signals, are left alone.

    Raises:
        KeyboardInterrupt: at the end.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    typed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: typed.append(number))
    try:
        yield lambda: bool(typed)
    finally:
        signal.signal(signal.SIGINT, before)
        if typed:  # also where TensorRT's failure is but the answer to it
            raise KeyboardInterrupt
