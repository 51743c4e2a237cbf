"""`dsrfau-train average`: the checkpoint between two."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .common import require_training


@click.command(name="average")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option(
    "--data",
    "folders",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of prepared data; may be given several times.",
)
@click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write to."
)
@click.option(
    "--share",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Weight of AFTER; the rest is BEFORE's.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Use no more than so many samples of each folder.")
@click.option("--fresh", is_flag=True, help="Replace a checkpoint that is there.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON on stdout.")
def command(
    *,
    before: Path,
    after: Path,
    folders: tuple[Path, ...],
    output: Path,
    share: float,
    limit: int | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Average the weights of two checkpoints of one network; writes OUTPUT/student, or OUTPUT/teacher of two teachers.

    BEFORE is what a training started from (--init), AFTER what it gave: what lies between keeps most of what was gained
    on the faces of that training, and of what was known of others. Nothing is trained.
    """
    require_training()
    from dsrfau_edge.checkpoint import DESCRIPTION, read_checkpoint
    from dsrfau_edge.metrics import markdown_table
    from dsrfau_edge.train.averaging import average_checkpoints, require_apart
    from dsrfau_edge.train.data.prepared import load_prepared
    from dsrfau_edge.train.quantization.run import own_recipe

    _, described = (read_checkpoint(checkpoint) for checkpoint in (before, after))  # before the data takes its time
    recipe = own_recipe(after, [])
    folder = output / ("teacher" if described.training.get("role") == "teacher" else "student")
    require_apart(folder, before, after)
    if (folder / DESCRIPTION).is_file() and not fresh:
        raise click.UsageError(
            f"{folder} holds a checkpoint. Replace it with --fresh, or choose another folder with -o."
        )
    written = average_checkpoints(before, after, share, load_prepared(folders, limit=limit), recipe, folder)
    if as_json:
        click.echo(json.dumps(written.to_dict(), indent=1))
        return
    click.echo(
        f"{share:g} of {after} and {1 - share:g} of {before}:\n\n{markdown_table(written.metrics['held_out'])}\n"
    )
    click.echo(f"{folder} (graph verified against the network)")
    click.echo(f"Next: dsrfau-export {folder} --target all --int8 -o {output / 'bundles'}")
