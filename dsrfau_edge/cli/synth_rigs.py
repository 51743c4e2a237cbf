"""`dsrfau-synth pack-ict` and `calibrate`: a rig's data, and what intensities mean on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from dsrfau_edge.errors import DataError, UsageError


@click.command("pack-ict", short_help="Pack a checkout of ICT-FaceKit into one file.")
@click.argument("checkout", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File (.npz).")
def pack_ict(*, checkout: Path, output: Path) -> None:
    """Read the OBJ files of CHECKOUT and write them as one compressed .npz, deltas in half precision."""
    from dsrfau_edge.train.synthesis.rigs.ict import pack

    if not checkout.is_dir():
        raise DataError(f"{checkout} is not a folder. Name the one that `git clone` of ICT-FaceKit made.")
    if output.suffix != ".npz":
        raise UsageError(f"{output.name}: the packed rig is an .npz. Call it {output.stem}.npz.")
    held = pack(checkout, output)
    click.echo(f"{held['vertices']} vertices, {held['identities']} identity modes, {held['shapes']} shapes: {output}")
    click.echo(f"Next: dsrfau-synth render --count 1000 --rig makehuman --rig ict={output} -o faces")


@click.command("calibrate", short_help="Measure what an intensity moves on each rig.")
@click.option("--rig", "rigs", multiple=True, metavar="RIG", help="makehuman (default) or ict=FILE; again for another.")
@click.option("--people", type=click.IntRange(1), default=8, show_default=True, help="Identities compared per rig.")
@click.option("--landmarks", is_flag=True, help="Find FaceMesh's points on the rigs' neutral heads again (renders).")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON, in the form of the committed tables.")
def calibrate(*, rigs: tuple[str, ...], people: int, landmarks: bool, as_json: bool) -> None:
    """Measure what every AU moves at weight 1 and check the committed table; with two rigs, compare them.

    Exit code 4 where the table is not what the meshes say.
    """
    from dsrfau_edge.train.synthesis.agreement import agreement
    from dsrfau_edge.train.synthesis.calibration import full_scale, measure, table
    from dsrfau_edge.train.synthesis.rigs import RigSpec, open_rig

    opened = [open_rig(RigSpec.parse(text)) for text in rigs or ("makehuman",)]
    if len({rig.name for rig in opened}) < len(opened) or len(opened) > 2:
        raise UsageError("calibrate compares one rig of a kind with another. Name each rig once, two at most.")
    report: dict[str, Any] = {"movement": {rig.name: measure(rig) for rig in opened}}
    if landmarks:
        from dsrfau_edge.train.synthesis.landmarking import find_landmarks

        report["landmarks"] = {rig.name: find_landmarks(rig, rig.neutral).tolist() for rig in opened}
    if len(opened) == 2:
        compared = agreement(opened, people=people)
        report["agreement"] = {found.au: {"site": found.site, "region": found.region} for found in compared}
    if as_json:
        click.echo(json.dumps(report))
    else:
        for name, moved in report["movement"].items():
            _show(name, moved, {site: full_scale(site[:4]) for site in moved})
        for au, difference in report.get("agreement", {}).items():
            click.echo(
                f"{au}  differs by {difference['site']:.2f} at its points, {difference['region']:.2f} around them"
            )
    stale = [
        f"{name} {site}"
        for name, moved in report["movement"].items()
        for site, value in moved.items()
        if abs(value - table().movement[name].get(site, 0.0)) > 0.01 * value
    ]
    if stale:
        from dsrfau_edge.errors import VerificationFailed

        raise VerificationFailed(
            f"calibration.json is not what these meshes say: {', '.join(stale[:6])}{' …' * (len(stale) > 6)}. "
            "Write the movement of `--json` into it."
        )


def _show(name: str, moved: dict[str, float], full: dict[str, float]) -> None:
    click.echo(f"{name}: site, movement at weight 1 (mm), movement that is 5 (distances between the eyes)")
    for site, value in moved.items():
        click.echo(f"  {site:<11} {100 * value:6.2f}  {full[site]:.3f}")
