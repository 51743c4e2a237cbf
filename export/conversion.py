"""One export from source to bundle: convert in a temporary folder, compare, measure, write."""

from __future__ import annotations

import logging
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from .. import __version__
from ..bundle import write_bundle
from ..errors import UsageError
from ..manifest import CALIBRATION, Manifest, Precision
from ..runtimes.base import Crops, ModelFiles, SessionOptions
from ..runtimes.registry import runtimes
from . import verification
from .calibration import CalibrationSet, generated_crops
from .report import ExportReport
from .source import Source
from .targets import Converted, Job, Target
from .verification import Parity

_log = logging.getLogger(__name__)

_PORTABLE = "portable.onnx"
_CALLS = 30


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to export; see the options of `dsrfau-export` for what each means."""

    precision: Precision = "fp32"
    batch: int | Literal["dynamic"] = 1
    calib: Path | None = None
    calib_crops: bool = False
    calib_count: int = 300
    calib_method: str | None = None
    max_drop: float | None = None
    verify: bool = True
    workspace_gb: float | None = None
    capabilities: tuple[int, ...] = ()
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            UsageError: a value makes no sense.
        """
        if self.batch != "dynamic" and self.batch < 1:
            raise UsageError(f"--batch {self.batch} is not a number of crops. Give 1 or more, or --dynamic-batch.")
        if self.calib_count < 1:
            raise UsageError(f"--calib-count {self.calib_count} leaves nothing to calibrate on. Give 1 or more.")
        if self.max_drop is not None and not self.max_drop > 0:
            raise UsageError(f"--max-drop {self.max_drop} allows no difference at all. Give a positive one, as 0.05.")
        if self.max_drop is not None and not self.verify:
            raise UsageError("--max-drop is a gate on the verification that --no-verify leaves out. Give one of them.")
        if self.workspace_gb is not None and not self.workspace_gb > 0:
            raise UsageError(f"--workspace-gb {self.workspace_gb} is no memory at all. Give a positive number.")


