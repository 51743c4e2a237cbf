"""Sources of frames, read lazily and in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from dsrfau_edge.errors import DsrfauError, InputError
from dsrfau_edge.stream import natural_key, open_source


def picture(level):
    return np.full((48, 64, 3), level, np.uint8)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Ten frames at 10 a second, each 20 grey levels brighter than the last."""
    path = tmp_path_factory.mktemp("video") / "ramp.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    assert writer.isOpened()
    for index in range(10):
        writer.write(picture(20 * index))
    writer.release()
    return path


def test_a_picture(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), picture(7))
    source = open_source(tmp_path / "a.png")
    (frame,) = source.frames()
    assert source.kind == "image"
    assert (frame.source, frame.index, frame.timestamp) == (str(tmp_path / "a.png"), 0, None)
    np.testing.assert_array_equal(frame.image, picture(7))


def test_a_picture_without_or_with_a_strange_ending_is_known_by_its_content(tmp_path):
    for name in ("portrait", "portrait.picture"):
        (tmp_path / name).write_bytes(cv2.imencode(".png", picture(9))[1].tobytes())
        (frame,) = open_source(tmp_path / name).frames()
        assert frame.image[0, 0, 0] == 9


def test_a_folder_in_natural_order_without_what_is_no_picture(tmp_path):
    for name in ("f10.png", "f2.PNG", "f1.png"):
        cv2.imwrite(str(tmp_path / name), picture(int(name[1:].split(".")[0])))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "sub.png").mkdir()
    source = open_source(tmp_path)
    assert (source.kind, source.count) == ("folder", 3)
    assert [frame.image[0, 0, 0] for frame in source.frames()] == [1, 2, 10]
    assert [(frame.index, frame.image[0, 0, 0]) for frame in source.frames(every=2)] == [(0, 1), (2, 10)]


def test_a_broken_picture_of_a_folder_stops_or_is_told(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), picture(1))
    (tmp_path / "2.png").write_bytes(b"nonsense")
    cv2.imwrite(str(tmp_path / "3.png"), picture(3))
    with pytest.raises(InputError, match=r"2\.png"):
        list(open_source(tmp_path).frames())
    told = []
    frames = list(open_source(tmp_path).frames(on_error=told.append))
    assert [frame.index for frame in frames] == [0, 2]
    assert len(told) == 1


def test_a_video_has_times_and_numbers(video):
    source = open_source(video)
    frames = list(source.frames())
    assert source.kind == "video"
    assert source.rate == pytest.approx(10)
    assert source.count == 10
    assert [frame.index for frame in frames] == list(range(10))
    np.testing.assert_allclose([frame.timestamp for frame in frames], np.arange(10) / 10, atol=1e-3)
    assert all(abs(int(frame.image.mean()) - 20 * frame.index) < 6 for frame in frames)


def test_every_third_frame_keeps_its_number(video):
    frames = list(open_source(video).frames(every=3))
    assert [frame.index for frame in frames] == [0, 3, 6, 9]
    np.testing.assert_allclose([frame.timestamp for frame in frames], [0, 0.3, 0.6, 0.9], atol=1e-3)


def test_frames_are_read_when_asked_for(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), picture(1))
    (tmp_path / "2.png").write_bytes(b"nonsense")
    frames = open_source(tmp_path).frames()
    assert next(frames).index == 0  # the second has not been touched


def test_a_short_video_is_said_to_end_early(video, tmp_path, caplog):
    cut = tmp_path / "cut.avi"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    try:
        frames = list(open_source(cut).frames())
    except InputError:
        return  # a build that will not open it at all
    assert len(frames) < 10


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.mp4", b"no video", "cannot be opened"),
        ("a.mp4", b"", "cannot be opened"),
        ("a.txt", b"text", "neither a picture nor a video"),
        ("a", b"text", "not a picture"),
        ("a.jpg", b"text", "not a picture"),
    ],
)
def test_what_is_no_source_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        list(open_source(tmp_path / name).frames())


def test_a_missing_file_an_empty_folder_and_no_camera(tmp_path):
    with pytest.raises(InputError, match="no file or folder"):
        open_source(tmp_path / "missing.jpg")
    with pytest.raises(InputError, match="holds no pictures"):
        list(open_source(tmp_path).frames())
    camera = open_source("977")
    assert (camera.kind, camera.name) == ("live", "camera 977")
    with pytest.raises(InputError, match="camera"):
        list(camera.frames())


@pytest.mark.parametrize("number", [2**31, 99999999999, 2**63])
def test_a_camera_number_beyond_c_is_no_camera(number):
    with pytest.raises(InputError, match=f"camera {number} cannot be opened"):
        list(open_source(number).frames())


@pytest.mark.parametrize("ending", [".avi", ".strange"])
def test_a_name_that_is_no_utf8_does_not_crash_opencv(video, tmp_path, ending):
    """In a process of its own, since what went wrong here was a segmentation fault."""
    path = tmp_path / os.fsdecode(b"caf\xe9" + os.fsencode(ending))
    try:
        path.write_bytes(video.read_bytes() if ending == ".avi" else cv2.imencode(".png", picture(3))[1].tobytes())
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    code = "import sys; from dsrfau_edge.stream import open_source; print(len(list(open_source(sys.argv[1]).frames())))"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ("10" if ending == ".avi" else "1")


def test_a_file_named_like_a_number_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "0").write_bytes(cv2.imencode(".png", picture(5))[1].tobytes())
    monkeypatch.chdir(tmp_path)
    assert open_source("0").kind == "image"


def test_an_address_is_live():
    assert open_source("rtsp://robot/head").kind == "live"
    guarded = open_source("rtsp://admin:se@cret@robot:554/head?a=b@c")
    assert (guarded.name, guarded.target) == (
        "rtsp://robot:554/head?a=b@c",
        "rtsp://admin:se@cret@robot:554/head?a=b@c",
    )


@pytest.mark.parametrize(
    "name",
    [
        "rtspsrc location=rtsp://robot/head ! decodebin ! appsink",
        "/dev/video977",
        "/dev/v4l/by-id/usb-camera",
        "/dev/null",
    ],
)
def test_a_pipeline_and_a_device_path_are_live(name):
    source = open_source(name)
    assert (source.kind, source.name, source.count) == ("live", name, None)
    with pytest.raises(DsrfauError, match="GStreamer" if " ! " in name else "no camera at this path"):
        list(source.frames())


def test_a_damaged_frame_of_a_video_is_left_out_and_told(video, tmp_path, caplog):
    content = bytearray(video.read_bytes())
    begins = [found.start() for found in re.finditer(b"\xff\xd8\xff", bytes(content))]
    content[begins[4] : begins[5] - 16] = bytes(begins[5] - 16 - begins[4])
    (tmp_path / "damaged.avi").write_bytes(content)
    frames = list(open_source(tmp_path / "damaged.avi").frames())
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    np.testing.assert_allclose([frame.timestamp for frame in frames], [frame.index / 10 for frame in frames], atol=1e-3)
    assert "is damaged" in caplog.text


def test_natural_order():
    names = ["b", "a10", "a2", "A1", "a2b", "a02", ""]
    assert sorted(names, key=natural_key) == ["", "A1", "a02", "a2", "a2b", "a10", "b"]
