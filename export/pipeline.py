"""The stages of an export: load the source, fix the batch, convert, verify, write the bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ..bundle import SUFFIX
from ..errors import DsrfauError, UsageError
from ..runtimes.base import Progress
from .calibration import FEW, CalibrationSet, load_calibration
from .conversion import Conversion, ExportOptions
from .labelled import load_labelled
from .report import ExportReport
from .source import Source, load_source
from .targets import TARGETS, Target, targets_named

_log = logging.getLogger(__name__)

__all__ = ["ExportOptions", "ExportReport", "export"]


def export(
    source: str | Path | None = None,
    target: str = "onnx",
    destination: str | Path = ".",
    options: ExportOptions | None = None,
    *,
    on_report: Callable[[ExportReport], None] | None = None,
    progress: Progress | None = None,
) -> list[ExportReport]:
    """Export a checkpoint or bundle.

    Args:
        source: checkpoint folder or bundle; the bundled student by default.
        target: name of a target, or `all` for every one that this machine can convert to.
        destination: folder for the bundles, which get names like `student-onnx-int8.dsrfau`; or, for a single target,
            the bundle itself if it ends in `.dsrfau`, whose name then is the network's.
        options: see `ExportOptions`.
        on_report: called with each report as soon as it is there.
        progress: told what is being done, and which share of it is done where that is known.

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
    if Path(destination).suffix == SUFFIX and single:  # who names the bundle names the network
        loaded = replace(loaded, name=Path(destination).stem)
    paths = [_destination(Path(destination), loaded, one, options, single=single) for one in targets]
    calibration = _calibration(loaded, options)
    labelled = None
    if options.gate_data is not None:
        labelled = load_labelled(loaded, options.gate_data, count=options.gate_count)
    reports: list[ExportReport] = []
    failures: list[DsrfauError] = []
    for one, path in zip(targets, paths, strict=True):
        availability = one.availability(options.precision)
        try:
            if availability.ok:
                report = Conversion(loaded, one, options, calibration, labelled, progress).run(path)
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
    taken = {option.name for target in targets for option in target.options}
    for name in options.target_options:
        if name in taken:
            continue
        owners = {target.name: option.flag for target in TARGETS.values() for option in target.options
                  if option.name == name}  # fmt: skip
        flag = next(iter(owners.values()), name)
        other = f"; target {' and '.join(owners)} does" if owners else ""
        raise UsageError(f"Target {names} does not take {flag}{other}. Leave it out.")
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
