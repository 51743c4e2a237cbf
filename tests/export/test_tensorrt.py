"""The TensorRT target by NVIDIA's own parser and builder, and what happens where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dsrfau_edge.bundle import Bundle, default_bundle
from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.export.pipeline import ExportOptions, export
from dsrfau_edge.export.targets import tensorrt
from dsrfau_edge.runtimes.cuda_driver import Driver, Gpu
from dsrfau_edge.runtimes.tensorrt_engine import EngineOptions, find_module, is_rtx

pytest.importorskip("onnx")


def real_rtx() -> Any:
    trt = find_module()
    if trt is None or not is_rtx(trt):
        pytest.skip("tensorrt-rtx is not installed: no real parser and builder without a GPU")
    return trt


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("batch", [1, "dynamic"])
def test_the_tiny_network_is_parsed_and_built(
    tiny_checkpoint: Path, tmp_path: Path, precision: Any, batch: Any
) -> None:
    real_rtx()
    (report,) = export(tiny_checkpoint, "tensorrt", tmp_path, ExportOptions(precision=precision, batch=batch))
    assert report.path is not None
    bundle = Bundle.open(report.path)
    assert bundle.manifest.model == "model.engine"
    assert bundle.manifest.build["tensorrt_module"] == "tensorrt_rtx"
    assert bundle.model_path.stat().st_size == report.model_bytes > 10_000
    if not find_gpu():
        assert "not run, since there is no NVIDIA GPU here" in report.notes[0]
        assert "not the engine" in bundle.manifest.parity["note"]


def find_gpu() -> bool:
    return tensorrt.driver().ok


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_bundled_student_is_parsed_and_built(tmp_path: Path, precision: Any) -> None:
    real_rtx()
    if not default_bundle().is_dir():
        pytest.skip("the package comes without its student here")
    (report,) = export(None, "tensorrt", tmp_path, ExportOptions(precision=precision, calib_count=32))
    assert report.path is not None
    assert Bundle.open(report.path).manifest.precision == precision


def test_an_engine_for_named_gpus(tiny_checkpoint: Path, tmp_path: Path) -> None:
    real_rtx()
    options = ExportOptions(target_options={"capabilities": (75, 89), "workspace_gb": 0.25})
    (report,) = export(tiny_checkpoint, "tensorrt", tmp_path, options)
    assert report.path is not None
    assert Bundle.open(report.path).manifest.build["compute_capabilities"] == [75, 89]
    assert "compute capability 75, 89" in report.notes[0]
    with pytest.raises(UsageError, match="no compute capability 87"):
        export(tiny_checkpoint, "tensorrt", tmp_path / "orin", ExportOptions(target_options={"capabilities": (87,)}))
    assert not list(tmp_path.glob("orin/*"))


def test_without_tensorrt_the_device_builds_from_the_typed_graph(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    monkeypatch.setattr(tensorrt, "find_module", lambda: None)
    (report,) = export(tiny_checkpoint, "tensorrt", tmp_path, ExportOptions(precision="int8"))
    assert report.path is not None
    bundle = Bundle.open(report.path)
    assert (bundle.manifest.model, bundle.manifest.target) == ("model.onnx", "tensorrt")
    assert bundle.model_files().format == "tensorrt"
    assert any("builds its engine from it at first use" in note for note in report.notes)
    kinds = {node.op_type for node in onnx.load(bundle.model_path).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    with pytest.raises(RuntimeUnavailable, match=r"no TensorRT here.*tensorrt-rtx"):
        export(tiny_checkpoint, "tensorrt", tmp_path / "sm", ExportOptions(target_options={"capabilities": (86,)}))


class Fake:
    """A plain TensorRT."""

    __name__ = "tensorrt"
    __version__ = "10.3.0"


def test_plain_tensorrt_builds_only_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "find_module", Fake)
    monkeypatch.setattr(tensorrt, "build_engine", lambda trt, graph, options: b"engine of " + graph)
    monkeypatch.setattr(tensorrt, "driver", lambda: Driver(reason="none", fix="get one"))
    assert tensorrt.build(b"graph", EngineOptions()) is None
    with pytest.raises(RuntimeUnavailable, match="only where it has a GPU"):
        tensorrt.build(b"graph", EngineOptions(workspace_gb=1))
    monkeypatch.setattr(tensorrt, "driver", lambda: Driver((Gpu(0, "Orin", 87, 8 << 30),), "12.6"))
    engine = tensorrt.build(b"graph", EngineOptions())
    assert engine is not None
    assert engine.content == b"engine of graph"
    assert engine.build == {
        "tensorrt_module": "tensorrt",
        "tensorrt": "10.3.0",
        "compute_capabilities": [87],
        "gpu": "Orin",
        "cuda": "12.6",
    }
    assert engine.note == "The engine was built by tensorrt 10.3.0 for Orin."
