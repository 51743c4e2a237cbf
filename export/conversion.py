"""One export from source to bundle: convert in a temporary folder, compare, measure, write."""

from __future__ import annotations

import json
import logging
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from .. import __version__
from ..action_units import MAX_INTENSITY
from ..bundle import write_bundle
from ..errors import UsageError, VerificationFailed
from ..manifest import CALIBRATION, INPUT, Manifest, Precision
from ..runtimes.base import ModelFiles, Progress, SessionOptions
from ..runtimes.registry import runtimes
from . import verification
from .calibration import CalibrationSet
from .examination import Examiner
from .labelled import LabelledCrops
from .report import ExportReport
from .search import Attempt, fewest_kept, why_refused
from .sensitivity import Layer
from .source import Source
from .targets import Converted, Job, Target

_log = logging.getLogger(__name__)

_PORTABLE = "portable.onnx"
_CALLS = 30


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to export; see the options of `dsrfau-export` for what each means.

    `target_options` holds those that single targets declare, by name, such as `{"workspace_gb": 1.0}`.
    """

    precision: Precision = "fp32"
    batch: int | Literal["dynamic"] = 1
    calib: Path | None = None
    calib_crops: bool = False
    calib_count: int = 300
    calib_method: str | None = None
    keep_float: tuple[str, ...] = ()
    auto_keep_float: bool = False
    gate_data: Path | None = None
    gate_count: int = 1000
    max_drop: float | None = None
    sensitivity: bool = False
    verify: bool = True
    overwrite: bool = False
    target_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check ranges, and that every option has something to do.

        Raises:
            UsageError: a value makes no sense.
        """
        int8 = self.precision == "int8"
        problems = (
            (self.batch != "dynamic" and self.batch < 1, f"--batch {self.batch} is not a number of crops: give 1 or "
             "more, or --dynamic-batch."),
            (self.calib_count < 1, f"--calib-count {self.calib_count} leaves nothing to calibrate on. Give 1 or more."),
            (self.gate_count < 2, f"--gate-count {self.gate_count} is too few to correlate. Give 2 or more."),
            (self.max_drop is not None and not self.max_drop > 0,
             f"--max-drop {self.max_drop} allows no difference at all. Give a positive one, as 0.05."),
            (self.max_drop is not None and not self.verify,
             "--max-drop is a gate on the verification that --no-verify leaves out. Give one of them."),
            (self.gate_data is not None and not self.verify,
             "--gate-data is for the verification that --no-verify leaves out. Give one of them."),
            (self.calib_method is not None and not int8,
             f"--calib-method is for int8, not {self.precision}. Leave it out, or add --int8."),
            (bool(self.keep_float) and not int8,
             f"--keep-float is for int8, not {self.precision}. Leave it out, or add --int8."),
            (self.sensitivity and not int8,
             f"--sensitivity is for int8, not {self.precision}. Leave it out, or add --int8."),
            (self.auto_keep_float and not int8,
             f"--auto-keep-float is for int8, not {self.precision}. Leave it out, or add --int8."),
            (self.auto_keep_float and self.max_drop is None,
             "--auto-keep-float keeps layers in float until a gate passes. Name the gate: --max-drop 0.02."),
            (self.calib_crops and self.calib is None,
             "--calib-crops says what the pictures of --calib DIR are; give that folder too."),
        )  # fmt: skip
        for wrong, message in problems:
            if wrong:
                raise UsageError(message)


