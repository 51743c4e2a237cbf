"""`dsrfau-predict --plot`: a picture of the AUs over time of each video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dsrfau_edge.errors import UsageError
from dsrfau_edge.outputs.plot import SUFFIXES, Plot

if TYPE_CHECKING:
    from dsrfau_edge.results import FrameResult
    from dsrfau_edge.stream import Source

_MOVING = ("video", "live")


class Plots:
    """One file for one video, a folder for several."""

    def __init__(self, out: Path, sources: Sequence[Source], aus: Sequence[str]) -> None:
        """Decide what to write.

        Raises:
            UsageError: nothing here moves, or the name does not suit the sources.
            OSError: the folder cannot be made.
            RuntimeUnavailable: matplotlib is not installed.
        """
        moving = [source for source in sources if source.kind in _MOVING]
        if sources and not moving:
            raise UsageError("--plot shows AUs over time, and there are only pictures here. Leave it out.")
        self._out, self._aus = out, tuple(aus)
        self._folder = out.is_dir() or not out.suffix
        if not self._folder and len(moving) > 1:
            raise UsageError(f"--plot {out} names one file, but there are several videos. Give the name of a folder.")
        if self._folder:
            out.mkdir(parents=True, exist_ok=True)
        self._plot: Plot | None = None
        self._names: set[str] = set()
        if not self._folder:
            Plot(out, self._aus)  # what is wrong with it is known now, and not after hours
        self.written: list[Path] = []

    def begin(self, source: Source) -> None:
        """The results that follow are of this source."""
        self.close()
        if source.kind in _MOVING:
            path = self._out / self._name(source.name) if self._folder else self._out
            self._plot = Plot(path, self._aus)
            self.written.append(path)

    def write(self, result: FrameResult) -> None:
        """Take one frame."""
        if self._plot is not None:
            self._plot.write(result)

    def close(self) -> None:
        """Draw the last one."""
        plot, self._plot = self._plot, None
        if plot is not None:
            plot.close()

    def _name(self, source: str) -> str:
        stem = Path(source.rsplit("/", 1)[-1]).stem or "stream"
        name, number = f"{stem}{SUFFIXES[0]}", 1
        while name in self._names:
            number += 1
            name = f"{stem}-{number}{SUFFIXES[0]}"
        self._names.add(name)
        return name
