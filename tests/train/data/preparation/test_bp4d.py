"""BP4D in FERA 2015's layout, with every defect."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_trees import bp4d, bp4d_labels, lines, nobody, portrait, shaded, write_labels, write_picture

from dsrfau_edge.errors import DataError
from dsrfau_edge.train.data.preparation import labels
from dsrfau_edge.train.data.preparation.bp4d import AUS, plan
from dsrfau_edge.train.data.preparation.options import Options

from .making import brightness, label, made


def test_the_official_layout(tmp_path: Path) -> None:
    root = bp4d(bp4d(tmp_path / "set"), "M002_T8", (1, 2))
    samples, lost = made(plan(root, Options()), tmp_path / "out")
    assert lost == {}
    assert [sample.identity for sample in samples] == ["bp4d-F001"] * 3 + ["bp4d-M002"] * 2
    assert [sample.meta["frame"] for sample in samples] == [2440, 2441, 2442, 1, 2]
    assert [sample.meta["task"] for sample in samples] == ["T1"] * 3 + ["T8"] * 2
    for au in AUS:
        assert [label(sample, au, AUS) for sample in samples] == [0, 1, 2, 0, 1]


def test_nine_is_unknown_and_never_an_intensity(tmp_path: Path) -> None:
    root = bp4d(tmp_path / "set", numbers=(1, 2, 3))
    write_labels(root / "AU-INT" / "AU12" / "F001_T1_AU12.csv", lines({1: 0, 2: 9, 3: 9}))
    for au in AUS:
        path = root / "AU-INT" / au / f"F001_T1_{au}.csv"
        write_labels(path, path.read_text().replace("3,2", "3,9"))
    planned = plan(root, Options())
    samples, lost = made(planned, tmp_path / "out")
    assert lost == {"no label": 1}  # frame 3, unknown in all
    assert planned.labels == {labels.UNKNOWN: 1 + len(AUS)}
    assert np.isnan(label(samples[1], "AU12", AUS))
    assert label(samples[1], "AU06", AUS) == 1.0
    assert max(float(np.nanmax(sample.intensities)) for sample in samples) <= 5


@pytest.mark.parametrize(
    "name", ["AU_INT/AU06/F001_T1_AU06.csv", "AU-INT/AU06/F001_T1.csv", "labels/au06/f001_t1_au06.CSV"]
)
def test_usual_names_of_label_files(tmp_path: Path, name: str) -> None:
    write_labels(tmp_path / "set" / name, lines({7: 3}))
    write_picture(tmp_path / "set" / "F001" / "T1" / "0007.jpg")
    planned = plan(tmp_path / "set", Options())
    (sample,), _ = made(planned, tmp_path / "out")
    assert label(sample, "AU06", AUS) == 3.0
    assert planned.labels == {labels.NO_FILE: 4}


@pytest.mark.parametrize("folder", ["F001/T1", "BP4D/F001/T1", "F001_T1", "frames/F001/T1/jpg"])
def test_usual_names_of_frame_folders(tmp_path: Path, folder: str) -> None:
    bp4d_labels(tmp_path / "set", "F001_T1", {2440: 1, 2441: 2, 2442: 3})
    for number in (2440, 2442):
        write_picture(tmp_path / "set" / folder / f"{number}.png", shaded(number - 2440))
    samples, lost = made(plan(tmp_path / "set", Options()), tmp_path / "out")
    assert [label(sample, "AU12", AUS) for sample in samples] == [1.0, 3.0]
    assert lost == {"picture missing": 1}
    assert brightness(samples[1]) - brightness(samples[0]) > 3


def test_all_that_is_lost_is_counted(tmp_path: Path) -> None:
    root = bp4d(tmp_path / "set", numbers=(1, 2, 3, 4, 5))
    write_picture(root / "F001" / "T1" / "0002.jpg", nobody())
    whole = (root / "F001" / "T1" / "0003.jpg").read_bytes()
    (root / "F001" / "T1" / "0003.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "F001" / "T1" / "0004.jpg").unlink()
    write_picture(root / "F001" / "T1" / "0009.jpg")
    write_picture(root / "F001" / "T1" / "thumbnail.jpg")
    bp4d_labels(root, "F003_T2", {1: 0, 2: 0})
    write_picture(root / "F005" / "T3" / "0001.jpg")
    samples, lost = made(plan(root, Options()), tmp_path / "out")
    assert [(sample.meta["frame"], label(sample, "AU12", AUS)) for sample in samples] == [(1, 0.0), (5, 4.0)]
    assert lost == {
        "no face": 1,
        "unreadable picture": 1,
        "picture missing": 1,
        "no label": 1,
        "no frame number in the name": 1,
        "labels without pictures": 2,
        "subject without labels": 1,
    }


def test_several_faces_give_the_largest(tmp_path: Path) -> None:
    root = bp4d(tmp_path / "set", numbers=(1, 2))
    smaller = np.asarray(cv2.resize(portrait(), (216, 216), interpolation=cv2.INTER_AREA), np.uint8)
    couple = np.concatenate([np.pad(smaller, ((0, 40), (0, 0), (0, 0)), mode="edge"), portrait()], 1)
    write_picture(root / "F001" / "T1" / "0001.jpg", couple)
    write_picture(root / "F001" / "T1" / "0002.jpg", portrait())
    two, one = made(plan(root, Options()), tmp_path / "out")[0]
    assert (two.meta["faces"], one.meta["faces"]) == (2, 1)
    np.testing.assert_allclose(two.centres, one.centres, atol=1.5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("AU-INT/AU04/F001_T1_AU04.csv", "no AU04"),
        ("AU-INT/AU06/F001_T1_AU10.csv", "another AU"),
        ("again/AU06/F001_T1_AU06.csv", "both hold AU06"),
    ],
)
def test_label_files_that_do_not_belong_are_named(tmp_path: Path, name: str, message: str) -> None:
    root = bp4d(tmp_path / "set")
    write_labels(root / name, "2440,1\n")
    with pytest.raises(DataError, match=message):
        plan(root, Options())


def test_frames_in_two_places_are_a_question(tmp_path: Path) -> None:
    root = bp4d(tmp_path / "set")
    write_picture(root / "again" / "F001" / "T1" / "2440.jpg")
    with pytest.raises(DataError, match="--pictures"):
        plan(root, Options())


def test_frames_counted_from_another_number_are_refused_until_told(tmp_path: Path) -> None:
    root = bp4d(tmp_path / "set", numbers=(0, 1))
    bp4d_labels(root, "F001_T1", {1: 3, 2: 4})
    with pytest.raises(DataError, match="--first-frame"):
        plan(root, Options())
    samples, _ = made(plan(root, Options(), first_frame=0), tmp_path / "out")
    assert [label(sample, "AU12", AUS) for sample in samples] == [3.0, 4.0]


def test_wrong_folders_and_subjects_are_told_what_belongs_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="AU-INT/AU06/F001_T1_AU06.csv"):
        plan(tmp_path / "empty", Options())
    root = bp4d(tmp_path / "set")
    with pytest.raises(DataError, match="F099"):
        plan(root, Options(), subjects=("F099",))
    samples, _ = made(plan(bp4d(root, "F003_T1"), Options(), subjects=("f003",)), tmp_path / "out")
    assert {sample.identity for sample in samples} == {"bp4d-F003"}
