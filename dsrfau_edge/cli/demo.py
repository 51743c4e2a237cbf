"""`dsrfau demo`: the whole job on the sample portrait, with nothing but the package."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click
import numpy as np
import numpy.typing as npt

from dsrfau_edge.cli.formats import Table
from dsrfau_edge.cli.overlay import write_picture
from dsrfau_edge.drawing import annotate
from dsrfau_edge.errors import DsrfauError
from dsrfau_edge.face.images import read_image
from dsrfau_edge.predictor import Predictor
from dsrfau_edge.results import FrameResult
from dsrfau_edge.runtimes.registry import runtimes

if TYPE_CHECKING:
    from dsrfau_edge.export.pipeline import ExportReport
    from dsrfau_edge.results import Face

PORTRAIT = Path(__file__).resolve().parents[1] / "assets" / "portrait.jpg"
_CALLS = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison."""

    target: str
    precision: str
    megabytes: float
    latency: str
    difference: str
    note: str = ""


@click.command("demo")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Folder for the picture and the exported bundles.",
)
@click.option(
    "--image", type=click.Path(path_type=Path), default=PORTRAIT, help="Another picture than the sample portrait."
)
def command(*, output: Path, image: Path) -> None:
    """Predict a portrait, export the bundled student to every target at int8, and compare."""
    output.mkdir(parents=True, exist_ok=True)
    picture = read_image(image)
    click.echo("== 1. AU intensities by the bundled student\n")
    with Predictor(heatmaps=True) as predictor, Predictor(precision="fp32") as exact:
        faces, reference = predictor(picture), exact(picture)
        size = (picture.shape[1], picture.shape[0])
        Table(sys.stdout).write(FrameResult(image.name, 0, None, size, tuple(faces)))
        drawn = output / "portrait.jpg"
        write_picture(drawn, annotate(picture, faces))
        click.echo(f"{str(predictor.selection).splitlines()[0]}\ndrawn with bars and heatmaps: {drawn}\n")
        bundle = predictor.bundle
        portable, model = (path.stat().st_size / 1e6 for path in (bundle.portable_path, bundle.model_path))
        rows = [
            Row("bundled", "fp32", portable, _latency(exact), ""),
            Row("bundled", bundle.manifest.precision, model, _latency(predictor), _difference(faces, reference)),
        ]
    click.echo("== 2. Export to every target at int8, from the bundle's portable ONNX\n")
    failure = _exports(output, lambda report: rows.append(_told(report, picture, reference)))
    click.echo("== 3. The same portrait with each\n")
    click.echo(_table(rows))
    click.echo("Latency: median of one crop on this machine. Difference: largest of any AU on the portrait, to fp32.")
    if failure is not None:
        raise failure


def _exports(output: Path, on_report: Callable[[ExportReport], None]) -> DsrfauError | None:
    """Export to every target; the failure of one of them comes back, so that the table of the others is still shown."""
    from dsrfau_edge.export.pipeline import ExportOptions, export

    try:
        export(None, "all", output, ExportOptions(precision="int8", overwrite=True), on_report=on_report)
    except DsrfauError as error:
        return error
    return None


def _told(report: ExportReport, picture: npt.NDArray[np.uint8], reference: list[Face]) -> Row:
    click.echo("\n".join(report.lines()) + "\n")
    return _row(report, picture, reference)


def _row(report: ExportReport, picture: npt.NDArray[np.uint8], reference: list[Face]) -> Row:
    """Predict with an exported bundle; where no runtime here takes it, say so in place of numbers."""
    if report.path is None:
        return Row(report.target, report.precision, 0.0, "-", "-", report.reason)
    size = report.model_bytes / 1e6
    runtime = {"onnx": "onnxruntime"}.get(report.target, report.target)
    availability = runtimes()[runtime].availability()
    if not availability.ok:
        # Without the device the arithmetic still can be checked: the export compared it on calibration crops.
        largest = f"{report.parity.largest:.2f} *" if report.parity else "-"
        note = f"* on held-out crops, on the CPU; not run here: {availability.reason}"
        return Row(report.target, report.precision, size, "-", largest, note)
    with Predictor(report.path, runtime=runtime) as predictor:
        faces = predictor(picture)
        latency = _latency(predictor)
    return Row(report.target, report.precision, size, latency, _difference(faces, reference))


def _difference(faces: list[Face], reference: list[Face]) -> str:
    """Largest difference of an AU of the same face."""
    differences = [
        abs(face.aus[au] - other.aus[au]) for face, other in zip(faces, reference, strict=False) for au in face.aus
    ]
    return f"{max(differences):.2f}" if differences else "no face"


def _latency(predictor: Predictor) -> str:
    side = predictor.bundle.manifest.input_size
    crops = np.zeros((1, side, side, 3), np.uint8)
    times = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        predictor.infer(crops)
        times.append(time.perf_counter() - start)
    return f"{1e3 * median(times):.2f} ms"


def _table(rows: list[Row]) -> str:
    lines = [f"{'target':<10} {'precision':<9} {'size':>9} {'latency':>10} {'difference':>11}"]
    for row in rows:
        numbers = f"{row.megabytes:6.1f} MB {row.latency:>10} {row.difference:>11}"
        lines.append(f"{row.target:<10} {row.precision:<9} {numbers}  {row.note}".rstrip())
    return "\n".join(lines) + "\n"
