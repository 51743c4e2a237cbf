"""The outputs that the options of `dsrfau-predict` ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dsrfau_edge.outputs.base import Outputs
from dsrfau_edge.outputs.columns import Columns

from .formats import FileOutput

if TYPE_CHECKING:
    from dsrfau_edge.predictor import Predictor
    from dsrfau_edge.stream import Source

    from .predict_options import Given

MOVING = ("video", "live")
_SHOWN_LATE = 8  # frames that may wait for Rerun's viewer
#: What is to be said about an output in the end, given the number of frames; "" for nothing.
Note = Callable[[int], str]


class Opened:
    """The outputs of one run, and what is to be said about them."""

    def __init__(
        self, outputs: Outputs, given: Given, predictor: Predictor, aus: tuple[str, ...], sources: Sequence[Source]
    ) -> None:
        """Open every output and add it. Those added are open also when a later one cannot be.

        Raises:
            OSError, DsrfauError: one cannot be opened.
            UsageError: one does not suit the sources.
        """
        self._outputs, self._given, self._sources, self._aus = outputs, given, sources, aus
        self._notes: list[Note] = []
        if given.draw is not None:
            self._draw(given.draw)
        if given.plot is not None:
            self._plot(given.plot)
        if given.rerun is not None:
            self._rerun(given.rerun)
        if given.robots.wanted:
            outputs.add(given.robots.name, given.robots.open())
        for address in given.send:
            self._send(address)
        moving = any(source.kind in MOVING for source in sources)
        self._file(columns_of(given, predictor, aus, moving=moving))

    def notes(self, frames: int) -> list[str]:
        """What is to be said now that all are closed."""
        return [said for note in self._notes if (said := note(frames))]

    def _file(self, columns: Columns) -> None:
        file, form = self._given.file, self._given.format
        self._outputs.add(f"-o {file}" if file else "stdout", FileOutput(form, file, columns))
        if file is not None:
            self._notes.append(lambda n: f"Wrote {file}: {n} frame{'s' if n > 1 else ''} as {form}." if n else "")

    def _draw(self, out: Path) -> None:
        from .overlay import Overlay

        drawn = Overlay(out, self._sources, self._aus, self._given.every)
        drawn.open()
        self._outputs.add(f"--draw {out}", drawn)
        self._notes.append(lambda _: _written("Drew", drawn.written, out))

    def _plot(self, out: Path) -> None:
        from .plots import Plots

        plots = Plots(out, self._sources, self._aus)
        self._outputs.add(f"--plot {out}", plots)
        self._notes.append(lambda _: _written("Plotted", [path for path in plots.written if path.exists()], out))

    def _rerun(self, target: str) -> None:
        from dsrfau_edge.outputs.background import Background
        from dsrfau_edge.outputs.rerun_view import RerunView

        view = RerunView(target)
        if target.endswith(".rrd"):
            self._outputs.add(f"--rerun {target}", view)
            self._notes.append(lambda n: f"Recorded {target}; show it with: rerun {target}" if n else "")
            return
        shown = Background(view, waiting=_SHOWN_LATE)
        self._outputs.add(f"--rerun {target}", shown)
        self._notes.append(lambda _: f"Rerun's viewer was too slow for {shown.dropped} frames." * bool(shown.dropped))

    def _send(self, address: str) -> None:
        from dsrfau_edge.outputs.sockets import Sender, told

        sender = Sender(address)
        self._outputs.add(f"--send {address}", sender)
        self._notes.append(lambda _: told(sender))


def columns_of(given: Given, predictor: Predictor, aus: tuple[str, ...], *, moving: bool) -> Columns:
    """What rows are made of."""
    from dsrfau_edge import __version__

    tracked = moving and given.track
    return Columns(
        aus,
        tuple(au for au in aus if au in predictor.sided),
        raw=tracked,
        neutral=tracked and given.baseline != "off",
        about={"program": f"dsrfau-edge {__version__}", "bundle": predictor.bundle.manifest.name},
    )


def _written(verb: str, written: Sequence[Path], out: Path) -> str:
    if not written:
        return ""
    return f"{verb} {written[0] if len(written) == 1 else f'{len(written)} files in {out}'}."
