"""`dsrfau-doctor`: what it reports and how it ends."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from dsrfau_edge.cli import doctor
from dsrfau_edge.cli.main import run
from dsrfau_edge.runtimes import cuda_driver, registry
from dsrfau_edge.runtimes.base import Availability
from dsrfau_edge.runtimes.cuda_driver import Driver, Gpu


def call(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        run("doctor", "dsrfau-doctor", [str(argument) for argument in arguments])
    return int(str(end.value.code)), out.getvalue(), err.getvalue()


def test_json(tiny_bundle: Path) -> None:
    code, out, _ = call("--bundle", tiny_bundle, "--json")
    report: dict[str, Any] = json.loads(out)
    assert code == 0
    assert report["device"]["cores"] >= 1
    assert report["opencv"]["ok"]
    assert report["runtimes"]["onnxruntime"]["ok"]
    assert report["bundle"]["runtime"] == "onnxruntime"
    assert {item["name"] for item in report["bundle"]["rejected"]} >= {"openvino", "tensorrt"}
    for runtime in report["runtimes"].values():
        assert runtime["ok"] or (runtime["reason"] and runtime["fix"])


def test_text(tiny_bundle: Path) -> None:
    code, out, _ = call("--bundle", tiny_bundle)
    assert code == 0
    assert "would run in onnxruntime (onnx fp32)" in out
    assert "CPU features:" in out


def test_a_jetson(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "driver", lambda: Driver((Gpu(0, "Orin", 87, 8 << 30),), "12.6"))
    monkeypatch.setattr(doctor, "_jetson", lambda: "R36 (release), REVISION: 4.0")
    _, out, _ = call("--bundle", tiny_bundle)
    assert "Jetson: R36 (release), REVISION: 4.0" in out
    assert "GPU: Orin, compute capability 87, 8.0 GiB" in out


def test_without_any_runtime_the_report_still_comes(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        name, formats = "onnxruntime", ("onnx",)

        def availability(self, device: str | None = None) -> Availability:
            return Availability(ok=False, reason="onnxruntime is not installed.", fix="pip install it")

    monkeypatch.setattr(registry, "runtimes", lambda: {"onnxruntime": Missing()})
    code, out, _ = call("--bundle", tiny_bundle)
    assert code == 3
    assert "onnxruntime: no. onnxruntime is not installed. pip install it" in out


def test_a_bundle_that_is_not_there_ends_in_exit_code_5(tmp_path: Path) -> None:
    code, out, err = call("--bundle", tmp_path / "absent.dsrfau", "--json")
    assert (code, "no bundle" in err) == (5, True)
    assert "no bundle" in json.loads(out)["bundle"]["reason"]
