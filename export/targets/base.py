"""What a target is: the precisions and options it declares, what it needs installed, and how it makes a model."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any, Literal

from ...errors import CalibrationError, RuntimeUnavailable, UsageError
from ...manifest import Precision
from ...manifest import Target as TargetName
from ...runtimes.base import Availability, Crops, Progress
from ..calibration import CalibrationSet

INSTALL = 'pip install "dsrfau-edge[export]"'
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class TargetOption:
    """An option that only this target takes, on the command line and in `ExportOptions.target_options`.

    Attributes:
        name: in Python.
        flag: on the command line.
        help: for people.
        parse: makes the value of what was typed; raises ValueError, whose text is shown. None for a switch.
        metavar: what stands for the value in the help.
    """

    name: str
    flag: str
    help: str
    parse: Callable[[str], Any] | None = None
    metavar: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One conversion.

    Attributes:
        model: the portable graph, parsed.
        batch: crops per call, or `dynamic`.
        precision: to convert to.
        calibration: crops for int8, if there are any.
        method: how ranges are found for int8.
        folder: an empty folder to write into.
        keep: names of the portable graph's nodes that stay in float although the precision is int8.
        options: values of the target's own options by name; only those that were given.
        metadata: what the model is to say of itself in its own format.
        progress: told while something long is made.
    """

    model: Any
    batch: int | Literal["dynamic"]
    precision: Precision
    calibration: CalibrationSet | None
    method: str
    folder: Path
    keep: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    progress: Progress | None = None

    @property
    def crops(self) -> Crops:
        """Calibration crops.

        Raises:
            CalibrationError: there are none.
        """
        if self.calibration is None:
            raise CalibrationError(
                "int8 needs faces to calibrate on, and this source carries none. Give about 300 pictures of faces as "
                "your cameras see them: --calib DIR."
            )
        return self.calibration.crops


@dataclass(frozen=True, slots=True)
class Converted:
    """What a target made of a job.

    Attributes:
        model: file name of the model in the target's format.
        files: files in the job's folder that belong into the bundle.
        runnable: file name of what is run for the comparison.
        runtime: runtime that runs it.
        graph: file name of the typed ONNX graph that an engine was built from, or None.
        quantization: scheme of int8, or None.
        build: additions to the manifest's build environment.
        notes: sentences for the user.
        untested: what the comparison does not cover, or "".
    """

    model: str
    files: tuple[str, ...]
    runnable: str
    runtime: str
    graph: str | None = None
    quantization: dict[str, Any] | None = None
    build: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    untested: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of bundle.

    Attributes:
        name: as typed after `--target`.
        title: for people.
        methods: calibration methods for int8, the default first.
        packages: what must be importable, by precision; "" for all of them.
        convert: makes the model.
        options: options beyond those that every target takes.
        precisions: that it can be made in.
    """

    name: TargetName
    title: str
    methods: tuple[str, ...]
    packages: dict[str, tuple[str, ...]]
    convert: Callable[[Job], Converted]
    options: tuple[TargetOption, ...] = ()
    precisions: tuple[Precision, ...] = PRECISIONS

    def availability(self, precision: str = "fp32") -> Availability:
        """Whether this machine can convert to it."""
        needed = (*self.packages.get("", ()), *self.packages.get(precision, ()))
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if not missing:
            return Availability(ok=True)
        return Availability(ok=False, reason=f"{', '.join(missing)} not installed.", fix=f"Install: {INSTALL}")

    def installed(self) -> dict[str, str | None]:
        """Versions of the packages that it uses; None for those that are not installed."""
        names = dict.fromkeys(name for packages in self.packages.values() for name in packages)
        return {name: _version(name) for name in names}

    def require(self, precision: str) -> None:
        """Check the precision and the packages.

        Raises:
            UsageError: the target has no such precision.
            RuntimeUnavailable: a package is missing.
        """
        if precision not in self.precisions:
            raise UsageError(
                f"Target {self.name} has no precision {precision!r}. It has: {', '.join(self.precisions)}."
            )
        availability = self.availability(precision)
        if not availability.ok:
            raise RuntimeUnavailable(f"Target {self.name} cannot be made: {availability.reason} {availability.fix}")


def _version(name: str) -> str | None:
    if importlib.util.find_spec(name) is None:
        return None
    owners = packages_distributions().get(name, [name])  # onnxruntime may come as onnxruntime-gpu
    try:
        return version(owners[0])
    except PackageNotFoundError:
        return "of unknown version"


def positive(text: str) -> float:
    """A positive number, for options.

    Raises:
        ValueError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError(f"{text!r} is no positive number")
    return value
