"""`dsrfau-synth`: render faces with known AU intensities."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click


@click.command("synth", short_help="Render faces with known AU intensities.")
@click.option("--count", type=click.IntRange(1), required=True, help="Number of faces.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Same seed, same bytes (for one GL driver, OpenCV and numpy).",
)
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the shards."
)
@click.option(
    "--size",
    type=click.Choice(["128", "256"]),
    default="128",
    show_default=True,
    help="Network input the crops are for.",
)
@click.option(
    "--assets",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="MakeHuman asset folder (skins/, eyebrows/, eyelashes/, hair/); procedural looks without it.",
)
@click.option("--per-identity", type=click.IntRange(1), default=6, show_default=True, help="Faces of each identity.")
@click.option(
    "--workers", type=click.IntRange(1), default=lambda: os.cpu_count() or 1, show_default="cores", help="Processes."
)
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def command(
    *,
    count: int,
    seed: int,
    output: Path,
    size: str,
    assets: Path | None,
    per_identity: int,
    workers: int,
    as_json: bool,
) -> None:
    """Render COUNT labelled face crops into shards.

    Killed, it resumes with the shards that are missing. A face depends on the seed and its number alone.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from dsrfau_edge.train.synthesis.production import Plan, produce

    plan = Plan(count, seed, int(size), per_identity, str(assets.resolve()) if assets else None)
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
               TimeElapsedColumn(), TimeRemainingColumn())  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("faces", total=count, rate="")
        index = produce(plan, output, workers=workers, on_shard=lambda entry: progress.advance(task, entry.count))
    size_mb = sum((output / shard.file).stat().st_size for shard in index.shards) / 1e6
    if as_json:
        report = {
            "output": str(output),
            "faces": index.count,
            "shards": len(index.shards),
            "megabytes": round(size_mb, 1),
        }
        click.echo(json.dumps(report))
        return
    click.echo(f"{index.count} faces in {len(index.shards)} shards, {size_mb:.1f} MB: {output}")
    click.echo(f"Next: dsrfau-train all --data {output} -o runs/first --preset cpu-small")
