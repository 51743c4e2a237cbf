"""MCAP recordings: what other libraries read of them, also after a kill and on a full disk."""

from __future__ import annotations

import dataclasses
import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces import make_face, make_result

from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable, UsageError
from dsrfau_edge.robotics import FaceMessages

pytest.importorskip("mcap", reason="of the mcap extra")
pytest.importorskip("rosbags", reason="of the mcap extra")
from mcap.reader import NonSeekingReader, make_reader

from dsrfau_edge.robotics import recording
from dsrfau_edge.robotics.cdr import shared_cdr
from dsrfau_edge.robotics.recording import McapRecording

SECOND = 1_000_000_000


def frames(count, faces=2):
    for index in range(count):
        yield make_result(*(make_face(n) for n in range(faces)), index=index, timestamp=index / 30, source="script")


def record(path, count=30, **options):
    make = FaceMessages(clock=lambda: 1000 * SECOND)
    sink = McapRecording(path, **options)
    batches = [make(result) for result in frames(count)]
    for batch in batches:
        sink.send(batch, None)
    sink.close()
    return [message for batch in batches for message in batch.messages]


def read(path):
    with path.open("rb") as stream:
        return [
            (channel.topic, schema.name, message.log_time, message.data)
            for schema, channel, message in make_reader(stream).iter_messages(log_time_order=False)
        ]


def expected(messages):
    encode = shared_cdr().encode
    return [(m.topic, m.message.TYPE, m.message.header.stamp.ns, encode(m.message)) for m in messages]


def readable(path):
    """Messages of a file that may end anywhere, by mcap's own reader."""
    found = []
    with path.open("rb") as stream:
        try:
            for _, channel, message in NonSeekingReader(stream).iter_messages(log_time_order=False):
                found.append((channel.topic, message.data))
        except Exception as error:  # noqa: BLE001  # what it raises at a torn end is its own matter
            return found, error
    return found, None


def test_mcap_reads_every_message(tmp_path):
    messages = record(tmp_path / "a.mcap")
    assert len(messages) == 30 * 7
    assert read(tmp_path / "a.mcap") == expected(messages)
    with (tmp_path / "a.mcap").open("rb") as stream:
        reader = make_reader(stream)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
    assert summary.statistics.message_count == 210
    assert {schema.encoding for schema in summary.schemas.values()} == {"ros2msg"}
    assert {channel.message_encoding for channel in summary.channels.values()} == {"cdr"}


def test_mcap_ros2_support_decodes_every_message(tmp_path):
    reader = pytest.importorskip("mcap_ros2.reader")
    messages = record(tmp_path / "a.mcap", 5)
    found = list(reader.read_ros2_messages(str(tmp_path / "a.mcap"), log_time_order=False))
    assert len(found) == len(messages)
    for read_back, ours in zip(found, messages, strict=True):
        assert read_back.channel.topic == ours.topic
        assert read_back.ros_msg.header.stamp.sec == 1000
        if ours.topic.endswith("/facs"):
            assert tuple(read_back.ros_msg.intensity) == ours.message.intensity
            assert tuple(read_back.ros_msg.confidence) == ours.message.confidence
        elif ours.topic.endswith("/landmarks"):
            assert [(p.x, p.y, p.c) for p in read_back.ros_msg.landmarks] == [
                (p.x, p.y, p.c) for p in ours.message.landmarks
            ]
        elif ours.topic.endswith("/tracked"):
            assert tuple(read_back.ros_msg.ids) == ours.message.ids


def test_rosbags_decodes_every_message_from_the_definitions_in_the_file(tmp_path):
    from rosbags.highlevel import AnyReader

    messages = record(tmp_path / "a.mcap", 5)
    with AnyReader([tmp_path / "a.mcap"]) as reader:
        found = [
            (connection.topic, stamp, reader.deserialize(data, connection.msgtype))
            for connection, stamp, data in reader.messages()
        ]
    assert len(found) == len(messages)
    by_key = {(m.topic, m.message.header.stamp.ns): m.message for m in messages}
    for topic, stamp, message in found:
        ours = by_key[topic, stamp]
        assert message.header.frame_id == "camera"
        if topic.endswith("/facs"):
            assert tuple(message.intensity.tolist()) == ours.intensity


def test_pictures_are_recorded_where_asked(tmp_path):
    image = np.full((160, 200, 3), (10, 120, 200), np.uint8)
    sink = McapRecording(tmp_path / "a.mcap", image_topic="/image_raw/compressed")
    (result,) = frames(1)
    sink.send(FaceMessages()(dataclasses.replace(result, image=image)), image)
    sink.close()
    (data,) = [data for topic, name, _, data in read(tmp_path / "a.mcap") if topic == "/image_raw/compressed"]
    message = shared_cdr().decode("sensor_msgs/msg/CompressedImage", data)
    assert message.format == "jpeg"
    shown = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(shown.astype(int) - image).max() < 6


