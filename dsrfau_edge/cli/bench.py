"""`dsrfau-bench`: speed, memory, power and accuracy of bundles, in every runtime and precision that runs here."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable, UsageError, VerificationFailed

from .bench_options import Asked
from .common import note, text_output

if TYPE_CHECKING:
    from dsrfau_edge.bench.campaign import Campaign
    from dsrfau_edge.bench.comparison import Comparison
    from dsrfau_edge.bench.job import Row
    from dsrfau_edge.bundle import Bundle

_PRECISIONS = ("fp32", "fp16", "int8", "native")
_FIGURES = ("p50", "p90", "p99", "max", "cpu", "load", "first", "memory")
_EPILOG = (
    "Exit codes: 0 measured · 2 usage, or results that cannot be compared · 3 a runtime that was named cannot be used, "
    "or nothing could be measured · 4 slower than --max-regression allows, or nothing within --max-difference to "
    "remember · 5 a bundle, frame or BASE cannot be read · 130 interrupted; what was measured until then is reported."
)


@click.command(name="bench", epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("bundles", nargs=-1, type=click.Path(path_type=Path))
@click.option("--runtime", "names", multiple=True, help="Only this runtime; may be repeated. By default all.")
@click.option("--device", help="Device in the runtime's words, such as cpu or cuda:0.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(_PRECISIONS),
    help="Only models that hold this precision; native: the device's own choice (bf16, tf32). May be repeated.",
)
@click.option(
    "--threads",
    multiple=True,
    type=click.IntRange(1, 1024),
    help="CPU threads of one call; repeat for a row each. By default the runtime's own choice, as in Predictor.",
)
@click.option("--batch", type=click.IntRange(1, 1024), default=1, show_default=True, help="Crops of one call.")
@click.option("--crops", is_flag=True, help="Measure the model alone; the default unless whole frames are asked for.")
@click.option("--end-to-end", "whole", is_flag=True, help="Measure whole frames, by default the sample portrait.")
@click.option("--image", "images", multiple=True, metavar="FILE", help="A picture or folder for whole frames.")
@click.option("--video", "videos", multiple=True, metavar="FILE", help="A video for whole frames.")
@click.option("--stream", is_flag=True, help="Whole frames follow one another, as a camera's: faces are tracked.")
@click.option("--frames", type=click.IntRange(min=1), help="At most so many frames of each source.  [default: 64]")
@click.option("--iterations", type=click.IntRange(min=1), help="Calls that are timed.  [default: 1000, or 5 s]")
@click.option("--seconds", type=float, help="How long calls are timed; with --iterations whichever ends first.")
@click.option("--baseline", "baselines", multiple=True, type=click.Choice(["torch"]), help="Measure torch eager too.")
@click.option("--bare", is_flag=True, help="In turn with the runtime's own loop: what Predictor.predict_crops adds.")
@click.option("--vendor-tool", is_flag=True, help="Run OpenVINO's benchmark_app on the same files too.")
@click.option("--timeout", type=float, default=1800.0, show_default=True, help="Seconds that one row may take.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON on stdout.")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Report as Markdown too (-: stdout).")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the JSON report here.")
@click.option(
    "--compare", "base", type=click.Path(path_type=Path), metavar="BASE.json", help="Compare with an earlier report."
)
@click.option("--max-regression", metavar="PERCENT", help="What p90 may grow by.  [default: 10%]")
@click.option(
    "--figure", "figures", multiple=True, type=click.Choice(_FIGURES), help="Compare this figure.  [default: p90]"
)
@click.option("--remember", is_flag=True, help="Let Predictor choose the fastest within --max-difference from now on.")
@click.option(
    "--max-difference",
    type=float,
    default=0.05,
    show_default=True,
    help="Accuracy gate of --remember: mean |ΔAU| on the scale 0..5.",
)
def command(**given: Any) -> None:
    """Measure BUNDLES (the bundled students by default) on this device.

    Every runtime runs the bundle's own model, its portable fp32 graph, and each once more in the precision that the
    device prefers. Each row is measured in a process of its own: load, first call, warm-up until stable, then the
    timed calls, none of which is left out; memory, power where a meter can be read, and the difference of the
    intensities to the fp32 graph.
    """
    asked = Asked(**given)
    asked.check()
    from dsrfau_edge.bench.comparison import percent_of, read_base, require_same_device
    from dsrfau_edge.bench.environment import environment
    from dsrfau_edge.bench.report import settings

    campaign = _campaign(asked)
    around = environment(campaign.host)
    limit = percent_of(asked.max_regression or "10%")
    base = None if asked.base is None else read_base(asked.base)
    if base is not None:
        require_same_device(base, around, settings(campaign))
    _check_frames(campaign)
    interrupted = _measure(campaign, asked)
    report = _Report(campaign, asked, around, interrupted)
    if interrupted:
        report.write(None)
        raise KeyboardInterrupt
    _require_rows(campaign, report, asked)
    report.remember()
    report.write(None if base is None else partial(_compared, base, campaign, limit, asked.figures or ("p90",), around))


def _campaign(asked: Asked) -> Campaign:
    """What is measured, from the options."""
    from dsrfau_edge.bench import child
    from dsrfau_edge.bench.campaign import Campaign, Modes
    from dsrfau_edge.bench.candidates import Wanted
    from dsrfau_edge.bench.inputs import PORTRAIT
    from dsrfau_edge.bench.job import Job
    from dsrfau_edge.bench.timing import Span
    from dsrfau_edge.runtimes.registry import runtimes

    span = Span.of(asked.iterations, asked.seconds)
    sources = (*asked.images, *asked.videos) or ((str(PORTRAIT),) if asked.whole else ())
    job = Job(
        "crops",
        "",
        "",
        device=asked.device,
        batch=asked.batch,
        frames=asked.frames or 64,
        stream=asked.stream,
        span=span,
    )
    threads = tuple(dict.fromkeys(asked.threads)) or (None,)
    return Campaign(
        _bundles(asked),
        Wanted(asked.names, asked.device, asked.precisions, threads, asked.baselines),
        Modes(asked.model_only, sources, asked.bare, (span.seconds or 5.0) if asked.vendor_tool else None),
        job,
        partial(child.launch, timeout=asked.timeout),
        runtimes(),
        on_start=_Status().show,
    )


def _check_frames(campaign: Campaign) -> None:
    """Read the frames once, so that what is wrong with them is told before anything is measured.

    Raises:
        InputError: a source cannot be read, gives no frames or too many.
    """
    if campaign.modes.sources:
        from dsrfau_edge.bench.inputs import read_frames

        read_frames(campaign.modes.sources, campaign.template.frames)


def _bundles(asked: Asked) -> list[Bundle]:
    """The bundles, opened and verified, each once.

    Raises:
        UsageError: a baseline needs a checkpoint and none is given; or a tool's runtime is not among those named.
    """
    from dsrfau_edge.bundle import Bundle, bundled_names

    opened = {one.path.resolve(): one for one in (Bundle.open(path) for path in asked.bundles or bundled_names())}
    if asked.baselines and not any(bundle.checkpoint for bundle in opened.values()):
        raise UsageError(
            "--baseline torch runs the network of a checkpoint, and none of the bundles is one. Give the checkpoint's "
            "folder too: dsrfau-bench RUN/student BUNDLE --baseline torch"
        )
    if asked.vendor_tool and asked.names and "openvino" not in asked.names:
        raise UsageError("--vendor-tool runs OpenVINO's benchmark_app. Add --runtime openvino, or leave it out.")
    return list(opened.values())


def _measure(campaign: Campaign, asked: Asked) -> bool:
    """Measure everything and show rows as they come; whether it was interrupted."""
    from dsrfau_edge.bench.report import header, lines

    from .progress import stops_on_sigterm

    shown = ""
    try:
        with stops_on_sigterm(), contextlib.closing(campaign.run()) as rows:
            for row in rows:
                _Status.clear()
                if asked.shows_table:
                    if row.bundle != shown:
                        click.echo("\n".join([*([""] if shown else []), row.bundle, header()]))
                        shown = row.bundle
                    click.echo("\n".join(lines(row)))
    except KeyboardInterrupt:
        return True
    finally:
        _Status.clear()
    return False


class _Status:
    """One line on stderr that says what is being measured; silent where stderr is no terminal."""

    @staticmethod
    def _wanted() -> bool:
        return sys.stderr.isatty() and logging.getLogger("dsrfau_edge").isEnabledFor(logging.WARNING)

    def show(self, what: str, number: int, count: int) -> None:
        """Say what comes next."""
        if self._wanted():
            click.echo(f"\r\x1b[K{number} of {count}: {what}", nl=False, err=True)

    @classmethod
    def clear(cls) -> None:
        """Take the line away."""
        if cls._wanted():
            click.echo("\r\x1b[K", nl=False, err=True)


class _Report:
    """What is written in the end."""

    def __init__(self, campaign: Campaign, asked: Asked, around: dict[str, Any], interrupted: bool) -> None:  # noqa: FBT001
        self._campaign, self._asked, self._around = campaign, asked, around
        self._interrupted = interrupted
        self._extra: dict[str, Any] = {}
        self._failure: DsrfauError | None = None

    def remember(self) -> None:
        """Tell the fastest row of each bundle, and keep it where that was asked for."""
        from dsrfau_edge.bench.campaign import labels
        from dsrfau_edge.bench.fastest import fastest, keep

        gate, threads = self._asked.max_difference, self._campaign.wanted.threads[0]
        self._extra["fastest"] = {}
        for bundle in self._campaign.bundles:
            name = labels(self._campaign.bundles)[bundle.path]
            row = fastest([row for row in self._campaign.rows if row.bundle == name], gate, threads)
            told = None if row is None else {"runtime": row.runtime, "model": row.model, "p90_ms": row.figures["p90"]}
            self._extra["fastest"][name] = told
            if not self._asked.remember:
                continue
            if row is None:
                self._failure = VerificationFailed(
                    f"No row of {name} is within --max-difference {gate:g} of the fp32 graph, so nothing is remembered "
                    "for it. Measure more runtimes or precisions, or allow more."
                )
            else:
                note(f"Predictor runs {name} as {row.runtime} {row.model} from now on: {keep(bundle, row)}")
                if any("took the processor away" in text for text in row.notes):
                    note("Other programs ran meanwhile. Measure again on an idle device to be sure of it.")

    def write(self, compared: Callable[[], Comparison] | None) -> None:
        """Write the report where it was asked for, then compare.

        Raises:
            UsageError: no row can be compared.
            VerificationFailed: a figure regressed, or nothing could be remembered.
        """
        from dsrfau_edge.bench.report import document, markdown

        comparison = failure = None
        try:
            comparison = compared() if compared is not None else None
        except UsageError as error:
            failure = error
        extra = self._extra if comparison is None else {**self._extra, "comparison": comparison.to_dict()}
        whole = document(self._campaign, self._around, interrupted=self._interrupted, extra=extra)
        asked = self._asked
        if asked.as_json or asked.output is not None:
            with text_output(asked.output) as stream:
                stream.write(json.dumps(whole, indent=1) + "\n")
        if asked.as_json and asked.output is not None:
            click.echo(json.dumps(whole, indent=1))
        if asked.markdown is not None:
            with text_output(asked.markdown) as stream:
                stream.write(markdown(whole, self._campaign.rows))
        if asked.shows_table:
            click.echo("\n".join(self._end(comparison)))
        if failure is not None:
            raise failure
        _require_no_regression(comparison)
        if self._failure is not None:
            raise self._failure

    def _end(self, comparison: Comparison | None) -> list[str]:
        from dsrfau_edge.bench.report import footer

        told = footer(self._campaign, self._around)
        for name, row in self._extra.get("fastest", {}).items():
            if row is not None:
                within = f"fastest of {name} within a mean |ΔAU| of {self._asked.max_difference:g}"
                told.append(f"{within}: {row['runtime']} {row['model']} (p90 {row['p90_ms']:g} ms)")
        if comparison is not None:
            told += ["", *comparison.lines()]
        told += [f"written: {path}" for path in (self._asked.output, self._asked.markdown) if path is not None]
        if not self._asked.remember and self._extra.get("fastest"):
            told.append(
                "Next: dsrfau-bench --remember lets Predictor choose the fastest; dsrfau-doctor shows the choice"
            )
        return told


def _compared(
    base: dict[str, Any], campaign: Campaign, limit: float, figures: Sequence[str], around: dict[str, Any]
) -> Comparison:
    from dsrfau_edge.bench.comparison import compare

    return compare(base, [row.to_dict() for row in campaign.rows], limit, figures, around)


def _require_no_regression(comparison: Comparison | None) -> None:
    if comparison is not None and comparison.regressed:
        named = "; ".join(f"{one.row}: {one.figure} {one.percent:+.1f} %" for one in comparison.regressed)
        raise VerificationFailed(
            f"Slower than --max-regression {comparison.max_regression:g}% allows: {named}. Measure again on an idle "
            "device, or look for the change that did it."
        )


def _require_rows(campaign: Campaign, report: _Report, asked: Asked) -> None:
    """Refuse to end well where nothing was measured, or where a runtime that was named failed.

    Raises:
        RuntimeUnavailable: so it is; the report is written all the same.
    """
    measured: list[Row] = [row for row in campaign.rows if row.measured]
    if measured and not (campaign.failed and asked.names):
        return
    report.write(None)
    if campaign.failed:
        raise campaign.failed[0]
    raise RuntimeUnavailable("Nothing was measured: no runtime here runs any of the bundles, for the reasons above.")
