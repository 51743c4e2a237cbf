"""`dsrfau demo`: picture, bundles and table; one failing target does not cost the table."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from dsrfau_edge.bundle import Bundle
from dsrfau_edge.cli.demo import command
from dsrfau_edge.errors import VerificationFailed
from dsrfau_edge.export import pipeline

pytest.importorskip("nncf", reason="the exporter's packages are not installed")


def test_it_does_the_whole_job(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["-o", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    assert cv2.imread(str(tmp_path / "portrait.jpg")).shape[1] > 512  # the panel of bars stands beside the picture
    table = result.output[result.output.index("== 3.") :]
    for target in ("onnx", "openvino", "tensorrt"):
        manifest = Bundle.open(tmp_path / f"dsrfau-s-{target}-int8.dsrfau").manifest
        assert (manifest.target, manifest.precision) == (target, "int8")
        assert f"{target:<10} int8" in table


def test_a_failing_target_keeps_the_table_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise VerificationFailed("too far off")

    monkeypatch.setattr(pipeline, "export", broken)
    result = CliRunner().invoke(command, ["-o", str(tmp_path)])
    assert isinstance(result.exception, VerificationFailed)
    assert "bundled    fp32" in result.output
