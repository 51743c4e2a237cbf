"""`dsrfau-eval`: scores of checkpoints and bundles on prepared data, with intervals. Needs no torch."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from .common import note


def _names(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Names given one by one or with commas."""
    del ctx, param
    return tuple(dict.fromkeys(name for text in value for name in text.replace(",", " ").split()))


@click.command(name="eval", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--data", "folders", multiple=True, required=True, type=click.Path(path_type=Path), help="Folder of prepared data."
)
@click.option(
    "--split",
    type=click.Choice(["held-out", "held-out-looks", "train", "all"]),
    default="held-out",
    show_default=True,
    help="Which samples; held-out are the persons that training with the model's recipe leaves out.",
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    metavar="NAME",
    help="Who is held out, in place of what the model records: identities, fera2015, disfa-0, disfa-1, disfa-2 or "
    "rig=NAME. Once for all models, or once for each.",
)
@click.option("--runtime", help="Runtime to use, or torch for a checkpoint's own network; the best one by default.")
@click.option("--device", help="Device of the runtime, such as cpu or cuda:0.")
@click.option(
    "--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="fp32 evaluates an int8 bundle's portable graph."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of one inference.")
@click.option("--limit", type=click.IntRange(min=1), help="Read no more than so many samples of each folder.")
@click.option(
    "--bootstrap",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Resamples of the identities for the 95 % intervals; 0 for none.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of whatever is drawn.")
@click.option(
    "--by",
    multiple=True,
    callback=_names,
    metavar="KEY,...",
    help="Scores of groups: rig, sex, age, ancestry, glasses, yaw, tone.",
)
@click.option(
    "--nuisance",
    "nuisances",
    multiple=True,
    callback=_names,
    metavar="NAME,...",
    help="What it costs: grey, face48, jpeg30, occlusion (done to the crops), yaw30, glasses (parts of the data).",
)
@click.option("--sides", is_flag=True, help="Show each side (site) in the table, too.")
@click.option(
    "--report",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write report.json, report.md and pictures there.",
)
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def command(*, folder: Path | None, sides: bool, as_json: bool, **options: Any) -> None:
    """Evaluate each MODEL, a bundle or a checkpoint folder, on prepared data with known intensities.

    Several models are those of several folds: each predicts the persons that its own training left out, and all
    predictions are scored together.
    """
    from dsrfau_edge.train.evaluation.evaluation import Request, evaluate_models
    from dsrfau_edge.train.evaluation.report import summary, to_dict

    request = Request(**options)
    writer = None
    if folder is not None:
        from dsrfau_edge.train.evaluation.files import ReportFolder

        writer = ReportFolder(folder)
    with _progress() as progress:
        found = evaluate_models(request, progress)
    for warning in found.warnings:
        note(f"note: {warning}")
    written = writer.write(found) if writer else []
    click.echo(json.dumps(to_dict(found), indent=1) if as_json else summary(found, sides=sides))
    if written:
        note("\n".join(f"{path} ({path.stat().st_size / 1e3:.0f} kB)" for path in written))


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int], Callable[[int], None]]]:
    """A bar on stderr, where that is a terminal and -q was not given."""
    with contextlib.ExitStack() as stack:

        def begin(total: int) -> Callable[[int], None]:
            if not (sys.stderr.isatty() and logging.getLogger("dsrfau_edge").isEnabledFor(logging.WARNING)):
                return lambda _: None
            bar = click.progressbar(length=total, label="predicting", file=sys.stderr, show_pos=True)
            return stack.enter_context(bar).update

        yield begin
