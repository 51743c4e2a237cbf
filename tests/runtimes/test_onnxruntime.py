"""What is particular to ONNX Runtime."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest

from dsrfau_edge.bundle import Bundle
from dsrfau_edge.errors import RuntimeUnavailable
from dsrfau_edge.runtimes import onnxruntime as module
from dsrfau_edge.runtimes.base import SessionOptions
from dsrfau_edge.runtimes.onnxruntime import OnnxRuntime


class FakeOrt:
    """ONNX Runtime with providers of one's choice, of which some do not start."""

    __version__ = "9.9"

    def __init__(self, present: list[str], starting: list[str]) -> None:
        self.present, self.starting = present, starting
        self.telemetry = True
        self.asked: Any = None

    def get_available_providers(self) -> list[str]:
        return self.present

    def disable_telemetry_events(self) -> None:
        self.telemetry = False

    def SessionOptions(self) -> SimpleNamespace:  # noqa: N802 - the library's name
        self.entries: dict[str, str] = {}
        return SimpleNamespace(add_session_config_entry=self.entries.__setitem__)

    def InferenceSession(self, path: str, sess_options: Any, providers: list[Any]) -> Any:  # noqa: N802
        self.asked, self.options = providers, sess_options
        return SimpleNamespace(get_providers=lambda: self.starting, get_inputs=lambda: [SimpleNamespace(name="crops")])


def install(monkeypatch: pytest.MonkeyPatch, fake: Any) -> None:
    real = importlib.import_module
    monkeypatch.setattr(module.importlib, "import_module", lambda name: fake() if name == "onnxruntime" else real(name))


def test_a_provider_that_does_not_start_is_an_error_not_a_slow_cpu(
    monkeypatch: pytest.MonkeyPatch, opened_bundle: Bundle
) -> None:
    fake = FakeOrt(["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"])
    install(monkeypatch, lambda: fake)
    assert OnnxRuntime().availability("cuda:1").ok
    with pytest.raises(RuntimeUnavailable, match="could not start CUDAExecutionProvider"):
        OnnxRuntime().load(opened_bundle.model_files(), "cuda:1")
    assert fake.asked == [("CUDAExecutionProvider", {"device_id": "1"}), "CPUExecutionProvider"]
    assert not fake.telemetry


def test_a_provider_that_is_not_built_in_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, lambda: FakeOrt(["CPUExecutionProvider"], ["CPUExecutionProvider"]))
    availability = OnnxRuntime().availability("gpu")
    assert not availability.ok
    assert "without CUDAExecutionProvider" in availability.reason
    assert "onnxruntime-gpu" in availability.fix


def test_options_reach_the_session(monkeypatch: pytest.MonkeyPatch, opened_bundle: Bundle) -> None:
    fake = FakeOrt(["CPUExecutionProvider"], ["CPUExecutionProvider"])
    install(monkeypatch, lambda: fake)
    OnnxRuntime().load(opened_bundle.model_files(), None, SessionOptions(threads=3))
    assert fake.options.intra_op_num_threads == 3
    assert fake.entries["session.intra_op.allow_spinning"] == "0"
    assert fake.asked == ["CPUExecutionProvider"]


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


def test_only_what_is_wanted_is_computed(
    opened_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tiny_crops: Any
) -> None:
    session = OnnxRuntime().load(opened_bundle.model_files())
    asked: list[Any] = []
    real = session._session

    def run(names: Any, feeds: Any) -> Any:
        asked.append(names)
        return real.run(names, feeds)

    monkeypatch.setattr(session, "_session", SimpleNamespace(run=run))
    session.infer(tiny_crops)
    assert asked == [["intensities"]]
