"""One video of an archive to its files: the part of the work that runs on this machine or on any of a cluster."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsrfau_edge.errors import UsageError
from dsrfau_edge.outputs.base import Output
from dsrfau_edge.stream import VideoSource

from .formats import SUFFIXES, FileOutput
from .predict_job import Job, Report
from .predict_outputs import columns_of
from .stopping import Stopper

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsrfau_edge.predictor import Predictor

    from .predict_options import Given


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a video: files in a scratch folder."""

    frames: int
    result: Path
    plot: Path | None


def settings_of(given: Given, predictor: Predictor) -> dict[str, Any]:
    """All that the bytes of the results depend on, as JSON takes it."""
    from dsrfau_edge import __version__

    manifest = predictor.bundle.manifest
    job = Job(given, predictor, Report(several=True))
    following = asdict(given.following())
    del following["keep_images"]
    return {
        "program": __version__,
        "bundle": manifest.name,
        "model": manifest.files[manifest.model].sha256,
        "manifest": hashlib.sha256(repr(manifest).encode()).hexdigest(),
        "runtime": predictor.selection.runtime.name,
        "device": given.device,
        "precision": given.precision,
        "native_precision": given.native_precision,
        "max_faces": given.max_faces,
        "detector_range": given.detector_range,
        "aus": list(job.aus),
        "every": given.every,
        "format": given.archive_format,
        "stream": following,
    }


def work(
    given: Given,
    predictor: Predictor,
    video: Path,
    scratch: Path,
    stopper: Stopper,
    begin: Callable[[VideoSource], None] = lambda source: None,
    step: Callable[[], None] = lambda: None,
) -> Made:
    """Predict one video into an empty folder.

    Args:
        given: the options.
        predictor: of these options.
        video: its path, as it stands in the results.
        scratch: the folder.
        stopper: asked after each frame whether to end.
        begin: called with the source.
        step: called after each frame.

    Raises:
        InputError: the video cannot be read.
        OSError: the files cannot be written.
    """
    job = Job(given, predictor, Report(several=True))
    columns = columns_of(given, predictor, job.aus, moving=True)
    result = scratch / f"result{SUFFIXES[given.archive_format]}"
    plot = scratch / "plot.png" if given.plot is not None else None
    outputs: list[Output] = [FileOutput(given.archive_format, result, columns)]
    if plot is not None:
        from dsrfau_edge.outputs.plot import Plot

        outputs.append(Plot(plot, job.aus))
    source = VideoSource(str(video), str(video), live=False)
    begin(source)
    frames = 0
    try:
        for found in job.results(source, stopper):
            for output in outputs:
                output.write(found)
            frames += 1
            step()
            stopper.check()
    finally:
        for output in outputs:
            output.close()
    return Made(frames, result, plot)


def check_archive(given: Given) -> None:
    """Refuse what an archive cannot have.

    Raises:
        UsageError: an option is not for archives.
    """
    if given.file is None:
        raise UsageError("Many videos give a result file each. Give the folder for them: -o FOLDER.")
    if given.file.exists() and not given.file.is_dir():
        raise UsageError(f"-o {given.file} is a file. Many videos give a result file each: give a folder.")
    for option in given.live_options():
        raise UsageError(f"{option} is about live sources, and an archive is of videos. Leave it out here.")
    for option, used in (
        ("--draw", given.draw is not None),
        ("--rerun", given.rerun is not None),
        ("--send", bool(given.send)),
        ("--save-baseline", given.save_baseline is not None),
        (given.robots.name, given.robots.wanted),
    ):
        if used:
            raise UsageError(f"{option} is for single videos, not for an archive of them. Leave it out here.")
    if given.plot is not None and (given.plot.suffix or (given.plot.exists() and not given.plot.is_dir())):
        raise UsageError(f"--plot {given.plot} names one file, but there are many videos. Give the name of a folder.")
    if given.ray_address and given.engine != "ray":
        raise UsageError("--ray-address is for --engine ray. Add that, or leave the address out.")
