"""`dsrfau-export` by its exit codes, its JSON and its last lines."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from dsrfau_edge.bundle import Bundle
from dsrfau_edge.cli.main import run

pytest.importorskip("onnx")


def call(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        run("export", "dsrfau-export", [str(argument) for argument in arguments])
    return int(str(end.value.code)), out.getvalue(), err.getvalue()


def test_int8_ends_with_path_size_comparison_and_next_command(tiny_checkpoint: Path, tmp_path: Path) -> None:
    code, out, _ = call(tiny_checkpoint, "--target", "onnx", "--int8", "-o", tmp_path, "--calib-count", "20")
    assert code == 0
    path = tmp_path / "tiny-onnx-int8.dsrfau"
    lines = out.strip().splitlines()
    assert lines[0] == f"onnx int8: {path}"
    assert "MB" in lines[1]
    assert "calibrated on 20 crops" in lines[2]
    assert "intensities differ from fp32" in lines[3]
    assert lines[-1] == f"Next: dsrfau-predict --bundle {path} PICTURE, or dsrfau-bench {path}"
    assert Bundle.open(path).manifest.precision == "int8"


def test_json(tiny_checkpoint: Path, tmp_path: Path) -> None:
    code, out, _ = call(tiny_checkpoint, "--target", "all", "--fp16", "-o", tmp_path, "--json")
    assert code == 0
    reports = json.loads(out)
    assert [report["target"] for report in reports] == ["onnx", "openvino", "tensorrt"]
    written = [report for report in reports if report["path"]]
    for report in written:
        assert report["precision"] == "fp16"
        assert report["model_bytes"] > 0
        assert set(report["parity"]["aus"]) == {"AU04", "AU12", "AU25"}


def test_the_portable_graph_is_the_default(tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert call(tiny_checkpoint, "--dynamic-batch", "-o", tmp_path / "one.dsrfau")[0] == 0
    manifest = Bundle.open(tmp_path / "one.dsrfau").manifest
    assert (manifest.target, manifest.precision, manifest.batch) == ("onnx", "fp32", "dynamic")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--target", "coreml"], 2, "Unknown target"),
        (["--target", "onnx", "--sm", "86"], 2, "does not take --sm"),
        (["--target", "openvino", "--workspace-gb", "1"], 2, "does not take --workspace-gb"),
        (["--sm", "new"], 2, "compute capabilities"),
        (["--target", "tensorrt", "--workspace-gb", "0"], 2, "no positive number"),
        (["--int8", "--fp16"], 2, "one precision"),
        (["--int8", "--precision", "fp32"], 2, "one precision"),
        (["--precision", "int4"], 2, "int4"),
        (["--batch", "2", "--dynamic-batch"], 2, "Give one of them"),
        (["--batch", "0"], 2, "--batch 0"),
        (["--int8", "--calib-method", "magic"], 2, "It takes"),
        (["--int8", "--calib-count", "0"], 2, "--calib-count"),
        (["--int8", "--calib", "absent"], 5, "not a folder"),
        (["--int8", "--max-drop", "1e-6"], 4, "Nothing was written"),
        (["--max-drop", "0.1", "--no-verify"], 2, "Give one of them"),
        (["--int8", "--keep-float", "no_such_layer"], 2, "found in no layer's name"),
        (["--int8", "--keep-float", "("], 2, "no regular expression"),
        (["--keep-float", "stem"], 2, "is for int8"),
        (["--int8", "--auto-keep-float"], 2, "Name the gate"),
        (["--gate-data", "absent"], 5, "not prepared data"),
    ],
)
def test_refusals(tiny_checkpoint: Path, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    found, _, text = call(tiny_checkpoint, *arguments, "-o", tmp_path / "out")
    assert (found, message in text) == (code, True), text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["absent", "absent.dsrfau"])
def test_a_source_that_is_not_there(tmp_path: Path, name: str) -> None:
    assert call(tmp_path / name, "-o", tmp_path / "out")[0] == 5


def test_a_place_that_is_taken(tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert call(tiny_checkpoint, "-o", tmp_path)[0] == 0
    code, _, message = call(tiny_checkpoint, "-o", tmp_path)
    assert (code, "--overwrite" in message) == (2, True)
    assert call(tiny_checkpoint, "-o", tmp_path, "--overwrite")[0] == 0


def test_a_place_that_cannot_be_written(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, message = call(tiny_checkpoint, "-o", tmp_path / "file" / "x.dsrfau")
    assert (code, "cannot be written" in message) == (5, True)


def test_a_missing_package_names_the_extra(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dsrfau_edge.export.targets import base

    real = base.importlib.util.find_spec
    monkeypatch.setattr(base.importlib.util, "find_spec", lambda name: None if name == "onnx" else real(name))
    code, _, message = call(tiny_checkpoint, "-o", tmp_path)
    assert (code, 'pip install "dsrfau-edge[export]"' in message) == (3, True)
    code, out, message = call(tiny_checkpoint, "--target", "all", "-o", tmp_path)
    assert (code, out.count("not written. onnx not installed")) == (3, 3)


def test_list_targets() -> None:
    code, out, _ = call("--list-targets")
    assert code == 0
    assert "--sm: " in out
    assert "can be made here in" in out
    rows: list[dict[str, Any]] = json.loads(call("--list-targets", "--json")[1])
    assert {row["name"]: row["calibration_methods"][0] for row in rows} == {
        "onnx": "minmax",
        "openvino": "minmax",
        "tensorrt": "minmax",
    }
    assert all(row["installed"]["onnx"] for row in rows)
    assert {"--sm", "--workspace-gb"} <= set(rows[2]["options"])
    assert rows[0]["options"] == {}


def test_help_documents_the_exit_codes() -> None:
    out = call("--help")[1]
    assert "4 verification or accuracy gate failed" in out
