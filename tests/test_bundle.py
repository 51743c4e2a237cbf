"""Bundles are whole or absent, and say so when they are not."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dsrfau_edge import bundle as module
from dsrfau_edge.bundle import Bundle, write_bundle
from dsrfau_edge.errors import BundleError, DataError, UsageError
from dsrfau_edge.manifest import FileRecord, Manifest


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle of one's own to damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy.dsrfau"))


def contents(bundle: Bundle) -> dict[str, Path | bytes]:
    return {name: (bundle.path / name).read_bytes() for name in bundle.manifest.files}


def test_reads_back_what_was_written(opened_bundle: Bundle) -> None:
    assert opened_bundle.manifest.aus == ("AU04", "AU12", "AU25")
    assert opened_bundle.model_path == opened_bundle.portable_path
    crops = opened_bundle.read_calibration()
    assert crops.shape == (120, 32, 32, 3)
    assert crops.dtype == np.uint8
    files = opened_bundle.model_files()
    assert (files.format, files.batch, files.sites, files.heatmap_size) == ("onnx", None, 5, 8)
    assert opened_bundle.manifest.alignment.to_dict() == opened_bundle.manifest.template


@pytest.mark.parametrize("name", ["model.onnx", "calibration.zip"])
@pytest.mark.parametrize("position", [0, 1000, -1])
def test_a_flipped_byte_is_noticed(copy: Path, name: str, position: int) -> None:
    data = bytearray((copy / name).read_bytes())
    data[position] ^= 0x10
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name} does not match its checksum"):
        Bundle.open(copy)


def test_a_flipped_byte_of_the_manifest_is_noticed_wherever_it_changes_a_value(copy: Path, tiny_bundle: Path) -> None:
    original, manifest = (copy / "manifest.json").read_bytes(), Bundle.open(tiny_bundle).manifest
    for position in range(0, len(original), 7):
        damaged = bytearray(original)
        damaged[position] ^= 0x01
        (copy / "manifest.json").write_bytes(damaged)
        try:
            assert Bundle.open(copy, verify=False).manifest == manifest  # white space between values
        except BundleError:
            continue


@pytest.mark.parametrize("name", ["model.onnx", "calibration.zip", "manifest.json"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=name):
        Bundle.open(copy)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_a_truncated_file_is_noticed(copy: Path, name: str) -> None:
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(BundleError):
        Bundle.open(copy, verify=False)


def rewrite(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    raw = json.loads((folder / "manifest.json").read_text())
    change(raw)
    (folder / "manifest.json").write_text(json.dumps(raw))


def test_an_unknown_schema_names_the_fix(copy: Path) -> None:
    rewrite(copy, lambda raw: raw.update(schema=99))
    with pytest.raises(BundleError, match=r"schema 99.*reads schema 1 to 2.*pip install"):
        Bundle.open(copy)


def test_an_edited_manifest_is_refused(copy: Path) -> None:
    rewrite(copy, lambda raw: raw["sites"].reverse())  # type: ignore[attr-defined]
    with pytest.raises(BundleError, match="checksum"):
        Bundle.open(copy)


@pytest.mark.parametrize(
    ("path", "message"), [("absent.dsrfau", "no bundle"), (".", "not a complete bundle"), ("file", "is a file")]
)
def test_what_is_no_bundle_is_named(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=message):
        Bundle.open(tmp_path / path)


@pytest.mark.parametrize(
    "change",
    [
        {"target": "coreml"},
        {"precision": "int4"},
        {"batch": 0},
        {"input_size": 0},
        {"aus": ()},
        {"model": "../secret.onnx"},
        {"portable": "absent.onnx"},
        {"files": {"../evil": FileRecord("0" * 64, 1)}},
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(opened_bundle: Bundle, change: dict[str, object]) -> None:
    broken = replace(opened_bundle.manifest, **change)  # type: ignore[arg-type]
    with pytest.raises(BundleError):
        Manifest.from_json(broken.to_json())


@pytest.mark.parametrize("key", ["name", "aus", "input", "template", "heatmap", "files"])
def test_a_manifest_without_a_field_is_refused(opened_bundle: Bundle, key: str) -> None:
    raw = opened_bundle.manifest.to_dict()
    del raw[key]
    with pytest.raises(BundleError, match=key):
        Manifest.from_dict(raw)


def test_nothing_is_overwritten_unasked(opened_bundle: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "new.dsrfau"
    write_bundle(target, opened_bundle.manifest, contents(opened_bundle))
    with pytest.raises(UsageError, match="--overwrite"):
        write_bundle(target, opened_bundle.manifest, contents(opened_bundle))
    renamed = replace(opened_bundle.manifest, name="second")
    write_bundle(target, renamed, contents(opened_bundle), overwrite=True)
    assert Bundle.open(target).manifest.name == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["new.dsrfau"]


def test_a_folder_of_the_users_is_never_replaced(opened_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").touch()
    with pytest.raises(UsageError, match="not a bundle"):
        write_bundle(tmp_path / "holiday", opened_bundle.manifest, contents(opened_bundle), overwrite=True)
    assert (tmp_path / "holiday" / "photo.jpg").exists()


def test_a_full_disk_leaves_nothing(opened_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(BundleError, match="No space left on device"):
        write_bundle(tmp_path / "new.dsrfau", opened_bundle.manifest, contents(opened_bundle))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_old_bundle(
    opened_bundle: Bundle, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(BundleError):
        write_bundle(copy, opened_bundle.manifest, contents(opened_bundle), overwrite=True)
    assert Bundle.open(copy).manifest == opened_bundle.manifest


def test_a_missing_source_file_leaves_nothing(opened_bundle: Bundle, tmp_path: Path) -> None:
    files = {**contents(opened_bundle), "calibration.zip": tmp_path / "absent.zip"}
    with pytest.raises(BundleError):
        write_bundle(tmp_path / "new.dsrfau", opened_bundle.manifest, files)
    with pytest.raises(UsageError, match=r"model\.onnx"):
        write_bundle(tmp_path / "new.dsrfau", opened_bundle.manifest, {})
    assert not (tmp_path / "new.dsrfau").exists()


def test_concurrent_writers_leave_one_whole_bundle(opened_bundle: Bundle, tmp_path: Path) -> None:
    target, errors = tmp_path / "new.dsrfau", []

    def write(name: str) -> None:
        try:
            for _ in range(5):
                manifest = replace(opened_bundle.manifest, name=name)
                write_bundle(target, manifest, contents(opened_bundle), overwrite=True)
        except Exception as error:  # a thread's failure must reach the test
            errors.append(error)

    threads = [threading.Thread(target=write, args=(f"writer{index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Bundle.open(target).manifest.name.startswith("writer")
    assert [path.name for path in tmp_path.iterdir()] == ["new.dsrfau"]


def test_calibration_that_is_no_archive_is_named(copy: Path) -> None:
    bundle = Bundle.open(copy)
    (copy / "calibration.zip").write_bytes(b"not a zip")
    with pytest.raises(BundleError, match=r"calibration\.zip"):
        bundle.read_calibration()


def test_a_bundle_of_the_first_schema_is_migrated(copy: Path, opened_bundle: Bundle) -> None:
    """As an earlier version wrote it: without the fields that came later, and with a checksum of its own."""
    from dsrfau_edge.manifest import _checksum

    raw = opened_bundle.manifest.to_dict()
    old = {key: value for key, value in raw.items() if key not in ("graph", "gate", "confidence")}
    old["schema"] = 1
    (copy / "manifest.json").write_text(json.dumps({**old, "checksum": _checksum(old)}))
    manifest = Bundle.open(copy).manifest
    assert manifest == opened_bundle.manifest
    assert json.loads(manifest.to_json())["schema"] == 2


def test_the_graph_of_an_engine_is_named(opened_bundle: Bundle, tmp_path: Path) -> None:
    manifest = replace(opened_bundle.manifest, target="tensorrt", model="model.engine", graph="typed.onnx")
    files = {**contents(opened_bundle), "model.engine": b"engine"}
    with pytest.raises(UsageError, match=r"typed\.onnx"):
        write_bundle(tmp_path / "a.dsrfau", manifest, files)
    write_bundle(tmp_path / "a.dsrfau", manifest, {**files, "typed.onnx": b"graph"})
    assert Bundle.open(tmp_path / "a.dsrfau").model_files().graph == tmp_path / "a.dsrfau" / "typed.onnx"
    (tmp_path / "a.dsrfau" / "typed.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="checksum"):
        Bundle.open(tmp_path / "a.dsrfau")


def test_a_checkpoint_opens_as_its_portable_graph(tiny_checkpoint: Path, tiny_onnx: bytes, tmp_path: Path) -> None:
    opened = Bundle.open(tiny_checkpoint)
    files = opened.model_files()
    assert (files.format, files.precision, files.checkpoint) == ("onnx", "fp32", tiny_checkpoint)
    assert opened.portable_path.read_bytes() == tiny_onnx
    broken = Path(shutil.copytree(tiny_checkpoint, tmp_path / "broken"))
    rewrite_checkpoint = json.loads((broken / "checkpoint.json").read_text())
    (broken / "checkpoint.json").write_text(json.dumps({**rewrite_checkpoint, "heatmap": {}}))
    with pytest.raises(DataError, match="lacks something"):
        Bundle.open(broken)
