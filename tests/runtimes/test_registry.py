"""Choosing says why the others were not chosen, and never replaces what the user names."""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from dsrfau_edge.bundle import Bundle
from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.runtimes import registry
from dsrfau_edge.runtimes.base import Availability, Runtime
from dsrfau_edge.runtimes.measured import Measured, forget, recall, remember
from dsrfau_edge.runtimes.registry import choose, runtimes


class Fake:
    """A runtime that is there or not."""

    def __init__(self, name: str, formats: tuple[str, ...], availability: Availability) -> None:
        self.name, self.formats, self._availability = name, formats, availability

    def availability(self, device: str | None = None) -> Availability:
        if device not in (None, "cpu"):
            return Availability(ok=False, reason=f"no {device} here", fix="use cpu")
        return self._availability

    def load(self, model: Any, device: str | None = None, options: Any = None) -> Any:
        return self, model, device, options


YES, NO = Availability(ok=True, version="1"), Availability(ok=False, reason="it is missing", fix="pip install it")


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(registry, "_MACHINE", "aarch64")

    def install(**available: Availability) -> None:
        reads = {"onnxruntime": ("onnx",), "openvino": ("openvino", "onnx"), "tensorrt": ("tensorrt",)}
        fakes = {name: Fake(name, reads[name], state) for name, state in available.items()}
        monkeypatch.setattr(registry, "runtimes", lambda: fakes)

    return install


def test_ours_are_there_and_keep_the_protocol() -> None:
    found = runtimes()
    assert list(found)[:3] == ["onnxruntime", "openvino", "tensorrt"]
    for runtime in found.values():
        assert isinstance(runtime, Runtime)
        for device in (None, "cpu", "cuda:7", "npu", "nonsense"):
            availability = runtime.availability(device)
            assert availability.ok or (availability.reason and availability.fix)


def test_the_rejected_are_named_with_reason_and_fix(use: Any, opened_bundle: Bundle) -> None:
    use(onnxruntime=YES, openvino=YES, tensorrt=NO)
    choice = choose(opened_bundle.model_files())
    assert choice.runtime.name == "onnxruntime"
    assert not choice.portable
    rejected = {name: (reason, fix) for name, reason, fix in choice.rejected}
    assert rejected["tensorrt"] == ("it is missing", "pip install it")
    assert rejected["openvino"][1] == "--runtime openvino"


@pytest.mark.parametrize(("machine", "expected"), [("x86_64", "openvino"), ("aarch64", "onnxruntime")])
@pytest.mark.parametrize("model_format", ["onnx", "tensorrt"])
def test_of_two_that_read_it_the_faster_on_this_processor_is_first(
    use: Any, monkeypatch: pytest.MonkeyPatch, opened_bundle: Bundle, machine: str, expected: str, model_format: Any
) -> None:
    use(onnxruntime=YES, openvino=YES)
    monkeypatch.setattr(registry, "_MACHINE", machine)
    assert choose(replace(opened_bundle.model_files(), format=model_format)).runtime.name == expected


@pytest.mark.parametrize(
    ("model_format", "available", "expected", "portable"),
    [
        ("onnx", {"onnxruntime": NO, "openvino": YES, "tensorrt": YES}, "openvino", False),
        ("openvino", {"onnxruntime": YES, "openvino": YES, "tensorrt": NO}, "openvino", False),
        ("openvino", {"onnxruntime": YES, "openvino": NO, "tensorrt": NO}, "onnxruntime", True),
        ("tensorrt", {"onnxruntime": YES, "openvino": YES, "tensorrt": YES}, "tensorrt", False),
        ("tensorrt", {"onnxruntime": YES, "openvino": YES, "tensorrt": NO}, "onnxruntime", True),
    ],
)
def test_the_native_reader_comes_first_then_the_portable_graph(
    use: Any,
    opened_bundle: Bundle,
    caplog: pytest.LogCaptureFixture,
    model_format: Any,
    available: dict[str, Availability],
    expected: str,
    portable: bool,
) -> None:
    use(**available)
    model = replace(opened_bundle.model_files(), format=model_format, precision="int8")
    with caplog.at_level(logging.WARNING):
        choice = choose(model)
    assert (choice.runtime.name, choice.portable) == (expected, portable)
    assert (choice.model.precision == "fp32") is portable
    assert ("portable fp32 graph" in caplog.text) is portable


def test_a_named_runtime_is_never_replaced(use: Any, opened_bundle: Bundle) -> None:
    use(onnxruntime=YES, openvino=NO, tensorrt=YES)
    assert choose(opened_bundle.model_files(), "onnxruntime").runtime.name == "onnxruntime"
    with pytest.raises(RuntimeUnavailable, match=r"openvino.*it is missing.*pip install it"):
        choose(opened_bundle.model_files(), "openvino")
    with pytest.raises(UsageError, match=r"Unknown runtime 'tflite'. Known: onnxruntime, openvino, tensorrt"):
        choose(opened_bundle.model_files(), "tflite")


