"""NVIDIA's own parser and builder, which run without a GPU in TensorRT for RTX."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.runtimes import tensorrt_engine
from dsrfau_edge.runtimes.tensorrt_engine import EngineOptions, build_engine, find_module, is_rtx


@pytest.fixture
def trt() -> Any:
    module = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: no real parser and builder")
    if not hasattr(module, "Builder"):
        pytest.skip("tensorrt-rtx is installed without its libraries")
    return module


def test_the_portable_graph_is_parsed_and_built(trt: Any, tiny_onnx: bytes) -> None:
    engine = build_engine(trt, tiny_onnx, EngineOptions(max_batch=4, workspace_gb=0.5))
    assert len(engine) > len(tiny_onnx) / 2


def test_it_builds_for_named_gpus(trt: Any, tiny_onnx: bytes) -> None:
    one = build_engine(trt, tiny_onnx, EngineOptions(capabilities=(86,)))
    two = build_engine(trt, tiny_onnx, EngineOptions(capabilities=(75, 86)))
    assert one != two


def test_a_gpu_it_does_not_know_is_refused(trt: Any, tiny_onnx: bytes) -> None:
    with pytest.raises(UsageError, match=r"no compute capability 87.*75, 80, 86"):
        build_engine(trt, tiny_onnx, EngineOptions(capabilities=(86, 87)))


def test_the_parser_says_why_it_refuses(trt: Any) -> None:
    from onnx import TensorProto, helper

    node = helper.make_node("Transpose", ["crops"], ["turned"], perm=[0, 3, 1, 2], name="turn")
    tensors = [helper.make_tensor_value_info(name, TensorProto.UINT8, [1, 4, 4, 4]) for name in ("crops", "turned")]
    model = helper.make_model(helper.make_graph([node], "g", tensors[:1], tensors[1:]), ir_version=9)
    with pytest.raises(RuntimeUnavailable, match=r"refuses the graph.*turn"):
        build_engine(trt, model.SerializeToString(), EngineOptions())


def test_stubs_without_libraries_are_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package index has a tensorrt that imports and holds nothing."""
    stub = ModuleType("tensorrt")
    stub.__spec__ = sys.__spec__
    monkeypatch.setitem(sys.modules, "tensorrt", stub)
    monkeypatch.setattr(tensorrt_engine, "MODULES", ("tensorrt",))
    assert find_module() is None
    monkeypatch.setattr(tensorrt_engine, "MODULES", ("tensorrt_that_is_not_there",))
    assert find_module() is None


def test_plain_tensorrt_takes_no_list_of_gpus() -> None:
    class Plain:
        __name__ = "tensorrt"
        __version__ = "10.3"

    assert not is_rtx(Plain)
    with pytest.raises(UsageError, match="Leave out --sm"):
        tensorrt_engine._set_capabilities(Plain, None, (86,))
