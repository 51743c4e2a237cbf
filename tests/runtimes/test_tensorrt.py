"""The TensorRT session without a GPU: a fake module whose engines are ONNX graphs that onnxruntime runs on fake memory.

Only names that the real TensorRT bindings have are given to the fake (checked below where they are installed), so that
code which calls anything else fails here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsrfau_edge.bundle import Bundle
from dsrfau_edge.errors import EngineMismatch, RuntimeUnavailable
from dsrfau_edge.runtimes import cuda_memory, tensorrt, tensorrt_engine
from dsrfau_edge.runtimes.base import ModelFiles, SessionOptions
from dsrfau_edge.runtimes.cuda_driver import Driver, Gpu
from dsrfau_edge.runtimes.tensorrt import TensorRtRuntime

ORIN = Gpu(0, "Orin", 87, 8 << 30)
MAX_BATCH = 8


class FakeMemory:
    """Addresses are numbers, memory is a dictionary, and everything outside `current` is an error."""

    def __init__(self) -> None:
        self.stream = 77
        self.buffers: dict[int, bytearray] = {}
        self.depth = 0
        self.closed = False

    def opened(self) -> FakeMemory:
        self.closed = False
        return self

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        assert not self.closed, "the real memory's context is gone by now"
        self.depth += 1
        yield
        self.depth -= 1

    def allocate(self, size: int) -> int:
        assert self.depth
        address = 4096 * (len(self.buffers) + 1)
        self.buffers[address] = bytearray(size)
        return address

    def copy_in(self, address: int, array: Any) -> None:
        assert self.depth
        assert array.nbytes <= len(self.buffers[address])
        self.buffers[address][: array.nbytes] = array.tobytes()

    def copy_out(self, array: Any, address: int) -> None:
        assert self.depth
        array[...] = np.frombuffer(self.buffers[address], array.dtype)[: array.size].reshape(array.shape)

    def synchronize(self) -> None:
        assert self.depth

    def close(self) -> None:
        self.closed = True
        self.buffers.clear()


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.addresses, self.shape = engine, {}, None
        self.memory = engine.trt.memory

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "crops"
        self.shape = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.shape[0], *self.engine.get_tensor_shape(name)[1:])

    def execute_async_v3(self, stream: int) -> bool:
        if stream != self.memory.stream or self.engine.trt.fail_to_run:
            self.engine.trt.logger.log("ERROR", "out of memory on the device")
            return False
        size = int(np.prod(self.shape))
        crops = np.frombuffer(self.memory.buffers[self.addresses["crops"]], np.uint8)[:size].reshape(self.shape)
        names = ("intensities", "heatmaps")
        for name, values in zip(names, self.engine.session.run(names, {"crops": crops}), strict=True):
            self.memory.copy_in(self.addresses[name], values)
        return True


class FakeEngine:
    num_io_tensors = 3

    def __init__(self, trt: FakeTrt, graph: bytes) -> None:
        import onnxruntime

        self.trt = trt
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.tensors = [*self.session.get_inputs(), *self.session.get_outputs()]

    def get_tensor_name(self, index: int) -> str:
        return str(self.tensors[index].name)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        shape = next(tensor.shape for tensor in self.tensors if tensor.name == name)
        return tuple(axis if isinstance(axis, int) else -1 for axis in shape)

    def get_tensor_dtype(self, name: str) -> Any:
        return np.uint8 if name == "crops" else np.float32

    def get_tensor_profile_shape(self, name: str, profile: int) -> tuple[tuple[int, ...], ...]:
        rest = self.get_tensor_shape(name)[1:]
        return ((1, *rest), (1, *rest), (MAX_BATCH, *rest))

    def create_execution_context(self) -> FakeContext | None:
        return None if self.trt.full else FakeContext(self)


class FakeTrt:
    """The part of the module that a session uses; `build_engine` is replaced beside it."""

    __name__ = "tensorrt"
    __version__ = "10.3.0"
    Builder = object

    def __init__(self) -> None:
        self.memory = FakeMemory()
        self.full = self.fail_to_run = False
        self.refuse = 0
        self.builds = 0

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"

    def Runtime(self, logger: Any) -> Any:  # noqa: N802 - the library's name
        trt = self
        self.logger = logger

        class Runtime:
            def deserialize_cuda_engine(self, content: bytes) -> FakeEngine | None:
                if trt.refuse or not content.startswith(b"PLAN"):
                    trt.refuse = max(trt.refuse - 1, 0)
                    logger.log("ERROR", "Version tag does not match.")
                    return None
                return FakeEngine(trt, content[4:])

        return Runtime()

    @staticmethod
    def nptype(kind: Any) -> Any:
        return kind


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> FakeTrt:
    fake = FakeTrt()

    def build(module: Any, graph: bytes, options: Any) -> bytes:
        fake.builds += 1
        return b"PLAN" + graph

    monkeypatch.setattr(tensorrt, "find_module", lambda: fake)
    monkeypatch.setattr(tensorrt, "build_engine", build)
    monkeypatch.setattr(tensorrt, "driver", lambda: Driver((ORIN,), "12.6"))
    monkeypatch.setattr(cuda_memory, "provider", lambda: "cuda-python")
    monkeypatch.setattr(cuda_memory, "open_memory", lambda index: fake.memory.opened())
    return fake


@pytest.fixture
def model(opened_bundle: Bundle) -> ModelFiles:
    return replace(opened_bundle.model_files(), format="tensorrt")


@pytest.fixture
def engine_model(model: ModelFiles, tmp_path: Path) -> ModelFiles:
    """A bundle with an engine for this very device."""
    (tmp_path / "model.engine").write_bytes(b"PLAN" + model.path.read_bytes())
    build = {"tensorrt_module": "tensorrt", "tensorrt": "10.3.0", "compute_capabilities": [87]}
    return replace(model, path=tmp_path / "model.engine", build=build)


@pytest.fixture
def expected(tiny_onnx: bytes, tiny_crops: Any) -> Any:
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(tiny_onnx).run(None, {"crops": tiny_crops})


def options(tmp_path: Path, **more: Any) -> SessionOptions:
    return SessionOptions(cache=tmp_path / "cache", **more)


def test_a_typed_graph_is_compiled_once_and_kept(
    trt: FakeTrt, model: ModelFiles, tmp_path: Path, tiny_crops: Any, expected: Any
) -> None:
    assert TensorRtRuntime().availability().ok
    for _ in range(2):
        session = TensorRtRuntime().load(model, "cuda:0", options(tmp_path, heatmaps=True))
        outputs = session.infer(tiny_crops)
        np.testing.assert_allclose(outputs.intensities, expected[0], atol=1e-5)
        assert outputs.heatmaps is not None
        np.testing.assert_allclose(outputs.heatmaps, expected[1], atol=1e-5)
        session.close()
        session.close()
        assert trt.memory.closed
        with pytest.raises(RuntimeUnavailable, match="closed"):
            session.infer(tiny_crops)
    assert trt.builds == 1


def test_more_crops_than_the_profile_takes_are_split(
    trt: FakeTrt, model: ModelFiles, tmp_path: Path, tiny_crops: Any, expected: Any
) -> None:
    many = np.concatenate([tiny_crops, tiny_crops, tiny_crops[:3]])
    outputs = TensorRtRuntime().load(model, None, options(tmp_path)).infer(many)
    assert outputs.heatmaps is None
    np.testing.assert_allclose(outputs.intensities[16:], expected[0][:3], atol=1e-5)
    assert len(outputs.intensities) == 19


def test_another_graph_another_version_or_tf32_is_another_engine(
    trt: FakeTrt, model: ModelFiles, tmp_path: Path
) -> None:
    TensorRtRuntime().load(model, None, options(tmp_path))
    TensorRtRuntime().load(model, None, options(tmp_path, native_precision=True))
    trt.__version__ = "10.4.0"
    TensorRtRuntime().load(model, None, options(tmp_path))
    assert trt.builds == 3
    assert len(list((tmp_path / "cache").glob("*.engine"))) == 3


def test_a_kept_engine_that_is_refused_is_built_again(trt: FakeTrt, model: ModelFiles, tmp_path: Path) -> None:
    TensorRtRuntime().load(model, None, options(tmp_path))
    trt.refuse = 1
    TensorRtRuntime().load(model, None, options(tmp_path))
    assert trt.builds == 2
    trt.refuse = 2
    with pytest.raises(EngineMismatch, match="Version tag does not match"):
        TensorRtRuntime().load(model, None, options(tmp_path))
    assert trt.memory.closed


def test_an_engine_for_this_device_runs(trt: FakeTrt, engine_model: ModelFiles, tiny_crops: Any, expected: Any) -> None:
    session = TensorRtRuntime().load(engine_model)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda index: session.infer(tiny_crops[[index % 8]]).intensities[0], range(24)))
    np.testing.assert_allclose(found, np.tile(expected[0], (3, 1)), atol=1e-5)
    assert trt.builds == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ({"tensorrt_module": "tensorrt", "tensorrt": "8.6.1"}, r"built by tensorrt 8\.6\.1.*tensorrt 10\.3\.0"),
        ({"tensorrt_module": "tensorrt_rtx", "tensorrt": "10.3.0"}, "built by tensorrt_rtx"),
        ({"compute_capabilities": [86, 89]}, "86, 89, and Orin has 87"),
    ],
)
def test_an_engine_for_another_device_says_what_why_and_how_to_fix_it(
    trt: FakeTrt, engine_model: ModelFiles, build: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineMismatch, match=rf"(?s){message}.*dsrfau-export BUNDLE --target tensorrt"):
        TensorRtRuntime().load(replace(engine_model, build={**engine_model.build, **build}))


def test_an_engine_that_tensorrt_refuses_names_its_reason(trt: FakeTrt, engine_model: ModelFiles) -> None:
    engine_model.path.write_bytes(b"not a plan")
    with pytest.raises(EngineMismatch, match="Version tag does not match"):
        TensorRtRuntime().load(engine_model)


def test_a_full_gpu_is_named(trt: FakeTrt, engine_model: ModelFiles, tiny_crops: Any) -> None:
    session = TensorRtRuntime().load(engine_model)
    trt.fail_to_run = True
    with pytest.raises(RuntimeUnavailable, match="out of memory on the device"):
        session.infer(tiny_crops)
    trt.full = True
    with pytest.raises(RuntimeUnavailable, match="cannot start"):
        TensorRtRuntime().load(engine_model)


@pytest.mark.parametrize(("device", "ok"), [(None, True), ("gpu", True), ("cuda:1", False), ("cuda:x", False)])
def test_only_gpus_that_are_there(trt: FakeTrt, device: str | None, ok: bool) -> None:
    availability = TensorRtRuntime().availability(device)
    assert availability.ok is ok
    assert ok or "among cuda:0" in availability.reason


def test_without_a_driver_no_runtime_object_is_touched(trt: FakeTrt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "driver", lambda: Driver(reason="There is no driver.", fix="Install it."))
    monkeypatch.setattr(trt, "Runtime", lambda logger: pytest.fail("a runtime without a driver crashes the process"))
    with pytest.raises(RuntimeUnavailable, match="There is no driver"):
        TensorRtRuntime().load(None)  # type: ignore[arg-type]


def test_without_tensorrt_the_fix_is_named(trt: FakeTrt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "find_module", lambda: None)
    availability = TensorRtRuntime().availability()
    assert not availability.ok
    assert "JetPack" in availability.fix
    monkeypatch.setattr(tensorrt, "find_module", lambda: 1 / 0)
    assert "cannot be examined" in TensorRtRuntime().availability().reason


def test_without_a_memory_package_the_fix_is_named(trt: FakeTrt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_memory, "provider", lambda: None)
    assert "cuda-python" in TensorRtRuntime().availability().fix


def test_the_fake_has_only_names_that_the_real_bindings_have() -> None:
    real = tensorrt_engine.find_module()
    if real is None:
        pytest.skip("neither tensorrt nor tensorrt_rtx is installed")
    ours = {"ICudaEngine": FakeEngine, "IExecutionContext": FakeContext}
    for name, fake in ours.items():
        public = {attribute for attribute in vars(fake) if not attribute.startswith("_")}
        assert public <= set(dir(getattr(real, name)))
    assert {name for name in vars(FakeTrt.ILogger) if name.isupper()} <= set(dir(real.ILogger))
    assert hasattr(real.Runtime, "deserialize_cuda_engine")
    assert np.dtype(real.nptype(real.uint8)) == np.uint8