@dataclass(frozen=True, slots=True)
class Conversion:
    """A source on its way to one target. `calibration` also gives the crops of the comparison."""

    source: Source
    target: Target
    options: ExportOptions
    calibration: CalibrationSet | None
    labelled: LabelledCrops | None = None
    progress: Progress | None = None

    def run(self, path: Path) -> ExportReport:
        """Convert, compare, and write the bundle `path`, which is not there unless all of it succeeds.

        Raises:
            VerificationFailed: the comparison is beyond a gate.
            DsrfauError: a stage fails, see there.
        """
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="dsrfau-export-") as name:
            work = Path(name)
            portable = work / _PORTABLE
            portable.write_bytes(self.source.graph)
            examiner = Examiner(self.source, portable, self.calibration, self.labelled)
            first = attempt = self._attempt(work, examiner, self._kept)
            broken = bool(attempt.broken(self.options.max_drop)) and self.options.precision == "int8"
            layers = self._layers(examiner) if broken or self.options.sensitivity else []
            if broken and self.options.auto_keep_float:
                attempt = self._with_float_layers(attempt, layers, work, examiner)
            self._check(attempt, layers)
            mine, reference = self._latencies(attempt, examiner)
            before = None if attempt is first else self._latencies(first, examiner)[0]
            manifest = self._manifest(attempt)
            files = self._files(attempt, manifest)
            bundle = write_bundle(path, manifest, files, overwrite=self.options.overwrite)
        sizes = {name: record.bytes for name, record in bundle.manifest.files.items()}
        converted, examined = attempt.converted, attempt.examination
        return ExportReport(
            target=self.target.name,
            precision=self.options.precision,
            path=path,
            model_bytes=sum(sizes[name] for name in converted.files if name != converted.graph),
            files=sizes,
            parity=None if examined is None else examined.parity,
            gate=None if examined is None else examined.gate,
            kept=attempt.keep,
            layers=tuple(layers) if self.options.sensitivity else (),
            latency_ms=mine,
            portable_latency_ms=reference,
            all_int8_latency_ms=before,
            calibration=0 if self.used is None else len(self.used.crops),
            notes=converted.notes,
            seconds=time.monotonic() - start,
        )

    @property
    def used(self) -> CalibrationSet | None:
        """What int8 is calibrated on."""
        return self.calibration if self.options.precision == "int8" else None

    @property
    def method(self) -> str:
        """Calibration method."""
        return self.options.calib_method or self.target.methods[0]

    @property
    def graph(self) -> Any:
        """The portable graph, parsed and checked."""
        from .graph import parse_graph

        source = self.source
        return parse_graph(
            source.graph,
            size=source.input_size,
            sites=len(source.sites),
            heatmap_size=int(source.heatmap["size"]),
            where=str(source.path),
        )

    @property
    def _kept(self) -> tuple[str, ...]:
        from .graph import nodes_matching

        return nodes_matching(self.graph, self.options.keep_float) if self.options.keep_float else ()

    def _attempt(self, work: Path, examiner: Examiner, keep: tuple[str, ...]) -> Attempt:
        """Convert once, with these nodes in float, and compare."""
        folder = Path(tempfile.mkdtemp(dir=work))
        self._tell(f"{self.target.name} {self.options.precision}: converting")
        converted = self.target.convert(self._job(folder, keep))
        if not self.options.verify:
            return Attempt(folder, converted, None, keep)
        self._tell(f"{self.target.name} {self.options.precision}: comparing")
        examination = examiner.examine(self._runnable(converted, folder, examiner), converted)
        return Attempt(folder, converted, examination, keep)

    def _tell(self, what: str) -> None:
        _log.info("%s", what)
        if self.progress is not None:
            self.progress(what, 0.0)

    def _job(self, folder: Path, keep: tuple[str, ...]) -> Job:
        options = {name: value for name, value in self.options.target_options.items() if name in self._own_options}
        return Job(
            self.graph,
            self.options.batch,
            self.options.precision,
            self.used,
            self.method,
            folder,
            keep,
            options,
            self._metadata(),
            self.progress,
        )

    @property
    def _own_options(self) -> set[str]:
        return {option.name for option in self.target.options}

    def _metadata(self) -> dict[str, str]:
        """What the model says of itself in its own format, for tools that know nothing of bundles: JSON by key.

        Checkpoints' graphs say the same in the same words (`train.checkpoint`), but for the precision.
        """
        source = self.source
        said = {
            "version": __version__,
            "name": source.name,
            "precision": self.options.precision,
            "aus": list(source.aus),
            "sites": list(source.sites),
            "intensity_range": [0, MAX_INTENSITY],
            "input": {"size": source.input_size, **INPUT},
            "template": dict(source.template),
            "heatmap": dict(source.heatmap),
        }
        return {f"dsrfau.{key}": json.dumps(value) for key, value in said.items()}

    def _layers(self, examiner: Examiner) -> list[Layer]:
        """The layers that int8 hurts, the most sensitive first."""
        from . import graph, onnx, sensitivity

        if self.calibration is None:
            return []
        self._tell(f"{self.target.name} {self.options.precision}: examining layers")
        scheme = onnx.GPU_SCHEME if self.target.name == "tensorrt" else onnx.CPU_SCHEME
        method = self.method if self.method in onnx.METHODS else onnx.METHODS[0]
        model = graph.with_batch(self.graph, self.options.batch)
        return sensitivity.layers_by_gain(model, self.calibration.crops, scheme, method, examiner.crops)

    def _with_float_layers(self, failed: Attempt, layers: list[Layer], work: Path, examiner: Examiner) -> Attempt:
        """The attempt that passes the gate with the fewest layers in float, or the failed one where none does."""
        max_drop = self.options.max_drop or 0.0
        found = fewest_kept(layers, failed.keep, lambda keep: self._attempt(work, examiner, keep), max_drop)
        return failed if found is None else found

    def _check(self, attempt: Attempt, layers: list[Layer]) -> None:
        """Raise VerificationFailed if it is beyond a gate."""
        if attempt.examination is None:
            return
        precision, max_drop = self.options.precision, self.options.max_drop
        verification.check_precision(attempt.examination.parity, precision)
        if max_drop is not None and attempt.broken(max_drop):
            raise VerificationFailed(why_refused(attempt, precision, max_drop, layers))

    def _latencies(self, attempt: Attempt, examiner: Examiner) -> tuple[float | None, float | None]:
        """Median milliseconds of a call: of the model, and of the portable graph in the same runtime."""
        converted = attempt.converted
        if attempt.examination is None or converted.untested:
            return None, None
        batch = 1 if self.options.batch == "dynamic" else self.options.batch
        crops = examiner.crops[[0] * batch]
        mine = _median_ms(self._runnable(converted, attempt.folder, examiner), converted.runtime, crops)
        return mine, _median_ms(examiner.portable, converted.runtime, crops)

    def _runnable(self, converted: Converted, folder: Path, examiner: Examiner) -> ModelFiles:
        return replace(
            examiner.portable,
            path=folder / converted.runnable,
            format="onnx" if converted.runtime == "onnxruntime" else self.target.name,
            batch=None if self.options.batch == "dynamic" else self.options.batch,
            precision=self.options.precision,
            name=f"{self.source.name}-{self.target.name}-{self.options.precision}",
            build=converted.build,
        )

    def _manifest(self, attempt: Attempt) -> Manifest:
        source, options, converted = self.source, self.options, attempt.converted
        examined = attempt.examination
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
            graph=converted.graph,
            quantization=converted.quantization,
            calibration=None if self.used is None else self.used.describe(),
            parity={} if examined is None else examined.parity.to_dict(),
            gate={} if examined is None or examined.gate is None else examined.gate.to_dict(),
            source=source.origin,
            training=source.training,
            data=source.data,
            metrics=source.metrics,
            confidence=source.confidence,
            build={**_environment(), **converted.build},
        )

    def _files(self, attempt: Attempt, manifest: Manifest) -> dict[str, Path | bytes]:
        files: dict[str, Path | bytes] = {name: attempt.folder / name for name in attempt.converted.files}
        if manifest.portable not in files:
            files[manifest.portable] = self.source.graph
        if self.source.calibration is not None:
            files[CALIBRATION] = self.source.calibration
        return files


def _median_ms(model: ModelFiles, runtime: str, crops: Any) -> float:
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
