"""The report: its files, its charts and galleries, and places it cannot be written to."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dsrfau_edge.errors import DataError, RuntimeUnavailable, UsageError
from dsrfau_edge.train.evaluation import galleries
from dsrfau_edge.train.evaluation.evaluation import Request, evaluate_models
from dsrfau_edge.train.evaluation.report import document, markdown, summary, to_dict

NAN = float("nan")


def evaluate(recorded, faces, **options):
    chosen = {"split": "all", "bootstrap": 20, "runtime": "onnxruntime", "threads": 1, **options}
    return evaluate_models(Request(models=(recorded,), folders=(faces,), **chosen))


@pytest.fixture(scope="module")
def found(recorded, faces):
    return evaluate(recorded, faces, by=("rig", "yaw"), nuisances=("grey", "glasses"))


def decoded(content):
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def test_the_folder_holds_what_it_should(tmp_path, found):
    pytest.importorskip("matplotlib", reason="the charts need the synth extra")
    from dsrfau_edge.train.evaluation.files import ReportFolder

    folder = tmp_path / "a" / "report"
    writer = ReportFolder(folder)
    (folder / "mine.txt").write_text("kept")
    (folder / "report.json").write_text("of an earlier run")
    written = writer.write(found)
    names = {"report.md", "report.json", "scores.png", "scatter.png", "calibration.png", "confusion.png",
             "failures.png", "heatmaps.png"}  # fmt: skip
    assert {path.name for path in written} == names
    assert {path.name for path in folder.iterdir()} == {*names, "mine.txt"}
    assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(to_dict(found)))
    text = (folder / "report.md").read_text()
    for name in names - {"report.md", "report.json"}:
        assert f"]({name})" in text
        assert decoded((folder / name).read_bytes()).std() > 5, "something is drawn"


def test_charts_of_what_is_not_defined(recorded, tmp_path, write_faces):
    pytest.importorskip("matplotlib", reason="the charts need the synth extra")
    from dsrfau_edge.train.evaluation import pictures

    def poor(sample):
        return replace(sample, intensities=np.array([NAN, NAN, 0, 0, 3 if sample.key.endswith("1") else NAN], "f4"))

    data = write_faces(tmp_path / "poor", 30, people=1, change=poor)
    found = evaluate(recorded, data)
    assert found.per_au.rows["AU12"].metrics["icc"].value is None
    for draw in (pictures.overview, pictures.scatter, pictures.calibration, pictures.confusion, galleries.failures):
        decoded(draw(found))
    assert "–" in document(found, {})


def test_bands_against_bands():
    pictures = pytest.importorskip("dsrfau_edge.train.evaluation.pictures")
    counts = pictures.confusion_counts(np.array([0.0, 0.9, 1.0, 5.0, 5.0]), np.array([0.2, 1.6, 1.4, 4.4, 0.0]))
    expected = np.zeros((6, 6), int)
    expected[0, 0] = expected[0, 2] = expected[1, 1] = expected[5, 4] = expected[5, 0] = 1
    np.testing.assert_array_equal(counts, expected)


def test_the_worst_are_of_different_persons():
    labels = np.array([0.0, 5.0, 4.0, 3.0, NAN])
    predictions = np.array([0.1, 0.0, 0.0, 1.0, 5.0])
    assert galleries.worst(labels, predictions, np.array(["a", "b", "b", "a", "c"]), 3) == [1, 3]
    assert galleries.worst(labels, predictions, np.array(["a", "b", "c", "d", "e"]), 2) == [1, 2]


def test_lively_faces_come_first_and_are_of_different_persons():
    labels = np.zeros((6, 7))
    labels[2, :4], labels[3, :4], labels[5, :2] = 3, 3, 3
    chosen = galleries.lively(labels, np.array(["a", "b", "c", "c", "d", "e"]), 3, seed=0)
    assert len(chosen) == 3
    assert chosen[0] in (2, 3)
    assert chosen[1] == 5


def test_the_strongest_sites_are_labelled_ones():
    assert galleries.strongest(np.array([1.0, NAN, 3.0, 0.0, NAN]), 4) == [2, 0, 3]
    assert galleries.strongest(np.array([1.0, NAN, 3.0]), 1) == [2]


def test_the_heatmaps_shown_are_the_networks_own(found):
    numbers = [3, 40]
    maps = galleries._maps(found, numbers)
    for number in numbers:
        top = np.clip(maps[number].max((1, 2)), 0, 5)
        np.testing.assert_allclose(top, found.pooled.views[""][number], atol=1e-4)


def test_a_heatmap_is_drawn_where_it_is():
    crop = np.full((32, 32, 3), 60, np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[2, 5] = 5.0
    drawn = galleries._overlaid(crop, heat, np.array([-50.0, -50.0], np.float32))
    y, x = np.unravel_index(drawn.sum(-1).argmax(), drawn.shape[:2])
    scale = drawn.shape[0] / 8
    assert (y / scale, x / scale) == pytest.approx((2.5, 5.5), abs=0.3)


def test_tables_on_the_terminal(found):
    text = summary(found, sides=True)
    for part in ("split all, protocol identities", "| AU12     |", "| AU12_left  |", "| grey     |", "| makehuman |",
                 "20 resamples of identities"):  # fmt: skip
        assert part in text
    assert "AU12_left" not in summary(found)
    assert len({len(line) for line in markdown(["a", "bb"], [["1", "2"], ["333", "4"]]).splitlines()}) == 1


def test_no_intervals_are_said_to_be_none(recorded, faces):
    found = evaluate(recorded, faces, bootstrap=0)
    assert "resamples" not in summary(found)
    assert "No intervals." in document(found, {})
    assert "intervals" not in to_dict(found)["mean"]
    assert not found.warnings


def test_one_identity_is_noted(recorded, tmp_path, write_faces):
    found = evaluate(recorded, write_faces(tmp_path / "one", 12, people=1))
    assert "fewer than two identities: no intervals" in found.warnings
    assert "intervals" not in to_dict(found)["mean"]


def test_places_that_cannot_be_written_to(tmp_path):
    pytest.importorskip("matplotlib", reason="the charts need the synth extra")
    from dsrfau_edge.train.evaluation.files import ReportFolder

    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        ReportFolder(tmp_path / "file")
    with pytest.raises(DataError, match="cannot be written"):
        ReportFolder(tmp_path / "file" / "report")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    pytest.importorskip("matplotlib", reason="the charts need the synth extra")
    from dsrfau_edge.train.evaluation.files import ReportFolder

    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DataError, match="cannot be written"):
            ReportFolder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    from dsrfau_edge.train.evaluation.files import ReportFolder

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RuntimeUnavailable, match=r"dsrfau-edge\[synth\]"):
        ReportFolder(tmp_path / "report")
    assert not (tmp_path / "report").exists()
