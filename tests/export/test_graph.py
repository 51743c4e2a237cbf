"""The contract of the portable graph, and its rewrites."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dsrfau_edge.errors import DataError

onnx = pytest.importorskip("onnx")

from dsrfau_edge.export import graph  # noqa: E402


def parse(content: bytes, **other: Any) -> Any:
    return graph.parse_graph(content, **{"size": 32, "sites": 5, "heatmap_size": 8, "where": "tiny", **other})


def run(model: Any, crops: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["intensities", "heatmaps"], {"crops": crops})


@pytest.fixture
def model(tiny_onnx: bytes) -> Any:
    return parse(tiny_onnx)


@pytest.mark.parametrize("other", [{"size": 64}, {"sites": 6}, {"heatmap_size": 16}])
def test_a_graph_that_does_not_fit_its_description(tiny_onnx: bytes, other: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"does not fit its description.*crops uint8 \[N, 32, 32, 3\]"):
        parse(tiny_onnx, **other)


def test_what_is_no_graph(tiny_onnx: bytes) -> None:
    for content in (b"nonsense", tiny_onnx[:500]):
        with pytest.raises(DataError, match="not a valid ONNX graph"):
            parse(content)


def test_head_and_decode_are_found_by_structure(model: Any) -> None:
    assert set(graph.float_nodes(model)) == {"head", "decode_max", "decode_clip"}
    for node in model.graph.node:
        node.name = f"n{node.name[::-1]}"
    assert set(graph.float_nodes(model)) == {"ndaeh", "nxam_edoced", "npilc_edoced"}


def test_what_comes_before_the_first_convolution(model: Any) -> None:
    assert graph.input_nodes(model) == ["preprocess_cast", "preprocess_mean", "preprocess_scale", "preprocess_layout"]


def test_the_batch_is_fixed_and_opened(model: Any, tiny_crops: Any) -> None:
    fixed = graph.with_batch(model, 2)
    for value in (*fixed.graph.input, *fixed.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_value == 2
    np.testing.assert_allclose(run(fixed, tiny_crops[:2])[0], run(model, tiny_crops[:2])[0], atol=1e-5)
    opened = graph.with_batch(fixed, "dynamic")
    assert opened.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert len(run(opened, tiny_crops)[0]) == 8
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N", "the original is left as it was"


def test_the_cast_goes_before_a_layout_change(model: Any, tiny_crops: Any) -> None:
    turned = onnx.ModelProto()
    turned.CopyFrom(model)
    nodes = {node.name: node for node in turned.graph.node}
    cast, layout = nodes["preprocess_cast"], nodes["preprocess_layout"]
    rest = [node for node in turned.graph.node if node.name not in ("preprocess_cast", "preprocess_layout")]
    layout.input[0], layout.output[0] = "crops", "turned"
    cast.input[0], cast.output[0] = "turned", "as_float"
    nodes["preprocess_mean"].input[0] = "as_float"
    nodes["preprocess_scale"].output[0] = "scaled"
    nodes["stem"].input[0] = "scaled"
    del turned.graph.node[:]
    turned.graph.node.extend([layout, cast, *rest])
    onnx.checker.check_model(turned)
    rewritten = graph.cast_first(turned)
    assert [node.op_type for node in rewritten.graph.node[:2]] == ["Cast", "Transpose"]
    onnx.checker.check_model(rewritten, full_check=True)
    np.testing.assert_allclose(run(rewritten, tiny_crops)[1], run(model, tiny_crops)[1], atol=1e-5)
    assert graph.cast_first(model).graph.node == model.graph.node, "nothing to do is left alone"
