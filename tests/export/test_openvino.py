"""OpenVINO models: folded, halved, quantized, with head and decode in float and nothing sent anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openvino")
pytest.importorskip("nncf")

from dsrfau_edge.export.targets import openvino  # noqa: E402


@pytest.fixture
def path(tmp_path: Path, tiny_onnx: bytes) -> Path:
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx)
    return tmp_path / "tiny.onnx"


def run(path: Path, crops: Any) -> Any:
    import openvino as ov

    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled([crops])["intensities"]


def test_biases_become_constants_and_results_stay(path: Path, tmp_path: Path, tiny_crops: Any) -> None:
    model = openvino.read_model(path)
    openvino.save_model(model, tmp_path / "model.xml")
    np.testing.assert_allclose(run(tmp_path / "model.xml", tiny_crops), run(path, tiny_crops), atol=1e-5)
    names = openvino.float_nodes(model)
    kinds = {operation.get_friendly_name(): operation.get_type_name() for operation in model.get_ops()}
    assert sorted(kinds[name] for name in names if kinds[name] in ("Convolution", "ReduceMax")) == [
        "Convolution",
        "ReduceMax",
    ]
    assert not any(kinds[name] == "ShapeOf" for name in names)


def test_half_the_weights(path: Path, tmp_path: Path, tiny_crops: Any) -> None:
    for half in (False, True):
        openvino.save_model(openvino.read_model(path), tmp_path / f"{half}.xml", half=half)
    sizes = [(tmp_path / f"{half}.bin").stat().st_size for half in (False, True)]
    assert sizes[1] < 0.7 * sizes[0]
    assert np.abs(run(tmp_path / "True.xml", tiny_crops) - run(path, tiny_crops)).max() < 5e-3


@pytest.mark.parametrize("method", openvino.METHODS)
def test_int8_is_close(path: Path, tmp_path: Path, tiny_crops: Any, method: str) -> None:
    crops = np.concatenate([tiny_crops] * 5)
    quantized = openvino.to_int8(openvino.read_model(path), crops, method)
    openvino.save_model(quantized, tmp_path / "int8.xml")
    assert any(operation.get_type_name() == "FakeQuantize" for operation in quantized.get_ops())
    difference = np.abs(run(tmp_path / "int8.xml", tiny_crops) - run(path, tiny_crops))
    assert 0 < difference.mean() < 0.15
    head = quantized.output("heatmaps").get_node().input_value(0).get_node()
    while head.get_type_name() != "Convolution":
        head = head.input_value(0).get_node()
    assert head.input_value(1).get_node().get_type_name() in ("Constant", "Convert"), "the head's weights are float"


def test_nncf_sends_no_statistics() -> None:
    """In a process without pytest, in which NNCF would otherwise make its telemetry client."""
    program = (
        "from dsrfau_edge.export.targets import openvino; openvino.describe('minmax');"
        "from nncf.telemetry.wrapper import telemetry; print(type(telemetry).__name__)"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NNCF", "PYTEST"))}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "MagicMock"
