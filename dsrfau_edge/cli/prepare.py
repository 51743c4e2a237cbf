"""`dsrfau-train prepare`: aligned crops in shards from licensed sets, folders of pictures and rendered sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dsrfau_edge.cli.common import note
from dsrfau_edge.cli.progress import bar, stops_on_sigterm
from dsrfau_edge.errors import UsageError

if TYPE_CHECKING:
    from dsrfau_edge.train.data.preparation.options import Options
    from dsrfau_edge.train.data.preparation.plan import Plan

Function = TypeVar("Function", bound=Callable[..., Any])
_FOLDER = click.Path(path_type=Path)


@click.group("prepare", short_help="Make training data from a set of pictures.")
def command() -> None:
    """Make training data: aligned crops with the places of their AUs, in shards, checked and summarised.

    Faces are found and cut as on the device. Every picture is counted: it is in the set, or stands in losses.csv with
    the reason. A killed command goes on with the shards that are missing when it is given again.
    """


def _run_options(function: Function) -> Function:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Report as JSON on stdout."),
        click.option("--workers", type=click.IntRange(1), help="Processes; one per core by default."),
        click.option("-o", "--output", type=_FOLDER, required=True, help="Folder of the shards."),
    ):
        function = option(function)
    return function


def _picture_options(function: Function) -> Function:
    for option in (
        click.option(
            "--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="JPEG quality of the crops."
        ),
        click.option("--limit", type=click.IntRange(1), help="Stop after the first so many pictures (a trial run)."),
        click.option(
            "--size",
            type=click.IntRange(32),
            default=128,
            show_default=True,
            help="Network input the crops are for, a multiple of 32.",
        ),
    ):
        function = option(function)
    return _run_options(function)


def _sequence_options(function: Function) -> Function:
    for option in (
        click.option(
            "--first-frame",
            type=click.IntRange(0),
            help="Number in the name of the extracted frame that the labels call 1; needed where the numbers differ.",
        ),
        click.option("--subject", "subjects", multiple=True, metavar="NAME", help="Only this subject; again for more."),
        click.option("--pictures", type=_FOLDER, help="Folder of the videos or frames; SOURCE by default."),
        click.option(
            "--subsample", type=click.IntRange(1), default=1, show_default=True, help="Take every Nth frame by number."
        ),
    ):
        function = option(function)
    return _picture_options(function)


@command.command("disfa", short_help="DISFA: 12 AUs, 27 subjects, two cameras.")
@click.argument("source", type=_FOLDER)
@click.option(
    "--camera", type=click.Choice(["left", "right"]), default="left", show_default=True, help="Which camera's pictures."
)
@click.option(
    "--allow-short",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Use videos that end up to N frames before their header says; only if you know the frames miss at the end.",
)
@_sequence_options
def disfa(
    *,
    source: Path,
    camera: str,
    pictures: Path | None,
    subjects: tuple[str, ...],
    first_frame: int | None,
    allow_short: int,
    **options: Any,
) -> None:
    """DISFA in its official layout: ActionUnit_Labels/SN001/SN001_au1.txt, and videos or extracted frames."""
    from dsrfau_edge.train.data.preparation import disfa as kind

    _prepare(
        options,
        lambda chosen: kind.plan(
            source,
            chosen,
            camera=camera,
            pictures=pictures,
            subjects=subjects,
            first_frame=first_frame,
            allow_short=allow_short,
        ),
    )


@command.command("bp4d", short_help="BP4D, intensity subset of FERA 2015: 5 AUs, 41 subjects.")
@click.argument("source", type=_FOLDER)
@_sequence_options
def bp4d(
    *, source: Path, pictures: Path | None, subjects: tuple[str, ...], first_frame: int | None, **options: Any
) -> None:
    """BP4D as in FERA 2015: AU-INT/AU06/F001_T1_AU06.csv and frames F001/T1/0001.jpg; 9 is read as unknown."""
    from dsrfau_edge.train.data.preparation import bp4d as kind

    _prepare(
        options,
        lambda chosen: kind.plan(source, chosen, pictures=pictures, subjects=subjects, first_frame=first_frame),
    )


@command.command("table", short_help="A folder of pictures with one CSV.")
@click.argument("source", metavar="FOLDER_OR_CSV", type=_FOLDER)
@click.option("--licence", metavar="TEXT", help="Terms of the pictures and labels, recorded with the set.")
@click.option("--subsample", type=click.IntRange(1), default=1, show_default=True, help="Take every Nth row.")
@_picture_options
def table(*, source: Path, licence: str | None, **options: Any) -> None:
    """Pictures with a CSV of path,subject,AU01,AU12_left,…; an empty cell is unlabelled."""
    from dsrfau_edge.train.data.preparation import table as kind

    _prepare(options, lambda chosen: kind.plan(source, chosen, licence=licence))


@command.command("photos", short_help="Photographs that nobody has coded, with pseudo-labels.")
@click.argument("source", type=_FOLDER)
@click.option(
    "--tracker",
    type=_FOLDER,
    required=True,
    metavar="FILE.task",
    help="MediaPipe's face_landmarker.task (blendshapes).",
)
@click.option(
    "--min-correlation",
    type=click.FloatRange(0, 1),
    default=0.35,
    show_default=True,
    help="Leave AUs unlabelled whose map did worse on faces of known intensities.",
)
@click.option("--licence", metavar="TEXT", help="Terms of the photographs, recorded with the set.")
@click.option("--subsample", type=click.IntRange(1), default=1, show_default=True, help="Take every Nth picture.")
@_picture_options
def photos(*, source: Path, tracker: Path, min_correlation: float, licence: str | None, **options: Any) -> None:
    """Photographs, labelled by MediaPipe's Face Landmarker: pseudo-labels, and the set says so.

    The tracker runs in OpenVINO; `mediapipe` is not needed.
    """
    from dsrfau_edge.train.data.preparation import photos as kind

    if options["output"].resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{options['output']} lies in {source}: its preview would be taken for a photograph. Move it.")
    _prepare(
        options,
        lambda chosen: kind.plan(source, chosen, tracker=tracker, min_correlation=min_correlation, licence=licence),
    )


@command.command("rendered", short_help="Prepared renders: verified, smaller, of one rig.")
@click.argument("source", type=_FOLDER)
@click.option(
    "--size", type=click.IntRange(32), help="A smaller network input, a multiple of 32; the set's by default."
)
@click.option("--rig", metavar="NAME", help="Only faces of this rig.")
@click.option("--limit", type=click.IntRange(1), help="Stop after the shard with the face of this number.")
@click.option(
    "--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="JPEG quality of crops made smaller."
)
@_run_options
def rendered(
    *, source: Path, size: int | None, rig: str | None, limit: int | None, quality: int, **options: Any
) -> None:
    """A set of `dsrfau-synth render` once more: hashes verified, crops made smaller if wanted, one rig if wanted."""
    from dsrfau_edge.train.data.preparation import rendered as kind

    _make(kind.plan(source, size=size, rig=rig, limit=limit, quality=quality), **options)


def _prepare(options: dict[str, Any], plan: Callable[[Options], Plan]) -> None:
    """Plan with the options of all kinds, and make it."""
    from dsrfau_edge.train.data.preparation.options import Options

    names = ("size", "subsample", "limit", "quality")
    chosen = Options(**{name: options.pop(name) for name in names if name in options})
    _make(plan(chosen), **options)


def _make(plan: Plan, *, output: Path, workers: int | None, as_json: bool) -> None:
    from dsrfau_edge.train.data.preparation.run import prepare
    from dsrfau_edge.train.data.preparation.summary import summarise

    with stops_on_sigterm(), bar(plan.count, "preparing", "pictures") as shown:
        prepared = prepare(plan, output, workers=workers, on_found=shown.found, on_pictures=shown.made)
        summary = summarise(plan, prepared, output)
    if as_json:
        click.echo(json.dumps({"output": str(output), **summary, "seconds": round(shown.seconds, 1)}))
        return
    _show(summary)
    size = sum(shard.size or 0 for shard in prepared.index.shards) / 1e6
    persons = f"{summary['subjects']} subject{'' if summary['subjects'] == 1 else 's'}"
    click.echo(f"{summary['samples']} samples of {persons}, {size:.1f} MB: {output}")
    click.echo(f"Look at {output / 'preview.jpg'}; what was lost stands in {output / 'losses.csv'}.")
    click.echo(f"Next: dsrfau-train all --data {output} -o runs/first")


def _show(summary: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from dsrfau_edge.train.data.preparation.summary import unlabelled

    empty = unlabelled(summary)
    table = Table(title="samples per AU and band of intensity", title_justify="left")
    table.add_column("AU")
    for name in (*next(iter(summary["bands"].values())), "unlabelled"):
        table.add_column(name, justify="right")
    for au, row in summary["bands"].items():
        table.add_row(au, *map(str, row.values()), str(empty[au]))
    Console().print(table)
    for title, counts in (
        ("pictures not in the set", summary["lost"]),
        ("single labels left out", summary["labels"]),
        ("pictures in the set", summary["notes"]),
    ):
        for reason, count in counts.items():
            click.echo(f"{title}: {reason}: {count}")
    if sum(summary["lost"].values()) > summary["samples"]:
        note("warning: more pictures were lost than prepared. Look at losses.csv before training on this.")
