"""Reading from a profile of ONNX Runtime what was computed where and in which precision."""

from __future__ import annotations

from typing import Any

import pytest

from dsrfau_edge.runtimes.executed import Executed, is_weighted, summarise


def kernel(operation: str, kind: str = "float", provider: str = "CPUExecutionProvider") -> dict[str, Any]:
    args = {"op_name": operation, "provider": provider, "input_type_shape": [{kind: [1, 3, 8, 8]}]}
    return {"cat": "Node", "name": f"a/{operation}_kernel_time", "args": args}


@pytest.mark.parametrize(
    "operation", ["Conv", "FusedConv", "NhwcFusedConv", "QLinearConv", "ConvTranspose", "FusedGemm"]
)
def test_weighted_sums_by_any_name(operation: str) -> None:
    assert is_weighted(operation)
    assert not is_weighted("QLinearAdd")


@pytest.mark.parametrize(
    ("operation", "kind", "precision"),
    [
        ("Conv", "float", "fp32"),
        ("QLinearConv", "uint8", "int8"),
        ("QLinearConv", "int8", "int8"),
        ("Conv", "float16", "fp16"),
        ("Conv", "bfloat16", "bf16"),
        ("MatMulIntegerToFloat", "uint8", "int8"),
        ("DynamicQuantizeMatMul", "float", "int8"),
    ],
)
def test_the_precision_is_that_of_what_goes_in(operation: str, kind: str, precision: str) -> None:
    events = [kernel(operation, kind), {"cat": "Session", "name": "model_loading"}, kernel("Add")]
    executed = summarise(events, None)
    assert executed.layers == {precision: 1}
    assert executed.precision == precision
    assert executed.nodes == {"CPUExecutionProvider": 2}
    assert executed.notes() == ()


def test_a_provider_that_compiles_tells_no_precision_but_how_much_it_took() -> None:
    events = [kernel("Blob_1", "uint8", "AcmeExecutionProvider"), kernel("Conv")]
    given = {"AcmeExecutionProvider": ["Cast", "Conv", "Conv"], "CPUExecutionProvider": ["Conv", "Unique"]}
    executed = summarise(events, given)
    assert executed.sums == {"AcmeExecutionProvider": 2, "CPUExecutionProvider": 1}
    assert executed.layers == {"fp32": 1}
    notes = " ".join(executed.notes())
    assert "AcmeExecutionProvider computes 3 of 5 nodes, with 2 of 3 weighted sums." in notes
    assert "CPUExecutionProvider computes 2 of 5 nodes, with 1 of 3 weighted sums." in notes
    assert "AcmeExecutionProvider does not tell in which precision it computes 2 of them." in notes


def test_most_weighted_sums_give_the_precision() -> None:
    assert summarise([kernel("Conv"), *[kernel("QLinearConv", "uint8")] * 2], None).precision == "int8"
    assert Executed().precision == ""
