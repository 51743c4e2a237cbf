"""`dsrfau-bench`: which bundles are measured where, and how far they are from their fp32 graph."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dsrfau_edge.runtimes.registry import runtimes

from dsrfau_edge.cli.bench import command
from dsrfau_edge.errors import BundleError, DsrfauError, RuntimeUnavailable, UsageError


def call(*arguments: object) -> tuple[DsrfauError | None, str]:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, DsrfauError):
        raise result.exception
    return result.exception, result.stdout


@pytest.fixture(scope="module")
def int8(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    from dsrfau_edge.export.pipeline import ExportOptions, export

    (report,) = export(tiny_checkpoint, "onnx", tmp_path_factory.mktemp("int8"), ExportOptions(precision="int8"))
    assert report.path is not None
    return report.path


def test_every_runtime_that_reads_the_bundle(tiny_bundle: Path, int8: Path) -> None:
    error, out = call(tiny_bundle, int8, "--iterations", 5, "--json")
    assert error is None
    rows: list[dict[str, Any]] = json.loads(out)
    readers = [name for name, runtime in runtimes().items() if "onnx" in runtime.formats]
    assert [(row["precision"], row["runtime"]) for row in rows] == [
        (precision, name) for precision in ("fp32", "int8") for name in readers
    ]
    by_precision = {row["precision"]: row for row in rows if row["runtime"] == "onnxruntime"}
    assert by_precision["fp32"]["largest_difference"] == 0
    assert by_precision["int8"]["largest_difference"] > 1e-4
    for row in rows:
        if row["median_ms"] is not None:
            assert 0 < row["median_ms"] <= row["p90_ms"] <= row["p99_ms"]
            assert row["crops"] == 64


def test_text_and_threads(tiny_bundle: Path) -> None:
    error, out = call(tiny_bundle, "--runtime", "onnxruntime", "--threads", 2, "--iterations", 3)
    assert error is None
    assert "in onnxruntime, 2 threads:" in out
    assert "ms a crop (p90" in out


def test_a_named_runtime_is_not_skipped(tiny_bundle: Path) -> None:
    error, _ = call(tiny_bundle, "--runtime", "tflite")
    assert isinstance(error, UsageError)
    if not runtimes()["tensorrt"].availability().ok:
        error, _ = call(tiny_bundle, "--runtime", "tensorrt")
        assert isinstance(error, RuntimeUnavailable)


def test_a_damaged_bundle_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "copy.dsrfau"))
    (copy / "model.onnx").write_bytes(b"damaged")
    error, _ = call(copy)
    assert isinstance(error, BundleError)
