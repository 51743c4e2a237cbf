"""One run of `dsrfau-predict`: every source through the predictor, and the results to the outputs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsrfau_edge.errors import DsrfauError, InputError, UsageError
from dsrfau_edge.outputs.base import Outputs
from dsrfau_edge.results import FrameResult
from dsrfau_edge.stream import Source, open_source

from .common import note
from .frame_progress import FrameProgress
from .kept_baseline import KeptBaseline
from .predict_outputs import MOVING, Opened
from .stopping import Stopper

if TYPE_CHECKING:
    from dsrfau_edge.predictor import Predictor
    from dsrfau_edge.stream import Frame

    from .predict_options import Given


class Report:
    """What could not be read or written, and how the command ends because of it."""

    def __init__(self, *, several: bool) -> None:
        self._several = several
        self._unread = 0
        self._failed: list[str] = []

    def failed(self, error: InputError) -> None:
        """Say it and go on, if there is something to go on with."""
        if not self._several:
            raise error
        self.failed_part(error)

    def failed_part(self, error: InputError) -> None:
        """One picture of a folder, which always goes on."""
        self._unread += 1
        click.echo(f"error: {error}", err=True)

    def output_failed(self, name: str, error: Exception) -> None:
        """An output that ended; the others go on."""
        self._failed.append(name)
        why = str(error) if isinstance(error, DsrfauError) else getattr(error, "strerror", None) or str(error)
        click.echo(f"error: {name}: {why}. What it had before is kept, where that can be read.", err=True)

    def end(self) -> None:
        """End with exit code 1 if an output failed, else 5 if something could not be read."""
        if self._failed:
            raise DsrfauError(f"Not everything could be written, see above: {', '.join(self._failed)}.")
        if self._unread:
            count = "One input" if self._unread == 1 else f"{self._unread} inputs"
            raise InputError(f"{count} could not be read, see above; the others were done.")


def opened(given: Given, report: Report) -> list[Source]:
    """The sources that there are.

    Raises:
        InputError: there is only one, and it cannot be read.
        UsageError: an option does not suit one of them.
    """
    sources: list[Source] = []
    for name in given.sources:
        try:
            sources.append(open_source(name))
        except InputError as error:
            report.failed(error)
    for source in sources:
        path = Path(source.name)
        for option, out in (("-o", given.file), ("--save-baseline", given.save_baseline)):
            if out is not None and out.exists() and path.is_file() and out.samefile(path):
                raise UsageError(f"{option} would overwrite {path} itself. Give another name.")
        if source.kind == "live" and given.every > 1:
            raise UsageError(f"{source.name} is live: its newest frame is taken always. Leave out --every.")
    if sources:
        _check_use(given, {source.kind for source in sources})
    return sources


def _check_use(given: Given, kinds: set[str]) -> None:
    """Refuse options that would do nothing."""
    if not kinds & set(MOVING) and (unused := given.stream_options()):
        raise UsageError(
            f"{unused[0]} is about videos and live sources, and there are only pictures here. Leave it out."
        )
    if "live" not in kinds and (unused := given.live_options()):
        raise UsageError(f"{unused[0]} is about live sources, and there is none here. Leave it out.")


class Job:
    """One run."""

    def __init__(self, given: Given, predictor: Predictor, report: Report) -> None:
        """Check what depends on the network.

        Raises:
            UsageError: it does not estimate an AU that is wanted.
        """
        self._given, self._predictor, self._report = given, predictor, report
        self.aus = tuple(given.wanted_aus() or predictor.aus)
        missing = [au for au in self.aus if au not in predictor.aus]
        if missing:
            raise UsageError(
                f"This bundle's network does not estimate {', '.join(missing)}. --aus can be of: "
                f"{', '.join(predictor.aus)}."
            )
        self._narrowed = self.aus != predictor.aus
        self._images = given.keeps_images
        self._following = given.following()
        self._baseline = KeptBaseline(given.save_baseline) if given.save_baseline else None

    def run(self, sources: Sequence[Source]) -> None:
        """Predict everything.

        Raises:
            InputError: a source that is the only one cannot be read.
            OSError, DsrfauError: no output is left that takes results.
            KeyboardInterrupt: a signal asked for the end; all outputs are closed then.
        """
        with contextlib.ExitStack() as stack:
            outputs = Outputs(self._report.output_failed)
            stack.callback(outputs.close)
            made = Opened(outputs, self._given, self._predictor, self.aus, sources)
            progress = FrameProgress(wanted=self._given.file is not None or not sys.stdout.isatty())
            stack.callback(progress.clear)
            if self._baseline is not None:
                stack.push(self._baseline.end)
            stopper = stack.enter_context(Stopper())
            frames = 0
            for source in sources:
                frames += self._source(source, outputs, progress, stopper)
        for text in made.notes(frames):
            note(text)

    def _source(self, source: Source, outputs: Outputs, progress: FrameProgress, stopper: Stopper) -> int:
        count = 0
        every = self._given.every
        progress.begin(source.name, lambda: source.count and -(-source.count // every))
        try:
            outputs.begin(source)
            for result in self.results(source, stopper):
                outputs.write(result)
                count += 1
                progress.step()
                stopper.check()
        except InputError as error:
            self._report.failed(error)
        return count

    def results(self, source: Source, stopper: Stopper) -> Iterator[FrameResult]:
        """What a source gives, of the AUs that are wanted.

        Raises:
            InputError: it cannot be read.
        """
        return map(self._chosen, self._results(source, stopper))

    def _results(self, source: Source, stopper: Stopper) -> Iterator[FrameResult]:
        if source.kind == "live":
            return self._live(source, stopper)
        frames = source.frames(every=self._given.every, on_error=self._report.failed_part)
        return self._video(frames) if source.kind in MOVING else self._pictures(frames)

    def _pictures(self, frames: Iterator[Frame]) -> Iterator[FrameResult]:
        for frame in frames:
            height, width = frame.image.shape[:2]
            faces = tuple(self._predictor(frame.image))
            image = frame.image if self._images else None
            yield FrameResult(frame.source, frame.index, frame.timestamp, (width, height), faces, image=image)

    def _video(self, frames: Iterator[Frame]) -> Iterator[FrameResult]:
        stream = self._predictor.stream(self._following)
        for frame in frames:
            yield stream(frame)
            if self._baseline is not None:
                self._baseline.see(stream.baselines)

    def _live(self, source: Source, stopper: Stopper) -> Iterator[FrameResult]:
        from dsrfau_edge.live.options import LiveOptions

        live = LiveOptions(wait=self._given.wait, attempts=None if self._given.reconnect else 0)
        name = getattr(source, "target", source.name)
        with self._predictor.live(name, self._following, live) as stream:
            stopper.waking(stream.stop)
            try:
                for result in stream:
                    yield result
                    if self._baseline is not None:
                        self._baseline.see(stream.baselines)
            finally:
                stopper.waking(None)
        stopper.check()

    def _chosen(self, result: FrameResult) -> FrameResult:
        if not self._narrowed:
            return result
        return replace(
            result,
            faces=tuple(face.only(self.aus) for face in result.faces),
            events=tuple(event for event in result.events if event.au in self.aus),
        )
