"""Loading for TensorRT without a GPU: which engine is taken, and what is said where none can be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_tensorrt import ORIN, FakeTrt, options

from dsrfau_edge.bundle import Bundle
from dsrfau_edge.errors import EngineMismatch, RuntimeUnavailable
from dsrfau_edge.runtimes import cuda_memory, tensorrt, tensorrt_engine
from dsrfau_edge.runtimes.base import ModelFiles
from dsrfau_edge.runtimes.cuda_driver import Driver
from dsrfau_edge.runtimes.tensorrt import TensorRtRuntime


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
    with pytest.raises(EngineMismatch, match=rf"(?s){message}.*dsrfau-export \S+ --target tensorrt --precision fp32"):
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


def test_an_engine_for_another_device_is_replaced_by_one_from_its_typed_graph(
    trt: FakeTrt,
    engine_model: ModelFiles,
    tmp_path: Path,
    tiny_crops: Any,
    expected: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    foreign = replace(
        engine_model,
        graph=engine_model.portable,
        build={"tensorrt_module": "tensorrt", "tensorrt": "8.6.1", "profile": [2, 4, 8]},
    )
    told: list[tuple[str, float]] = []
    for _ in range(2):
        session = TensorRtRuntime().load(
            foreign, None, options(tmp_path, progress=lambda what, share: told.append((what, share)))
        )
        np.testing.assert_allclose(session.infer(tiny_crops).intensities, expected[0], atol=1e-5)
        session.close()
    assert trt.builds == 1
    assert told == [("TensorRT: building", 0.5)]
    assert trt.options[0].profile == (2, 4, 8)
    assert "tensorrt 8.6.1, here is tensorrt 10.3.0" in caplog.text
    assert "comes from its typed graph" in caplog.text
    assert any(note.startswith("The engine kept in") for note in session.info.notes)


def test_an_engine_that_does_not_load_is_replaced_too(trt: FakeTrt, engine_model: ModelFiles, tmp_path: Path) -> None:
    engine_model.path.write_bytes(b"not a plan")
    TensorRtRuntime().load(replace(engine_model, graph=engine_model.portable), None, options(tmp_path))
    assert trt.builds == 1


def test_an_engine_for_a_dla_is_loaded_on_its_core_and_never_moved_to_the_gpu(
    trt: FakeTrt, engine_model: ModelFiles, tmp_path: Path
) -> None:
    dla = replace(engine_model, graph=engine_model.portable, build={"dla_core": 1})
    TensorRtRuntime().load(dla, None, options(tmp_path))
    assert trt.runtimes[-1].DLA_core == 1
    with pytest.raises(EngineMismatch, match="dsrfau-export"):
        TensorRtRuntime().load(replace(dla, build={"dla_core": 1, "tensorrt": "8.6"}), None, options(tmp_path))
    assert trt.builds == 0


def test_ampere_engines_run_on_newer_gpus(trt: FakeTrt, engine_model: ModelFiles) -> None:
    build = {"compute_capabilities": [80], "hardware_compatible": "ampere+"}
    TensorRtRuntime().load(replace(engine_model, build=build)).close()
    with pytest.raises(EngineMismatch, match="compute capability 80"):
        TensorRtRuntime().load(replace(engine_model, build={**build, "hardware_compatible": "same-cc"}))


@pytest.mark.parametrize(("module", "capability", "named"), [
    ("tensorrt_rtx", 75, (75,)), ("tensorrt_rtx", 89, ()), ("tensorrt", 75, ()), ("tensorrt", 87, ())
])  # fmt: skip
def test_turing_is_named_to_rtx_which_leaves_it_out_otherwise(
    trt: FakeTrt, model: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, capability: int,
    named: tuple[int, ...],
) -> None:  # fmt: skip
    monkeypatch.setattr(trt, "__name__", module)
    monkeypatch.setattr(tensorrt, "driver", lambda: Driver((replace(ORIN, capability=capability),), "12.6"))
    TensorRtRuntime().load(model, None, options(tmp_path))
    assert trt.options[0].capabilities == named


def test_a_bundle_built_elsewhere_runs_here_from_its_typed_graph(
    request: pytest.FixtureRequest, tiny_checkpoint: Path, tmp_path: Path, tiny_crops: Any, expected: Any
) -> None:
    """The whole way from `dsrfau-export` on a machine with RTX to a Jetson, but for the GPU."""
    real = tensorrt_engine.find_module()
    if real is None or not tensorrt_engine.is_rtx(real):
        pytest.skip("tensorrt-rtx is not installed: no real engine without a GPU")
    from dsrfau_edge.export.pipeline import ExportOptions, export

    wanted = ExportOptions(precision="int8", batch="dynamic", target_options={"profile": (1, 3, 5)})
    (report,) = export(tiny_checkpoint, "tensorrt", tmp_path, wanted)
    assert report.path is not None
    model = Bundle.open(report.path).model_files()
    assert (model.path.name, model.graph and model.graph.name) == ("model.engine", "model.onnx")
    trt: FakeTrt = request.getfixturevalue("trt")  # from here on this is the device
    session = TensorRtRuntime().load(model, None, options(tmp_path))
    assert (trt.builds, trt.options[0].profile) == (1, (1, 3, 5))
    found = session.infer(tiny_crops).intensities
    assert 0 < np.abs(found - expected[0]).max() < 0.5, "int8, from the typed graph and not the fp32 one"
    with pytest.raises(EngineMismatch, match=rf"tensorrt_rtx {real.__version__}.*--precision int8 --dynamic-batch -o"):
        TensorRtRuntime().load(replace(model, graph=None), None, options(tmp_path))
