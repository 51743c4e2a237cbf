"""`dsrfau-bench`: which bundles are measured where, and how far they are from their fp32 graph."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from dsrfau_edge.cli.main import run
from dsrfau_edge.runtimes.registry import runtimes


def call(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        run("bench", "dsrfau-bench", [str(argument) for argument in arguments])
    return int(str(end.value.code)), out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def int8(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    from dsrfau_edge.export.pipeline import ExportOptions, export

    (report,) = export(tiny_checkpoint, "onnx", tmp_path_factory.mktemp("int8"), ExportOptions(precision="int8"))
    assert report.path is not None
    return report.path


def test_every_runtime_that_reads_the_bundle(tiny_bundle: Path, int8: Path) -> None:
    code, out, _ = call(tiny_bundle, int8, "--iterations", 5, "--json")
    assert code == 0
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
    code, out, _ = call(tiny_bundle, "--runtime", "onnxruntime", "--threads", 2, "--iterations", 3)
    assert code == 0
    assert "in onnxruntime, 2 threads:" in out
    assert "ms a crop (p90" in out


def test_a_named_runtime_is_not_skipped(tiny_bundle: Path) -> None:
    code, _, err = call(tiny_bundle, "--runtime", "tflite")
    assert (code, "Unknown runtime" in err) == (2, True)
    if not runtimes()["tensorrt"].availability().ok:
        code, _, err = call(tiny_bundle, "--runtime", "tensorrt")
        assert (code, "cannot be used" in err) == (3, True)


def test_a_damaged_bundle_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "copy.dsrfau"))
    (copy / "model.onnx").write_bytes(b"damaged")
    code, _, err = call(copy)
    assert (code, "corrupt" in err) == (5, True)
