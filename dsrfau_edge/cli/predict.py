"""`dsrfau-predict`: AU intensities of the faces in pictures, folders, videos and cameras."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsrfau_edge.action_units import canonical_au
from dsrfau_edge.errors import InputError, UsageError

from .common import Progress, note, text_output
from .formats import FORMATS

if TYPE_CHECKING:
    from dsrfau_edge.manifest import Precision
    from dsrfau_edge.predictor import Predictor
    from dsrfau_edge.stream import Frame, Source

    from .formats import Writer
    from .overlay import Overlay

_log = logging.getLogger(__name__)
_PATH = click.Path(path_type=Path)


@click.command(name="predict", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--bundle", type=_PATH, help="A bundle NAME.dsrfau; the bundled student by default.")
@click.option("--runtime", metavar="NAME", help="onnxruntime, openvino, tensorrt, ...; the best one here by default.")
@click.option("--device", metavar="NAME", help="What the runtime computes on, such as cpu or cuda:0.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of one inference.")
@click.option(
    "--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="fp32 runs an int8 bundle's portable graph."
)
@click.option(
    "--native-precision/--model-precision",
    default=None,
    help="Let the device compute in its own precision (bf16, tf32), or never; by default as remembered.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How results are written."
)
@click.option("--json", "as_json", is_flag=True, help="Short for --format jsonl.")
@click.option("-o", "--output", type=_PATH, help="Write results to this file instead of stdout.")
@click.option("--draw", type=_PATH, metavar="OUT", help="Write annotated pictures or videos: a file, or a folder.")
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True, help="Take every Nth frame only.")
@click.option("--max-faces", type=click.IntRange(min=1), help="Predict only the N largest faces of a frame.")
@click.option("--aus", metavar="LIST", help="Report these AUs only, such as 6,12,25 or AU06,AU12.")
@click.option(
    "--detector-range",
    type=click.Choice(["auto", "short", "full"]),
    default="auto",
    show_default=True,
    help="short: faces within about 2 m; full: 5 m, slower; auto: both, unless a face is near.",
)
def command(
    *,
    sources: tuple[str, ...],
    bundle: Path | None,
    runtime: str | None,
    device: str | None,
    threads: int | None,
    precision: Precision | None,
    native_precision: bool | None,
    form: str,
    as_json: bool,
    output: Path | None,
    draw: Path | None,
    every: int,
    max_faces: int | None,
    aus: str | None,
    detector_range: str,
) -> None:
    r"""Estimate action-unit intensities, 0 to 5, of the faces in each SOURCE.

    A SOURCE is a picture, a folder of pictures, a video, the number of a camera, or the address of a stream. Results go
    to stdout. A source or picture that cannot be read is reported on stderr and the others go on.

    \b
    Exit codes: 0 ok · 1 failed · 2 usage · 3 runtime missing or incompatible · 5 a source or the bundle is unreadable ·
    130 interrupted.
    """
    from dsrfau_edge.predictor import Predictor
    from dsrfau_edge.stream import open_source

    if as_json and form not in ("table", "jsonl"):
        raise UsageError(f"--json is short for --format jsonl, and --format {form} was given too. Give one of them.")
    wanted = _parse_aus(aus)
    report = _Report(several=len(sources) > 1)
    opened: list[Source] = []
    for source in sources:
        try:
            opened.append(open_source(source))
        except InputError as error:
            report.failed(error)
    form = "jsonl" if as_json else form
    _check(form, output, sources, opened)
    progress = Progress(wanted=True)
    with Predictor(
        bundle,
        runtime=runtime,
        device=device,
        threads=threads,
        max_faces=max_faces,
        heatmaps=draw is not None,
        detector_range=detector_range,  # type: ignore[arg-type]  # click has checked the choice
        precision=precision,
        native_precision=native_precision,
        progress=progress.share,
    ) as predictor:
        progress.clear()
        _log.info("%s in %s", predictor.bundle.path, predictor.selection)
        job = _Job(predictor, tuple(wanted or predictor.aus), every)
        job.run(opened, form, output, draw, report)
    report.end()


class _Report:
    """What could not be read, and what was written."""

    def __init__(self, *, several: bool) -> None:
        self._several = several
        self._failures = 0

    def failed(self, error: InputError) -> None:
        """Say it and go on, if there is something to go on with."""
        if not self._several:
            raise error
        self.failed_part(error)

    def failed_part(self, error: InputError) -> None:
        """One picture of a folder, which always goes on."""
        self._failures += 1
        click.echo(f"error: {error}", err=True)

    def end(self) -> None:
        """End with exit code 5 if something could not be read."""
        if self._failures:
            count = "One input" if self._failures == 1 else f"{self._failures} inputs"
            raise InputError(f"{count} could not be read, see above; the others were done.")


@dataclass(frozen=True, slots=True)
class _Job:
    predictor: Predictor
    aus: tuple[str, ...]
    every: int

    def __post_init__(self) -> None:
        """Refuse AUs that this network does not estimate before anything is read."""
        missing = [au for au in self.aus if au not in self.predictor.aus]
        if missing:
            raise UsageError(
                f"This bundle's network does not estimate {', '.join(missing)}. --aus can be of: "
                f"{', '.join(self.predictor.aus)}."
            )

    def run(
        self, sources: Sequence[Source], form: str, output: Path | None, draw: Path | None, report: _Report
    ) -> None:
        """Predict everything."""
        from .formats import writer
        from .overlay import Overlay

        to_file = output is not None and str(output) != "-"
        progress = Progress(wanted=to_file or not sys.stdout.isatty())
        sided = [au for au in self.aus if au in self.predictor.sided]
        frames = 0
        with contextlib.ExitStack() as stack:
            stack.callback(progress.clear)
            overlay = stack.enter_context(Overlay(draw, sources, self.aus, self.every)) if draw else None
            stream = stack.enter_context(text_output(output))
            rows = writer(form, stream, self.aus, sided)
            for source in sources:
                try:
                    for frame in source.frames(every=self.every, on_error=report.failed_part):
                        self._one(source, frame, rows, overlay)
                        progress.step(frame.source)
                        frames += 1
                except InputError as error:
                    report.failed(error)
        if to_file and frames:
            note(f"Wrote {output}: {frames} frame{'s' if frames > 1 else ''} as {form}.")
        if overlay is not None and overlay.written:
            count = len(overlay.written)
            note(f"Drew {overlay.written[0] if count == 1 else f'{count} files in {draw}'}.")

    def _one(self, source: Source, frame: Frame, rows: Writer, overlay: Overlay | None) -> None:
        from dsrfau_edge.results import FrameResult

        faces = [face.only(self.aus) for face in self.predictor(frame.image)]
        height, width = frame.image.shape[:2]
        rows.write(FrameResult(frame.source, frame.index, frame.timestamp, (width, height), tuple(faces)))
        if overlay is not None:
            overlay.add(source, frame, faces)


def _parse_aus(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [part for part in text.replace(",", " ").split() if part]
    if not names:
        raise UsageError("--aus names no action unit. Give some, such as --aus 6,12,25.")
    return list(dict.fromkeys(canonical_au(name) for name in names))


def _check(form: str, output: Path | None, sources: Sequence[str], opened: Sequence[Source]) -> None:
    if form == "openface-csv" and len(sources) > 1:
        raise UsageError(
            "OpenFace's columns have none for the source, so --format openface-csv takes one source (a folder is one). "
            "Run the command once a source, or use --format csv."
        )
    for source in opened:
        path = Path(source.name)
        if output is not None and output.exists() and path.is_file() and output.samefile(path):
            raise UsageError(f"-o would overwrite {path} itself. Give another name.")
