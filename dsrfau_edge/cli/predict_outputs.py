"""The outputs that the options of `dsrfau-predict` ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dsrfau_edge.outputs.base import Output, Outputs
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
        self._notes: list[tuple[str, Note]] = []
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
        """What is to be said now that all are closed; of those that failed it was said when they did."""
        ended = self._outputs.ended
        return [said for name, note in self._notes if name not in ended and (said := note(frames))]

    def _add(self, name: str, output: Output, note: Note) -> None:
        self._outputs.add(name, output)
        self._notes.append((name, note))

    def _file(self, columns: Columns) -> None:
        file, form = self._given.file, self._given.format
        name = f"-o {file}" if file else "stdout"
        said = f"Wrote {file}: %d frame%s as {form}."
        self._add(name, FileOutput(form, file, columns), lambda n: said % (n, "s" * (n > 1)) if n and file else "")

    def _draw(self, out: Path) -> None:
        from .overlay import Overlay

        drawn = Overlay(out, self._sources, self._aus, self._given.every)
        drawn.open()
        self._add(f"--draw {out}", drawn, lambda _: _written("Drew", drawn.written, out))

    def _plot(self, out: Path) -> None:
        from .plots import Plots

        plots = Plots(out, self._sources, self._aus)
        written = plots.written
        self._add(f"--plot {out}", plots, lambda _: _written("Plotted", [p for p in written if p.exists()], out))

    def _rerun(self, target: str) -> None:
        from dsrfau_edge.outputs.background import Background
        from dsrfau_edge.outputs.rerun_view import RerunView

        name, view = f"--rerun {target}", RerunView(target)
        if target.endswith(".rrd"):
            self._add(name, view, lambda n: f"Recorded {target}; show it with: rerun {target}" if n else "")
            return
        shown = Background(view, waiting=_SHOWN_LATE)
        slow = "Rerun's viewer was too slow for %d frames."
        self._add(name, shown, lambda _: slow % shown.dropped if shown.dropped else "")

    def _send(self, address: str) -> None:
        from dsrfau_edge.outputs.sockets import Sender, told

        sender = Sender(address)
        self._add(f"--send {address}", sender, lambda _: told(sender))


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
