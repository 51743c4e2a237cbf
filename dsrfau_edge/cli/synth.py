"""`dsrfau-synth`: render faces with known AU intensities, and look at them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dsrfau_edge.cli import synth_pictures, synth_rigs
from dsrfau_edge.cli.progress import bar, stops_on_sigterm
from dsrfau_edge.errors import UsageError


@click.group("synth", short_help="Render faces with known AU intensities.")
def command() -> None:
    """Render faces with known AU intensities, and look at what was rendered."""


@command.command("render", short_help="Render labelled faces into shards.")
@click.option("--count", type=click.IntRange(1), required=True, help="Number of faces.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Same seed, same bytes (for one GL driver, OpenCV and numpy).",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the shards.")
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
    "--rig",
    "rigs",
    multiple=True,
    metavar="RIG",
    help="makehuman (default) or ict=FILE; again for another: identities take them in turn.",
)
@click.option(
    "--wide-poses",
    is_flag=True,
    help="Every turn up to 80° yaw and 45° pitch as often: to fit confidences, see `dsrfau-train confidence`.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes; one per core by default.")
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Where it is rendered."
)
@click.option("--ray-address", metavar="HOST:PORT", help="A Ray cluster; without it --engine ray uses this machine.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def render(
    *,
    count: int,
    seed: int,
    output: Path,
    size: str,
    assets: Path | None,
    per_identity: int,
    rigs: tuple[str, ...],
    wide_poses: bool,
    workers: int | None,
    engine: str,
    ray_address: str | None,
    as_json: bool,
) -> None:
    """Render COUNT labelled face crops into shards.

    Killed, it resumes with the shards that are missing. A face depends on the seed and its number alone.
    """
    if ray_address and engine != "ray":
        raise UsageError("--ray-address is for --engine ray. Add that, or leave the address out.")
    from dsrfau_edge.train.synthesis.engines import local_engine, ray_engine
    from dsrfau_edge.train.synthesis.production import Plan, produce

    chosen = local_engine(workers) if engine == "local" else ray_engine(workers, ray_address)
    looks = str(assets) if assets else None
    plan = Plan(count, seed, int(size), per_identity, looks, rigs or ("makehuman",), wide_poses=wide_poses)
    with stops_on_sigterm(), bar(count, "rendering") as shown:
        index = produce(plan, output, engine=chosen, on_found=shown.found, on_faces=shown.made)
    megabytes = sum(shard.size or 0 for shard in index.shards) / 1e6
    if as_json:
        report = {
            "output": str(output),
            "faces": index.count,
            "rendered": shown.count,
            "seconds": round(shown.seconds, 1),
            "shards": len(index.shards),
            "megabytes": round(megabytes, 1),
        }
        click.echo(json.dumps(report))
        return
    click.echo(f"{index.count} faces in {len(index.shards)} shards, {megabytes:.1f} MB: {output}")
    click.echo(f"Next: dsrfau-train all --data {output} -o runs/first")


for _verb in (
    synth_pictures.sheet,
    synth_pictures.ladder,
    synth_pictures.stats,
    synth_rigs.pack_ict,
    synth_rigs.calibrate,
):
    command.add_command(_verb)
