"""`dsrfau-predict`: AU intensities of the faces in pictures, folders, videos and live sources."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import click

from .common import Progress, note
from .predict_options import Given, predict_options
from .robot_options import Robots
from .stopping import TERMINATED, Stopped

if TYPE_CHECKING:
    from dsrfau_edge.predictor import Predictor

_log = logging.getLogger(__name__)


@click.command(name="predict", context_settings={"help_option_names": ["-h", "--help"]})
@predict_options
def command(**values: Any) -> None:
    r"""Estimate action-unit intensities, 0 to 5, of the faces in each SOURCE.

    A SOURCE is a picture, a folder of pictures, a video, or live: the number of a camera, /dev/video0, the address of a
    stream, a GStreamer pipeline. Faces of videos and live sources are tracked. Results go to stdout. A source or
    picture that cannot be read is reported on stderr and the others go on.

    A folder of videos with -o FOLDER is an archive: each video gets a result file there (VIDEO.jsonl), finished ones
    are skipped when the same command is given again, and a killed run loses at most the video in work.

    \b
    Exit codes: 0 ok · 1 failed, or an output did · 2 usage · 3 runtime or package missing or incompatible · 5 a source
    or the bundle is unreadable · 130 interrupted by Ctrl-C · 143 by SIGTERM. Interrupted outputs are whole.
    """
    given = Given(robots=Robots.taken_from(values), **values)
    given.check()
    try:
        _run(given)
    except Stopped as stopped:
        if stopped.number + 128 != TERMINATED:
            raise
        note("terminated")
        sys.exit(TERMINATED)


def _run(given: Given) -> None:
    from .predict_job import Job, Report, opened

    given.wanted_aus()
    report = Report(several=len(given.sources) > 1)
    if given.is_archive:
        from .archive import run_archive

        run_archive(given, report)
        report.end()
        return
    sources = opened(given, report)
    with predictor(given, heatmaps=given.draw is not None) as loaded:
        Job(given, loaded, report).run(sources)
    report.end()


def predictor(given: Given, *, heatmaps: bool = False) -> Predictor:
    """The predictor that the options ask for."""
    from dsrfau_edge.predictor import Predictor

    progress = Progress(wanted=True)
    loaded = Predictor(
        given.bundle,
        runtime=given.runtime,
        device=given.device,
        threads=given.threads,
        max_faces=given.max_faces,
        heatmaps=heatmaps,
        detector_range=given.detector_range,  # type: ignore[arg-type]  # click has checked the choice
        precision=given.precision,
        native_precision=given.native_precision,
        progress=progress.share,
    )
    progress.clear()
    _log.info("%s in %s", loaded.bundle.path, loaded.selection)
    return loaded
