"""Fixtures for the runtimes: the tiny network in int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def quantized(tmp_path_factory: pytest.TempPathFactory, tiny_onnx: bytes, tiny_crops: Any) -> Path:
    """The tiny network as U8S8 QDQ, by ONNX Runtime's own quantizer."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    folder = tmp_path_factory.mktemp("quantized")
    (folder / "float.onnx").write_bytes(tiny_onnx)

    class Crops(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.left = iter([{"crops": crop[None]} for crop in tiny_crops])

        def get_next(self) -> Any:
            return next(self.left, None)

    quantization.shape_inference.quant_pre_process(
        str(folder / "float.onnx"), str(folder / "ready.onnx"), skip_symbolic_shape=True
    )
    quantization.quantize_static(
        str(folder / "ready.onnx"),
        str(folder / "int8.onnx"),
        Crops(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["Conv"],
    )
    return folder / "int8.onnx"
