"""The outputs that the options of `dsrfau-predict` ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dsrfau_edge.outputs.columns import Columns

from .formats import FileOutput
from .overlay import Overlay

if TYPE_CHECKING:
    from dsrfau_edge.outputs.base import Outputs
    from dsrfau_edge.predictor import Predictor
    from dsrfau_edge.stream import Source

    from .predict_options import Given

MOVING = ("video", "live")


def make_outputs(
    outputs: Outputs, given: Given, predictor: Predictor, aus: tuple[str, ...], sources: Sequence[Source]
) -> Callable[[int], list[str]]:
    """Open every output and add it.

    Returns:
        What is to be said in the end, given the number of frames.

    Raises:
        OSError: one cannot be opened; those added before are open.
        UsageError: one does not suit the sources.
    """
    drawn = Overlay(given.draw, sources, aus, given.every) if given.draw else None
    if drawn is not None:
        drawn.open()
        outputs.add(f"--draw {given.draw}", drawn)
    if given.robots.wanted:
        outputs.add(given.robots.name, given.robots.open())
    file = given.file
    columns = columns_of(given, predictor, aus, moving=any(source.kind in MOVING for source in sources))
    outputs.add(f"-o {file}" if file else "stdout", FileOutput(given.format, file, columns))

    def notes(frames: int) -> list[str]:
        said = []
        if file is not None and frames:
            said.append(f"Wrote {file}: {frames} frame{'s' if frames > 1 else ''} as {given.format}.")
        if drawn is not None and drawn.written:
            said.append(f"Drew {_several(drawn.written, given.draw)}.")
        return said

    return notes


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


def _several(written: Sequence[Path], folder: Path | None) -> str:
    return str(written[0]) if len(written) == 1 else f"{len(written)} files in {folder}"
