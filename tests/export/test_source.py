"""Checkpoints and bundles as sources, and what is wrong with those that are neither."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dsrfau_edge.errors import BundleError, DataError
from dsrfau_edge.export.source import load_source


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))


def test_a_checkpoint_and_a_bundle_of_it_are_the_same_network(
    tiny_checkpoint: Path, tiny_bundle: Path, tiny_onnx: bytes
) -> None:
    first, second = load_source(tiny_checkpoint), load_source(tiny_bundle)
    assert first.graph == second.graph == tiny_onnx
    for field in ("aus", "sites", "input_size", "template", "heatmap", "name"):
        assert getattr(first, field) == getattr(second, field)
    assert first.calibration is not None
    assert second.calibration is not None
    assert len(first.origin["checkpoint_sha256"]) == 64


@pytest.mark.parametrize("name", ["model.onnx", "calibration.zip"])
def test_a_flipped_byte_is_noticed(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[100] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name} does not match"):
        load_source(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', "\x00"])
def test_a_description_that_cannot_be_read(copy: Path, text: str) -> None:
    (copy / "checkpoint.json").write_text(text)
    with pytest.raises(DataError, match="cannot be read"):
        load_source(copy)


def test_an_unknown_schema_names_the_fix(copy: Path) -> None:
    raw = json.loads((copy / "checkpoint.json").read_text())
    (copy / "checkpoint.json").write_text(json.dumps({**raw, "schema": 7}))
    with pytest.raises(DataError, match=r"schema 7.*pip install"):
        load_source(copy)


def test_a_missing_graph(copy: Path) -> None:
    (copy / "model.onnx").unlink()
    with pytest.raises(DataError, match=r"model\.onnx"):
        load_source(copy)


def test_what_is_neither(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_source(tmp_path / "absent")
    with pytest.raises(DataError, match="holds neither"):
        load_source(tmp_path)
    with pytest.raises(BundleError, match="no bundle"):
        load_source(tmp_path / "absent.dsrfau")