def test_no_picture_is_recorded_unless_asked(tmp_path):
    sink = McapRecording(tmp_path / "a.mcap")
    (result,) = frames(1)
    image = np.zeros((160, 200, 3), np.uint8)
    sink.send(FaceMessages()(dataclasses.replace(result, image=image)), image)
    sink.close()
    assert not [name for _, name, _, _ in read(tmp_path / "a.mcap") if name.startswith("sensor_msgs/")]


def test_each_span_of_time_is_on_disk_once_it_is_over(tmp_path):
    now = [0.0]
    make = FaceMessages(clock=lambda: 1000 * SECOND)
    sink = McapRecording(tmp_path / "a.mcap", flush_seconds=1.0, clock=lambda: now[0])
    counts = []
    for result in frames(30):
        now[0] += 0.125
        sink.send(make(result), None)
        counts.append(len(readable(tmp_path / "a.mcap")[0]) // 7)
    assert counts == [0] * 7 + [8] * 8 + [16] * 8 + [24] * 7
    sink.close()


def test_no_file_is_overwritten(tmp_path):
    (tmp_path / "a.mcap").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists"):
        McapRecording(tmp_path / "a.mcap")
    assert (tmp_path / "a.mcap").read_bytes() == b"mine"


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(DsrfauError, match="cannot be written"):
        McapRecording(tmp_path / "no" / "a.mcap")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_span_of_nothing_is_refused(tmp_path, seconds):
    with pytest.raises(UsageError, match="flush_seconds"):
        McapRecording(tmp_path / "a.mcap", flush_seconds=seconds)
    assert not (tmp_path / "a.mcap").exists()


@pytest.mark.parametrize("missing", ["mcap.writer", "rosbags.typesys"])
def test_a_missing_library_names_the_extra(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(recording, "shared_cdr", shared_cdr.__wrapped__)
    with pytest.raises(RuntimeUnavailable, match=r"dsrfau-edge\[mcap\]"):
        McapRecording(tmp_path / "a.mcap")
    assert not (tmp_path / "a.mcap").exists()


def test_a_full_disk_ends_the_recording_with_what_was_whole(tmp_path, monkeypatch):
    room = [40_000]

    class Full(recording._File):
        def write(self, data):
            if len(data) > room[0]:
                super().write(data[: room[0]])
                room[0] = 0
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            room[0] -= len(data)
            return super().write(data)

    monkeypatch.setattr(recording, "_File", Full)
    now = [0.0]
    sink = McapRecording(tmp_path / "a.mcap", clock=lambda: now[0])
    make, sent = FaceMessages(clock=lambda: 1000 * SECOND), []

    def run():
        for result in frames(5000):
            now[0] += 0.125
            sink.send(make(result), None)
            sent.append(result)

    with pytest.raises(DsrfauError, match="No space left"):
        run()
    found, _ = readable(tmp_path / "a.mcap")
    whole = len(sent) // 8 * 8  # chunks of a second hold eight results
    assert len(found) == whole * 7
    assert whole > 20
    size = (tmp_path / "a.mcap").stat().st_size
    sink.send(make(next(frames(1))), None)  # nothing more happens
    sink.close()
    assert (tmp_path / "a.mcap").stat().st_size == size


RECORDER = """
import sys, time
sys.path[:0] = sys.argv[2:]
from faces import make_face, make_result
from dsrfau_edge.robotics import FaceMessages
from dsrfau_edge.robotics.output import RobotOutput
from dsrfau_edge.robotics.recording import McapRecording
output = RobotOutput(FaceMessages(), [McapRecording(sys.argv[1], flush_seconds=0.05)])
for index in range(10**9):
    output.write(make_result(make_face(0), make_face(1), index=index, timestamp=index / 30, source="s"))
    if index == 500: print("recording", flush=True)
"""


def start_recorder(path, **options):
    tests = str(Path(__file__).resolve().parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(path), tests],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def test_a_killed_recording_can_be_read_up_to_its_last_chunk(tmp_path):
    path = tmp_path / "a.mcap"
    with start_recorder(path) as process:
        assert process.stdout.readline() == "recording\n"
        process.send_signal(signal.SIGKILL)
    found, _ = readable(path)
    assert len(found) // 7 > 100
    name = found[1][0].split("/")[3]
    for topic, data in found:
        if topic == f"/humans/faces/{name}/facs":
            assert shared_cdr().decode("hri_msgs/msg/FacialActionUnits", data).intensity[12] == 0.5


def test_rosbags_refuses_a_killed_recording_and_says_so(tmp_path):
    """As the docs say: whoever wants it in `rosbags` recovers it first."""
    from rosbags.highlevel import AnyReader, AnyReaderError
    from rosbags.rosbag2 import ReaderError

    path = tmp_path / "a.mcap"
    record(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises((AnyReaderError, ReaderError)), AnyReader([path]) as reader:
        list(reader.messages())


def test_a_file_that_may_not_grow_ends_the_recording_not_the_process(tmp_path):
    """A real limit of the operating system, which fails a write half done."""
    path = tmp_path / "a.mcap"

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    with start_recorder(path, preexec_fn=limit) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "DsrfauError: The recording" in errors
    assert path.stat().st_size <= 200_000
    found, error = readable(path)
    assert error is None or "EndOfFile" in type(error).__name__
    assert len(found) > 100
