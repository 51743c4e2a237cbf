"""Measures row after row: each in a process of its own, with the state of the machine before and after."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle import Bundle
from ..checkpoint import sha256_of
from ..errors import DsrfauError, InputError, UsageError
from ..runtimes.base import Floats, ModelFiles, Runtime
from ..runtimes.cuda_driver import driver
from . import bare, parity, vendor
from .candidates import Impossible, Wanted, candidates
from .child import Launch
from .environment import moment
from .host import Host
from .inputs import crops_of
from .job import Job, Kind, Row

#: Told what is measured next, its number from 1, and how many there are as far as is known.
OnStart = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Modes:
    """What is measured of each candidate.

    Attributes:
        crops: the model alone.
        sources: pictures and videos whose frames go through `Predictor`; none for no such rows.
        bare: the runtime's own loop too.
        vendor_seconds: run the vendor's own tool for so long; None leaves it out.
    """

    crops: bool = True
    sources: tuple[str, ...] = ()
    bare: bool = False
    vendor_seconds: float | None = None


@dataclass(slots=True)
class Campaign:
    """All rows of all bundles; what was measured so far stands in `rows`, also when it is interrupted.

    Attributes:
        bundles: opened.
        wanted: what they are narrowed to.
        modes: what is measured of each.
        template: everything else of the jobs.
        launch: does a job.
        known: every runtime by name.
        host: where the state of the machine is read.
        on_start: told what is measured next.
        rows: so far.
        impossible: runtimes that cannot be measured here.
        failed: errors of rows that were begun.
    """

    bundles: Sequence[Bundle]
    wanted: Wanted
    modes: Modes
    template: Job
    launch: Launch
    known: Mapping[str, Runtime]
    host: Host = field(default_factory=Host)
    on_start: OnStart = lambda what, number, count: None
    rows: list[Row] = field(default_factory=list)
    impossible: list[Impossible] = field(default_factory=list)
    failed: list[DsrfauError] = field(default_factory=list)

    def plan(self) -> list[tuple[Bundle, list[Job]]]:
        """What there is to measure, by bundle.

        Raises:
            UsageError: nothing is left of what the user narrowed it to.
            RuntimeUnavailable: a runtime that was named cannot be used here.
        """
        planned = []
        for bundle in self.bundles:
            jobs, impossible = candidates(bundle, self.wanted, self.known, self.template)
            self.impossible += impossible
            planned.append((bundle, jobs))
        if self.wanted.precisions and not any(jobs for _, jobs in planned) and self._would_have_any():
            held = ", ".join(f"{bundle.path.name} holds {bundle.manifest.precision}" for bundle in self.bundles)
            raise UsageError(
                f"No bundle has a model of --precision {', '.join(self.wanted.precisions)}: {held}, and every bundle "
                "its portable fp32 graph. Export it first: dsrfau-export BUNDLE --precision PRECISION"
            )
        return planned

    def _would_have_any(self) -> bool:
        """Whether there would be something to measure with every precision."""
        every = replace(self.wanted, precisions=())
        return any(candidates(bundle, every, self.known, self.template)[0] for bundle in self.bundles)

    def run(self) -> Generator[Row, None, None]:
        """Measure, and give each row as it comes."""
        planned = self.plan()
        number, count = 0, sum(len(self._kinds(job)) for _, jobs in planned for job in jobs)
        for bundle, jobs in planned:
            if not jobs:
                continue
            with tempfile.TemporaryDirectory(prefix="dsrfau-bench-") as folder:
                subject = _Subject.of(bundle, Path(folder), self.launch, self.template)
                computed: dict[tuple[Job, str], Mapping[str, Any]] = {}
                for job in jobs:
                    job = replace(job, crops=str(subject.crops))
                    if job.native and (same := self._no_difference(job, computed)):
                        self.impossible.append(Impossible(bundle.path.name, job.what, same))
                        number += len(self._kinds(job))
                        continue
                    for kind in self._kinds(job):
                        number += 1
                        self.on_start(f"{bundle.path.stem}: {job.what} ({kind})", number, count)
                        row = self._row(subject, replace(job, kind=kind))
                        self.rows.append(row)
                        yield row

    def _kinds(self, job: Job) -> list[Kind]:
        kinds: list[Kind] = ["crops"] if self.modes.crops else []
        if self.modes.sources:
            kinds.append("frames")
        if self.modes.bare:
            kinds.append("bare")
        if self.modes.vendor_seconds is not None and job.runtime == vendor.RUNTIME:
            kinds.append("vendor")
        return kinds

    def _no_difference(self, job: Job, known: dict[tuple[Job, str], Mapping[str, Any]]) -> str:
        """Why the device's own precision need not be measured, or ""."""
        layers = []
        for one in (job.as_it_is, job):
            key = replace(one, threads=None, kind="info"), job.bundle
            if key not in known:
                try:
                    known[key] = self.launch(replace(one, kind="info"))
                except DsrfauError as error:
                    return str(error)
            layers.append((known[key].get("computed", ""), known[key].get("layers", {})))
        if layers[0] == layers[1]:
            told = layers[0][0] or "a precision that it does not tell"
            return f"its own precision is the model's here: it computes in {told} either way"
        return ""

    def _row(self, subject: _Subject, job: Job) -> Row:
        files = subject.files(job)
        head = {
            "bundle": labels(self.bundles)[subject.bundle.path],
            "model_bytes": size_of(files.path),
            "sha256": subject.digest(files),
        }
        before = self._moment()
        try:
            values = self._values(job, files)
        except (InputError, UsageError):  # what is wrong with the frames is wrong for every row
            raise
        except DsrfauError as error:
            self.failed.append(error)
            return Row.of(job, **head, before=before, after=self._moment(), reason=str(error))
        found = values.pop("intensities", None)
        told = {} if found is None else {"parity": subject.parity(np.asarray(found, np.float32))}
        values["notes"] = (*values.get("notes", ()), *_notes(job, files, values))
        return Row.of(job, **{**head, **values, **told}, before=before, after=self._moment())

    def _moment(self) -> dict[str, Any]:
        return moment(self.host, len(driver().gpus))

    def _values(self, job: Job, files: ModelFiles) -> dict[str, Any]:
        if job.kind == "vendor":
            return vendor.run(files, job, self.modes.vendor_seconds or 0.0)
        if job.kind == "bare":
            bare.require_known(job.runtime)
        return self.launch(replace(job, sources=self.modes.sources) if job.kind == "frames" else job)


