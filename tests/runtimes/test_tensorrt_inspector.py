"""The engine inspector's JSON as TensorRT 10 and 11 write it, in parts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dsrfau_edge.runtimes.tensorrt_inspector import summarize


def layer(kind: str, reads: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Name": "l", "LayerType": kind, "Inputs": [{"Name": "Convolution half", **reads}], "Outputs": [], **more}


@pytest.mark.parametrize(
    ("reads", "tactic", "precision"),
    [
        ({"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}, "", "int8"),
        ({"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}, "", "fp16"),
        ({"Format/Datatype": "Half"}, "", "fp16"),
        ({"Format/Datatype": "Row major linear FP32"}, "sm80_xmma_fprop_f32f32", "fp32"),
        ({"Format/Datatype": "Row major linear FP32"}, "sm80_xmma_fprop_tf32f32_tf32f32", "tf32"),
        ({"DataType": "Float", "Format": "Row major linear FP32 format (kLINEAR)"}, "", "fp32"),
        ({"DataType": "BF16", "Format": "Row major linear"}, "", "bf16"),
        ({"DataType": "FP8"}, "", "fp8"),
    ],
)
def test_precision_of_a_weighted_sum(reads: dict[str, Any], tactic: str, precision: str) -> None:
    summary = summarize(json.dumps({"Layers": [layer("CaskConvolution", reads, TacticName=tactic)]}))
    assert summary.precisions == {precision: 1}
    assert summary.precision == precision


def test_summary() -> None:
    half, int8 = {"Format/Datatype": "Half"}, {"Format/Datatype": "Int8"}
    layers = [
        layer("CaskConvolution", int8),
        layer("CaskDeconvolutionV2", int8),
        layer("Cask", half, ParameterType="Convolution"),
        layer("gemm", {}),
        layer("Reformat", half),
        layer("Reformat", half),
    ]
    summary = summarize(json.dumps({"Layers": layers, "Bindings": ["crops"]}), memory=77)
    assert summary.to_dict() == {
        "layers": 6,
        "kinds": {"Reformat": 2, "CaskConvolution": 1, "CaskDeconvolutionV2": 1, "Cask": 1, "gemm": 1},
        "precisions": {"int8": 2, "fp16": 1},
        "execution_memory_bytes": 77,
    }
    assert summary.precision == "int8"


def test_an_engine_without_detail_has_layers_and_nothing_else() -> None:
    summary = summarize(json.dumps({"Layers": ["conv1", "conv2"]}))
    assert (summary.layers, summary.kinds, summary.precisions, summary.precision) == (2, {}, {}, "")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"Layers": {}}', "null"])
def test_what_is_not_understood_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"layers|Expecting"):
        summarize(text)
