"""`dsrfau-train`: teacher, student, or both from one command; and what a recipe's networks cost."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .average import command as average
from .common import recipe_options, require_training
from .confidence import command as confidence
from .prepare import command as prepare
from .qat import command as qat
from .summary import summary

if TYPE_CHECKING:
    from dsrfau_edge.checkpoint import Checkpoint

#: Lightning's names.
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
Function = TypeVar("Function", bound=Callable[..., Any])


@click.group(name="train", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Train a teacher and distil a student from prepared data.

    A killed run continues after its last epoch when the same command is given again; finished checkpoints are kept.
    """


def _device_count(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Refuse what Lightning would take apart only after the data is loaded."""
    if value != "auto" and not (value.isdecimal() and int(value) > 0):
        raise click.BadParameter(f"{value!r} is neither auto nor a number of devices from 1 on.", ctx, param)
    return value


def _run_options(function: Function) -> Function:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Report as JSON on stdout."),
        click.option("--fresh", is_flag=True, help="Start anew instead of continuing; replace finished checkpoints."),
        click.option(
            "--nodes", default=1, type=click.IntRange(min=1), help="Machines of a run under torchrun or SLURM."
        ),
        click.option(
            "--devices",
            default="auto",
            show_default=True,
            callback=_device_count,
            metavar="auto|N",
            help="How many devices per machine.",
        ),
        click.option(
            "--device", default="auto", show_default=True, type=click.Choice(ACCELERATORS), help="What to train on."
        ),
        click.option(
            "--init", type=click.Path(path_type=Path), help="Checkpoint whose weights to start from, to go on from it."
        ),
        click.option("--limit", type=click.IntRange(min=1), help="Use no more than so many samples of each folder."),
        click.option("--epochs", type=click.IntRange(min=1), help="Epochs, in place of the recipe's."),
        click.option(
            "-o",
            "--output",
            required=True,
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder to write to.",
        ),
        click.option(
            "--data",
            "folders",
            multiple=True,
            required=True,
            type=click.Path(path_type=Path),
            help="Folder of prepared data; may be given several times.",
        ),
    ):
        function = option(function)
    return recipe_options(function)


@command.command()
@_run_options
def teacher(**options: Any) -> None:
    """Train a teacher; writes OUTPUT/teacher."""
    _train(["teacher"], None, **options)


@command.command()
@click.option(
    "--teacher", type=click.Path(path_type=Path), help="Teacher's checkpoint; OUTPUT/teacher where there is one."
)
@click.option("--no-teacher", is_flag=True, help="Learn from the heatmaps alone.")
@_run_options
def student(*, teacher: Path | None, no_teacher: bool, **options: Any) -> None:
    """Distil a student; writes OUTPUT/student."""
    if no_teacher and teacher is not None:
        raise click.UsageError("--teacher and --no-teacher exclude each other.")
    default = options["output"] / "teacher"
    if teacher is None and not no_teacher:
        if not default.is_dir():
            raise click.UsageError(
                f"A student needs a teacher, and {default} does not exist. Name one with --teacher, train both on "
                "this data with `dsrfau-train all`, or train without one with --no-teacher."
            )
        teacher = default
    _train(["student"], teacher, **options)


@command.command(name="all")
@_run_options
def both(**options: Any) -> None:
    """Train a teacher, then distil a student from it."""
    if options["init"] is not None:
        raise click.UsageError("--init starts one network: give it to `dsrfau-train teacher` or `student`.")
    _train(["teacher", "student"], options["output"] / "teacher", **options)


command.add_command(summary)
command.add_command(prepare)
command.add_command(qat)
command.add_command(average)
command.add_command(confidence)


def _train(
    roles: list[str],
    teacher: Path | None,
    *,
    folders: tuple[Path, ...],
    output: Path,
    epochs: int | None,
    limit: int | None,
    device: str,
    devices: str,
    nodes: int,
    init: Path | None,
    fresh: bool,
    as_json: bool,
    recipe: str,
    settings: tuple[str, ...],
    seed: int,
) -> None:
    require_training()
    from dsrfau_edge.train.data.prepared import load_prepared
    from dsrfau_edge.train.recipes import load_recipe
    from dsrfau_edge.train.run import RunOptions, train_role

    overrides = [f"{role}.epochs={epochs}" for role in roles] if epochs else []
    chosen = load_recipe(recipe, [*settings, *overrides])
    options = RunOptions(
        output,
        seed=seed,
        progress=sys.stderr.isatty(),
        fresh=fresh,
        accelerator=device,
        devices=devices,
        nodes=nodes,
        report=_say,
    )
    for role in roles:  # before the first is trained: what stands in the way of the last is known by now
        options.places(role)
    data = load_prepared(folders, limit=limit)
    identities = len(set(data.identities.tolist()))
    _say(f"{len(data)} crops of {identities} identities, recipe {chosen.name!r}, seed {seed}")
    checkpoints = {}
    for role in roles:
        parent = teacher if role == "student" else None
        checkpoints[role] = train_role(role, data, chosen, options, teacher=parent, init=init)
    if _is_first_process():
        _report(checkpoints, output, as_json=as_json)


def _is_first_process() -> bool:
    """Whether this process speaks for a distributed run, each process of which runs the whole command."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "RANK", "SLURM_PROCID"))


def _say(text: str) -> None:
    """A line of progress on stderr; a run takes long enough to be told about unless -q is given."""
    if _is_first_process() and logging.getLogger("dsrfau_edge").isEnabledFor(logging.WARNING):
        click.echo(text, err=True)


def _report(checkpoints: dict[str, Checkpoint], output: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({role: checkpoint.to_dict() for role, checkpoint in checkpoints.items()}, indent=1))
        return
    from dsrfau_edge.metrics import markdown_table

    for role, checkpoint in checkpoints.items():
        metrics = checkpoint.metrics
        held_out = metrics["held_out"]
        latency = metrics["cpu_latency"]
        click.echo(
            f"{role}: {metrics['parameters'] / 1e6:.2f} M weights, {metrics['macs'] / 1e6:.1f} M MACs, "
            f"{latency['milliseconds']} ms per crop ({latency['runtime']}, 1 thread); held out: "
            f"{held_out['samples']} crops of {held_out['identities']} identities"
        )
        click.echo(f"\n{markdown_table(held_out)}\n")
    for role in checkpoints:
        folder = output / role
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        click.echo(f"{folder} ({size:.1f} MB; graph verified against the network)")
    click.echo(f"Next: dsrfau-export {output / list(checkpoints)[-1]} --target all --int8 -o {output / 'bundles'}")