def test_a_device_rules_runtimes_out(use: Any, opened_bundle: Bundle) -> None:
    use(onnxruntime=YES, openvino=YES, tensorrt=YES)
    with pytest.raises(RuntimeUnavailable, match=r"(?s)'npu'.*onnxruntime: no npu here.*openvino.*tensorrt"):
        choose(opened_bundle.model_files(), device="npu")


def test_other_packages_may_add_runtimes_and_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("onnxruntime", "json:loads", registry.ENTRY_POINTS),
        EntryPoint("broken", "package_that_is_not_there:Runtime", registry.ENTRY_POINTS),
        EntryPoint("mine", "fractions:Fraction", registry.ENTRY_POINTS),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    found = runtimes()
    assert found["onnxruntime"].name == "onnxruntime"
    assert "mine" in found
    broken = found["broken"].availability()
    assert not broken.ok
    assert "package_that_is_not_there" in broken.reason
    with pytest.raises(RuntimeUnavailable, match="package_that_is_not_there"):
        found["broken"].load(None)  # type: ignore[arg-type]


def measured(**changes: Any) -> Measured:
    best = Measured("openvino", "1", "fp32", native=True, p90_ms=1.25, mean_difference=0.01, date="2026-11-23")
    return replace(best, **changes)


def test_what_was_measured_to_be_fastest_comes_first(use: Any, opened_bundle: Bundle) -> None:
    use(onnxruntime=YES, openvino=YES, tensorrt=NO)
    model = replace(opened_bundle.model_files(), precision="int8")
    remember(model, measured())
    chosen = choose(model)
    assert (chosen.runtime.name, chosen.model.precision, chosen.portable, chosen.native) == (
        "openvino",
        "fp32",
        True,
        True,
    )
    assert str(chosen).startswith(
        "openvino with the portable fp32 graph: measured to be the fastest here on 2026-11-23"
    )
    assert "not onnxruntime" in str(chosen)
    assert choose(model, "onnxruntime").runtime.name == "onnxruntime", "what is named is taken"
    assert choose(model, device="cpu").runtime.name == "onnxruntime", "a device that is named was not measured"
    assert choose(model, precision="int8").model.precision == "int8"
    forget(model)
    assert choose(model).runtime.name == "onnxruntime"


@pytest.mark.parametrize("change", [{"version": "0.9"}, {"runtime": "tensorrt"}, {"runtime": "gone"}])
def test_what_is_no_longer_so_is_not_obeyed(use: Any, opened_bundle: Bundle, change: dict[str, Any]) -> None:
    use(onnxruntime=YES, openvino=YES, tensorrt=NO)
    model = opened_bundle.model_files()
    remember(model, measured(**change))
    assert choose(model).runtime.name == "onnxruntime"
    forget(model)


def test_measurements_of_another_device_or_damaged_ones_are_none(
    opened_bundle: Bundle, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened_bundle.model_files()
    path = remember(model, measured(), tmp_path)
    assert recall(model, tmp_path) == measured()
    assert recall(replace(model, digest="0" * 64), tmp_path) is None
    monkeypatch.setattr("dsrfau_edge.runtimes.measured._device", lambda: "another")
    assert recall(model, tmp_path) is None
    monkeypatch.undo()
    for text in ("", "[]", "{}", '{"schema": 1}'):
        path.write_text(text)
        assert recall(model, tmp_path) is None
    (tmp_path / "file").touch()
    with pytest.raises(RuntimeUnavailable, match="XDG_CACHE_HOME"):
        remember(model, measured(), tmp_path / "file")


def test_the_precision_may_be_chosen(use: Any, opened_bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    use(onnxruntime=YES, openvino=YES)
    model = replace(opened_bundle.model_files(), precision="int8")
    assert choose(model).model is model
    chosen = choose(model, precision="fp32")
    assert (chosen.model.precision, chosen.portable) == ("fp32", True)
    assert not caplog.text, "what was asked for needs no warning"
    with pytest.raises(UsageError, match=r"holds int8 and its portable fp32 graph, not fp16.*--precision fp16"):
        choose(model, precision="fp16")


def test_a_runtime_of_checkpoints_takes_nothing_else(monkeypatch: pytest.MonkeyPatch, opened_bundle: Bundle) -> None:
    own = Fake("torch", ("checkpoint",), YES)
    own.portable = False  # type: ignore[attr-defined]
    monkeypatch.setattr(registry, "runtimes", lambda: {"torch": own})
    model = opened_bundle.model_files()
    with pytest.raises(RuntimeUnavailable, match="runs a checkpoint's own network"):
        choose(model)
    with pytest.raises(UsageError, match="is none. Give the checkpoint's folder"):
        choose(model, "torch")
    chosen = choose(replace(model, checkpoint=opened_bundle.path), "torch")
    assert not chosen.portable
