"""What is particular to ONNX Runtime."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dsrfau_edge.bundle import Bundle
from dsrfau_edge.errors import BundleError, RuntimeUnavailable
from dsrfau_edge.runtimes import onnxruntime as module
from dsrfau_edge.runtimes.base import ModelFiles, SessionOptions
from dsrfau_edge.runtimes.onnxruntime import OnnxRuntime

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
#: A provider without any kernels that the CPU builds on PyPI have, and so one that can really be asked for.
IDLE = "AzureExecutionProvider"


class FakeOrt:
    """ONNX Runtime with providers of one's choice, of which some do not start, and whose runs may fail."""

    __version__ = "9.9"

    def __init__(self, present: list[str], starting: list[str], run: Callable[..., Any] | None = None) -> None:
        self.present, self.starting, self.run = present, starting, run
        self.telemetry = True
        self.asked: Any = None
        self.more: dict[str, Any] = {}

    def get_available_providers(self) -> list[str]:
        return self.present

    def disable_telemetry_events(self) -> None:
        self.telemetry = False

    def SessionOptions(self) -> SimpleNamespace:  # noqa: N802 - the library's name
        self.entries: dict[str, str] = {}
        return SimpleNamespace(add_session_config_entry=self.entries.__setitem__)

    def InferenceSession(self, path: str, sess_options: Any, providers: list[Any], **more: Any) -> Any:  # noqa: N802
        self.asked, self.options, self.more = providers, sess_options, more
        inputs = [SimpleNamespace(name="crops", shape=["N", 32, 32, 3])]
        return SimpleNamespace(get_providers=lambda: self.starting, get_inputs=lambda: inputs, run=self.run)


def install(monkeypatch: pytest.MonkeyPatch, fake: Any) -> None:
    real = importlib.import_module
    monkeypatch.setattr(module.importlib, "import_module", lambda name: fake() if name == "onnxruntime" else real(name))


@pytest.fixture
def files(opened_bundle: Bundle) -> ModelFiles:
    return opened_bundle.model_files()


@pytest.mark.parametrize("device", ["cuda:1", "cuda:1+cpu"])
def test_a_provider_that_does_not_start_is_an_error_not_a_slow_cpu(
    monkeypatch: pytest.MonkeyPatch, files: ModelFiles, device: str
) -> None:
    fake = FakeOrt([CUDA, CPU], [CPU])
    install(monkeypatch, lambda: fake)
    assert OnnxRuntime().availability(device).ok
    with pytest.raises(RuntimeUnavailable, match=r"could not start CUDAExecutionProvider \(1\)"):
        OnnxRuntime().load(files, device)
    strict = device == "cuda:1"
    options = (CUDA, {"device_id": "1", "use_tf32": "0"})
    assert fake.asked == ([options] if strict else [options, CPU])
    assert fake.entries.get("session.disable_cpu_ep_fallback") == ("1" if strict else None)
    assert fake.more == {"enable_fallback": 0}
    assert not fake.telemetry


def test_a_provider_that_is_not_built_in_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, lambda: FakeOrt([CPU], [CPU]))
    availability = OnnxRuntime().availability("gpu")
    assert not availability.ok
    assert "without CUDAExecutionProvider" in availability.reason
    assert "onnxruntime-gpu" in availability.fix


def test_options_reach_the_session(monkeypatch: pytest.MonkeyPatch, files: ModelFiles) -> None:
    fake = FakeOrt([CPU], [CPU])
    install(monkeypatch, lambda: fake)
    OnnxRuntime().load(files, None, SessionOptions(threads=3))
    assert fake.options.intra_op_num_threads == 3
    assert fake.entries == {"session.intra_op.allow_spinning": "0"}
    assert fake.asked == [CPU]


