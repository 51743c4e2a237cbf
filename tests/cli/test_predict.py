"""`dsrfau-predict` from end to end, with a tiny network in ONNX Runtime."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
from calling import call

from dsrfau_edge import Predictor
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.network import ASSETS
from dsrfau_edge.face_stream import FaceStream

PORTRAIT = ASSETS.parent / "portrait.jpg"
AUS = ["AU04", "AU12", "AU25"]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Six frames at 5 a second; the fourth has no face."""
    path = tmp_path_factory.mktemp("video") / "face.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, (256, 256))
    image = cv2.resize(read_image(PORTRAIT), (256, 256), interpolation=cv2.INTER_AREA)
    for index in range(6):
        writer.write(np.zeros_like(image) if index == 3 else image)
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pictures"
    path.mkdir()
    image = read_image(PORTRAIT)
    cv2.imwrite(str(path / "2.jpg"), image)
    cv2.imwrite(str(path / "10.png"), np.zeros((40, 40, 3), np.uint8))
    return path


@pytest.fixture
def predict(tiny_bundle):
    return lambda *arguments: call("predict", "--bundle", tiny_bundle, "--runtime", "onnxruntime", *arguments)


def test_json_says_what_the_library_says(predict, tiny_bundle):
    called = predict(PORTRAIT, "--json")
    assert called.code == 0
    (line,) = called.out.splitlines()
    (face,) = json.loads(line)["faces"]
    with Predictor(tiny_bundle, runtime="onnxruntime") as predictor:
        (expected,) = predictor(read_image(PORTRAIT))
    assert list(face["aus"]) == AUS
    for au, entry in face["aus"].items():
        assert entry["intensity"] == pytest.approx(expected[au], abs=1e-4)
        assert entry["letter"] == expected.letters[au]


def test_the_table_is_for_people(predict):
    out = predict(PORTRAIT).out
    for words in ("1 face", "lip corner puller", "left", "right", "AU25"):
        assert words in out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip().startswith("AU")}
    assert set(lines) >= set(AUS)


