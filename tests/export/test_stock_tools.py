"""What tools that know nothing of bundles see: the native files open, run, and say what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from dsrfau_edge.bundle import Bundle  # noqa: E402
from dsrfau_edge.export.conversion import ExportOptions  # noqa: E402
from dsrfau_edge.export.pipeline import export  # noqa: E402

EXPECTED = {
    "aus": ["AU04", "AU12", "AU25"],
    "input": {"size": 32, "dtype": "uint8", "layout": "NHWC", "colour": "BGR"},
    "intensity_range": [0, 5],
    "sites": ["AU04_left", "AU04_right", "AU12_left", "AU12_right", "AU25"],
}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("target", ["onnx", "tensorrt"])
def test_onnxruntime(tiny_checkpoint: Path, tmp_path: Path, tiny_crops: Any, target: str, precision: Any) -> None:
    import onnxruntime

    (report,) = export(tiny_checkpoint, target, tmp_path, ExportOptions(precision=precision))
    assert report.path is not None
    session = onnxruntime.InferenceSession(report.path / "model.onnx", providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    assert {key: json.loads(said[f"dsrfau.{key}"]) for key in EXPECTED} == EXPECTED
    assert json.loads(said["dsrfau.precision"]) == precision
    assert session.run(["intensities"], {"crops": tiny_crops[:1]})[0].shape == (1, 5)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_openvino_and_its_benchmark_app(tiny_checkpoint: Path, tmp_path: Path, tiny_crops: Any, precision: Any) -> None:
    ov = pytest.importorskip("openvino")
    if precision == "int8":
        pytest.importorskip("nncf")
    (report,) = export(tiny_checkpoint, "openvino", tmp_path, ExportOptions(precision=precision))
    assert report.path is not None
    model = ov.Core().read_model(report.path / "model.xml")
    assert {key: json.loads(model.get_rt_info(["dsrfau", key]).astype(str)) for key in EXPECTED} == EXPECTED
    compiled = ov.compile_model(model, "CPU")
    assert np.isfinite(compiled([tiny_crops[:1]])["intensities"]).all()
    import subprocess
    import sys

    app = Path(sys.executable).with_name("benchmark_app")
    if not app.exists():
        pytest.skip("this OpenVINO comes without benchmark_app")
    ran = subprocess.run(
        [app, "-m", report.path / "model.xml", "-d", "CPU", "-hint", "none", "-nstreams", "1", "-niter", "5"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-2000:]
    assert "Median" in ran.stdout


def test_inspect_says_what_is_in_it(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from dsrfau_edge.cli.export import command

    path = tmp_path / "mine.dsrfau"
    options = ExportOptions(precision="int8", calib_count=40, keep_float=("^stem$",))
    export(tiny_checkpoint, "onnx", path, options)
    assert Bundle.open(path).manifest.name == "mine"
    shown = CliRunner().invoke(command, ["inspect", str(path), "--layers"])
    assert shown.exit_code == 0, shown.output
    for words in ("mine, onnx int8", "AU04 AU12 AU25", "kept_in_float stem", "every one matches its checksum",
                  "model.onnx: ", "portable fp32 graph", "pointwise"):  # fmt: skip
        assert words in shown.output
    raw = json.loads(CliRunner().invoke(command, ["inspect", str(path), "--json"]).output)
    assert raw == json.loads(json.dumps(Bundle.open(path).manifest.to_dict()))
    whole = CliRunner().invoke(command, ["inspect", str(tiny_checkpoint)])
    assert "checkpoint tiny, onnx fp32" in whole.output
    (path / "model.onnx").write_bytes(b"")
    broken = CliRunner().invoke(command, ["inspect", str(path)])
    assert "corrupt" in str(broken.exception)
