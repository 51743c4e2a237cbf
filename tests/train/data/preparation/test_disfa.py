"""DISFA in its official layout and the variants that are accepted, with every defect."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from picture_trees import disfa, disfa_labels, lines, nobody, shaded, write_labels, write_picture, write_video

from dsrfau_edge.errors import DataError
from dsrfau_edge.shards import Sample
from dsrfau_edge.train.data.preparation import labels
from dsrfau_edge.train.data.preparation.disfa import AUS, plan
from dsrfau_edge.train.data.preparation.options import Options

from .making import brightness, label, made

VIDEO = "Videos_LeftCamera/LeftVideoSN001_comp.avi"


def frames(samples: list[Sample]) -> list[int]:
    return [sample.meta["frame"] for sample in samples]


def extracted(root: Path, folder: str, numbers: list[int], *, pattern: str = "{:05d}.png") -> Path:
    """Frames as files; the picture of frame n is `shaded(n)`."""
    for number in numbers:
        write_picture(root / folder / pattern.format(number), shaded(number))
    return root


def test_the_official_layout(tmp_path: Path) -> None:
    root = disfa(disfa(tmp_path / "set", "SN001", 4), "SN012", 3)
    samples, lost = made(plan(root, Options()), tmp_path / "out")
    assert lost == {}
    assert [sample.identity for sample in samples] == ["disfa-SN001"] * 4 + ["disfa-SN012"] * 3
    assert frames(samples) == [1, 2, 3, 4, 1, 2, 3]
    for sample in samples:
        assert label(sample, "AU12", AUS) == sample.meta["frame"]
        assert {label(sample, au, AUS) for au in AUS if au != "AU12"} == {0.0}
        assert sample.meta["source"].endswith(f"LeftVideo{sample.meta['subject']}_comp.avi")
        assert sample.meta["camera"] == "left"
    shades = [brightness(sample) for sample in samples[:4]]
    assert shades == sorted(shades)
    assert min(np.diff(shades)) > 3


def test_a_subject_with_fewer_aus_keeps_those_it_has(tmp_path: Path) -> None:
    root = disfa(tmp_path / "set")
    (root / "ActionUnit_Labels" / "SN001" / "SN001_au4.txt").unlink()
    planned = plan(root, Options())
    samples, _ = made(planned, tmp_path / "out")
    assert all(np.isnan(label(sample, "AU04", AUS)) for sample in samples)
    assert planned.labels == {labels.NO_FILE: 4}


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("SN001", "{:05d}.png"),
        ("Videos_LeftCamera/LeftVideoSN001_comp", "{}.png"),
        ("frames/left/SN001", "frame_{:06d}.png"),
        ("images", "SN001_{}.png"),
    ],
)
def test_extracted_frames_are_matched_by_the_number_in_their_name(tmp_path: Path, folder: str, pattern: str) -> None:
    disfa_labels(tmp_path / "set", count=5)
    root = extracted(tmp_path / "set", folder, [5, 1, 4, 7], pattern=pattern)
    if folder == "images":  # nothing says whose they are but the files' own names: not accepted
        with pytest.raises(DataError, match="labels without pictures: 5"):
            plan(root, Options())
        return
    samples, lost = made(plan(root, Options()), tmp_path / "out")
    assert frames(samples) == [1, 4, 5]
    assert [label(sample, "AU12", AUS) for sample in samples] == [1.0, 4.0, 5.0]
    assert lost == {"picture missing": 2, "no label": 1}
    assert [brightness(sample) for sample in samples] == sorted(brightness(sample) for sample in samples)


def test_frames_counted_from_another_number_than_labels_are_refused_until_told(tmp_path: Path) -> None:
    disfa_labels(tmp_path / "set", count=3)
    root = extracted(tmp_path / "set", "SN001", [0, 1, 2])
    with pytest.raises(DataError, match="--first-frame"):
        plan(root, Options())
    samples, lost = made(plan(root, Options(), first_frame=0), tmp_path / "out")
    assert lost == {}
    assert [label(sample, "AU12", AUS) for sample in samples] == [1.0, 2.0, 3.0]
    assert [sample.meta["source"] for sample in samples] == [f"SN001/0000{number}.png" for number in range(3)]


def test_two_frames_of_one_number_are_named(tmp_path: Path) -> None:
    disfa_labels(tmp_path / "set")
    root = extracted(extracted(tmp_path / "set", "SN001", [1]), "SN001", [1], pattern="{}.png")
    with pytest.raises(DataError, match="same frame number 1"):
        plan(root, Options())


def test_the_camera_is_the_one_asked_for(tmp_path: Path) -> None:
    root = disfa(tmp_path / "set")
    write_video(root / "Videos_RightCamera" / "RightVideoSN001_comp.avi", [nobody()] * 4)
    for camera, reasons in (("left", {}), ("right", {"no face": 4})):
        _, lost = made(plan(root, Options(), camera=camera), tmp_path / camera)
        assert lost == reasons
    shutil.rmtree(root / "Videos_RightCamera")
    with pytest.raises(DataError, match="labels without pictures: 4"):
        plan(root, Options(), camera="right")
    with pytest.raises(DataError, match="labels without pictures: 4"):  # also where only the folder given says left
        plan(root, Options(), camera="right", pictures=root / "Videos_LeftCamera")


def test_two_recordings_of_a_subject_are_a_question(tmp_path: Path) -> None:
    root = extracted(disfa(tmp_path / "set"), "frames/left/SN001", [1, 2])
    with pytest.raises(DataError, match="--pictures"):
        plan(root, Options())
    samples, _ = made(plan(root, Options(), pictures=root / "frames"), tmp_path / "out")
    assert frames(samples) == [1, 2]


def test_faceless_and_unlabelled_frames_are_counted_and_move_no_other(tmp_path: Path) -> None:
    shown = [shaded(0), nobody(), shaded(2), shaded(3)]
    root = disfa(tmp_path / "set", frames=shown)
    for path in disfa_labels(root).values():
        write_labels(path, lines({1: 1, 2: 2, 3: "NaN", 4: 4}))
    planned = plan(root, Options())
    samples, lost = made(planned, tmp_path / "out")
    assert lost == {"no face": 1, "no label": 1}
    assert planned.labels == {labels.NOT_A_NUMBER: len(AUS)}
    assert frames(samples) == [1, 4]
    assert [label(sample, "AU12", AUS) for sample in samples] == [1.0, 4.0]


def test_an_intensity_of_seven_is_no_label(tmp_path: Path) -> None:
    root = disfa(tmp_path / "set")
    write_labels(root / "ActionUnit_Labels" / "SN001" / "SN001_au12.txt", lines({1: 1, 2: 7, 3: 3, 4: 4}))
    planned = plan(root, Options())
    samples, lost = made(planned, tmp_path / "out")
    assert (planned.labels, lost) == ({labels.OUT_OF_RANGE: 1}, {})
    assert np.isnan(label(samples[1], "AU12", AUS))
    assert label(samples[1], "AU25", AUS) == 0.0
    assert label(samples[2], "AU12", AUS) == 3.0


def test_subjects_without_labels_and_labels_without_video_are_counted(tmp_path: Path) -> None:
    root = disfa(tmp_path / "set")
    disfa_labels(root, "SN002", 6)
    write_video(root / "Videos_LeftCamera" / "LeftVideoSN003_comp.avi", [shaded(0)] * 5)
    samples, lost = made(plan(root, Options()), tmp_path / "out")
    assert len(samples) == 4
    assert lost == {"labels without pictures": 6, "subject without labels": 5}


def test_only_the_subjects_asked_for(tmp_path: Path) -> None:
    root = disfa(disfa(tmp_path / "set"), "SN002")
    samples, lost = made(plan(root, Options(), subjects=("sn002",)), tmp_path / "out")
    assert ({sample.identity for sample in samples}, lost) == ({"disfa-SN002"}, {})
    with pytest.raises(DataError, match="SN099"):
        plan(root, Options(), subjects=("SN099",))


@pytest.mark.parametrize(("labelled", "there"), [(6, 4), (4, 6)])
def test_a_few_frames_more_or_less_are_counted(tmp_path: Path, labelled: int, there: int) -> None:
    root = disfa(tmp_path / "set", count=labelled, frames=[shaded(number) for number in range(there)])
    samples, lost = made(plan(root, Options()), tmp_path / "out")
    assert frames(samples) == [1, 2, 3, 4]
    assert lost == ({"picture missing": 2} if labelled > there else {"no label": 2})


@pytest.mark.parametrize(("labelled", "there"), [(14, 4), (4, 14)])
def test_a_video_of_quite_another_length_is_refused(tmp_path: Path, labelled: int, there: int) -> None:
    root = disfa(tmp_path / "set", count=labelled, frames=[shaded(0)] * there)
    with pytest.raises(DataError, match=f"frame {labelled}, the video .*LeftVideoSN001_comp.avi has {there}"):
        plan(root, Options())


def test_labels_of_a_video_count_from_one(tmp_path: Path) -> None:
    root = disfa(tmp_path / "set")
    write_labels(root / "ActionUnit_Labels" / "SN001" / "SN001_au12.txt", lines({0: 1, 1: 1, 2: 2}))
    with pytest.raises(DataError, match="frame 0"):
        plan(root, Options())


def chunk(video: bytes, frame: int) -> tuple[int, int]:
    """Place and length of a frame's data in an AVI file."""
    place = -1
    for _ in range(frame + 1):
        place = video.index(b"00dc", place + 1)
    return place, int.from_bytes(video[place + 4 : place + 8], "little")


