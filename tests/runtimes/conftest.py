"""Fixtures for the runtimes: the tiny network in int8, and a TensorRT that needs no GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_tensorrt import ORIN, FakeDriver, FakeTrt

from dsrfau_edge.bundle import Bundle
from dsrfau_edge.runtimes import cuda_graph, cuda_memory, tensorrt, tensorrt_loading
from dsrfau_edge.runtimes.base import ModelFiles
from dsrfau_edge.runtimes.cuda_driver import Driver
from dsrfau_edge.runtimes.tensorrt_engine import Built, EngineOptions


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


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> FakeTrt:
    fake = FakeTrt()

    def build(module: Any, graph: bytes, options: EngineOptions, progress: Any) -> Built:
        fake.builds += 1
        fake.options.append(options)
        if progress is not None:
            progress("TensorRT: building", 0.5)
        return Built(b"PLAN" + graph)

    monkeypatch.setattr(tensorrt, "find_module", lambda: fake)
    monkeypatch.setattr(tensorrt_loading, "build_engine", build)
    monkeypatch.setattr(tensorrt, "driver", lambda: Driver((ORIN,), "12.6"))
    monkeypatch.setattr(cuda_memory, "provider", lambda: "cuda-python")
    monkeypatch.setattr(cuda_memory, "open_memory", lambda index: fake.memory.opened())
    monkeypatch.delenv(cuda_graph.SWITCH, raising=False)
    return fake


@pytest.fixture
def cuda(trt: FakeTrt, monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    fake = FakeDriver(trt.memory)
    monkeypatch.setattr(cuda_graph, "library", lambda: fake)
    return fake


@pytest.fixture
def model(opened_bundle: Bundle) -> ModelFiles:
    return replace(opened_bundle.model_files(), format="tensorrt")


@pytest.fixture
def engine_model(model: ModelFiles, tmp_path: Path) -> ModelFiles:
    """A bundle with an engine for this very device."""
    (tmp_path / "model.engine").write_bytes(b"PLAN" + model.path.read_bytes())
    build = {"tensorrt_module": "tensorrt", "tensorrt": "10.3.0", "compute_capabilities": [87]}
    return replace(model, path=tmp_path / "model.engine", build=build)


@pytest.fixture
def expected(tiny_onnx: bytes, tiny_crops: Any) -> Any:
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(tiny_onnx).run(None, {"crops": tiny_crops})
