"""`dsrfau-export`: bundles for ONNX Runtime, OpenVINO and TensorRT from a checkpoint or another bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from dsrfau_edge.errors import RuntimeUnavailable, UsageError

from .common import Progress
from .inspection import inspect

if TYPE_CHECKING:
    from dsrfau_edge.export.pipeline import ExportOptions, ExportReport
    from dsrfau_edge.export.targets import TargetOption

Function = TypeVar("Function", bound=Callable[..., Any])
_SOURCE = click.Path(path_type=Path)
_EPILOG = """\b
dsrfau-export inspect BUNDLE prints what a bundle says of itself.

\b
Exit codes: 0 ok · 1 failed · 2 usage · 3 package or backend missing ·
4 verification or accuracy gate failed, nothing written ·
5 source or pictures unreadable · 130 interrupted"""


class _Export(click.Command):
    """The export itself, unless the first word is that of another command."""

    commands = {"inspect": inspect}

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        other = self.commands.get(args[0]) if args else None
        if other is None:
            return super().make_context(info_name, args, parent, **extra)
        return other.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


def _target_options(function: Function) -> Function:
    """The options that the targets declare."""
    from dsrfau_edge.export.targets import TARGETS

    declared = {option.name: (option, target) for target in TARGETS.values() for option in target.options}
    for option, target in reversed(declared.values()):
        switch = option.parse is None
        function = click.option(
            option.flag,
            option.name,
            is_flag=switch or None,  # False would let an option stand without its value
            metavar=option.metavar,
            callback=None if switch else _parsed(option),
            help=f"{option.help} ({target.name})",
        )(function)
    return function


def _parsed(option: TargetOption) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    def parse(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
        if value is None or option.parse is None:
            return None
        try:
            return option.parse(value)
        except ValueError as error:
            raise click.BadParameter(f"{error}.", ctx, parameter) from error

    return parse


@click.command(name="export", cls=_Export, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
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
@click.option(
    "--keep-float",
    multiple=True,
    metavar="REGEX",
    help="Leave layers whose names match in float; may be repeated. Head and decode always are.",
)
@click.option(
    "--max-drop",
    type=float,
    help="Fail if an AU loses more: of ICC(3,1) with --gate-data, else in mean intensity difference to fp32 (0-5).",
)
@click.option("--gate-data", type=_SOURCE, help="Labelled faces (a folder of dsrfau-train prepare) to measure ICC on.")
@click.option("--gate-count", type=int, default=1000, show_default=True, help="Use at most so many of them.")
@click.option("--auto-keep-float", is_flag=True, help="Keep the most sensitive layers in float until --max-drop holds.")
@click.option("--sensitivity", is_flag=True, help="Report how much int8 hurts each layer.")
@click.option("--no-verify", is_flag=True, help="Do not compare with the fp32 graph.")
@click.option("--batch", type=int, help="Crops per call; 1 by default.")
@click.option("--dynamic-batch", is_flag=True, help="Any number of crops per call.")
@_target_options
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
    batch: int | None,
    dynamic_batch: bool,
    no_verify: bool,
    list_targets: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Export SOURCE, a checkpoint folder or a bundle (the bundled student by default), to bundles for other runtimes.

    Every bundle is compared with the portable fp32 graph on faces before it is written. With --target all, each option
    applies to the targets that take it, and targets that this machine cannot convert to are skipped with the reason.
    """
    if list_targets:
        _list_targets(as_json=as_json)
        return
    from dsrfau_edge.export.conversion import ExportOptions
    from dsrfau_edge.export.targets import TARGETS

    own = {option.name for target in TARGETS.values() for option in target.options}
    given = {name: options.pop(name) for name in own & set(options)}
    made = ExportOptions(
        precision=_precision(precision, fp16=fp16, int8=int8),
        batch=_batch(batch, dynamic=dynamic_batch),
        verify=not no_verify,
        target_options={name: value for name, value in given.items() if value is not None and value is not False},
        **options,
    )
    _run(source, targets, output, made, as_json=as_json)


def _run(source: Path | None, target: str, output: Path, options: ExportOptions, *, as_json: bool) -> None:
    from dsrfau_edge.export.pipeline import export

    reports: list[ExportReport] = []
    progress = Progress(wanted=True)

    def keep(report: ExportReport) -> None:
        progress.clear()
        reports.append(report)
        if not as_json:
            click.echo("\n".join(report.lines()))

    try:
        export(source, target, output, options, on_report=keep, progress=progress.share)
    except ModuleNotFoundError as error:
        from dsrfau_edge.export.targets import INSTALL

        raise RuntimeUnavailable(f"Exporting needs {error.name}, which is not installed. Install: {INSTALL}") from error
    finally:
        progress.clear()
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

    rows: list[dict[str, Any]] = []
    for target in TARGETS.values():
        found = {precision: target.availability(precision) for precision in target.precisions}
        rows.append(
            {
                "name": target.name,
                "title": target.title,
                "precisions": list(target.precisions),
                "calibration_methods": list(target.methods),
                "options": {option.flag: option.help for option in target.options},
                "installed": target.installed(),
                "available": {precision: state.ok for precision, state in found.items()},
                "reasons": sorted({f"{state.reason} {state.fix}" for state in found.values() if not state.ok}),
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        click.echo(f"{row['name']}: {row['title']}")
        click.echo(f"  precisions {', '.join(row['precisions'])}; calibration {', '.join(row['calibration_methods'])}")
        for flag, about in row["options"].items():
            click.echo(f"  {flag}: {about}")
        installed = (f"{name} {version or 'not installed'}" for name, version in row["installed"].items())
        click.echo(f"  uses {', '.join(installed)}")
        made = [precision for precision, ok in row["available"].items() if ok]
        click.echo(f"  can be made here in {', '.join(made) or 'no precision'}")
        for reason in row["reasons"]:
            click.echo(f"  {reason}")