def test_calls_wait_for_each_other_where_a_provider_does_not_promise_threads(
    monkeypatch: pytest.MonkeyPatch, files: ModelFiles, tiny_crops: Any
) -> None:
    inside: list[int] = []
    most: list[int] = []
    busy = threading.Event()

    def run(names: Any, feeds: Any) -> Any:
        inside.append(1)
        most.append(len(inside))
        busy.wait(0.01)
        inside.pop()
        return [np.zeros((1, 5), np.float32)]

    install(monkeypatch, lambda: FakeOrt(["DmlExecutionProvider", CPU], ["DmlExecutionProvider"], run))
    session = OnnxRuntime().load(files, "dml")
    threads = [threading.Thread(target=session.infer, args=(tiny_crops[:1],)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 8
    assert max(most) == 1


def test_a_run_that_fails_says_what_to_try(monkeypatch: pytest.MonkeyPatch, files: ModelFiles, tiny_crops: Any) -> None:
    def run(names: Any, feeds: Any) -> Any:
        raise RuntimeError("\nout of memory\nat line 7")

    install(monkeypatch, lambda: FakeOrt([CUDA, CPU], [CUDA], run))
    with pytest.raises(RuntimeUnavailable, match="8 crops.*on cuda: out of memory. Give fewer crops"):
        OnnxRuntime().load(files, "cuda").infer(tiny_crops)


@pytest.mark.parametrize("error", [ImportError("libonnx.so.1: wrong ELF class"), OSError("glibc"), RuntimeError("x")])
def test_a_broken_installation_is_a_reason_not_a_crash(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken() -> Any:
        raise error

    install(monkeypatch, broken)
    availability = OnnxRuntime().availability()
    assert not availability.ok
    assert str(error) in availability.reason
    with pytest.raises(RuntimeUnavailable, match="pip install"):
        OnnxRuntime().load(None)  # type: ignore[arg-type]


class TestReal:
    """With the ONNX Runtime that is installed."""

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("onnxruntime")

    def test_only_what_is_wanted_is_computed(
        self, files: ModelFiles, monkeypatch: pytest.MonkeyPatch, tiny_crops: Any
    ) -> None:
        session = OnnxRuntime().load(files)
        asked: list[Any] = []
        real = session._session

        def run(names: Any, feeds: Any) -> Any:
            asked.append(names)
            return real.run(names, feeds)

        monkeypatch.setattr(session, "_session", SimpleNamespace(run=run))
        session.infer(tiny_crops)
        assert asked == [["intensities"]]

    def test_a_provider_alone_that_cannot_take_all_is_refused_with_what_it_left(self, files: ModelFiles) -> None:
        self._require_idle()
        with pytest.raises(RuntimeUnavailable, match=rf"on {IDLE} alone.*--device {IDLE}\+cpu"):
            OnnxRuntime().load(files, IDLE)

    def test_with_the_cpu_it_runs_and_says_who_computes(self, files: ModelFiles, tiny_crops: Any) -> None:
        self._require_idle()
        session = OnnxRuntime().load(files, f"{IDLE}+cpu")
        expected = OnnxRuntime().load(files).infer(tiny_crops).intensities
        np.testing.assert_array_equal(session.infer(tiny_crops).intensities, expected)
        assert session.info.device == CPU
        assert session.info.layers == {"fp32": 5}

    def test_a_broken_model_is_the_models_fault_on_any_provider(self, files: ModelFiles, tmp_path: Path) -> None:
        self._require_idle()
        (tmp_path / "broken.onnx").write_bytes(b"no model")
        with pytest.raises(BundleError, match=r"cannot load broken\.onnx"):
            OnnxRuntime().load(replace(files, path=tmp_path / "broken.onnx"), IDLE)

    def test_info_tells_what_is_executed(self, files: ModelFiles, tiny_crops: Any) -> None:
        session = OnnxRuntime().load(files, options=SessionOptions(threads=1))
        info = session.info
        assert (info.runtime, info.device, info.precision, info.threads) == ("onnxruntime", CPU, "fp32", 1)
        assert info.layers == {"fp32": 5}
        assert info.notes == ()
        assert session.info is info
        session.close()
        assert session.info is info

    def test_info_of_int8_counts_what_is_computed_in_int8(self, files: ModelFiles, quantized: Path) -> None:
        session = OnnxRuntime().load(replace(files, path=quantized, precision="int8"))
        assert session.info.precision == "int8"
        assert session.info.layers == {"int8": 5}

    def test_info_leaves_nothing_behind(
        self, files: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        assert OnnxRuntime().load(files).info.layers
        assert list(tmp_path.iterdir()) == []

    def test_info_that_cannot_be_told_stops_nothing(
        self, files: ModelFiles, tiny_crops: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> Any:
            raise OSError("disk full")

        monkeypatch.setattr(module, "examine", fail)
        session = OnnxRuntime().load(files)
        assert "disk full" in session.info.notes[0]
        assert session.info.device == CPU
        assert len(session.infer(tiny_crops).intensities) == 8

    def test_a_closed_session_has_no_info(self, files: ModelFiles) -> None:
        session = OnnxRuntime().load(files)
        session.close()
        with pytest.raises(RuntimeUnavailable, match="closed"):
            _ = session.info

    def test_every_other_provider_here_computes_the_same_alone(self, files: ModelFiles, tiny_crops: Any) -> None:
        import onnxruntime

        others = [name for name in onnxruntime.get_available_providers() if name not in (CPU, IDLE)]
        if not others:
            pytest.skip("this build of onnxruntime has only the CPU's provider")
        expected = OnnxRuntime().load(files).infer(tiny_crops).intensities
        for name in others:
            session = OnnxRuntime().load(files, name)
            np.testing.assert_allclose(session.infer(tiny_crops).intensities, expected, atol=1e-3)
            assert session.info.device.startswith(name)
            assert any(note.startswith(f"{name} computes") for note in session.info.notes) or session.info.layers
            session.close()

    def _require_idle(self) -> None:
        import onnxruntime

        if IDLE not in onnxruntime.get_available_providers():
            pytest.skip(f"this build of onnxruntime has no {IDLE}")
