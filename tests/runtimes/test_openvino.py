"""What is particular to OpenVINO."""

from __future__ import annotations

import locale
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsrfau_edge.bundle import Bundle
from dsrfau_edge.errors import RuntimeUnavailable
from dsrfau_edge.runtimes import openvino as module
from dsrfau_edge.runtimes.base import ModelFiles, SessionOptions
from dsrfau_edge.runtimes.onnxruntime import OnnxRuntime
from dsrfau_edge.runtimes.openvino import OpenVinoRuntime, _cache, _device, _properties

openvino = pytest.importorskip("openvino")


@pytest.fixture
def files(opened_bundle: Bundle) -> ModelFiles:
    return opened_bundle.model_files()


@pytest.mark.parametrize(
    ("precision", "device", "native", "hint"),
    [
        ("fp32", None, False, "f32"),
        ("int8", "cpu", False, "f32"),
        ("fp16", "cpu", False, "f32"),  # CPUs compute fp16 weights in f32
        ("fp16", "gpu", False, "f16"),
        ("fp32", "gpu:1", False, "f32"),
        ("fp16", "auto:gpu,cpu", False, "f32"),  # on the CPU f16 would mean bf16
        ("fp32", "auto", False, "f32"),
        ("fp32", "cpu", True, None),
        ("fp32", "npu", False, None),
    ],
)
def test_it_computes_in_the_precision_that_the_bundle_states(
    files: ModelFiles, precision: str, device: str | None, native: bool, hint: str | None
) -> None:
    options = SessionOptions(native_precision=native, threads=2)
    properties = _properties(replace(files, precision=precision), _device(device), options)
    assert properties.get("INFERENCE_PRECISION_HINT") == hint
    assert properties["PERFORMANCE_HINT"] == "LATENCY"
    on_cpu = device in (None, "cpu", "auto", "auto:gpu,cpu")
    assert properties.get("INFERENCE_NUM_THREADS") == (2 if on_cpu else None)


def test_native_precision_is_taken_on_request(files: ModelFiles, tiny_crops: Any) -> None:
    exact = OpenVinoRuntime().load(files).infer(tiny_crops).intensities
    session = OpenVinoRuntime().load(files, options=SessionOptions(native_precision=True))
    np.testing.assert_allclose(session.infer(tiny_crops).intensities, exact, atol=0.1)
    assert session.info.precision in ("bf16", "fp16", "fp32")
    assert sum(session.info.layers.values()) == 5


@pytest.mark.parametrize("device", ["hddl", "", "gpu:7", "cpu:0", "cuda+cpu", "auto:", "auto:hddl,cpu", "hetero:hddl"])
def test_a_missing_device_names_those_that_are_there(device: str) -> None:
    availability = OpenVinoRuntime().availability(device)
    assert not availability.ok
    assert "finds no device" in availability.reason
    assert "CPU" in availability.reason
    assert availability.fix


@pytest.mark.parametrize("device", ["multi:cpu", "batch:cpu", "hetero"])
def test_what_is_not_taken_names_what_is(device: str) -> None:
    availability = OpenVinoRuntime().availability(device)
    assert not availability.ok
    assert device.upper() in availability.reason
    assert "auto" in availability.fix


@pytest.mark.parametrize("device", [None, "cpu", "CPU", "auto", "auto:cpu", "hetero:cpu"])
def test_info_tells_what_is_executed(files: ModelFiles, device: str | None) -> None:
    session = OpenVinoRuntime().load(files, device, SessionOptions(threads=1))
    info = session.info
    assert (info.runtime, info.precision, info.threads, info.notes) == ("openvino", "fp32", 1, ())
    assert info.layers == {"fp32": 5}
    assert info.device.startswith("CPU (")
    assert info.version[:2] == "20"
    assert session.info is info
    session.close()
    assert session.info is info


def test_a_closed_session_has_no_info(files: ModelFiles) -> None:
    session = OpenVinoRuntime().load(files)
    session.close()
    with pytest.raises(RuntimeUnavailable, match="closed"):
        _ = session.info


def test_onnx_runtimes_int8_is_int8_here_too(files: ModelFiles, quantized: Path, tiny_crops: Any) -> None:
    model = replace(files, path=quantized, precision="int8")
    session = OpenVinoRuntime().load(model)
    assert session.info.precision == "int8"
    assert session.info.layers["int8"] >= 4, "the first convolution may stay in float: its input is not quantized"
    expected = OnnxRuntime().load(model).infer(tiny_crops).intensities
    np.testing.assert_allclose(session.infer(tiny_crops).intensities, expected, atol=0.1)


def test_crops_that_may_not_be_written_to(files: ModelFiles, tiny_crops: Any) -> None:
    session = OpenVinoRuntime().load(files)
    locked = tiny_crops.copy()
    locked.flags.writeable = False
    np.testing.assert_array_equal(session.infer(locked).intensities, session.infer(tiny_crops).intensities)


def test_heatmaps_are_only_there_where_they_were_wanted(files: ModelFiles) -> None:
    lean, full = OpenVinoRuntime().load(files), OpenVinoRuntime().load(files, options=SessionOptions(heatmaps=True))
    assert [len(session._one.compiled.outputs) for session in (lean, full)] == [1, 2]


