"""What is particular to OpenVINO."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dsrfau_edge.bundle import Bundle
from dsrfau_edge.runtimes.base import SessionOptions
from dsrfau_edge.runtimes.openvino import OpenVinoRuntime, _properties

pytest.importorskip("openvino")


@pytest.mark.parametrize(
    ("precision", "device", "native", "hint"),
    [
        ("fp32", None, False, "f32"),
        ("int8", "cpu", False, "f32"),
        ("fp16", "cpu", False, "f32"),  # CPUs compute fp16 weights in f32
        ("fp16", "gpu", False, "f16"),
        ("fp32", "gpu:1", False, "f32"),
        ("fp32", "cpu", True, None),
        ("fp32", "npu", False, None),
    ],
)
def test_it_computes_in_the_precision_that_the_bundle_states(
    opened_bundle: Bundle, precision: str, device: str | None, native: bool, hint: str | None
) -> None:
    model = replace(opened_bundle.model_files(), precision=precision)
    properties = _properties(model, device, SessionOptions(native_precision=native, threads=2))
    assert properties.get("INFERENCE_PRECISION_HINT") == hint
    assert properties["PERFORMANCE_HINT"] == "LATENCY"
    assert properties.get("INFERENCE_NUM_THREADS") == (2 if device in (None, "cpu") else None)


def test_native_precision_is_taken_on_request(opened_bundle: Bundle, tiny_crops: Any) -> None:
    model = opened_bundle.model_files()
    exact = OpenVinoRuntime().load(model).infer(tiny_crops).intensities
    native = OpenVinoRuntime().load(model, options=SessionOptions(native_precision=True)).infer(tiny_crops).intensities
    np.testing.assert_allclose(native, exact, atol=0.1)


def test_a_missing_device_names_those_that_are_there() -> None:
    availability = OpenVinoRuntime().availability("hddl")
    assert not availability.ok
    assert "HDDL" in availability.reason
    assert "CPU" in availability.reason
