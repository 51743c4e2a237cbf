"""`dsrfau-bench`: time per crop, size and accuracy of bundles, in every runtime that runs them here."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable

if TYPE_CHECKING:
    from dsrfau_edge.bundle import Bundle
    from dsrfau_edge.runtimes.base import Crops, ModelFiles, Session

_WARM_UP = 10
_MOST_CROPS = 64


@dataclass(frozen=True, slots=True)
class Measurement:
    """One bundle in one runtime.

    Attributes:
        bundle: its folder.
        target: it was made for.
        precision: it computes in.
        runtime: that ran it.
        threads: CPU threads of one call, or None for the runtime's own choice.
        model_bytes: size of the model, without the portable graph.
        median_ms: of one crop per call, and the 90th and 99th percentile.
        p90_ms: see `median_ms`.
        p99_ms: see `median_ms`.
        largest_difference: of an AU's intensity to the bundle's portable fp32 graph.
        mean_difference: over AUs and crops.
        crops: compared.
        reason: why it was not measured, or "".
    """

    bundle: str
    target: str
    precision: str
    runtime: str
    threads: int | None
    model_bytes: int
    median_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    largest_difference: float | None = None
    mean_difference: float | None = None
    crops: int = 0
    reason: str = ""


@click.command(name="bench", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("bundles", nargs=-1, type=click.Path(path_type=Path))
@click.option("--runtime", "names", multiple=True, help="Only these runtimes; by default all that read the bundle.")
@click.option("--device", help="Device of the runtimes, such as cpu or cuda:0.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads of one call.")
@click.option("--iterations", type=click.IntRange(min=1), default=200, show_default=True, help="Calls that are timed.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def command(
    *,
    bundles: tuple[Path, ...],
    names: tuple[str, ...],
    device: str | None,
    threads: int,
    iterations: int,
    as_json: bool,
) -> None:
    """Measure BUNDLES (the bundled students by default): milliseconds per crop, and differences to their fp32 graph."""
    from dsrfau_edge.bundle import Bundle, bundled_names

    opened = [Bundle.open(path) for path in bundles or bundled_names()]
    rows = []
    for bundle in opened:
        for name in names or _readers(bundle):
            rows.append(_measure(bundle, name, device, threads, iterations, named=bool(names)))
            if not as_json:
                click.echo(_line(rows[-1]))
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    if all(row.median_ms is None for row in rows):
        raise RuntimeUnavailable(
            "Nothing was measured: no runtime here runs any of the bundles, for the reasons above."
        )


def _readers(bundle: Bundle) -> list[str]:
    from dsrfau_edge.runtimes.registry import runtimes

    return [name for name, runtime in runtimes().items() if bundle.manifest.target in runtime.formats]


def _measure(
    bundle: Bundle, name: str, device: str | None, threads: int, iterations: int, *, named: bool
) -> Measurement:
    """Measure one bundle in one runtime; a runtime that the user did not name may be missing."""
    from dsrfau_edge.export.verification import au_intensities
    from dsrfau_edge.runtimes.base import SessionOptions
    from dsrfau_edge.runtimes.registry import choose

    manifest = bundle.manifest
    row = Measurement(bundle.path.name, manifest.target, manifest.precision, name, threads, _model_bytes(bundle))
    try:
        choice = choose(bundle.model_files(), name, device)
        session = choice.load(device, SessionOptions(threads=threads))
    except DsrfauError as error:
        if named:
            raise
        return replace(row, reason=str(error))
    crops = _crops(bundle)
    try:
        found = session.infer(crops).intensities
        times = _times(session, crops, iterations)
    finally:
        session.close()
    reference = _reference(bundle.model_files(), crops)
    expected, got = (au_intensities(values, manifest.aus, manifest.sites) for values in (reference, found))
    difference = np.abs(expected - got)
    median, p90, p99 = (round(float(np.percentile(times, share)), 3) for share in (50, 90, 99))
    return replace(
        row,
        precision="fp32" if choice.portable else manifest.precision,
        median_ms=median,
        p90_ms=p90,
        p99_ms=p99,
        largest_difference=float(f"{difference.max():.4g}"),
        mean_difference=float(f"{difference.mean():.4g}"),
        crops=len(crops),
        reason="its portable fp32 graph was measured" if choice.portable else "",
    )


def _times(session: Session, crops: Crops, iterations: int) -> list[float]:
    """Milliseconds of each call with one crop, after some that warm caches up."""
    times = []
    for index in range(_WARM_UP + iterations):
        crop = crops[index % len(crops)][None]
        start = time.perf_counter()
        session.infer(crop)
        times.append((time.perf_counter() - start) * 1e3)
    return times[_WARM_UP:]


def _reference(model: ModelFiles, crops: Crops) -> Any:
    from dsrfau_edge.runtimes.onnxruntime import OnnxRuntime

    session = OnnxRuntime().load(model.as_portable())
    try:
        return session.infer(crops).intensities
    finally:
        session.close()


def _crops(bundle: Bundle) -> Crops:
    from dsrfau_edge.export.calibration import generated_crops

    carried = bundle.read_calibration()
    return carried[:_MOST_CROPS] if len(carried) else generated_crops(bundle.manifest.input_size)


def _model_bytes(bundle: Bundle) -> int:
    stem = Path(bundle.manifest.model).stem
    return sum(record.bytes for name, record in bundle.manifest.files.items() if Path(name).stem == stem)


def _line(row: Measurement) -> str:
    head = f"{row.bundle} ({row.target} {row.precision}) in {row.runtime}"
    if row.median_ms is None:
        return f"{head}: not measured. {row.reason}"
    threads = f"{row.threads} thread{'s' if row.threads != 1 else ''}"
    note = f" ({row.reason})" if row.reason else ""
    return (
        f"{head}, {threads}: {row.median_ms:.2f} ms a crop (p90 {row.p90_ms:.2f}, p99 {row.p99_ms:.2f}), "
        f"{row.model_bytes / 1e6:.1f} MB, intensities within {row.largest_difference:.4f} of fp32 "
        f"(mean {row.mean_difference:.4f}) on {row.crops} crops{note}"
    )