def test_a_few_crops_need_nothing_but_the_network_for_one(files: ModelFiles, tiny_crops: Any) -> None:
    session = OpenVinoRuntime().load(files)
    few = session.infer(tiny_crops[:3]).intensities
    assert session._compiling is None
    several = session.infer(tiny_crops).intensities
    np.testing.assert_allclose(several[:3], few, atol=1e-5)
    session._compiling.join()
    assert session._many is not None, "made in the background, so that the call above need not wait for it"
    np.testing.assert_allclose(session.infer(tiny_crops).intensities, several, atol=1e-5)
    kept = session._many
    session.infer(tiny_crops[:7])
    assert session._many is kept, "it is compiled once"


def test_a_session_may_be_closed_while_it_compiles(files: ModelFiles, tiny_crops: Any) -> None:
    session = OpenVinoRuntime().load(files)
    session.infer(tiny_crops)
    session.close()
    assert session._many is None
    assert not session._compiling.is_alive()


def test_where_it_cannot_be_compiled_for_several_they_go_one_by_one(
    files: ModelFiles, tiny_crops: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = OpenVinoRuntime().load(files)

    def fails(*given: Any, **named: Any) -> Any:
        raise RuntimeUnavailable("no memory.")

    monkeypatch.setattr(session, "_compile", fails)
    first = session.infer(tiny_crops).intensities
    session._compiling.join()
    np.testing.assert_array_equal(session.infer(tiny_crops).intensities, first)
    assert any("no memory" in note for note in session.info.notes)


def test_what_takes_fixed_shapes_only_computes_one_by_one(
    files: ModelFiles, tiny_crops: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = OpenVinoRuntime().load(files).infer(tiny_crops).intensities
    session = OpenVinoRuntime().load(files)
    monkeypatch.setattr(session, "_any_number", False)  # as for an NPU
    np.testing.assert_allclose(session.infer(tiny_crops).intensities, expected, atol=1e-5)
    assert session._many is None


def test_one_core_serves_availability_and_every_load(files: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = openvino.Core

    def make() -> Any:
        made.append(1)
        return real()

    module._core_of.cache_clear()
    monkeypatch.setattr(openvino, "Core", make)
    for _ in range(3):
        OpenVinoRuntime().load(files).close()
    assert made == [1]


class TestCache:
    """What is compiled is kept where that was asked for or is worth it."""

    def test_a_cpu_keeps_nothing_unless_asked(
        self, files: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        OpenVinoRuntime().load(files)
        assert list(tmp_path.iterdir()) == []

    def test_the_processes_locale_stays(self, files: ModelFiles, tmp_path: Path, tiny_crops: Any) -> None:
        """OpenVINO sets it to "C" while it keeps a model, in which text is ASCII."""
        before = locale.setlocale(locale.LC_ALL)
        loaded = OpenVinoRuntime().load(files, options=SessionOptions(cache=tmp_path))
        loaded.infer(tiny_crops)
        assert not loaded._compiling.is_alive(), "nothing goes on in the background"
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: OpenVinoRuntime().load(files, options=SessionOptions(cache=tmp_path)), range(8)))
        assert locale.setlocale(locale.LC_ALL) == before

    def test_what_is_kept_gives_the_same(self, files: ModelFiles, tmp_path: Path, tiny_crops: Any) -> None:
        options = SessionOptions(cache=tmp_path / "kept")
        first = OpenVinoRuntime().load(files, options=options).infer(tiny_crops).intensities
        kept = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
        assert kept
        again = OpenVinoRuntime().load(files, options=options)
        assert again._one.compiled.get_property("LOADED_FROM_CACHE")
        assert again.info.layers == {"fp32": 5}
        np.testing.assert_array_equal(again.infer(tiny_crops).intensities, first)

    def test_half_a_file_is_compiled_anew(self, files: ModelFiles, tmp_path: Path, tiny_crops: Any) -> None:
        options = SessionOptions(cache=tmp_path)
        first = OpenVinoRuntime().load(files, options=options).infer(tiny_crops).intensities
        for path in tmp_path.iterdir():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        again = OpenVinoRuntime().load(files, options=options).infer(tiny_crops).intensities
        np.testing.assert_array_equal(again, first)

    def test_a_folder_that_cannot_be_is_a_note_not_an_error(
        self, files: ModelFiles, tmp_path: Path, tiny_crops: Any
    ) -> None:
        (tmp_path / "file").touch()
        session = OpenVinoRuntime().load(files, options=SessionOptions(cache=tmp_path / "file" / "kept"))
        assert len(session.infer(tiny_crops).intensities) == 8
        assert "cannot be written" in session.info.notes[0]

    def test_accelerators_keep_what_took_them_long(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        for device in ("gpu", "gpu:1", "npu", "auto:gpu,cpu"):
            kept, notes = _cache(_device(device), None, SessionOptions())
            assert Path(kept["CACHE_DIR"]).is_dir()
            assert notes == ()
