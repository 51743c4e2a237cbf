"""Which rows there are to measure: runtimes, files and precisions, and why some cannot be measured here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..bundle import Bundle
from ..errors import RuntimeUnavailable, UsageError
from ..runtimes.base import Availability, ModelFiles, Runtime
from .job import Job

#: What `--precision` takes: what a file holds, and the device's own choice.
PRECISIONS = ("fp32", "fp16", "int8", "native")
BASELINES = ("torch",)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user narrows the rows to.

    Attributes:
        runtimes: names; empty for all.
        device: in the runtime's words, None for its default.
        precisions: of `PRECISIONS`; empty for all.
        threads: one row each; None is the runtime's own choice.
        baselines: runtimes that are measured though they are only there for comparison.
    """

    runtimes: tuple[str, ...] = ()
    device: str | None = None
    precisions: tuple[str, ...] = ()
    threads: tuple[int | None, ...] = (None,)
    baselines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Impossible:
    """A runtime that cannot be measured, why, and what would change that."""

    bundle: str
    runtime: str
    reason: str
    fix: str = ""


def candidates(
    bundle: Bundle, wanted: Wanted, known: Mapping[str, Runtime], template: Job
) -> tuple[list[Job], list[Impossible]]:
    """Jobs for one bundle, those of a runtime together, and the runtimes that cannot be measured.

    A runtime runs the bundle's own model where it reads it, the portable fp32 graph where that is something else, and
    each of them once more in the device's own precision; `worker.ask_info` tells whether that makes a difference.

    Args:
        bundle: opened.
        wanted: see `Wanted`.
        known: every runtime by name.
        template: everything else of the jobs.

    Raises:
        UsageError: a name is not known.
        RuntimeUnavailable: a runtime that the user named cannot be used here.
    """
    files = bundle.model_files()
    jobs: list[Job] = []
    impossible: list[Impossible] = []
    for name in _names(wanted, known):
        runtime = known[name]
        found = _availability(runtime, wanted.device)
        if found.ok and not _can_run(runtime, files):
            found = Availability(ok=False, reason="It runs a checkpoint's own network, and this is none.",
                                 fix="Give the checkpoint's folder.")  # fmt: skip
        if not found.ok:
            if name in wanted.runtimes:
                raise RuntimeUnavailable(f"{name} cannot be measured here: {found.reason} {found.fix}".strip())
            impossible.append(Impossible(bundle.path.name, name, found.reason, found.fix))
            continue
        jobs += _of_runtime(runtime, files, wanted, replace(template, bundle=str(bundle.path), runtime=name))
    return jobs, impossible


def _names(wanted: Wanted, known: Mapping[str, Runtime]) -> list[str]:
    """Runtimes to look at, in order; baselines only where they are asked for."""
    for name in (*wanted.runtimes, *wanted.baselines):
        if name not in known:
            raise UsageError(f"Unknown runtime {name!r}. Known: {', '.join(known)}.")
    chosen = list(dict.fromkeys(wanted.runtimes)) or [name for name in known if name not in BASELINES]
    return [*chosen, *(name for name in wanted.baselines if name not in chosen)]


def _availability(runtime: Runtime, device: str | None) -> Availability:
    """Whether it can be used; a third party's may raise though it must not."""
    try:
        return runtime.availability(device)
    except Exception as error:  # noqa: BLE001 - nobody knows what it raises
        return Availability(
            ok=False, reason=f"It fails when it is asked whether it can be used: {error}.", fix="Update its package."
        )


def _portable(runtime: Runtime) -> bool:
    return bool(getattr(runtime, "portable", True))


def _can_run(runtime: Runtime, files: ModelFiles) -> bool:
    return _portable(runtime) or files.format in runtime.formats or files.checkpoint is not None


def _of_runtime(runtime: Runtime, files: ModelFiles, wanted: Wanted, base: Job) -> list[Job]:
    as_it_is = files.format in runtime.formats or not _portable(runtime)
    held = [replace(base, precision=files.precision)] if as_it_is else []
    if _portable(runtime) and not (as_it_is and files.precision == "fp32"):
        held.append(replace(base, precision="fp32", portable=True))
    chosen = [job for job in held if _is_wanted(job.precision, wanted.precisions)]
    natives = [replace(job, native=True) for job in held if _is_wanted("native", wanted.precisions)]
    if wanted.precisions and set(wanted.precisions) != {"native"}:
        natives = [job for job in natives if job.precision in wanted.precisions] or natives
    ordered = [job for plain in held for job in (*_same(chosen, plain), *_same(natives, plain))]
    return [replace(job, threads=threads) for threads in wanted.threads for job in ordered]


def _is_wanted(precision: str, precisions: Sequence[str]) -> bool:
    return not precisions or precision in precisions


def _same(jobs: Iterable[Job], plain: Job) -> list[Job]:
    return [job for job in jobs if job.as_it_is == plain]
