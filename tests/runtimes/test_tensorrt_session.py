"""The TensorRT session without a GPU: results, CUDA graphs, what it says of itself, and what it frees."""

from __future__ import annotations

import ctypes
import gc
import json
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_tensorrt import FakeDriver, FakeEngine, FakeTrt

from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.runtimes import cuda_graph
from dsrfau_edge.runtimes.base import ModelFiles, SessionOptions
from dsrfau_edge.runtimes.tensorrt import TensorRtRuntime


def test_later_calls_do_not_change_earlier_results(
    trt: FakeTrt, engine_model: ModelFiles, tiny_crops: Any, expected: Any
) -> None:
    session = TensorRtRuntime().load(engine_model, None, SessionOptions(heatmaps=True))
    first = session.infer(tiny_crops[:1])
    session.infer(tiny_crops[1:2])
    np.testing.assert_allclose(first.intensities, expected[0][:1], atol=1e-5)
    assert first.heatmaps is not None
    np.testing.assert_allclose(first.heatmaps, expected[1][:1], atol=1e-5)


def test_fewer_crops_than_the_profile_takes_are_filled_up(
    trt: FakeTrt, engine_model: ModelFiles, tiny_crops: Any, expected: Any
) -> None:
    trt.least = 4
    found = TensorRtRuntime().load(engine_model).infer(tiny_crops[:3]).intensities
    np.testing.assert_allclose(found, expected[0][:3], atol=1e-5)


