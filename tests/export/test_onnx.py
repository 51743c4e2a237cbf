"""fp16 and int8 ONNX: what is converted, what stays float, and how close the results are."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from dsrfau_edge.export import graph  # noqa: E402
from dsrfau_edge.export.onnx import CPU_SCHEME, GPU_SCHEME, QdqScheme, prepare, serialized, to_fp16, to_int8  # noqa: E402


def run(model: Any, crops: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(serialized(model), providers=["CPUExecutionProvider"])
    return session.run(["intensities", "heatmaps"], {"crops": crops})


def kinds(model: Any) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.fixture(scope="module")
def model(tiny_onnx: bytes) -> Any:
    return graph.parse_graph(tiny_onnx, size=32, sites=5, heatmap_size=8, where="tiny")


@pytest.fixture(scope="module")
def crops() -> Any:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (40, 8, 8, 3))
    return coarse.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)


def test_batch_norm_is_folded(model: Any, tiny_crops: Any) -> None:
    prepared = prepare(model)
    assert kinds(prepared)["BatchNormalization"] == 0
    np.testing.assert_allclose(run(prepared, tiny_crops)[1], run(model, tiny_crops)[1], atol=1e-4)


def test_fp16_casts_only_where_the_parts_meet(model: Any, tiny_crops: Any) -> None:
    half = to_fp16(model)
    onnx.checker.check_model(half, full_check=True)
    assert kinds(half)["Cast"] == 3, "of the crop, into the network, into the head"
    types = {weight.name: weight.data_type for weight in half.graph.initializer}
    assert types["head.weight"] == onnx.TensorProto.FLOAT
    assert sum(kind == onnx.TensorProto.FLOAT16 for kind in types.values()) > 5
    assert [value.type.tensor_type.elem_type for value in half.graph.output] == [onnx.TensorProto.FLOAT] * 2
    assert half.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    difference = np.abs(run(half, tiny_crops)[0] - run(model, tiny_crops)[0]).max()
    assert 0 < difference < 5e-3


def quantized_weights(model: Any) -> Counter[int]:
    return Counter(weight.data_type for weight in model.graph.initializer if weight.data_type != onnx.TensorProto.FLOAT)


@pytest.mark.parametrize("scheme", [CPU_SCHEME, GPU_SCHEME], ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_int8_is_close_and_leaves_head_and_decode_alone(
    model: Any, crops: Any, tiny_crops: Any, scheme: QdqScheme, method: str
) -> None:
    quantized = to_int8(graph.with_batch(model, 1), crops, scheme, method)
    onnx.checker.check_model(quantized)
    producers = {output: node for node in quantized.graph.node for output in node.output}
    head = next(node for node in quantized.graph.node if "heatmaps" in node.output)
    assert head.op_type == "Conv"
    assert head.input[1] not in producers, "the head's weights are plain floats"
    decode = next(node for node in quantized.graph.node if node.op_type == "ReduceMax")
    assert decode.input[0] == "heatmaps"
    convolutions = [node for node in quantized.graph.node if node.op_type == "Conv" and node is not head]
    assert len(convolutions) == 4
    assert all(producers[node.input[0]].op_type == "DequantizeLinear" for node in convolutions)
    found = np.concatenate([run(quantized, tiny_crops[[index]])[0] for index in range(8)])
    expected = run(model, tiny_crops)[0]
    assert 0 < np.abs(found - expected).mean() < 0.1


def test_the_gpu_scheme_is_what_tensorrt_parses(model: Any, crops: Any) -> None:
    quantized = to_int8(model, crops, GPU_SCHEME, "minmax")
    zeros = [weight for weight in quantized.graph.initializer if "zero_point" in weight.name]
    assert zeros
    assert all(weight.data_type == onnx.TensorProto.INT8 for weight in zeros)
    assert all(not np.any(onnx.numpy_helper.to_array(weight)) for weight in zeros), "symmetric"
    producers = {output: node for node in quantized.graph.node for output in node.output}
    for node in quantized.graph.node:
        if node.op_type == "Conv":
            assert node.input[2] not in producers, "biases stay float"


def test_quantizing_prints_nothing(model: Any, crops: Any, capfd: pytest.CaptureFixture[str]) -> None:
    to_int8(model, crops, CPU_SCHEME, "percentile")
    assert capfd.readouterr().out == ""


def test_a_fixed_batch_larger_than_the_set_is_filled_up(model: Any, crops: Any) -> None:
    quantized = to_int8(graph.with_batch(model, 4), crops[:3], CPU_SCHEME, "entropy")
    assert quantized.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4
