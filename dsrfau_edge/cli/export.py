"""`dsrfau-export`: bundles for ONNX Runtime, OpenVINO and TensorRT from a checkpoint or another bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dsrfau_edge.errors import RuntimeUnavailable, UsageError

if TYPE_CHECKING:
    from dsrfau_edge.export.pipeline import ExportOptions, ExportReport

_SOURCE = click.Path(path_type=Path)
_EXIT_CODES = """\b
Exit codes: 0 ok · 1 failed · 2 usage · 3 package or backend missing ·
4 verification failed, nothing written · 5 source or pictures unreadable ·
130 interrupted"""


def _parse_capabilities(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...]:
    """`75,86,8.9` → (75, 86, 89)."""
    if value is None:
        return ()
    parts = [part.strip().replace(".", "") for part in value.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise click.BadParameter(f"{value!r} is not a list of compute capabilities such as 75,86,89.")
    return tuple(dict.fromkeys(int(part) for part in parts))


@click.command(name="export", context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES)
@click.argument("source", type=_SOURCE, required=False)
@click.option("--target", "targets", metavar="NAME", default="onnx", show_default=True, help="A target, or all.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="What it computes in; fp32 by default.")
@click.option("--fp16", "fp16", is_flag=True, help="Short for --precision fp16.")
@click.option("--int8", "int8", is_flag=True, help="Short for --precision int8.")
@click.option(
    "-o",
    "--output",
    type=_SOURCE,
    default=Path(),
    help="Folder for the bundles, or a single bundle itself if it ends in .dsrfau. The current folder by default.",
)
@click.option("--calib", type=_SOURCE, help="Pictures of faces to calibrate on; the source's own crops by default.")
@click.option("--calib-crops", is_flag=True, help="The pictures are aligned crops of the input size already.")
@click.option("--calib-count", type=int, default=300, show_default=True, help="Calibrate on at most so many crops.")
@click.option("--calib-method", metavar="NAME", help="How int8 ranges are found; see --list-targets.")
@click.option("--max-drop", type=float, help="Fail if an AU differs from fp32 by more on average (intensity units).")
@click.option("--no-verify", is_flag=True, help="Do not compare with the fp32 graph.")
@click.option("--batch", type=int, help="Crops per call; 1 by default.")
@click.option("--dynamic-batch", is_flag=True, help="Any number of crops per call.")
@click.option("--workspace-gb", type=float, help="Memory for TensorRT's builder.")
@click.option(
    "--sm", "capabilities", callback=_parse_capabilities, metavar="75,86,…", help="GPUs to build for (TensorRT RTX)."
)
@click.option("--overwrite", is_flag=True, help="Replace bundles that are already there.")
@click.option("--list-targets", is_flag=True, help="List the targets, their precisions and options, and end.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def command(
    *,
    source: Path | None,
    targets: str,
    precision: Literal["fp32", "fp16", "int8"] | None,
    fp16: bool,
    int8: bool,
    output: Path,
    calib: Path | None,
    calib_crops: bool,
    calib_count: int,
    calib_method: str | None,
    max_drop: float | None,
    no_verify: bool,
    batch: int | None,
    dynamic_batch: bool,
    workspace_gb: float | None,
    capabilities: tuple[int, ...],
    overwrite: bool,
    list_targets: bool,
    as_json: bool,
) -> None:
    """Export SOURCE, a checkpoint folder or a bundle (the bundled student by default), to bundles for other runtimes.

    Every bundle is compared with the portable fp32 graph on faces before it is written. With --target all, each option
    applies to the targets that take it, and targets that this machine cannot convert to are skipped with the reason.
    """
    if list_targets:
        _list_targets(as_json=as_json)
        return
    from dsrfau_edge.export.conversion import ExportOptions

    options = ExportOptions(
        precision=_precision(precision, fp16=fp16, int8=int8),
        batch=_batch(batch, dynamic=dynamic_batch),
        calib=calib,
        calib_crops=calib_crops,
        calib_count=calib_count,
        calib_method=calib_method,
        max_drop=max_drop,
        verify=not no_verify,
        workspace_gb=workspace_gb,
        capabilities=capabilities,
        overwrite=overwrite,
    )
    _run(source, targets, output, options, as_json=as_json)


def _run(source: Path | None, target: str, output: Path, options: ExportOptions, *, as_json: bool) -> None:
    from dsrfau_edge.export.pipeline import export

    reports: list[ExportReport] = []

    def keep(report: ExportReport) -> None:
        reports.append(report)
        if not as_json:
            click.echo("\n".join(report.lines()))

    try:
        export(source, target, output, options, on_report=keep)
    except ModuleNotFoundError as error:
        from dsrfau_edge.export.targets import INSTALL

        raise RuntimeUnavailable(f"Exporting needs {error.name}, which is not installed. Install: {INSTALL}") from error
    finally:
        if as_json and reports:
            click.echo(json.dumps([report.to_dict() for report in reports], indent=1))
    written = [report.path for report in reports if report.path is not None]
    if written and not as_json:
        click.echo(
            f"Next: dsrfau-predict --bundle {written[-1]} PICTURE, or dsrfau-bench {' '.join(map(str, written))}"
        )
    if reports and not written:
        raise RuntimeUnavailable("Nothing was exported: this machine can convert to none of the targets, see above.")


def _precision(
    named: Literal["fp32", "fp16", "int8"] | None, *, fp16: bool, int8: bool
) -> Literal["fp32", "fp16", "int8"]:
    given = {named} - {None} | ({"fp16"} if fp16 else set()) | ({"int8"} if int8 else set())
    if len(given) > 1:
        raise UsageError(f"A bundle has one precision, and {', '.join(sorted(map(str, given)))} were asked for.")
    if int8:
        return "int8"
    return "fp16" if fp16 else named or "fp32"


def _batch(batch: int | None, *, dynamic: bool) -> int | Literal["dynamic"]:
    if dynamic and batch is not None:
        raise UsageError("--batch fixes the number of crops and --dynamic-batch leaves it open. Give one of them.")
    return "dynamic" if dynamic else 1 if batch is None else batch


def _list_targets(*, as_json: bool) -> None:
    from dsrfau_edge.export.targets import TARGETS

    spelled = {"workspace_gb": "--workspace-gb", "capabilities": "--sm"}
    rows: list[dict[str, Any]] = []
    for target in TARGETS.values():
        availability = target.availability("int8")
        rows.append(
            {
                "name": target.name,
                "title": target.title,
                "precisions": list(target.precisions),
                "calibration_methods": list(target.methods),
                "options": sorted(spelled[option] for option in target.options),
                "available": availability.ok,
                "reason": f"{availability.reason} {availability.fix}".strip(),
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        click.echo(f"{row['name']}: {row['title']}")
        click.echo(f"  precisions {', '.join(row['precisions'])}; calibration {', '.join(row['calibration_methods'])}")
        if row["options"]:
            click.echo(f"  takes {', '.join(row['options'])}")
        click.echo(f"  {'can be made here' if row['available'] else 'cannot be made in int8 here: ' + row['reason']}")
