"""What is fed to the models, and how results are compared."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dsrfau_edge.bench.inputs import PORTRAIT, crops_of, generated, read_frames, rotation
from dsrfau_edge.bench.parity import compare
from dsrfau_edge.bundle import Bundle, write_bundle
from dsrfau_edge.errors import InputError


def numbered(count):
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)


@pytest.mark.parametrize(
    ("count", "batch", "calls"), [(5, 1, 5), (5, 2, 3), (4, 4, 2), (3, 8, 2), (1, 1, 1), (1, 4, 1)]
)
def test_crops_rotate_and_all_of_them_come(count, batch, calls):
    found = rotation(numbered(count), batch)
    assert [part.shape[0] for part in found] == [batch] * calls
    assert all(part.flags["C_CONTIGUOUS"] for part in found)
    first = np.concatenate(found)[:count, 0, 0, 0]
    assert first.tolist() == list(range(count))
    if count > 1:
        assert any((part != found[0]).any() for part in found[1:])


def test_a_bundles_own_crops_come_first(opened_bundle):
    crops, origin = crops_of(opened_bundle)
    assert crops.shape == (64, 32, 32, 3)
    assert origin == "the bundle's own calibration crops"
    assert (crops[0] == opened_bundle.read_calibration()[0]).all()
    assert (crops[-1] == opened_bundle.read_calibration()[-1]).all()


def test_a_bundle_without_crops(opened_bundle, tmp_path):
    files = {"model.onnx": opened_bundle.model_path}
    crops, origin = crops_of(write_bundle(tmp_path / "a.dsrfau", opened_bundle.manifest, files))
    assert crops.shape == (64, 32, 32, 3)
    assert "not faces" in origin
    student = Bundle.open("dsrfau-s", verify=False)
    models = {path.name: path for path in (student.model_path, student.portable_path)}
    borrowed, origin = crops_of(write_bundle(tmp_path / "b.dsrfau", student.manifest, models))
    assert "calibration crops of dsrfau-" in origin
    assert borrowed.shape == (64, 128, 128, 3)


def test_generated_pictures_differ_and_are_the_same_each_time():
    assert (generated(16) == generated(16)).all()
    assert (generated(16, 2)[0] != generated(16, 2)[1]).any()
    assert generated(16, 2).dtype == np.uint8


def test_frames_of_a_picture_and_a_folder(tmp_path):
    for name in ("1.png", "2.png", "3.png"):
        cv2.imwrite(str(tmp_path / name), np.full((8, 6, 3), int(name[0]), np.uint8))
    frames, told = read_frames([str(PORTRAIT), str(tmp_path)], 2)
    assert [len(frames), told["sources"][1]] == [3, {"source": tmp_path.name, "frames": 2}]
    assert told["sizes"] == ["512x512", "6x8"]
    assert told["sha256"] != read_frames([str(PORTRAIT)], 2)[1]["sha256"]


def test_frames_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError):
        read_frames([str(tmp_path / "absent.jpg")], 2)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError):
        read_frames([str(tmp_path / "bad.jpg")], 2)


@pytest.mark.parametrize("source", ["0", "rtsp://example.invalid/live"])
def test_live_sources_are_refused(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="Record it"):
        read_frames([source], 2)


def test_frames_that_need_too_much_memory(monkeypatch):
    from dsrfau_edge.bench import inputs

    monkeypatch.setattr(inputs, "_MOST_BYTES", 1000)
    with pytest.raises(InputError, match="--frames"):
        read_frames([str(PORTRAIT)], 2)


AUS, SITES = ("AU04", "AU25"), ("AU04_left", "AU04_right", "AU25")
REFERENCE = np.array([[1, 2, 3], [2, 3, 1], [3, 1, 2]], np.float32)


def test_parity_by_hand():
    found = REFERENCE.copy()
    found[0] += [0.4, 0, -0.1]  # AU04 is the mean of two sites: 0.2 off; AU25 0.1
    told = compare(REFERENCE, found, AUS, SITES, "here")
    assert told["max"] == pytest.approx(0.2)
    assert told["mean"] == pytest.approx(0.3 / 6)
    assert (told["worst_au"], told["crops"], told["crops_from"]) == ("AU04", 3, "here")
    assert told["aus"]["AU25"]["mean"] == pytest.approx(0.1 / 3, rel=1e-3)
    expected = np.corrcoef(REFERENCE[:, 2], found[:, 2])[0, 1]
    assert told["aus"]["AU25"]["pcc"] == pytest.approx(expected, abs=1e-5)
    assert told["pcc"] == min(one["pcc"] for one in told["aus"].values())


def test_parity_of_itself_and_of_what_is_no_number():
    same = compare(REFERENCE, REFERENCE, AUS, SITES, "here")
    assert (same["mean"], same["max"], same["pcc"]) == (0, 0, 1)
    broken = REFERENCE.copy()
    broken[1, 1] = np.nan
    told = compare(REFERENCE, broken, AUS, SITES, "here")
    assert (told["finite"], told["mean"]) == (False, None)
    constant = np.ones((3, 3), np.float32)
    assert compare(constant, constant, AUS, SITES, "here")["pcc"] is None
