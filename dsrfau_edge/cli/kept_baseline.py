"""`--save-baseline`: the neutral level of the face that was seen longest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from dsrfau_edge.errors import DsrfauError

from .common import note

if TYPE_CHECKING:
    from dsrfau_edge.signals.baseline import NeutralBaseline


class KeptBaseline:
    """Remembers one baseline while faces come and go."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._face, self._best = -1, -1.0
        self._baseline: NeutralBaseline | None = None

    def see(self, baselines: Mapping[int, NeutralBaseline]) -> None:
        """Those of the faces that are followed now."""
        for face, baseline in baselines.items():
            if baseline.learned > self._best:
                self._face, self._best, self._baseline = face, baseline.learned, baseline

    def end(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Write it, also after an error or a signal, which is then what the command ends with.

        Raises:
            DsrfauError: no face was seen long enough.
        """
        try:
            self.save()
        except DsrfauError as unsaved:
            if kind is None:
                raise
            note(f"error: {unsaved}")

    def save(self) -> None:
        """Write it.

        Raises:
            DsrfauError: no face was seen long enough.
        """
        if self._baseline is None or not self._baseline.ready:
            needed = f"{self._baseline.settings.ready_after:g} s" if self._baseline else "some seconds"
            raise DsrfauError(
                f"--save-baseline: no face was seen well for {needed}, so {self._path} was not written. Take longer."
            )
        self._baseline.save(self._path)
        note(f"Saved the neutral level of face {self._face} as {self._path}; use it with --baseline {self._path}.")
