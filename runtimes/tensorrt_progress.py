"""How far TensorRT's builder is, from its nested phases to one share of the whole."""

from __future__ import annotations

import threading
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


def make_monitor(trt: Any, progress: Progress) -> Any:
    """A progress monitor that tells `progress`. What that raises stops the build and is kept in `error`."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.error: BaseException | None = None
            self._phases, self._lock = Phases(), threading.Lock()  # TensorRT calls from several threads

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                self._phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                return self._tell(phase_name, self._phases.step(phase_name))

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                self._tell(phase_name, self._phases.finish(phase_name))

        def _tell(self, name: str, share: float) -> bool:
            """Whether to go on: an error must not pass through TensorRT, an interruption among them."""
            if self.error is None:
                try:
                    progress(f"TensorRT: {name}", share)
                except BaseException as error:
                    self.error = error
            return self.error is None

    return Monitor()
