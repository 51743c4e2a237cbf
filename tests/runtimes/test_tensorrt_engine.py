"""NVIDIA's own parser and builder, which run without a GPU in TensorRT for RTX."""

from __future__ import annotations

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.runtimes import tensorrt_engine
from dsrfau_edge.runtimes.tensorrt_engine import EngineOptions, build_engine, check_options, find_module, is_rtx


@pytest.fixture
def trt() -> Any:
    module = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: no real parser and builder")
    if not hasattr(module, "Builder"):
        pytest.skip("tensorrt-rtx is installed without its libraries")
    return module


def test_the_portable_graph_is_parsed_and_built(trt: Any, tiny_onnx: bytes) -> None:
    built = build_engine(trt, tiny_onnx, EngineOptions(profile=(1, 2, 4), workspace_gb=0.5))
    assert len(built.content) > len(tiny_onnx) / 2
    assert built.network["convolution"] == 5


def test_it_builds_for_named_gpus(trt: Any, tiny_onnx: bytes) -> None:
    one = build_engine(trt, tiny_onnx, EngineOptions(capabilities=(86,)))
    two = build_engine(trt, tiny_onnx, EngineOptions(capabilities=(75, 86)))
    assert len(two.content) > len(one.content)


def test_a_workspace_that_is_too_small_is_named(trt: Any, tiny_onnx: bytes) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"builder of .* refuses the graph: .*more memory than --workspace-gb"):
        build_engine(trt, tiny_onnx, EngineOptions(workspace_gb=1e-9))


def test_progress_rises_to_the_end(trt: Any, tiny_onnx: bytes) -> None:
    told: list[tuple[str, float]] = []
    build_engine(trt, tiny_onnx, EngineOptions(), lambda what, share: told.append((what, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0] < 0.2, shares[-1]) == (True, 1.0)
    assert all(what.startswith("TensorRT: ") for what, _ in told)
    assert len({what for what, _ in told}) > 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_progress_raises_stops_the_build(trt: Any, tiny_onnx: bytes, error: type[BaseException]) -> None:
    told: list[float] = []

    def interrupted(what: str, share: float) -> None:
        told.append(share)
        raise error

    with pytest.raises(error):
        build_engine(trt, tiny_onnx, EngineOptions(), interrupted)
    assert len(told) == 1


def test_ctrl_c_stops_the_build_wherever_it_meets_it(trt: Any, tiny_onnx: bytes) -> None:
    steps: list[float] = []

    def typed(what: str, share: float) -> None:
        steps.append(share)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background ignores Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt):
            build_engine(trt, tiny_onnx, EngineOptions(), typed)
        assert len(steps) < 20, "it did not wait for the end"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_handlers_and_threads_are_left_alone(trt: Any, tiny_onnx: bytes) -> None:
    typed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: typed.append(number))
    try:
        build_engine(trt, tiny_onnx, EngineOptions(), lambda what, share: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(typed) > 3
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(build_engine, trt, tiny_onnx, EngineOptions()).result().content


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timing_cache": Path("timings")}, "times no layers.*Leave out --timing-cache"),
        ({"dla": 0}, "for GPUs alone.*Leave out --dla"),
        ({"hardware_compatible": "ampere+"}, "no such level: name the GPUs with --sm"),
        ({"optimization_level": 0}, "same engine at every level.*Leave out --optimization-level"),
    ],
)
def test_what_rtx_would_ignore_is_refused(trt: Any, tiny_onnx: bytes, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_engine(trt, tiny_onnx, EngineOptions(**options))


def test_rtx_really_ignores_it(trt: Any) -> None:
    """Why the options above are refused: a version that takes them fails here."""
    config = trt.Builder(tensorrt_engine.make_logger(trt)).create_builder_config()
    config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert config.hardware_compatibility_level == trt.HardwareCompatibilityLevel.NONE
    config.DLA_core = 0
    assert config.DLA_core == -1


def test_a_profile_needs_a_dynamic_batch(trt: Any, tiny_onnx: bytes) -> None:
    import onnx

    model = onnx.load_from_string(tiny_onnx)
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 2
    with pytest.raises(UsageError, match=r"--profile.*--dynamic-batch"):
        build_engine(trt, model.SerializeToString(), EngineOptions(profile=(1, 1, 2)))
    assert build_engine(trt, model.SerializeToString(), EngineOptions()).content


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


class Level:
    """Of TensorRT 10.3, which lacks the second one."""

    AMPERE_PLUS = "ampere"


def plain(cores: int = 0) -> Any:
    """As much of a plain TensorRT as its options need: what they set is read back from the configuration."""
    kinds = {
        "BuilderFlag": SimpleNamespace(TF32="TF32", GPU_FALLBACK="GPU_FALLBACK"),
        "MemoryPoolType": SimpleNamespace(WORKSPACE="WORKSPACE"),
        "ProfilingVerbosity": SimpleNamespace(DETAILED="DETAILED"),
        "DeviceType": SimpleNamespace(DLA="DLA"),
        "HardwareCompatibilityLevel": Level,
    }
    return SimpleNamespace(__name__="tensorrt", __version__="10.3.0", num_DLA_cores=cores, **kinds)


class Config:
    """Records its flags and limits."""

    def __init__(self) -> None:
        self.flags, self.limits = {"TF32"}, {}

    def set_flag(self, flag: str) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: str) -> None:
        self.flags.remove(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.limits[pool] = size


def configured(trt: Any, **options: Any) -> Any:
    builder = SimpleNamespace(create_builder_config=Config, num_DLA_cores=trt.num_DLA_cores)
    return tensorrt_engine._config(trt, builder, EngineOptions(**options))


def test_the_options_of_plain_tensorrt_reach_its_builder() -> None:
    assert not is_rtx(plain())
    config = configured(plain(), workspace_gb=0.5, optimization_level=0, hardware_compatible="ampere+")
    assert (config.flags, config.limits) == (set(), {"WORKSPACE": 1 << 29})
    assert (config.builder_optimization_level, config.hardware_compatibility_level) == (0, "ampere")
    assert config.profiling_verbosity == "DETAILED"
    assert configured(plain(), tf32=True).flags == {"TF32"}
    config = configured(plain(cores=2), dla=1)
    assert (config.default_device_type, config.DLA_core, config.flags) == ("DLA", 1, {"GPU_FALLBACK"})


def test_what_plain_tensorrt_or_the_machine_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match=r"takes no list of compute capabilities.*Leave out --sm"):
        check_options(plain(), EngineOptions(capabilities=(86,)))
    with pytest.raises(UsageError, match=r"10\.3\.0 has no hardware compatibility 'same-cc'"):
        check_options(plain(), EngineOptions(hardware_compatible="same-cc"))
    with pytest.raises(UsageError, match=r"finds no DLA on this machine.*Leave out --dla"):
        configured(plain(), dla=0)
    with pytest.raises(UsageError, match="has DLA cores 0 to 0, so --dla 1"):
        configured(plain(cores=1), dla=1)