@dataclass(frozen=True, slots=True)
class Conversion:
    """A source on its way to one target. `calibration` also gives the crops of the comparison."""

    source: Source
    target: Target
    options: ExportOptions
    calibration: CalibrationSet | None

    def run(self, path: Path) -> ExportReport:
        """Convert, compare, and write the bundle `path`, which is not there unless all of it succeeds.

        Raises:
            VerificationFailed: the comparison is beyond a gate.
            DsrfauError: a stage fails, see there.
        """
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="dsrfau-export-") as name:
            folder = Path(name)
            (folder / _PORTABLE).write_bytes(self.source.graph)
            _log.info("%s %s: converting", self.target.name, self.options.precision)
            converted = self.target.convert(self._job(folder))
            _log.info("%s %s: comparing", self.target.name, self.options.precision)
            parity = self._compared(converted, folder) if self.options.verify else None
            mine, portable = self._latencies(converted, folder) if self.options.verify else (None, None)
            manifest = self._manifest(converted, parity)
            files = self._files(converted, manifest, folder)
            bundle = write_bundle(path, manifest, files, overwrite=self.options.overwrite)
        sizes = {name: record.bytes for name, record in bundle.manifest.files.items()}
        return ExportReport(
            target=self.target.name,
            precision=self.options.precision,
            path=path,
            model_bytes=sum(sizes[name] for name in converted.files),
            files=sizes,
            parity=parity,
            latency_ms=mine,
            portable_latency_ms=portable,
            calibration=0 if self._used is None else len(self._used.crops),
            notes=converted.notes,
            seconds=time.monotonic() - start,
        )

    @property
    def _used(self) -> CalibrationSet | None:
        return self.calibration if self.options.precision == "int8" else None

    @property
    def _batch(self) -> int | None:
        return None if self.options.batch == "dynamic" else self.options.batch

    def _job(self, folder: Path) -> Job:
        from . import graph

        source, options = self.source, self.options
        model = graph.parse_graph(
            source.graph,
            size=source.input_size,
            sites=len(source.sites),
            heatmap_size=int(source.heatmap["size"]),
            where=str(source.path),
        )
        method = options.calib_method or self.target.methods[0]
        return Job(
            model,
            options.batch,
            options.precision,
            self._used,
            method,
            folder,
            options.workspace_gb,
            options.capabilities,
        )

    def _compared(self, converted: Converted, folder: Path) -> Parity:
        source = self.source
        crops: Crops
        if self.calibration is not None:
            crops, crops_from = self.calibration.held_out, self.calibration.compared_on
        else:
            crops, crops_from = generated_crops(source.input_size), "generated pictures"
        reference = verification.run(self._portable(folder), "onnxruntime", crops)
        found = verification.run(self._runnable(converted, folder), converted.runtime, crops)
        aus = verification.compare(reference, found, source.aus, source.sites)
        parity = Parity(converted.runtime, len(crops), crops_from, aus, converted.untested)
        verification.check_gates(parity, self.options.precision, self.options.max_drop)
        return parity

    def _latencies(self, converted: Converted, folder: Path) -> tuple[float | None, float | None]:
        """Median milliseconds of a call: of the model, and of the portable graph in the same runtime."""
        if converted.untested:
            return None, None
        crops = generated_crops(self.source.input_size)[[0] * (self._batch or 1)]
        mine = _median_ms(self._runnable(converted, folder), converted.runtime, crops)
        return mine, _median_ms(self._portable(folder), converted.runtime, crops)

    def _portable(self, folder: Path) -> ModelFiles:
        path, source = folder / _PORTABLE, self.source
        return ModelFiles(path, "onnx", path, source.input_size, len(source.sites), int(source.heatmap["size"]))

    def _runnable(self, converted: Converted, folder: Path) -> ModelFiles:
        return replace(
            self._portable(folder),
            path=folder / converted.runnable,
            format="onnx" if converted.runtime == "onnxruntime" else self.target.name,
            batch=self._batch,
            precision=self.options.precision,
            name=f"{self.source.name}-{self.target.name}-{self.options.precision}",
            build=converted.build,
        )

    def _manifest(self, converted: Converted, parity: Parity | None) -> Manifest:
        source, options = self.source, self.options
        is_portable = (self.target.name, options.precision, options.batch) == ("onnx", "fp32", "dynamic")
        return Manifest(
            name=source.name,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            target=self.target.name,
            precision=options.precision,
            aus=source.aus,
            sites=source.sites,
            input_size=source.input_size,
            batch=options.batch,
            template=source.template,
            heatmap=source.heatmap,
            model=converted.model,
            portable=converted.model if is_portable else _PORTABLE,
            quantization=converted.quantization,
            calibration=None if self._used is None else self._used.describe(),
            parity={} if parity is None else parity.to_dict(),
            source=source.origin,
            training=source.training,
            data=source.data,
            metrics=source.metrics,
            build={**_environment(), **converted.build},
        )

    def _files(self, converted: Converted, manifest: Manifest, folder: Path) -> dict[str, Path | bytes]:
        files: dict[str, Path | bytes] = {name: folder / name for name in converted.files}
        files[manifest.portable] = self.source.graph
        if self.source.calibration is not None:
            files[CALIBRATION] = self.source.calibration
        return files


def _median_ms(model: ModelFiles, runtime: str, crops: Crops) -> float:
    session = runtimes()[runtime].load(model, None, SessionOptions())
    times = []
    try:
        for _ in range(_CALLS):
            start = time.perf_counter()
            session.infer(crops)
            times.append((time.perf_counter() - start) * 1e3)
    finally:
        session.close()
    return round(statistics.median(times), 3)


def _environment() -> dict[str, Any]:
    found = {
        "dsrfau_edge": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    for package in ("onnx", "onnxruntime"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a vendor's build goes by another name
            continue
    return found
