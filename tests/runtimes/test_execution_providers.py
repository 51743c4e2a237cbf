"""What is typed for ONNX Runtime's devices, and the options that the providers then get."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dsrfau_edge.runtimes.base import ModelFiles, SessionOptions
from dsrfau_edge.runtimes.execution_providers import CPU, KINDS, UnknownDevice, options_of, parse, session_entries

MODEL = ModelFiles(Path("m.onnx"), "onnx", Path("m.onnx"), 32, 5, 8)


def typed(device: str | None, *reported: str) -> list[tuple[str, str | None]]:
    return [(one.kind.provider, one.value) for one in parse(device, reported)]


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (None, [(CPU, None)]),
        ("cpu", [(CPU, None)]),
        ("gpu", [("CUDAExecutionProvider", None)]),
        ("cuda:1", [("CUDAExecutionProvider", "1")]),
        (" CUDA:01 + cpu ", [("CUDAExecutionProvider", "1"), (CPU, None)]),
        ("tensorrt:0+cuda:0+cpu", [("TensorrtExecutionProvider", "0"), ("CUDAExecutionProvider", "0"), (CPU, None)]),
        ("openvino", [("OpenVINOExecutionProvider", "CPU")]),
        ("openvino:gpu.1", [("OpenVINOExecutionProvider", "GPU.1")]),
        ("coreml:npu", [("CoreMLExecutionProvider", "CPUAndNeuralEngine")]),
        ("xnnpack", [("XnnpackExecutionProvider", None)]),
        ("CUDAExecutionProvider:2", [("CUDAExecutionProvider", "2")]),
        ("acmeexecutionprovider", [("AcmeExecutionProvider", None)]),
    ],
)
def test_what_is_typed_is_what_is_asked(device: str | None, expected: list[tuple[str, str | None]]) -> None:
    assert typed(device, CPU, "AcmeExecutionProvider") == expected


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("", "no device ''"),
        ("quantum:0", "no device 'quantum:0'"),
        ("cuda+", "no device ''"),
        ("cuda+toaster", "no device 'toaster' .in 'cuda.toaster'."),
        ("OtherExecutionProvider", "no device"),
        ("cpu:0", "has one device only"),
        ("cuda:", "which numbers them"),
        ("cuda:x", "which numbers them"),
        ("cuda:-1", "which numbers them"),
        ("cuda:²", "which numbers them"),
        ("openvino:tpu", "nothing called 'tpu'"),
        ("qnn:/not/there.so", "nothing called"),
        ("xnnpack:1", "has one device only"),
        ("cpu+cuda", "leaves nothing"),
        ("cuda:0+cuda:1", "CUDAExecutionProvider twice"),
    ],
)
def test_what_says_nothing_is_refused_with_a_fix(device: str, reason: str) -> None:
    with pytest.raises(UnknownDevice, match=reason) as caught:
        parse(device, [CPU])
    assert caught.value.fix


def test_every_kind_says_how_to_get_it() -> None:
    for name, kind in KINDS.items():
        assert typed(name) == [(kind.provider, kind.default)]
        assert kind.install.endswith(".")
    assert len({kind.provider for kind in KINDS.values()}) == len(KINDS)


def options(device: str, model: ModelFiles = MODEL, **chosen: object) -> dict[str, str]:
    return options_of(parse(device, ())[0], model, SessionOptions(**chosen))  # type: ignore[arg-type]


def test_precision_is_the_models_unless_the_devices_own_is_wanted(tmp_path: Path) -> None:
    assert options("cuda:1") == {"device_id": "1", "use_tf32": "0"}
    assert options("cuda", native_precision=True) == {"use_tf32": "1"}
    half, whole = replace(MODEL, precision="fp16"), replace(MODEL, precision="int8")
    assert options("openvino:gpu")["precision"] == "FP32"
    assert options("openvino:gpu", half)["precision"] == "FP16"
    assert "precision" not in options("openvino:gpu", native_precision=True)
    found = options("tensorrt", half, cache=tmp_path / "kept")
    assert (found["trt_fp16_enable"], found["trt_int8_enable"]) == ("True", "False")
    assert options("tensorrt", whole, cache=tmp_path)["trt_int8_enable"] == "True"


def test_what_is_compiled_is_kept_where_it_was_asked(tmp_path: Path) -> None:
    found = options("tensorrt", cache=tmp_path / "kept")
    assert found["trt_engine_cache_path"] == str(tmp_path / "kept")
    assert (tmp_path / "kept").is_dir()
    assert options("openvino", cache=tmp_path)["cache_dir"] == str(tmp_path)
    (tmp_path / "file").touch()
    assert "trt_engine_cache_path" not in options("tensorrt", cache=tmp_path / "file")


def test_threads_reach_providers_with_threads_of_their_own() -> None:
    assert options("openvino", threads=3) == {"device_type": "CPU", "num_of_threads": "3"}
    assert options("xnnpack", threads=3) == {"intra_op_num_threads": "3"}
    assert options("xnnpack") == {}


def test_a_library_of_qualcomms_may_be_named_by_its_path(tmp_path: Path) -> None:
    library = tmp_path / "libQnnHtp.so"
    library.touch()
    assert options(f"qnn:{library}") == {"backend_path": str(library)}
    assert "Htp" in options("qnn")["backend_path"]


def test_the_cpu_takes_over_only_where_it_may() -> None:
    strict = session_entries("x86_64", SessionOptions(), strict=True)
    assert strict["session.disable_cpu_ep_fallback"] == "1"
    assert "session.disable_cpu_ep_fallback" not in session_entries("x86_64", SessionOptions(), strict=False)
    assert not any("bfloat16" in name for name in strict)
