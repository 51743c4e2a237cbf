"""One thing to measure, and what came of it: what passes between the command and the process that measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from .timing import Span, WarmUpRule

#: crops: the model alone. frames: whole frames through `Predictor`. bare: `Predictor.predict_crops` and the runtime's
#: own loop in turn. vendor: the maker's own tool. info: what a session computes in. reference: intensities of the
#: portable graph.
Kind = Literal["crops", "frames", "bare", "vendor", "info", "reference"]


@dataclass(frozen=True, slots=True)
class Job:
    """One row to be.

    Attributes:
        kind: see `Kind`.
        bundle: its folder.
        runtime: its name.
        device: in the runtime's words; None for its default.
        precision: of the file that runs: `fp32`, `fp16` or `int8`.
        portable: the file is the portable graph, not the bundle's own model.
        native: the device may compute in its own favourite precision.
        threads: CPU threads of one call; None for the runtime's own choice.
        batch: crops of one call.
        crops: file `.npy` with the crops uint8 `[N, size, size, 3]`.
        sources: pictures and videos, for `frames`.
        frames: at most so many of each source.
        stream: the frames follow one another, as of a camera at 30 a second: faces are tracked from one to the next.
        span: how long is timed.
        rule: when it counts as warm.
        power_seconds: how long calls go on for the power meter, if there is one.
    """

    kind: Kind
    bundle: str
    runtime: str
    precision: str = "fp32"
    portable: bool = False
    native: bool = False
    device: str | None = None
    threads: int | None = None
    batch: int = 1
    crops: str = ""
    sources: tuple[str, ...] = ()
    frames: int = 64
    stream: bool = False
    span: Span = field(default_factory=Span)
    rule: WarmUpRule = field(default_factory=WarmUpRule)
    power_seconds: float = 2.0

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Job:
        """What `to_dict` gave."""
        nested = {"span": Span(**raw["span"]), "rule": WarmUpRule(**raw["rule"]), "sources": tuple(raw["sources"])}
        return cls(**{**raw, **nested})

    @property
    def what(self) -> str:
        """Name of what runs, for people: `openvino int8`, `openvino portable fp32, native`."""
        name = f"{self.runtime} {'portable ' if self.portable else ''}{self.precision}"
        return f"{name}, native" if self.native else name

    @property
    def as_it_is(self) -> Job:
        """The same without the device's own precision."""
        return replace(self, native=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the report. Numbers are None where they do not apply or nothing was measured.

    Attributes:
        bundle: name of its folder.
        kind: `crops`, `frames`, `bare` or `vendor`.
        runtime: its name.
        runtime_version: of its package.
        device: that was asked for, None for the default.
        runs_on: what the session says it runs on.
        precision: of the file.
        portable: whether the file was the portable graph.
        native: whether the device was free to choose its own precision.
        computed: precision that most weighted sums were really computed in, "" where the runtime does not tell.
        layers: weighted sums by the precision they were computed in.
        threads: CPU threads that were asked for, None for the runtime's choice.
        batch: crops of one call.
        model_bytes: size of the file with its weights.
        sha256: of the file.
        import_ms: importing the runtime's package.
        load_ms: from the files to a session.
        first_ms: the first call.
        warm_up: see `timing.WarmUp`.
        figures: see `timing.Figures`.
        stages: figures of each stage of a frame.
        frames: which frames, their size and the faces found in them.
        overhead: of `Predictor.predict_crops` over the bare loop, in per cent, with a 95 % interval.
        memory: `peak_bytes` of the process, `base_bytes` before the runtime was imported, how it was read.
        power: see `power.Power`.
        parity: differences to the portable graph, see `parity`.
        before: state of the machine before, and `after`.
        after: see `before`.
        notes: what else matters.
        reason: why nothing was measured, or "".
    """

    bundle: str
    kind: str
    runtime: str
    precision: str
    portable: bool = False
    native: bool = False
    device: str | None = None
    threads: int | None = None
    batch: int = 1
    runtime_version: str = ""
    runs_on: str = ""
    computed: str = ""
    layers: Mapping[str, int] = field(default_factory=dict)
    model_bytes: int | None = None
    sha256: str = ""
    import_ms: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    warm_up: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, Any] = field(default_factory=dict)
    overhead: Mapping[str, Any] = field(default_factory=dict)
    memory: Mapping[str, Any] = field(default_factory=dict)
    power: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reason: str = ""

    @classmethod
    def of(cls, job: Job, **values: Any) -> Row:
        """The row of a job, with what was found."""
        shared = ("runtime", "precision", "portable", "native", "device", "threads", "batch")
        head = {name: getattr(job, name) for name in shared}
        return cls(**{"bundle": Path(job.bundle).name, "kind": job.kind, **head, **values})

    @property
    def measured(self) -> bool:
        """Whether there is a time."""
        return bool(self.figures)

    @property
    def model(self) -> str:
        """What ran, for people."""
        name = f"{'portable ' if self.portable else ''}{self.precision}"
        return f"{name}, native" if self.native else name

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {one.name: getattr(self, one.name) for one in fields(self)}
