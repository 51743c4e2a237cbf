"""Everything wrong that an export can be given, as a table: each ends with its exit code and a message that helps."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dsrfau_edge.export.targets import base

onnx = pytest.importorskip("onnx")

from calling import call  # noqa: E402

PICTURE = np.full((40, 40, 3), 90, np.uint8)


def empty(folder: Path) -> None:
    folder.mkdir()


def text_only(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("no pictures")


def corrupt(folder: Path) -> None:
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(cv2.imencode(".jpg", PICTURE)[1].tobytes()[:40])


def faceless(folder: Path) -> None:
    folder.mkdir()
    cv2.imwrite(str(folder / "wall.png"), PICTURE)


def other_size(folder: Path) -> None:
    folder.mkdir()
    cv2.imwrite(str(folder / "crop.png"), PICTURE)


def a_file(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (empty, [], "holds no pictures"),
        (text_only, [], "holds no pictures"),
        (corrupt, [], "None of the 3 pictures"),
        (faceless, [], "None of the 1 pictures"),
        (other_size, ["--calib-crops"], "has 40x40 pixels"),
        (corrupt, ["--calib-crops"], "cannot be read as a calibration crop"),
        (a_file, [], "is not a folder"),
    ],
)
@pytest.mark.parametrize("target", ["onnx", "all"])
def test_calibration_pictures(
    tiny_checkpoint: Path, tmp_path: Path, make: Callable[[Path], None], arguments: list[str], message: str, target: str
) -> None:
    make(tmp_path / "pictures")
    out = tmp_path / "out"
    called = call(
        "export", tiny_checkpoint, "--target", target, "--int8", "--calib", tmp_path / "pictures", *arguments, "-o", out
    )
    assert (called.code, message in called.err) == (5, True), called.err
    assert not out.exists()


def new_opset(model: Any) -> None:
    model.opset_import[0].version = 99


def other_sites(model: Any) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7


def no_output(model: Any) -> None:
    del model.graph.output[1:]


def unknown_operator(model: Any) -> None:
    model.graph.node[4].op_type = "Sorcery"


@pytest.mark.parametrize("change", [new_opset, other_sites, no_output, unknown_operator])
@pytest.mark.parametrize("target", ["onnx", "openvino", "tensorrt"])
def test_graphs(tiny_checkpoint: Path, tmp_path: Path, change: Callable[[Any], None], target: str) -> None:
    source = Path(shutil.copytree(tiny_checkpoint, tmp_path / "source"))
    model = onnx.load(source / "model.onnx")
    change(model)
    rewritten = model.SerializeToString()
    (source / "model.onnx").write_bytes(rewritten)
    raw = json.loads((source / "checkpoint.json").read_text())
    raw["files"]["model.onnx"] = hashlib.sha256(rewritten).hexdigest()
    (source / "checkpoint.json").write_text(json.dumps(raw))
    called = call("export", source, "--target", target, "-o", tmp_path / "out")
    assert called.code in (1, 3, 5), called.err
    assert "error: " in called.err
    assert "defect" not in called.err, called.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["model.onnx", "calibration.zip", "checkpoint.json"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 100])
def test_tampered_sources(tiny_checkpoint: Path, tmp_path: Path, name: str, content: bytes) -> None:
    source = Path(shutil.copytree(tiny_checkpoint, tmp_path / "source"))
    (source / name).write_bytes(content)
    called = call("export", source, "--int8", "-o", tmp_path / "out")
    assert (called.code, "error: " in called.err) == (5, True), called.err


@pytest.mark.parametrize(
    ("package", "target", "arguments"),
    [
        ("onnx", "onnx", []),
        ("sympy", "onnx", ["--int8"]),
        ("sympy", "onnx", ["--fp16"]),
        ("openvino", "openvino", []),
        ("nncf", "openvino", ["--int8"]),
        ("onnxruntime", "tensorrt", []),
        ("sympy", "tensorrt", ["--int8"]),
    ],
)
def test_a_missing_package_of_each_target(
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    target: str,
    arguments: list[str],
) -> None:
    real = base.importlib.util.find_spec
    monkeypatch.setattr(base.importlib.util, "find_spec", lambda name: None if name == package else real(name))
    called = call("export", tiny_checkpoint, "--target", target, *arguments, "-o", tmp_path / "out")
    assert called.code == 3
    assert f"{package} not installed" in called.err
    assert 'pip install "dsrfau-edge[export]"' in called.err
    assert not (tmp_path / "out").exists()