@dataclass(slots=True)
class _Subject:
    """One bundle with its crops and what the portable graph says of them."""

    bundle: Bundle
    crops: Path
    origin: str
    ask: Callable[[], Floats]
    digests: dict[Path, str] = field(default_factory=dict)
    reference: Floats | None = None

    @classmethod
    def of(cls, bundle: Bundle, folder: Path, launch: Launch, template: Job) -> _Subject:
        crops, origin = crops_of(bundle)
        path = folder / "crops.npy"
        np.save(path, crops)
        job = replace(template, kind="reference", bundle=str(bundle.path), runtime="onnxruntime", crops=str(path),
                      device=None, threads=None, native=False)  # fmt: skip
        return cls(bundle, path, origin, lambda: np.asarray(launch(job)["intensities"], np.float32))

    def files(self, job: Job) -> ModelFiles:
        files = self.bundle.model_files()
        return files.as_portable() if job.portable else files

    def digest(self, files: ModelFiles) -> str:
        """sha256 of the file, hashed once."""
        if files.path not in self.digests:
            self.digests[files.path] = files.digest or sha256_of(files.path)
        return self.digests[files.path]

    def parity(self, found: Floats) -> dict[str, Any]:
        """Differences to the portable graph; the reason where that cannot be run."""
        manifest = self.bundle.manifest
        try:
            if self.reference is None:
                self.reference = self.ask()
        except DsrfauError as error:
            return {"mean": None, "max": None, "pcc": None, "text": f"not measured: {error}"}
        return parity.compare(self.reference, found, manifest.aus, manifest.sites, self.origin)


def labels(bundles: Sequence[Bundle]) -> dict[Path, str]:
    """Names of bundles in the report: of the folder, with as much of the path before it as tells them apart."""
    paths = [bundle.path.resolve() for bundle in bundles]
    names = {}
    for bundle, path in zip(bundles, paths, strict=True):
        depth = next(
            depth
            for depth in range(1, len(path.parts) + 1)
            if sum(other.parts[-depth:] == path.parts[-depth:] for other in paths) == paths.count(path)
        )
        names[bundle.path] = "/".join(path.parts[-depth:])
    return names


def size_of(path: Path) -> int:
    """Bytes of a model, with the weights that lie beside an OpenVINO graph."""
    weights = path.with_suffix(".bin")
    beside = weights.stat().st_size if path.suffix == ".xml" and weights.is_file() else 0
    return path.stat().st_size + beside


def _notes(job: Job, files: ModelFiles, values: Mapping[str, Any]) -> list[str]:
    """What a reader of the figures should know."""
    notes = []
    warm, found = values.get("warm_up", {}), values.get("figures", {})
    if warm and not warm["stable"]:
        notes.append(
            f"Never became stable: after {warm['seconds']:.0f} s and {warm['calls']} calls the medians of the last two "
            f"windows differed by {warm['difference']:.0%}."
        )
    calls = found.get("calls")
    if calls is not None and calls < 100:
        notes.append(f"Only {calls} calls were timed: p99 is the longest of them.")
    if found.get("preemptions") and found["preemptions"] > calls // 10:
        notes.append(f"Other programs took the processor away {found['preemptions']} times during {calls} timed calls.")
    if job.kind == "crops" and files.batch is not None and files.batch != job.batch:
        notes.append(f"The model takes {files.batch} crops a call: a batch of {job.batch} is cut up or filled up.")
    return notes