@pytest.fixture
def static_model(engine_model: ModelFiles, tiny_onnx: bytes) -> ModelFiles:
    """An engine of one crop a call."""
    from onnx import load_from_string

    graph = load_from_string(tiny_onnx)
    for tensor in (*graph.graph.input, *graph.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 1
    engine_model.path.write_bytes(b"PLAN" + graph.SerializeToString())
    return replace(engine_model, batch=1)


def test_a_static_shape_is_recorded_once_and_then_launched(
    trt: FakeTrt, cuda: FakeDriver, static_model: ModelFiles, tiny_crops: Any, expected: Any
) -> None:
    session = TensorRtRuntime().load(static_model)
    for index in range(4):
        found = session.infer(tiny_crops[index : index + 1]).intensities
        np.testing.assert_allclose(found, expected[0][index : index + 1], atol=1e-5)
    assert (cuda.launches, trt.memory.queued) == (3, 3), "the first call queues two copies and an execution"
    assert (cuda.graphs, cuda.executables) == (0, 1)
    session.close()
    assert cuda.executables == 0
    assert not any("CUDA graph" in note for note in session.info.notes)


def test_without_a_recording_each_call_is_queued_and_the_session_says_so(
    trt: FakeTrt, cuda: FakeDriver, static_model: ModelFiles, tiny_crops: Any, expected: Any
) -> None:
    trt.recordable = False
    session = TensorRtRuntime().load(static_model)
    for _ in range(3):
        np.testing.assert_allclose(session.infer(tiny_crops[:1]).intensities, expected[0][:1], atol=1e-5)
    assert (cuda.launches, cuda.graphs, trt.memory.recorded) == (0, 0, None)
    assert [note for note in session.info.notes if "no CUDA graph can be used: TensorRT could not run" in note]


@pytest.mark.parametrize(("fail", "message"), [("end", "cuStreamEndCapture gives CUDA error 901"), ("launch", "700")])
def test_a_driver_that_refuses_a_graph_costs_no_result(
    trt: FakeTrt, cuda: FakeDriver, static_model: ModelFiles, tiny_crops: Any, expected: Any, fail: str, message: str
) -> None:
    cuda.fail = fail
    session = TensorRtRuntime().load(static_model)
    for _ in range(3):
        np.testing.assert_allclose(session.infer(tiny_crops[:1]).intensities, expected[0][:1], atol=1e-5)
    assert (cuda.launches, cuda.executables) == (0, 0)
    assert any(message in note for note in session.info.notes)


def test_without_the_drivers_library_there_is_no_graph(
    trt: FakeTrt, static_model: ModelFiles, monkeypatch: pytest.MonkeyPatch, tiny_crops: Any
) -> None:
    def missing() -> ctypes.CDLL:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(cuda_graph, "library", missing)
    session = TensorRtRuntime().load(static_model)
    session.infer(tiny_crops[:2])
    assert any("libcuda" in note for note in session.info.notes)
    monkeypatch.setattr(cuda_graph, "library", object)
    session = TensorRtRuntime().load(static_model)
    session.infer(tiny_crops[:2])
    assert any("too old for cuStreamBeginCapture_v2" in note for note in session.info.notes)


def test_graphs_can_be_switched_off(
    trt: FakeTrt,
    cuda: FakeDriver,
    static_model: ModelFiles,
    engine_model: ModelFiles,
    tiny_crops: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(cuda_graph.SWITCH, "0")
    session = TensorRtRuntime().load(static_model)
    session.infer(tiny_crops[:2])
    assert (cuda.launches, cuda.executables) == (0, 0)
    assert any("switched off by DSRFAU_CUDA_GRAPH=0" in note for note in session.info.notes)
    monkeypatch.setenv(cuda_graph.SWITCH, "off")
    with pytest.raises(UsageError, match="DSRFAU_CUDA_GRAPH=off says neither"):
        TensorRtRuntime().load(static_model)
    assert trt.memory.closed


def test_any_number_of_crops_is_queued_without_a_graph(
    trt: FakeTrt, cuda: FakeDriver, engine_model: ModelFiles, tiny_crops: Any
) -> None:
    session = TensorRtRuntime().load(engine_model)
    session.infer(tiny_crops[:2])
    session.infer(tiny_crops[:2])
    assert cuda.launches == 0
    assert any("without a CUDA graph" in note for note in session.info.notes)


def test_the_session_says_what_it_runs_on(trt: FakeTrt, engine_model: ModelFiles) -> None:
    session = TensorRtRuntime().load(engine_model)
    info = session.info
    assert (info.runtime, info.version, info.device) == ("tensorrt", "10.3.0", "Orin (cuda:0)")
    assert (info.precision, info.layers) == ("fp16", {"fp16": 1})
    assert session.info == info
    for silent in ("", "[]", json.dumps({"Layers": ["conv1", "conv2"]})):
        trt.told = silent
        quiet = TensorRtRuntime().load(engine_model)
        assert quiet.info.precision == ""
        assert [note for note in quiet.info.notes if "does not tell in which precision" in note]
        quiet.close()
        assert quiet.info.device == "Orin (cuda:0)"


@pytest.fixture
def freed(trt: FakeTrt, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """For each engine that has been freed: how deep in the GPU's context, and whether its memory was gone by then."""
    found: list[tuple[int, bool]] = []
    make = FakeEngine.__init__

    def watched(self: FakeEngine, fake: FakeTrt, graph: bytes) -> None:
        make(self, fake, graph)
        weakref.finalize(self, lambda: found.append((trt.memory.depth, trt.memory.closed)))

    monkeypatch.setattr(FakeEngine, "__init__", watched)
    return found


def test_close_frees_the_engine_in_its_context_and_before_the_buffers(
    trt: FakeTrt, cuda: FakeDriver, static_model: ModelFiles, tiny_crops: Any, freed: list[tuple[int, bool]]
) -> None:
    gc.disable()  # no cycle may keep it
    try:
        for _ in range(20):
            session = TensorRtRuntime().load(static_model)
            session.infer(tiny_crops[:2])
            session.close()
            session.close()
        assert freed == [(1, False)] * 20
        kept = weakref.ref(session)
        del session
        assert kept() is None
    finally:
        gc.enable()
    assert (cuda.executables, trt.memory.buffers) == (0, {})


@pytest.mark.parametrize("breaks", ["full", "allocate_host", "allocate"])
def test_what_a_failed_load_made_is_freed_while_the_context_is_current(
    trt: FakeTrt,
    engine_model: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
    freed: list[tuple[int, bool]],
    breaks: str,
) -> None:
    def no_memory(size: int) -> int:
        raise RuntimeUnavailable("cudaMalloc failed")

    trt.full = breaks == "full"
    if breaks != "full":
        monkeypatch.setattr(trt.memory, breaks, no_memory)
    with pytest.raises(RuntimeUnavailable):
        TensorRtRuntime().load(engine_model)
    gc.collect()
    assert freed == [(1, False)]
    assert (trt.memory.depth, trt.memory.closed) == (0, True)


def test_what_failed_first_is_told(trt: FakeTrt, engine_model: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        trt.memory.closed = True
        raise RuntimeUnavailable("cudaFree failed on GPU 0")

    trt.full = True
    monkeypatch.setattr(trt.memory, "close", broken)
    with pytest.raises(RuntimeUnavailable, match="cannot start"):
        TensorRtRuntime().load(engine_model)
    assert trt.memory.closed
