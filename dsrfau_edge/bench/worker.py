"""Measures one job in a process of its own: `python -m dsrfau_edge.bench.worker JOB.json RESULT.json`.

A fresh process makes memory, load time and first call those of the job alone. Nothing heavy is imported before the
measuring begins.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bundle import Bundle
from ..errors import DsrfauError, InputError
from ..runtimes.base import ModelFiles, SessionInfo, SessionOptions
from ..runtimes.registry import runtimes
from ..stages import STAGES
from . import memory, power
from .host import Host
from .inputs import read_frames, rotation
from .job import Job
from .timing import Figures, figures, interleaved, timed, warm_up

if TYPE_CHECKING:
    from ..predictor import Predictor
    from ..runtimes.base import Crops, Session

_INTERRUPTED = 130
_clock = time.perf_counter_ns


def main(arguments: list[str]) -> int:
    """Do the job and leave what came of it in a file: the row's values, or the error by its type and message."""
    job = Job.from_dict(json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    try:
        result = {"values": WORK[job.kind](job)}
    except KeyboardInterrupt:
        return _INTERRUPTED
    except DsrfauError as error:
        result = {"error": {"type": type(error).__name__, "message": str(error)}}
    except MemoryError:
        result = {"error": {"type": "DsrfauError", "message": "There is not enough memory. Give a smaller --batch."}}
    Path(arguments[1]).write_text(json.dumps(result), encoding="utf-8")
    return 0


def files_of(job: Job) -> ModelFiles:
    """The files that the job runs; their checksums were compared before by who started this process."""
    files = Bundle.open(job.bundle, verify=False).model_files()
    return files.as_portable() if job.portable else files


def _load(job: Job, files: ModelFiles) -> tuple[Session, dict[str, Any]]:
    """A session, and how long importing and loading took."""
    runtime = runtimes()[job.runtime]
    start = _clock()
    found = runtime.availability(job.device)
    imported = _clock()
    found.require()
    session = runtime.load(files, job.device, SessionOptions(threads=job.threads, native_precision=job.native))
    loaded = _clock()
    return session, {
        "import_ms": _milliseconds(imported - start),
        "load_ms": _milliseconds(loaded - imported),
        "runtime_version": found.version,
    }


def measure_crops(job: Job) -> dict[str, Any]:
    """The model alone: crops in, site intensities out."""
    inputs = rotation(np.load(job.crops), job.batch)
    count = len(np.load(job.crops, mmap_mode="r"))
    base = memory.resident_bytes()
    session, values = _load(job, files_of(job))
    try:

        def call(index: int) -> object:
            return session.infer(inputs[index % len(inputs)])

        values |= _steady(job, call, job.batch)
        values["memory"] = memory.report(base, memory.peak_bytes(), "Python, numpy and the crops")
        values["power"] = _power(job, call, job.batch)
        found = np.concatenate([session.infer(batch).intensities for batch in inputs])[:count]
        return {**values, **_told(session, job), "intensities": found.tolist()}
    finally:
        session.close()


def measure_frames(job: Job) -> dict[str, Any]:
    """Whole frames through `Predictor`, with the time of each stage."""
    frames, told = read_frames(job.sources, job.frames)
    base = memory.resident_bytes()
    watch = StageWatch()
    start = _clock()
    predictor = _predictor(job, watch.stage)
    load_ms = _milliseconds(_clock() - start)
    with predictor:
        faces: list[int] = []
        predict = _follow(predictor) if job.stream else predictor

        def call(index: int) -> object:
            found = predict(frames[index % len(frames)])
            faces.append(len(found))
            watch.frame()
            return found

        values = {"load_ms": load_ms, **_steady(job, call, 1, begin=watch.clear)}
        if not any(faces):
            raise InputError("No face is found in the frames, so landmarks and model had nothing to do. Give others.")
        values["stages"] = watch.report(values["figures"])
        values["frames"] = {
            **told,
            "stream": job.stream,
            "count": len(frames),
            "faces": round(float(np.mean(faces)), 2),
        }
        before = "Python, OpenCV, numpy and the decoded frames"
        values["memory"] = memory.report(base, memory.peak_bytes(), before)
        values["power"] = _power(job, call, 1)
        info = predictor.info
        return {**values, **_info(info), "runtime_version": info.version, "intensities": _intensities(predictor, job)}


def _follow(predictor: Predictor) -> Callable[[Any], Sequence[object]]:
    """Predict frame after frame of one stream, a thirtieth of a second apart."""
    stream, numbers = predictor.stream(), itertools.count()
    return lambda frame: stream(frame, next(numbers) / 30).faces


def measure_bare(job: Job) -> dict[str, Any]:
    """`Predictor.predict_crops` and the runtime's own loop on the same file, in turn."""
    from .bare import bare_call, overhead

    inputs = rotation(np.load(job.crops), job.batch)
    options = SessionOptions(threads=job.threads, native_precision=job.native)
    with _predictor(job) as predictor:
        bare = bare_call(files_of(job), job.runtime, job.device, options, job.batch)
        calls: tuple[Callable[[int], object], Callable[[int], object]] = (
            lambda index: predictor.predict_crops(inputs[index % len(inputs)]),
            lambda index: bare(inputs[index % len(inputs)]),
        )

        def both(index: int) -> None:
            calls[0](index)
            calls[1](index)

        warmed = warm_up(both, job.rule)
        ours, others = interleaved(*calls, job.span)
        info = predictor.info
        return {
            "warm_up": asdict(warmed),
            "figures": figures(others.wall, int(others.wall.sum()), job.batch).to_dict(),
            "overhead": {
                **overhead(ours, others),
                "predict_crops": figures(ours.wall, int(ours.wall.sum()), job.batch).to_dict(),
            },
            **_info(info),
            "runtime_version": info.version,
        }


def ask_info(job: Job) -> dict[str, Any]:
    """What a session computes in, without measuring it."""
    session, _ = _load(job, files_of(job))
    try:
        return _told(session, job)
    finally:
        session.close()


def reference(job: Job) -> dict[str, Any]:
    """Intensities of the portable graph in ONNX Runtime on the CPU."""
    crops = np.load(job.crops)
    session, _ = _load(job, files_of(job).as_portable())
    try:
        return {"intensities": np.concatenate([session.infer(crop[None]).intensities for crop in crops]).tolist()}
    finally:
        session.close()


WORK: dict[str, Callable[[Job], dict[str, Any]]] = {
    "crops": measure_crops,
    "frames": measure_frames,
    "bare": measure_bare,
    "info": ask_info,
    "reference": reference,
}


class StageWatch:
    """Adds up what each stage of a frame takes, frame by frame."""

    def __init__(self) -> None:
        self._frames: list[dict[str, int]] = []
        self._now: dict[str, int] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Around one stage."""
        start = _clock()
        try:
            yield
        finally:
            self._now[name] = self._now.get(name, 0) + _clock() - start

    def frame(self) -> None:
        """The frame is done."""
        self._frames.append(self._now)
        self._now = {}

    def clear(self) -> None:
        """Forget what was before."""
        self._frames, self._now = [], {}

    def report(self, whole: dict[str, Any]) -> dict[str, Any]:
        """Figures by stage in milliseconds, of the frames that `whole` tells of; `rest` is what lies between them."""
        frames = self._frames[: whole["calls"]]
        times = {name: np.array([frame.get(name, 0) for frame in frames], np.int64) for name in STAGES}
        found = {name: figures(taken, int(taken.sum())).to_dict() for name, taken in times.items()}
        told = {name: {key: one[key] for key in ("p50", "p90", "p99", "max", "mean")} for name, one in found.items()}
        between = whole["mean"] - sum(one["mean"] for one in told.values())
        return {**told, "rest": {"mean": float(f"{max(between, 0.0):.4g}")}}


def _predictor(job: Job, stage: Any = None) -> Predictor:
    from ..predictor import Predictor

    hook = {} if stage is None else {"stage": stage}
    return Predictor(
        Bundle.open(job.bundle, verify=False),
        runtime=job.runtime,
        device=job.device,
        threads=job.threads,
        precision="fp32" if job.portable else None,
        native_precision=job.native,
        **hook,
    )


def _steady(
    job: Job, call: Callable[[int], object], items: int, begin: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """First call, warm-up and steady state; `begin` is called when the timed part begins."""
    start = _clock()
    call(0)
    first = _clock() - start
    warmed = warm_up(call, job.rule)
    begin()
    found: Figures = timed(call, job.span, items=items)
    return {"first_ms": _milliseconds(first), "warm_up": asdict(warmed), "figures": found.to_dict()}


def _power(job: Job, call: Callable[[int], object], items: int) -> dict[str, Any]:
    meter, reason = power.find_meter(Host(), power.device_of(job.runtime, job.device))
    return power.measure(meter, reason, call, items=items, seconds=job.power_seconds).to_dict()


def _intensities(predictor: Predictor, job: Job) -> list[list[float]]:
    crops: Crops = np.load(job.crops)
    found: list[list[float]] = np.concatenate([predictor.infer(crop[None]).intensities for crop in crops]).tolist()
    return found


def _told(session: Session, job: Job) -> dict[str, Any]:
    """What the session says of itself; one of a third party may not be able to."""
    try:
        return _info(session.info)
    except Exception as error:  # noqa: BLE001 - whatever it raises, the measurement stands
        return {"notes": [f"{job.runtime} does not say what it runs on: {type(error).__name__}: {error}"]}


def _info(info: SessionInfo) -> dict[str, Any]:
    return {
        "runs_on": info.device,
        "computed": info.precision,
        "layers": dict(info.layers),
        "notes": list(info.notes),
    }


def _milliseconds(nanoseconds: int) -> float:
    return float(f"{nanoseconds / 1e6:.4g}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
