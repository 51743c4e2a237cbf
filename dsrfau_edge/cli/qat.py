"""`dsrfau-train qat`: a short fine-tune of a trained student for the rounding of int8."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import require_training

if TYPE_CHECKING:
    from dsrfau_edge.checkpoint import Checkpoint

#: Named here too, since the modules that define them load torch.
SCHEMES = ("u8s8", "s8s8")


@click.command(name="qat")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--data",
    "folders",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of prepared data; may be given several times.",
)
@click.option("--teacher", type=click.Path(path_type=Path), help="Teacher's checkpoint.")
@click.option("--no-teacher", is_flag=True, help="Learn from the heatmaps alone.")
@click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write to."
)
@click.option(
    "--scheme",
    default=SCHEMES[0],
    show_default=True,
    type=click.Choice(SCHEMES),
    help="Integers of the target: u8s8 for onnx and openvino, s8s8 for tensorrt.",
)
@click.option("--recipe", metavar="NAME|FILE", help="A recipe, in place of the one that the checkpoint was trained by.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Replace one value of the recipe.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs, in place of the recipe's (qat.epochs).")
@click.option("--limit", type=click.IntRange(min=1), help="Use no more than so many samples of each folder.")
@click.option("--seed", default=0, show_default=True, help="Seed of order and augmentation.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(("auto", "cpu", "gpu", "cuda", "mps")),
    help="What to train on.",
)
@click.option("--fresh", is_flag=True, help="Start anew instead of continuing; replace a finished checkpoint.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON on stdout.")
def command(
    *,
    checkpoint: Path,
    folders: tuple[Path, ...],
    teacher: Path | None,
    no_teacher: bool,
    output: Path,
    scheme: str,
    recipe: str | None,
    settings: tuple[str, ...],
    epochs: int | None,
    limit: int | None,
    seed: int,
    device: str,
    fresh: bool,
    as_json: bool,
) -> None:
    """Fine-tune the student CHECKPOINT under the rounding of int8; writes OUTPUT/student.

    What is written is an ordinary checkpoint: `dsrfau-export OUTPUT/student --target onnx --int8` quantizes it like any
    other. The losses are those of distillation; --teacher names the teacher.
    """
    if (teacher is not None) == no_teacher:
        raise click.UsageError("Give one of the two: --teacher CHECKPOINT, or --no-teacher to learn without one.")
    require_training()
    from dsrfau_edge.checkpoint import read_checkpoint
    from dsrfau_edge.train.data.prepared import load_prepared
    from dsrfau_edge.train.quantization.run import own_recipe, train_quantized
    from dsrfau_edge.train.quantization.scheme import scheme_named
    from dsrfau_edge.train.recipes import load_recipe
    from dsrfau_edge.train.run import RunOptions

    read_checkpoint(checkpoint)  # before the data, which takes its time
    wanted = [*settings, *([f"qat.epochs={epochs}"] if epochs else [])]
    chosen = load_recipe(recipe, wanted) if recipe else own_recipe(checkpoint, wanted)
    options = RunOptions(
        output, seed=seed, progress=sys.stderr.isatty(), fresh=fresh, accelerator=device, devices="1", report=_say
    )
    options.places("student")
    data = load_prepared(folders, limit=limit)
    _say(f"{len(data)} crops, recipe {chosen.name!r}, scheme {scheme}, seed {seed}")
    tuned = train_quantized(checkpoint, data, chosen, options, scheme=scheme_named(scheme), teacher=teacher)
    _report(tuned, output / "student", scheme, as_json=as_json)


def _say(text: str) -> None:
    """A line of progress on stderr; a run takes long enough to be told about unless -q is given."""
    if logging.getLogger("dsrfau_edge").isEnabledFor(logging.WARNING):
        click.echo(text, err=True)


def _report(tuned: Checkpoint, folder: Path, scheme: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(tuned.to_dict(), indent=1))
        return
    from dsrfau_edge.train.quantization.scheme import scheme_named
    from dsrfau_edge.train.quantization.tuning import spoken

    for when, cost in tuned.training["quantization"]["held_out"].items():
        click.echo(f"int8 ({scheme}, simulated) {when}: {spoken(cost)}")
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    click.echo(f"{folder} ({size:.1f} MB; graph verified against the network)")
    target = scheme_named(scheme).targets[0]
    click.echo(f"Next: dsrfau-export {folder} --target {target} --int8 -o {folder.parent / 'bundles'}")