def test_a_video_with_a_frame_that_decoders_pass_over_is_not_used(tmp_path: Path) -> None:
    """OpenCV gives one frame less and says nothing: every later frame would have its neighbour's label."""
    root = disfa(disfa(tmp_path / "set"), "SN002")
    content = bytearray((root / VIDEO).read_bytes())
    place, _ = chunk(bytes(content), 1)
    content[place : place + 4] = b"JUNK"
    (root / VIDEO).write_bytes(content)
    samples, lost = made(plan(root, Options()), tmp_path / "out")
    assert {sample.identity for sample in samples} == {"disfa-SN002"}
    assert lost == {"damaged video": 4}


def test_a_video_cut_short_is_used_only_on_request(tmp_path: Path) -> None:
    root = disfa(tmp_path / "set", count=6)
    content = (root / VIDEO).read_bytes()
    (root / VIDEO).write_bytes(content[: chunk(content, 4)[0]])
    planned = plan(root, Options())
    assert made(planned, tmp_path / "strict")[1] == {"damaged video": 6}
    samples, lost = made(plan(root, Options(), allow_short=4), tmp_path / "lenient")
    assert len(samples) >= 2
    assert frames(samples) == [1, 2, 3, 4][: len(samples)]
    assert lost == {"picture missing": 6 - len(samples)}


