"""The TensorRT target by NVIDIA's own parser and builder, and what happens where there is none."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dsrfau_edge.bundle import Bundle, bundled_names, default_bundle, find_bundle
from dsrfau_edge.cli.main import run
from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.export.calibration import CalibrationSet
from dsrfau_edge.export.pipeline import ExportOptions, export
from dsrfau_edge.export.targets import Job, tensorrt
from dsrfau_edge.runtimes.cuda_driver import Driver, Gpu
from dsrfau_edge.runtimes.tensorrt_engine import Built, EngineOptions, find_module, is_rtx

pytest.importorskip("onnx")


def real_rtx() -> Any:
    trt = find_module()
    if trt is None or not is_rtx(trt):
        pytest.skip("tensorrt-rtx is not installed: no real parser and builder without a GPU")
    return trt


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("batch", [1, "dynamic"])
def test_the_tiny_network_is_parsed_and_built(
    tiny_checkpoint: Path, tmp_path: Path, precision: Any, batch: Any
) -> None:
    real_rtx()
    (report,) = export(tiny_checkpoint, "tensorrt", tmp_path, ExportOptions(precision=precision, batch=batch))
    assert report.path is not None
    bundle = Bundle.open(report.path)
    assert bundle.manifest.model == "model.engine"
    assert bundle.manifest.build["tensorrt_module"] == "tensorrt_rtx"
    assert bundle.model_path.stat().st_size == report.model_bytes > 10_000
    assert bundle.manifest.graph == "model.onnx"
    assert bundle.manifest.build.get("profile") == ([1, 1, 8] if batch == "dynamic" else None)
    summary = bundle.manifest.build["engine"]
    assert summary["network"]["convolution"] == 5
    assert ("quantize" in summary["network"]) is (precision == "int8")
    if not find_gpu():
        assert "neither run nor inspected, since there is no NVIDIA GPU here" in report.notes[0]
        assert "not the engine" in bundle.manifest.parity["note"]
        assert "opens only where there is an NVIDIA GPU" in summary["not_inspected"]


def find_gpu() -> bool:
    return tensorrt.driver().ok


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_bundled_student_is_parsed_and_built(tmp_path: Path, precision: Any) -> None:
    real_rtx()
    if not default_bundle().is_dir():
        pytest.skip("the package comes without its student here")
    (report,) = export(None, "tensorrt", tmp_path, ExportOptions(precision=precision, calib_count=32))
    assert report.path is not None
    assert Bundle.open(report.path).manifest.precision == precision


def test_an_engine_for_named_gpus(tiny_checkpoint: Path, tmp_path: Path) -> None:
    real_rtx()
    options = ExportOptions(target_options={"capabilities": (75, 89), "workspace_gb": 0.25})
    (report,) = export(tiny_checkpoint, "tensorrt", tmp_path, options)
    assert report.path is not None
    assert Bundle.open(report.path).manifest.build["compute_capabilities"] == [75, 89]
    assert "compute capability 75, 89" in report.notes[0]
    with pytest.raises(UsageError, match="no compute capability 87"):
        export(tiny_checkpoint, "tensorrt", tmp_path / "orin", ExportOptions(target_options={"capabilities": (87,)}))
    assert not list(tmp_path.glob("orin/*"))


def test_without_tensorrt_the_device_builds_from_the_typed_graph(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    monkeypatch.setattr(tensorrt, "find_module", lambda: None)
    (report,) = export(tiny_checkpoint, "tensorrt", tmp_path, ExportOptions(precision="int8"))
    assert report.path is not None
    bundle = Bundle.open(report.path)
    assert (bundle.manifest.model, bundle.manifest.target) == ("model.onnx", "tensorrt")
    assert bundle.model_files().format == "tensorrt"
    assert any("builds its engine from it at first use" in note for note in report.notes)
    kinds = {node.op_type for node in onnx.load(bundle.model_path).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    with pytest.raises(RuntimeUnavailable, match=r"no TensorRT here.*tensorrt-rtx"):
        export(tiny_checkpoint, "tensorrt", tmp_path / "sm", ExportOptions(target_options={"capabilities": (86,)}))


ORIN = Driver((Gpu(0, "Orin", 87, 8 << 30),), "12.6")


class Fake:
    """A plain TensorRT."""

    __name__ = "tensorrt"
    __version__ = "10.3.0"
    LayerInformationFormat = SimpleNamespace(JSON="JSON")

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING = "INTERNAL_ERROR", "ERROR", "WARNING"

    def __init__(self) -> None:
        self.told = json.dumps({"Layers": [{"LayerType": "CaskConvolution", "Inputs": [{"Format/Datatype": "Half"}]}]})
        self.opens = True
        self.cores: list[int] = []

    def Runtime(self, logger: Any) -> Any:  # noqa: N802 - the library's name
        fake = self

        class Runtime:
            DLA_core = -1

            def deserialize_cuda_engine(self, content: bytes) -> Any:
                fake.cores.append(self.DLA_core)
                inspector = SimpleNamespace(get_engine_information=lambda form: fake.told)
                engine = SimpleNamespace(create_engine_inspector=lambda: inspector, device_memory_size_v2=99)
                return engine if fake.opens else None

        return Runtime()


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(tensorrt, "find_module", lambda: fake)
    monkeypatch.setattr(tensorrt, "driver", lambda: ORIN)
    monkeypatch.setattr(
        tensorrt, "build_engine", lambda trt, graph, options, progress: Built(b"engine of " + graph, {"convolution": 5})
    )
    return fake


def test_plain_tensorrt_builds_only_with_a_gpu(plain: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tensorrt.build(b"graph", EngineOptions(workspace_gb=1.5, hardware_compatible="ampere+"))
    assert engine is not None
    assert engine.content == b"engine of graph"
    assert engine.build == {
        "tensorrt_module": "tensorrt",
        "tensorrt": "10.3.0",
        "compute_capabilities": [87],
        "gpu": "Orin",
        "cuda": "12.6",
        "workspace_gb": 1.5,
        "hardware_compatible": "ampere+",
        "engine": {
            "network": {"convolution": 5},
            "layers": 1,
            "kinds": {"CaskConvolution": 1},
            "precisions": {"fp16": 1},
            "execution_memory_bytes": 99,
        },
    }
    assert engine.note == "The engine was built by tensorrt 10.3.0 for Orin."
    monkeypatch.setattr(tensorrt, "driver", lambda: Driver(reason="none", fix="get one"))
    assert tensorrt.build(b"graph", EngineOptions(profile=(1, 2, 3))) is None
    with pytest.raises(RuntimeUnavailable, match="only where it has a GPU"):
        tensorrt.build(b"graph", EngineOptions(workspace_gb=1))


@pytest.mark.parametrize(("capability", "named"), [(75, [75]), (89, None)])
def test_rtx_builds_for_the_gpu_that_is_here(
    plain: Fake, monkeypatch: pytest.MonkeyPatch, capability: int, named: list[int] | None
) -> None:
    monkeypatch.setattr(plain, "__name__", "tensorrt_rtx")
    monkeypatch.setattr(tensorrt, "driver", lambda: Driver((Gpu(0, "RTX", capability, 8 << 30),), "13.0"))
    engine = tensorrt.build(b"graph", EngineOptions())
    assert engine is not None
    assert engine.build.get("compute_capabilities") == named, "none is all of Ampere and newer"


def test_an_engine_that_tells_nothing_says_so_in_the_manifest(plain: Fake) -> None:
    plain.told = "no JSON"
    engine = tensorrt.build(b"graph", EngineOptions(dla=1))
    assert engine is not None
    assert "is not understood" in engine.build["engine"]["not_inspected"]
    assert (engine.build["dla_core"], plain.cores) == (1, [1]), "an engine of a DLA is opened on its core"
    plain.opens = False
    engine = tensorrt.build(b"graph", EngineOptions())
    assert engine is not None
    assert "does not open on Orin" in engine.build["engine"]["not_inspected"]


def test_an_engine_for_other_gpus_is_not_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "driver", lambda: ORIN)
    assert tensorrt._runs_here({})
    assert tensorrt._runs_here({"compute_capabilities": [87]})
    assert not tensorrt._runs_here({"compute_capabilities": [75, 89]})


def job(tmp_path: Path, tiny_onnx: bytes, precision: Any = "fp16", batch: Any = 1) -> Job:
    import onnx

    return Job(onnx.load_from_string(tiny_onnx), batch, precision, None, "minmax", tmp_path)


@pytest.mark.parametrize(
    ("precision", "batch", "options", "message"),
    [
        ("fp16", 1, {"profile": (1, 2, 4)}, "--profile .*--dynamic-batch"),
        ("fp32", 1, {"dla": 0}, "not in fp32. Add --fp16"),
        ("fp16", "dynamic", {"dla": 0}, "Leave out --dynamic-batch, or --dla"),
        ("int8", 1, {"dla": 0}, "takes no Q/DQ pairs.*Use --fp16 with --dla"),
        ("fp16", 1, {"capabilities": (86,)}, "Leave out --sm"),
        ("fp16", 1, {"timing_cache": Path("/proc/no/such/folder")}, "--timing-cache .* cannot be used"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused_before_anything_slow(
    plain: Fake, tmp_path: Path, tiny_onnx: bytes, precision: Any, batch: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        tensorrt.check(job(tmp_path, tiny_onnx, precision, batch), EngineOptions(**options))


def test_options_that_can_be_honoured_are_taken(plain: Fake, tmp_path: Path, tiny_onnx: bytes) -> None:
    options = EngineOptions(timing_cache=tmp_path / "t", dla=1, hardware_compatible=None, optimization_level=0)
    tensorrt.check(job(tmp_path, tiny_onnx), options)
    tensorrt.check(job(tmp_path, tiny_onnx, "fp32", "dynamic"), EngineOptions(profile=(2, 2, 2)))
    plain.__class__.__version__ = "11.4.1"
    try:
        tensorrt.check(job(tmp_path, tiny_onnx, "int8"), EngineOptions(dla=0))
    finally:
        plain.__class__.__version__ = "10.3.0"


def test_every_option_is_refused_where_no_engine_is_built_but_the_profile(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt, "find_module", lambda: None)
    values: dict[str, Any] = {
        "workspace_gb": 1.0, "capabilities": (75,), "timing_cache": tmp_path / "t", "dla": 0,
        "hardware_compatible": "same-cc", "optimization_level": 0,
    }  # fmt: skip
    assert {option.name for option in tensorrt.TARGET.options} == {*values, "profile"}
    for name, value in values.items():
        options = ExportOptions(precision="fp16", target_options={name: value})
        with pytest.raises(RuntimeUnavailable, match=r"for building an engine, and there is no TensorRT here"):
            export(tiny_checkpoint, "tensorrt", tmp_path / name, options)
    options = ExportOptions(batch="dynamic", target_options={"profile": (1, 2, 4)})
    (report,) = export(tiny_checkpoint, "tensorrt", tmp_path, options)
    assert report.path is not None
    assert Bundle.open(report.path).model_files().build["profile"] == [1, 2, 4]


def call(*arguments: object) -> tuple[int, str]:
    """Exit code and stderr of `dsrfau-export`."""
    err = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(err), pytest.raises(SystemExit) as end:
        run("export", "dsrfau-export", [str(argument) for argument in arguments])
    return int(str(end.value.code)), err.getvalue()


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("--profile", value) for value in ("", "8", "1,8", "0,1,8", "1,9,8", "8,4,1", "1,1,x", "1,1,-8", "1,1,8,8")),
        *(("--dla", value) for value in ("2", "-1", "x", "0.5")),
        *(("--hardware-compatible", value) for value in ("", "ampere", "hopper+")),
        *(("--optimization-level", value) for value in ("6", "-1", "high")),
        *(("--workspace-gb", value) for value in ("0", "-1", "nan", "inf", "lots")),
        *(("--sm", value) for value in ("", "86,", "ampere", "-86")),
        *(("--timing-cache", value) for value in ("", ".")),
    ],
)
def test_wrong_values_are_usage_errors(tiny_checkpoint: Path, tmp_path: Path, flag: str, value: str) -> None:
    code, err = call(tiny_checkpoint, "--target", "tensorrt", "-o", tmp_path, f"{flag}={value}")
    assert code == 2
    assert flag in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", [option.flag for option in tensorrt.TARGET.options])
def test_an_option_without_its_value_is_a_usage_error(tiny_checkpoint: Path, tmp_path: Path, flag: str) -> None:
    code, err = call(tiny_checkpoint, "--target", "tensorrt", "-o", tmp_path, flag)
    assert (code, f"{flag}' requires an argument" in err) == (2, True)


def test_options_reach_rtx_from_the_command_line(tiny_checkpoint: Path, tmp_path: Path) -> None:
    real_rtx()
    code, err = call(tiny_checkpoint, "--target", "tensorrt", "-o", tmp_path, "--fp16", "--dla", "0")
    assert (code, "Leave out --dla" in err) == (2, True)
    code, err = call(tiny_checkpoint, "--target", "tensorrt", "-o", tmp_path, "--optimization-level", "0")
    assert (code, "Leave out --optimization-level" in err) == (2, True)
    profile = ("--dynamic-batch", "--profile", "1,4,16", "--sm", "8.6,12.0")
    assert call(tiny_checkpoint, "--target", "tensorrt", "-o", tmp_path / "b.dsrfau", *profile)[0] == 0
    build = Bundle.open(tmp_path / "b.dsrfau").manifest.build
    assert (build["profile"], build["compute_capabilities"]) == ([1, 4, 16], [86, 120])


SM = (75, 86, 89, 120)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", bundled_names())
def test_bundled_students_are_built_for_many_gpus(tmp_path: Path, name: str, precision: Any) -> None:
    real_rtx()
    options = {"precision": precision, "calib_count": 16, "verify": False}
    sizes = []
    for capabilities in (*((number,) for number in SM), SM):
        made = ExportOptions(**options, target_options={"capabilities": capabilities})
        (report,) = export(find_bundle(name), "tensorrt", tmp_path / "-".join(map(str, capabilities)), made)
        assert report.path is not None
        assert Bundle.open(report.path).manifest.build["compute_capabilities"] == list(capabilities)
        sizes.append(report.model_bytes)
    assert sizes[-1] > max(sizes[:-1]), "an engine for all of them holds what each needs"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_resnet_with_deconvolutions_is_built_for_many_gpus(tmp_path: Path, precision: Any) -> None:
    real_rtx()
    pytest.importorskip("torch")
    from dsrfau_edge.train.graph import export_graph
    from dsrfau_edge.train.networks.heatmap import HeatmapNetwork, NetworkConfig

    network = HeatmapNetwork(NetworkConfig("resnet18", upsampler="deconv", pretrained=False), 5)
    model = export_graph(network.eval(), input_size=128, metadata={})
    crops = np.random.default_rng(5).integers(0, 256, (4, 128, 128, 3), np.uint8)
    calibration = CalibrationSet(crops, crops, "noise, since the weights are random too")
    wanted = Job(
        model, 1, precision, calibration if precision == "int8" else None, "minmax", tmp_path,
        options={"capabilities": SM},
    )  # fmt: skip
    converted = tensorrt.convert(wanted)
    assert converted.build["engine"]["network"]["deconvolution"] == 3
    assert converted.build["compute_capabilities"] == list(SM)
    assert (tmp_path / converted.model).stat().st_size > (5_000_000 if precision == "int8" else 10_000_000)
