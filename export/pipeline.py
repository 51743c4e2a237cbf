"""The stages of an export: load the source, fix the batch, convert, verify, write the bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from ..bundle import SUFFIX
from ..errors import DsrfauError, UsageError
from .calibration import FEW, CalibrationSet, load_calibration
from .conversion import Conversion, ExportOptions
from .report import ExportReport
from .source import Source, load_source
from .targets import Target, targets_named

_log = logging.getLogger(__name__)

__all__ = ["ExportOptions", "ExportReport", "export"]


def export(
    source: str | Path | None = None,
    target: str = "onnx",
    destination: str | Path = ".",
    options: ExportOptions | None = None,
    *,
    on_report: Callable[[ExportReport], None] | None = None,
) -> list[ExportReport]:
    """Export a checkpoint or bundle.

    Args:
        source: checkpoint folder or bundle; the bundled student by default.
        target: name of a target, or `all` for every one that this machine can convert to.
        destination: folder for the bundles, which get names like `student-onnx-int8.dsrfau`; or, for a single target,
            the bundle itself if it ends in `.dsrfau`.
        options: see `ExportOptions`.
        on_report: called with each report as soon as it is there.

    Returns:
        One report a target, in order; with `all`, also for those that are skipped, with the reason.

    Raises:
        DsrfauError: an option a target does not take, a source that cannot be read, a missing package, a failed
            verification. With `all`, the other targets are finished first.
    """
    options = options or ExportOptions()
    targets = targets_named(target)
    single = len(targets) == 1
    _check_options(targets, options)
    if single:
        targets[0].require(options.precision)
    loaded = load_source(source)
    paths = [_destination(Path(destination), loaded, one, options, single=single) for one in targets]
    calibration = _calibration(loaded, options)
    reports: list[ExportReport] = []
    failures: list[DsrfauError] = []
    for one, path in zip(targets, paths, strict=True):
        availability = one.availability(options.precision)
        try:
            if availability.ok:
                report = Conversion(loaded, one, options, calibration).run(path)
            else:
                report = ExportReport(one.name, options.precision, None, f"{availability.reason} {availability.fix}")
        except DsrfauError as error:
            if single:
                raise
            failures.append(error)
            report = ExportReport(one.name, options.precision, None, str(error))
        reports.append(report)
        if on_report is not None:
            on_report(report)
    if failures:
        raise type(failures[0])("\n".join(map(str, failures)))
    return reports


def _check_options(targets: Sequence[Target], options: ExportOptions) -> None:
    """Refuse what no chosen target takes; an option must never silently do nothing.

    Raises:
        UsageError: an option that is not taken.
    """
    names = ", ".join(target.name for target in targets)
    for option, typed in {"workspace_gb": "--workspace-gb", "capabilities": "--sm"}.items():
        if getattr(options, option) and not any(option in target.options for target in targets):
            raise UsageError(f"Target {names} does not take {typed}; target tensorrt does. Leave it out.")
    if options.precision != "int8" and options.calib_method is not None:
        raise UsageError(f"--calib-method is for int8, not {options.precision}. Leave it out, or add --int8.")
    if options.calib_crops and options.calib is None:
        raise UsageError("--calib-crops says what the pictures of --calib DIR are; give that folder too.")
    for target in targets:
        if options.calib_method is not None and options.calib_method not in target.methods:
            raise UsageError(
                f"Target {target.name} does not take --calib-method {options.calib_method}. "
                f"It takes: {', '.join(target.methods)}."
            )


def _destination(folder: Path, source: Source, target: Target, options: ExportOptions, *, single: bool) -> Path:
    """Where a bundle goes, known to be free before anything slow begins."""
    if folder.suffix == SUFFIX:
        if not single:
            raise UsageError(f"-o {folder} names one bundle, and --target all makes several. Give a folder.")
        path = folder
    else:
        path = folder / f"{source.name}-{target.name}-{options.precision}{SUFFIX}"
    if path.exists() and not options.overwrite:
        raise UsageError(f"{path} is already there. Choose another folder with -o, or replace it with --overwrite.")
    return path


def _calibration(source: Source, options: ExportOptions) -> CalibrationSet | None:
    if options.precision != "int8" and not options.verify:
        return None
    found = load_calibration(source, options.calib, count=options.calib_count, ready=options.calib_crops)
    if options.precision == "int8" and found is not None and len(found.crops) < FEW:
        _log.warning("Only %d calibration crops: int8 is better with %d or more (--calib DIR).", len(found.crops), FEW)
    return found