def test_the_table_falls_back_to_ascii(tiny_bundle):
    command = [
        sys.executable,
        "-c",
        "from dsrfau_edge.cli.main import predict_main as m; m()",
        "--bundle",
        str(tiny_bundle),
    ]
    done = subprocess.run(
        [*command, str(PORTRAIT)], capture_output=True, env={"PYTHONIOENCODING": "ascii", "PATH": ""}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"#" in done.stdout


@pytest.fixture
def odd_name(tmp_path):
    """The portrait under a name in Latin-1."""
    path = tmp_path / "odd" / os.fsdecode(b"caf\xe9.jpg")
    path.parent.mkdir()
    try:
        shutil.copy(PORTRAIT, path)
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    return path


@pytest.mark.parametrize("form", ["jsonl", "csv", "table", "openface-csv"])
def test_a_name_that_is_no_utf8_is_written(predict, odd_name, tmp_path, form):
    called = predict(odd_name, "--format", form, "-o", tmp_path / "out")
    assert called.code == 0, called.err
    assert ("caf\ufffd.jpg" in (tmp_path / "out").read_text(encoding="utf-8")) is (form != "openface-csv")
    out = predict(odd_name, "--format", form).out
    assert b"AU12" in out.encode("utf-8")  # as a real stdout does


def test_a_name_that_is_no_utf8_is_drawn(predict, odd_name, tmp_path):
    assert predict(odd_name, "--draw", tmp_path / "drawn", "-q").code == 0
    assert (tmp_path / "drawn" / odd_name.name).is_file()


def test_a_video_whose_name_is_no_utf8_is_drawn(tiny_bundle, odd_name, video, tmp_path):
    """In a process of its own, since what went wrong here was a segmentation fault."""
    path = odd_name.with_suffix(".avi")
    shutil.copy(video, path)
    start = [sys.executable, "-c", "from dsrfau_edge.cli.main import predict_main as m; m()"]
    arguments = [path, "--bundle", tiny_bundle, "--every", "3", "--draw", tmp_path / "drawn"]
    done = subprocess.run([*start, *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "drawn" / path.with_suffix(".mp4").name).is_file()


def test_csv_of_a_folder(predict, folder):
    rows = list(csv.DictReader(io.StringIO(predict(folder, "--format", "csv").out)))
    assert [row["source"].rsplit("/", 1)[-1] for row in rows] == ["2.jpg", "10.png"]
    assert float(rows[0]["AU12"]) == pytest.approx(
        (float(rows[0]["AU12_left"]) + float(rows[0]["AU12_right"])) / 2, abs=1e-3
    )
    assert rows[1]["AU12"] == ""


def test_openface_csv_of_a_video(predict, video):
    rows = list(csv.DictReader(io.StringIO(predict(video, "--format", "openface-csv").out)))
    assert [row["frame"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert [row["success"] for row in rows] == ["1", "1", "1", "0", "1", "1"]
    assert rows[2]["timestamp"] == "0.400"
    assert float(rows[0]["AU12_r"]) >= 0
    assert rows[0]["AU12_c"] in ("0.00", "1.00")


def test_every_second_frame_and_some_aus(predict, video):
    lines = [json.loads(line) for line in predict(video, "--every", 2, "--aus", "12, au25", "--json").out.splitlines()]
    assert [line["frame"] for line in lines] == [0, 2, 4]
    assert list(lines[0]["faces"][0]["aus"]) == ["AU12", "AU25"]
    table = predict(video, "--every", 3).out.splitlines()
    assert len(table) == 2
    assert "no face" in table[1]


def test_max_faces(predict, tmp_path):
    image = read_image(PORTRAIT)
    cv2.imwrite(str(tmp_path / "pair.png"), np.hstack([image, image]))
    counts = [
        len(json.loads(predict(tmp_path / "pair.png", "--json", *extra).out)["faces"])
        for extra in ([], ["--max-faces", 1])
    ]
    assert counts == [2, 1]


def test_output_goes_to_a_file_and_is_announced(predict, tmp_path):
    out = tmp_path / "out.jsonl"
    called = predict(PORTRAIT, "--json", "-o", out)
    assert (called.code, called.out) == (0, "")
    assert json.loads(out.read_text())["faces"]
    assert str(out) in called.err
    assert predict(PORTRAIT, "--json", "-o", out, "-q").err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_nothing_is_left_when_it_fails(predict, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"bad")
    called = predict(tmp_path / "bad.jpg", "--json", "-o", tmp_path / "out.jsonl", "--draw", tmp_path / "drawn.png")
    assert called.code == 5
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jpg"]


def interrupting(monkeypatch, at, signals):
    """Have signals come while a stream is at a frame."""
    seen = []
    whole = FaceStream.__call__

    def call(self, frame):
        seen.append(frame)
        if len(seen) == at:
            for number in signals:
                signal.raise_signal(number)
        return whole(self, frame)

    monkeypatch.setattr(FaceStream, "__call__", call)


@pytest.mark.parametrize(
    ("signals", "code", "frames"),
    [
        ([signal.SIGINT], 130, 3),
        ([signal.SIGTERM], 143, 3),
        ([signal.SIGTERM, signal.SIGTERM], 143, 2),  # the second one does not wait for the frame
        ([signal.SIGTERM, signal.SIGINT], 130, 2),
    ],
)
def test_signals_leave_whole_outputs(predict, tmp_path, video, monkeypatch, signals, code, frames):
    interrupting(monkeypatch, 3, signals)
    before = signal.getsignal(signal.SIGTERM)
    called = predict(video, "--json", "-o", tmp_path / "out.jsonl", "--draw", tmp_path / "out.avi")
    assert called.code == code
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == frames
    assert cv2.VideoCapture(str(tmp_path / "out.avi")).get(cv2.CAP_PROP_FRAME_COUNT) == frames
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.avi", "out.jsonl"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_one_broken_picture_among_many(predict, folder):
    (folder / "3.jpg").write_bytes(b"broken")
    called = predict(folder, "--json")
    assert called.code == 5
    assert len(called.out.splitlines()) == 2
    assert "3.jpg" in called.err
    assert "others were done" in called.err
    called = predict(folder / "3.jpg", folder / "missing.png", PORTRAIT, "--json")
    assert (called.code, len(called.out.splitlines())) == (5, 1)
    assert "2 inputs" in called.err


def test_a_picture_is_drawn(predict, tmp_path):
    called = predict(PORTRAIT, "--draw", tmp_path / "drawn.png")
    assert called.code == 0
    drawn = cv2.imread(str(tmp_path / "drawn.png"))
    assert drawn.shape[0] >= 512
    assert drawn.shape[1] > drawn.shape[0]


def test_a_folder_is_drawn_to_a_folder(predict, folder, tmp_path):
    assert predict(folder, PORTRAIT, folder / "2.jpg", "--draw", tmp_path / "new" / "drawn").code == 0
    assert sorted(path.name for path in (tmp_path / "new" / "drawn").iterdir()) == [
        "10.png", "2-2.jpg", "2.jpg", "portrait.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["drawn.avi", "drawn.mp4"])
def test_a_video_is_drawn_to_a_video(predict, video, tmp_path, name):
    called = predict(video, "--draw", tmp_path / name, "--every", 2)
    assert called.code == 0, called.err
    capture = cv2.VideoCapture(str(tmp_path / name))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(2.5)


def test_a_folder_that_stays_empty_is_not_left(predict, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"bad")
    assert predict(tmp_path / "bad.jpg", "--draw", tmp_path / "drawn").code == 5
    assert not (tmp_path / "drawn").exists()


def test_several_videos_are_drawn_to_a_folder(predict, video, tmp_path):
    assert predict(video, video, "--draw", tmp_path / "out", "--every", 3).code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["face-2.mp4", "face.mp4"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--draw", "{portrait}"], "overwrite"),
        (["-o", "{portrait}"], "overwrite"),
        (["--draw", "x.mp4"], "writes no .mp4"),
        (["--json", "--format", "csv"], "--format csv"),
        (["{portrait}", "--format", "openface-csv"], "one source"),
        (["{portrait}", "--draw", "x.png"], "folder"),
        (["--aus", ","], "--aus"),
        (["--aus", "AU06"], "AU04, AU12, AU25"),
        (["--every", "0"], "--every"),
        (["--max-faces", "many"], "--max-faces"),
        (["--detector-range", "far"], "short"),
    ],
)
def test_options_that_make_no_sense(predict, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    portrait = tmp_path / "portrait.jpg"
    content = PORTRAIT.read_bytes()
    portrait.write_bytes(content)
    called = predict(portrait, *(argument.format(portrait=portrait) for argument in arguments))
    assert called.code == 2
    assert words in called.err
    assert portrait.read_bytes() == content


def test_a_drawn_video_needs_a_videos_name(predict, video, tmp_path):
    called = predict(video, "--draw", tmp_path / "x.png")
    assert called.code == 2
    assert "NAME.mp4" in called.err


def test_a_runtime_that_is_named_is_used(predict):
    called = predict(PORTRAIT, "--json", "-v")
    assert "onnxruntime" in called.err
