"""`dsrfau-predict FOLDER -o FOLDER`: an archive of videos, a result file each; finished ones are skipped."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsrfau_edge.errors import InputError, UsageError
from dsrfau_edge.stream import VIDEO_SUFFIXES, VideoSource, natural_key

from .archive_state import STATE, Item, State
from .archive_work import check_archive, settings_of, work
from .common import note
from .formats import SUFFIXES
from .frame_progress import FrameProgress
from .predict_job import Report
from .stopping import Stopper

if TYPE_CHECKING:
    from .predict_options import Given


def run_archive(given: Given, report: Report) -> None:
    """Predict every video that is not done yet.

    Raises:
        UsageError: an option does not suit, or results of other options are there.
        InputError: a source cannot be read or holds no videos.
        OSError, DsrfauError: results cannot be written.
        KeyboardInterrupt: a signal came; what is finished stays.
    """
    from .predict import predictor

    check_archive(given)
    items = list(find_items(given))
    with predictor(given) as loaded:
        state = State(given.file or Path(), settings_of(given, loaded))
        with state.locked():
            todo = _todo(items, state, given)
            if given.engine == "ray":
                from .archive_ray import run_on_ray

                loaded.close()
                run_on_ray(given, loaded.selection.runtime.name, todo, state, report)
            else:
                _run_here(given, loaded, todo, state, report)
    done = sum(state.done(item) for item in items)
    note(f"{done} of {len(items)} videos are done in {given.file}.")


def find_items(given: Given) -> Iterator[Item]:
    """The videos of the sources in natural order, and where their results go.

    Raises:
        InputError: a source is not there, cannot be read, or holds no videos.
        UsageError: two videos would write to one file.
    """
    out, suffix = given.file or Path(), SUFFIXES[given.archive_format]
    names: dict[str, Path] = {}
    for source in map(Path, given.sources):
        for video in videos_of(source, recursive=given.recursive):
            name = video.name if video == source else video.relative_to(source).as_posix()
            if name in names:
                raise UsageError(
                    f"{names[name]} and {video} would both write to {name}{suffix}. Give a folder that holds both."
                )
            names[name] = video
            plot = given.plot / f"{name}.png" if given.plot is not None else None
            yield Item(video, name, out / f"{name}{suffix}", plot)


def videos_of(source: Path, *, recursive: bool) -> list[Path]:
    """The videos of a folder, or one.

    Raises:
        InputError: there are none.
    """
    if source.is_file():
        if source.suffix.lower() not in VIDEO_SUFFIXES:
            raise InputError(f"{source} is no video, going by its ending. An archive is of videos; give others alone.")
        return [source]
    if not source.exists():
        raise InputError(f"There is no file or folder {source}. Check the path.")
    try:
        found = [
            path
            for path in (source.rglob("*") if recursive else source.iterdir())
            if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and STATE not in path.parts
        ]
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror or error}. Check the path.") from error
    if not found:
        deeper = "" if recursive else " Its subfolders are looked through with --recursive."
        raise InputError(f"{source} holds no videos (MP4, AVI, MKV, ...).{deeper}")
    return sorted(found, key=lambda path: natural_key(path.relative_to(source).as_posix()))


@contextlib.contextmanager
def scratch_in(state: State) -> Iterator[Path]:
    """An empty folder on the results' own disk, so that a file can take its place in one step."""
    state.scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=state.scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put(item: Item, result: Path, plot: Path | None, frames: int, state: State) -> None:
    """Let finished files take their places; the results last, and then the note that they are done."""
    if plot is not None and item.plot is not None:
        item.plot.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(plot, item.plot)  # perhaps on another disk
    item.result.parent.mkdir(parents=True, exist_ok=True)
    result.replace(item.result)
    state.finish(item, frames)


def _todo(items: Sequence[Item], state: State, given: Given) -> list[Item]:
    shutil.rmtree(state.scratch, ignore_errors=True)  # what a killed run left
    if given.redo:
        return list(items)
    for item in items:
        if differing := state.differing(item):
            told = "; ".join(f"{key}: {_short(made)}, now {_short(now)}" for key, (made, now) in differing.items())
            raise UsageError(
                f"{item.result} was made otherwise ({told}). Give another folder, or --redo to make all again."
            )
    return [item for item in items if not state.done(item)]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _run_here(given: Given, predictor: Any, todo: Sequence[Item], state: State, report: Report) -> None:
    progress = FrameProgress(wanted=True)
    with contextlib.ExitStack() as stack:
        stack.callback(progress.clear)
        stopper = stack.enter_context(Stopper())
        for number, item in enumerate(todo):
            begin = _beginning(progress, f"{item.name} ({number + 1} of {len(todo)})", given.every)
            try:
                with scratch_in(state) as scratch:
                    made = work(given, predictor, item.video, scratch, stopper, begin, progress.step)
                    put(item, made.result, made.plot, made.frames, state)
            except InputError as error:
                progress.clear()
                report.failed_part(error)


def _beginning(progress: FrameProgress, what: str, every: int) -> Callable[[VideoSource], None]:
    return lambda source: progress.begin(what, lambda: source.count and -(-source.count // every))
