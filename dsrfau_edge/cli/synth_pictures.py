"""`dsrfau-synth sheet`, `ladder` and `stats`: looking at rendered faces and at what a set holds."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsrfau_edge.cli.common import note, replaced
from dsrfau_edge.errors import DsrfauError, UsageError

if TYPE_CHECKING:
    from dsrfau_edge.train.synthesis.faces import FaceFactory
    from dsrfau_edge.train.synthesis.statistics import Statistics

_SIZE = 256  # network input that faces are rendered for: the larger one shows more


def _output(required: bool, endings: str = ".png or .jpg") -> Callable[[Any], Any]:  # noqa: FBT001
    return click.option(
        "-o", "--output", type=click.Path(path_type=Path), required=required, help=f"Picture to write ({endings})."
    )


def _renderer_options(command: Any) -> Any:
    for option in (
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of what is drawn."),
        click.option(
            "--assets",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="MakeHuman asset folder (skins/, eyebrows/, eyelashes/, hair/); procedural looks without it.",
        ),
        click.option(
            "--rig", "rigs", multiple=True, metavar="RIG", help="makehuman (default) or ict=FILE; again for another."
        ),
    ):
        command = option(command)
    return command


@click.command("sheet", short_help="Contact sheet of faces with their labels.")
@click.argument("data", required=False, type=click.Path(path_type=Path))
@_output(required=True)
@click.option("--count", type=click.IntRange(1, 600), default=24, show_default=True, help="Number of faces.")
@click.option("--columns", type=click.IntRange(1, 40), default=6, show_default=True, help="Faces in a row.")
@_renderer_options
def sheet(
    *,
    data: Path | None,
    output: Path,
    count: int,
    columns: int,
    rigs: tuple[str, ...],
    assets: Path | None,
    seed: int,
) -> None:
    """Contact sheet of COUNT faces: of the shards in DATA, or freshly rendered where DATA is left out.

    Under each face: whose it is, and its AUs of intensity 0.5 or more; L and R are the person's left and right.
    """
    from dsrfau_edge.train.synthesis import gallery

    if data is not None and (rigs or assets):
        raise UsageError("--rig and --assets are for rendering; faces of DATA are shown as they are. Leave one out.")
    with _picture(output) as write:
        if data is not None:
            tiles = gallery.pick(data, count, seed)
        else:
            from dsrfau_edge.action_units import ALL_AUS, sites_of

            factory = _factory(seed, assets, rigs, per_identity=1)
            tiles = (gallery.tile_of(factory.sample(number), sites_of(ALL_AUS)) for number in range(count))
        write(gallery.sheet(tiles, columns=columns))


@click.command("ladder", short_help="One AU from 0 to 5 on several faces.")
@click.argument("au", metavar="AU|all")
@_output(required=True)
@click.option("--faces", type=click.IntRange(1, 100), default=4, show_default=True, help="People, one a row.")
@click.option(
    "--side", type=click.Choice(["both", "left", "right"]), default="both", show_default=True, help="The person's side."
)
@_renderer_options
def ladder(
    *, au: str, output: Path, faces: int, side: str, rigs: tuple[str, ...], assets: Path | None, seed: int
) -> None:
    """One AU through 0, 1, … 5 on several people; `all` shows every AU on one person.

    A row keeps person, look, light and pose, so that what changes along it is the intensity alone.
    """
    from dsrfau_edge.train.synthesis import gallery

    aus = gallery.parse_aus(au)
    if len(aus) == 1:
        gallery.ladder_sites(aus[0], side)  # refuses a side that is not there before anything is rendered
    with _picture(output) as write:
        factory = _factory(seed, assets, rigs, per_identity=1)
        write(gallery.ladder(factory, aus, faces=faces, seed=seed, side=side))


@click.command("stats", short_help="What a set of shards holds, and what it lacks.")
@click.argument("data", type=click.Path(path_type=Path))
@_output(required=False, endings=".png")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def stats(*, data: Path, output: Path | None, as_json: bool) -> None:
    """Faces of DATA per AU and band, AUs that come together, rigs, identities and poses.

    A band is the FACS letter of an AU's intensity, the mean over its sides; 0 is below 1. Empty bands and AUs that are
    never apart are warned of.
    """
    from dsrfau_edge.train.synthesis import statistics

    if output is not None:
        with _writable(output, (".png",)) as part:
            found = statistics.gather(data)
            part.write_bytes(statistics.picture(found))
    else:
        found = statistics.gather(data)
    if as_json:
        click.echo(json.dumps(found.to_dict()))
    else:
        _print(found)


def _factory(seed: int, assets: Path | None, rigs: tuple[str, ...], *, per_identity: int) -> FaceFactory:
    from dsrfau_edge.train.synthesis.faces import FaceFactory
    from dsrfau_edge.train.synthesis.rigs import RigSpec

    specs = [RigSpec.parse(text) for text in rigs or ("makehuman",)]
    return FaceFactory(seed=seed, input_size=_SIZE, assets=assets, per_identity=per_identity, rigs=specs)


@contextlib.contextmanager
def _picture(path: Path) -> Iterator[Callable[[Any], None]]:
    """Where a picture goes, tried before the work begins; it appears under its name when it is whole."""
    import cv2

    with _writable(path, (".png", ".jpg", ".jpeg")) as part:

        def write(image: Any) -> None:
            part.write_bytes(cv2.imencode(path.suffix.lower(), image)[1].tobytes())

        yield write


@contextlib.contextmanager
def _writable(path: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    if path.suffix.lower() not in endings:
        raise UsageError(f"{path} does not end in {' or '.join(endings)}, which says the kind of picture. Rename it.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Give the name of a picture to write.")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no folder, so {path.name} cannot be written there. Make it first.")
    with contextlib.ExitStack() as stack:
        try:
            part = stack.enter_context(replaced(path))
        except OSError as error:
            raise DsrfauError(
                f"{path} cannot be written: {error.strerror or error}. Check the folder's permissions and the free "
                "space, or give another place."
            ) from error
        yield part


def _print(found: Statistics) -> None:
    from rich.console import Console
    from rich.table import Table

    from dsrfau_edge.train.synthesis.statistics import BANDS

    people = sum(found.identities.values())
    click.echo(f"{found.count} faces of {people} identities")
    for rig, faces in found.rigs.items():
        click.echo(f"  {rig}: {faces} faces, {found.identities[rig]} identities")
    for line in found.pose_lines():
        click.echo(f"  {line}")
    table = Table(title="faces per AU and band", title_justify="left")
    table.add_column("AU")
    for name in (*BANDS, "shown", "lopsided"):
        table.add_column(name, justify="right")
    for au, row, lopsided in zip(found.aus, found.bands, found.lopsided, strict=True):
        cells = [str(faces) if faces else "[bold red]0[/]" for faces in row]
        table.add_row(au, *cells, f"{100 * row[1:].sum() / max(row.sum(), 1):.0f}%", str(lopsided))
    Console().print(table)
    for warning in found.warnings():
        note(f"warning: {warning}")
