"""Exports end to end on the tiny network: every target and precision, and everything that must be refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsrfau_edge.bundle import Bundle, store_confidence
from dsrfau_edge.errors import CalibrationError, RuntimeUnavailable, UsageError, VerificationFailed
from dsrfau_edge.export import conversion, targets
from dsrfau_edge.export.conversion import ExportOptions
from dsrfau_edge.export.pipeline import export
from dsrfau_edge.export.report import ExportReport
from dsrfau_edge.export.targets import base
from dsrfau_edge.runtimes.registry import choose

onnx = pytest.importorskip("onnx")


def require(target: str, precision: str) -> None:
    availability = targets.TARGETS[target].availability(precision)
    if not availability.ok:
        pytest.skip(availability.reason)


@pytest.mark.parametrize("target", ["onnx", "openvino"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("fp16", 5e-3), ("int8", 0.4)])
def test_every_precision_runs_and_says_how_close_it_is(
    tiny_checkpoint: Path, tmp_path: Path, tiny_crops: Any, target: str, precision: Any, tolerance: float
) -> None:
    require(target, precision)
    (report,) = export(tiny_checkpoint, target, tmp_path, ExportOptions(precision=precision))
    assert report.path == tmp_path / f"tiny-{target}-{precision}.dsrfau"
    bundle = Bundle.open(report.path)
    manifest = bundle.manifest
    assert (manifest.target, manifest.precision, manifest.batch) == (target, precision, 1)
    assert set(manifest.files) >= {manifest.model, "portable.onnx", "calibration.zip"}
    assert (manifest.quantization is not None) is (precision == "int8")
    assert (manifest.calibration is not None) is (precision == "int8")
    assert set(manifest.parity["aus"]) == set(manifest.aus)
    assert report.parity is not None
    assert manifest.parity["max"] == pytest.approx(report.parity.largest, rel=1e-3)
    assert manifest.source["checkpoint_sha256"]
    files = bundle.model_files()
    runtime = {"onnx": "onnxruntime"}.get(target, target)
    found = choose(files, runtime).load().infer(tiny_crops).intensities
    reference = choose(files.as_portable(), "onnxruntime").load().infer(tiny_crops).intensities
    difference = float(np.abs(found - reference).max())
    assert difference < tolerance
    if precision == "int8":
        assert difference > 1e-4, "int8 that differs in nothing was not quantized"
    assert report.latency_ms is not None


def test_a_bundle_is_a_source_like_a_checkpoint(tiny_bundle: Path, tmp_path: Path) -> None:
    (first,) = export(tiny_bundle, "onnx", tmp_path / "a", ExportOptions(precision="int8"))
    assert first.path is not None
    (second,) = export(first.path, "onnx", tmp_path / "b", ExportOptions(precision="int8"))
    assert second.path is not None
    one, two = Bundle.open(first.path), Bundle.open(second.path)
    assert one.portable_path.read_bytes() == two.portable_path.read_bytes()
    assert one.manifest.calibration == two.manifest.calibration
    assert one.manifest.parity["aus"] == two.manifest.parity["aus"], "the same input gives the same numbers"


@pytest.mark.parametrize(("target", "precision"), [("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp16")])
def test_confidences_travel_with_the_network(
    tiny_checkpoint: Path, tmp_path: Path, target: str, precision: Any
) -> None:
    require(target, precision)
    source = Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))
    fitted = {"schema": 1, "aus": {"AU04": {"intercept": 1.5}}}
    store_confidence(source, fitted)
    (first,) = export(source, target, tmp_path / "a", ExportOptions(precision=precision))
    assert first.path is not None
    assert Bundle.open(first.path).manifest.confidence == fitted
    (second,) = export(first.path, "onnx", tmp_path / "b", ExportOptions(precision="fp32"))
    assert second.path is not None
    assert Bundle.open(second.path).manifest.confidence == fitted


def test_the_portable_graph_itself_is_stored_once(tiny_bundle: Path, tmp_path: Path, tiny_onnx: bytes) -> None:
    (report,) = export(tiny_bundle, "onnx", tmp_path / "one.dsrfau", ExportOptions(batch="dynamic"))
    assert report.path == tmp_path / "one.dsrfau"
    bundle = Bundle.open(tmp_path / "one.dsrfau")
    assert set(bundle.manifest.files) == {"model.onnx", "calibration.zip"}
    assert bundle.model_path == bundle.portable_path
    stored, original = (
        onnx.load_model_from_string(bundle.model_path.read_bytes()),
        onnx.load_model_from_string(tiny_onnx),
    )
    assert [node.name for node in stored.graph.node] == [node.name for node in original.graph.node]
    assert {entry.key: entry.value for entry in stored.metadata_props}["dsrfau.aus"] == '["AU04", "AU12", "AU25"]'


@pytest.mark.parametrize("batch", [3, "dynamic"])
@pytest.mark.parametrize("target", ["onnx", "openvino"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_batches(
    tiny_checkpoint: Path, tmp_path: Path, tiny_crops: Any, batch: Any, target: str, precision: Any
) -> None:
    require(target, precision)
    (report,) = export(
        tiny_checkpoint, target, tmp_path, ExportOptions(precision=precision, batch=batch, calib_count=20)
    )
    assert report.path is not None
    files = Bundle.open(report.path).model_files()
    assert files.batch == (None if batch == "dynamic" else batch)
    outputs = choose(files).load().infer(tiny_crops[:5])
    assert outputs.intensities.shape == (5, 5)


def test_all_targets(tiny_checkpoint: Path, tmp_path: Path) -> None:
    seen: list[ExportReport] = []
    reports = export(tiny_checkpoint, "all", tmp_path, on_report=seen.append)
    assert [report.target for report in reports] == ["onnx", "openvino", "tensorrt"]
    assert seen == reports
    for report in reports:
        assert report.written or "not installed" in report.reason


def test_all_targets_states_what_is_skipped(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, "openvino")
    reports = {report.target: report for report in export(tiny_checkpoint, "all", tmp_path)}
    assert reports["onnx"].written
    assert not reports["openvino"].written
    assert reports["openvino"].reason == f"openvino not installed. Install: {targets.INSTALL}"
    with pytest.raises(RuntimeUnavailable, match=r'pip install "dsrfau-edge\[export\]"'):
        export(tiny_checkpoint, "openvino", tmp_path)


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = base.importlib.util.find_spec
    monkeypatch.setattr(base.importlib.util, "find_spec", lambda name: None if name in names else real(name))


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("coreml", {}, "Unknown target 'coreml'. Known: onnx, openvino, tensorrt, all"),
        ("onnx", {"target_options": {"workspace_gb": 1.0}}, "does not take --workspace-gb; target tensorrt does"),
        ("openvino", {"target_options": {"capabilities": (86,)}}, "does not take --sm"),
        ("all", {"target_options": {"magic": 1}}, "does not take magic"),
        ("openvino", {"precision": "int8", "calib_method": "entropy"}, "It takes: minmax, mean-minmax, percentile"),
    ],
)
def test_what_a_target_does_not_take_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, target: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message.replace("[", r"\[")):
        export(tiny_checkpoint, target, tmp_path, ExportOptions(**options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "--batch 0"),
        ({"max_drop": 0.0}, "--max-drop 0"),
        ({"max_drop": float("nan")}, "--max-drop nan"),
        ({"max_drop": 0.1, "verify": False}, "Give one of them"),
        ({"gate_data": Path("x"), "verify": False}, "Give one of them"),
        ({"gate_count": 1}, "--gate-count"),
        ({"calib_count": 0}, "--calib-count"),
        ({"calib_method": "minmax"}, "is for int8, not fp32"),
        ({"keep_float": ("x",)}, "is for int8, not fp32"),
        ({"sensitivity": True}, "is for int8, not fp32"),
        ({"auto_keep_float": True}, "is for int8, not fp32"),
        ({"precision": "int8", "auto_keep_float": True}, "Name the gate"),
        ({"precision": "int8", "calib_crops": True}, "give that folder too"),
    ],
)
def test_values_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExportOptions(**options)


def test_a_place_that_is_taken_is_refused_before_the_work(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny-onnx-fp32.dsrfau").mkdir()
    with pytest.raises(UsageError, match="--overwrite"):
        export(tiny_checkpoint, "onnx", tmp_path)
    export(tiny_checkpoint, "onnx", tmp_path, ExportOptions(overwrite=True))
    with pytest.raises(UsageError, match="Give a folder"):
        export(tiny_checkpoint, "all", tmp_path / "one.dsrfau")


def test_int8_without_faces_names_the_fix(tiny_onnx: bytes, tiny_bundle: Path, tmp_path: Path) -> None:
    from dsrfau_edge.bundle import write_bundle

    bare = write_bundle(tmp_path / "bare.dsrfau", Bundle.open(tiny_bundle).manifest, {"model.onnx": tiny_onnx})
    with pytest.raises(CalibrationError, match="--calib DIR"):
        export(bare.path, "onnx", tmp_path / "out", ExportOptions(precision="int8"))
    assert not (tmp_path / "out").exists()
    (report,) = export(bare.path, "onnx", tmp_path / "out", ExportOptions(precision="fp16"))
    assert report.parity is not None
    assert report.parity.crops_from == "generated pictures"


@pytest.mark.parametrize(("count", "words"), [(2, "too few to hold any out"), (300, "held-out crops")])
def test_the_report_says_which_crops_were_compared(
    tiny_checkpoint: Path, tmp_path: Path, count: int, words: str
) -> None:
    options = ExportOptions(precision="int8", calib_count=count, max_drop=5)
    (report,) = export(tiny_checkpoint, "onnx", tmp_path, options)
    assert report.parity is not None
    assert words in report.parity.crops_from
    assert words in "\n".join(report.lines())


def test_beyond_the_gate_nothing_is_written(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(VerificationFailed, match=r"--max-drop 1e-05"):
        export(tiny_checkpoint, "onnx", tmp_path, ExportOptions(precision="int8", max_drop=1e-5))
    assert list(tmp_path.iterdir()) == []
    (report,) = export(tiny_checkpoint, "onnx", tmp_path, ExportOptions(precision="int8", max_drop=0.5))
    assert report.written


def test_with_all_the_others_are_finished_before_a_failure_is_raised(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = conversion.verification.check_precision

    def fail_in_openvino(parity: Any, precision: str) -> None:
        if parity.runtime == "openvino":
            raise VerificationFailed("too far apart")
        real(parity, precision)

    require("openvino", "fp32")
    monkeypatch.setattr(conversion.verification, "check_precision", fail_in_openvino)
    with pytest.raises(VerificationFailed, match="too far apart"):
        export(tiny_checkpoint, "all", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"tiny-onnx-fp32.dsrfau", "tiny-tensorrt-fp32.dsrfau"}


def test_not_verified_says_so(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (report,) = export(tiny_checkpoint, "onnx", tmp_path, ExportOptions(verify=False))
    assert report.parity is None
    assert "not verified (--no-verify)" in "\n".join(report.lines())
    assert report.path is not None
    assert Bundle.open(report.path).manifest.parity == {}


def test_few_crops_warn_only_where_they_matter(
    tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    export(tiny_checkpoint, "onnx", tmp_path, ExportOptions(calib_count=10))
    assert "calibration crops" not in caplog.text
    export(tiny_checkpoint, "onnx", tmp_path, ExportOptions(precision="int8", calib_count=10))
    assert "Only 10 calibration crops" in caplog.text


def test_each_line_is_said_once(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """In a process without handlers, in which ONNX Runtime's quantizer would set one up that repeats ours."""
    import subprocess
    import sys

    program = "import sys; from dsrfau_edge.cli.main import run; run('export', 'dsrfau-export', sys.argv[1:])"
    arguments = [str(tiny_checkpoint), "--int8", "--calib-count", "120", "--sensitivity", "-v", "-o", str(tmp_path)]
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == len(set(lines)) > 1
    assert "examining layers" in result.stderr


def test_no_training_framework_is_loaded() -> None:
    import subprocess
    import sys

    program = (
        "import sys; import dsrfau_edge.export.pipeline;"
        "print([name for name in ('torch', 'onnx', 'nncf', 'openvino') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