def test_a_file_that_is_no_video_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = disfa(disfa(tmp_path / "set"), "SN002")
    (root / VIDEO).write_bytes(b"not a video")
    samples, lost = made(plan(root, Options()), tmp_path / "out")
    assert {sample.identity for sample in samples} == {"disfa-SN002"}
    assert lost == {"damaged video": 4}
    assert "LeftVideoSN001_comp.avi" in caplog.text


def test_every_nth_frame_by_its_number(tmp_path: Path) -> None:
    disfa_labels(tmp_path / "set", count=9)
    root = extracted(tmp_path / "set", "SN001", [1, 2, 4, 5, 6, 7, 9])
    samples, lost = made(plan(root, Options(subsample=2)), tmp_path / "out")
    assert frames(samples) == [1, 5, 7, 9]
    assert lost == {"picture missing": 1}  # frame 3: the others keep their turn


def test_a_limit_ends_the_plan(tmp_path: Path) -> None:
    assert plan(disfa(tmp_path / "set"), Options(limit=2)).count == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ActionUnit_Labels/SN001/SN001_au99.txt", "1,0\n", "AU99"),
        ("copy/SN001_au12.txt", "1,0\n", "both hold AU12"),
        ("ActionUnit_Labels/SN001/SN001_au12.txt", "", "holds no labels"),
    ],
)
def test_label_files_that_do_not_belong_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    root = disfa(tmp_path / "set")
    write_labels(root / name, content)
    with pytest.raises(DataError, match=message):
        plan(root, Options())


def test_a_wrong_folder_is_told_what_belongs_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="ActionUnit_Labels/SN001/SN001_au1.txt"):
        plan(tmp_path / "empty", Options())
    with pytest.raises(DataError, match="does not exist"):
        plan(tmp_path / "absent", Options())
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        plan(tmp_path / "file", Options())
