"""Whether TensorRT's real Python API has every name that we and our fakes use."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from fake_tensorrt import FakeContext, FakeEngine, FakeInspector, FakeTrt

from dsrfau_edge.runtimes import tensorrt_engine

NAMES = runpy.run_path(str(Path(__file__).with_name("list_tensorrt_names.py")))
#: What only TensorRT for RTX has, and is asked of no other.
RTX_ONLY = {
    "ComputeCapability",
    "CudaGraphStrategy",
    "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "ICudaEngine.create_runtime_config",
    "IRuntimeConfig.cuda_graph_strategy",
}


@pytest.fixture(scope="module")
def used() -> set[str]:
    found: set[str] = NAMES["used_names"]([file.read_text() for file in NAMES["FILES"]])
    return found


def test_every_name_that_we_use_is_in_the_bindings_of_tensorrt_10_and_11(used: set[str]) -> None:
    table = json.loads(NAMES["JSON"].read_text())
    assert table["versions"] == ["10.3.0", "10.16.1", "11.4.0"]  # JetPack 6 has the first
    unlisted = used - set(table["names"])
    assert not unlisted, "list them: python tests/runtimes/list_tensorrt_names.py, see there"
    assert len(used) > 60
    missing = {name for name in used if table["names"][name] != table["versions"]}
    assert missing == RTX_ONLY


def test_every_name_that_we_use_is_in_the_tensorrt_that_is_installed(used: set[str]) -> None:
    real = tensorrt_engine.find_module()
    if real is None:
        pytest.skip("neither tensorrt nor tensorrt_rtx is installed")
    names = {name: dir(getattr(real, name)) for name in dir(real)}
    allowed = set() if tensorrt_engine.is_rtx(real) else RTX_ONLY
    assert {name for name in used if not NAMES["has"](names, name)} <= allowed


def test_uses_are_found_wherever_they_stand() -> None:
    source = """
def f(trt, self):
    config.a_flag = trt.Kind.MEMBER
    self._loaded.engine.create_engine_inspector().tell(self._loaded.trt.Form.JSON)
    class L(trt.ILogger): pass
    trt.Runtime(x).deserialize()
    other.thing(trt.__version__)
"""
    assert NAMES["used_names"]([source]) == {
        "IBuilderConfig.a_flag", "Kind", "Kind.MEMBER", "ICudaEngine.create_engine_inspector", "EngineInspector.tell",
        "Form", "Form.JSON", "ILogger", "Runtime", "Runtime.deserialize",
    }  # fmt: skip


def test_the_fake_has_only_names_that_the_real_bindings_have() -> None:
    real = tensorrt_engine.find_module()
    if real is None:
        pytest.skip("neither tensorrt nor tensorrt_rtx is installed")
    ours = {"ICudaEngine": FakeEngine, "IExecutionContext": FakeContext, "EngineInspector": FakeInspector}
    for name, fake in ours.items():
        public = {attribute for attribute in vars(fake) if not attribute.startswith("_")}
        assert public <= set(dir(getattr(real, name)))
    assert {name for name in vars(FakeTrt.ILogger) if name.isupper()} <= set(dir(real.ILogger))
    assert {"deserialize_cuda_engine", "DLA_core"} <= set(dir(real.Runtime))
    assert np.dtype(real.nptype(real.uint8)) == np.uint8
