"""`dsrfau-predict` with --dds, --mcap and --zenoh, with a tiny network."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading

import cv2
import numpy as np
import pytest
from calling import call

from dsrfau_edge.face.network import ASSETS

PORTRAIT = ASSETS.parent / "portrait.jpg"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Six frames at 5 a second; the fourth has no face."""
    path = tmp_path_factory.mktemp("video") / "face.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, (256, 256))
    image = cv2.resize(cv2.imread(str(PORTRAIT)), (256, 256), interpolation=cv2.INTER_AREA)
    for index in range(6):
        writer.write(np.zeros_like(image) if index == 3 else image)
    writer.release()
    return path


@pytest.fixture
def predict(tiny_bundle):
    return lambda *arguments: call("predict", "--bundle", tiny_bundle, "--runtime", "onnxruntime", *arguments)


def messages(path):
    """Topic, decoded message and time."""
    from mcap.reader import make_reader

    from dsrfau_edge.robotics.cdr import shared_cdr

    with path.open("rb") as stream:
        return [
            (channel.topic, shared_cdr().decode(schema.name, message.data), message.log_time)
            for schema, channel, message in make_reader(stream).iter_messages(log_time_order=False)
        ]


def test_a_recording_holds_what_the_json_says(predict, video, tmp_path):
    pytest.importorskip("mcap", reason="of the mcap extra")
    pytest.importorskip("rosbags", reason="of the mcap extra")
    called = predict(video, "--json", "--mcap", tmp_path / "a.mcap", "--frame-id", "eye", "--intensity-scale", "1")
    assert called.code == 0, called.err
    lines = [json.loads(line) for line in called.out.splitlines()]
    found = messages(tmp_path / "a.mcap")
    tracked = [message for topic, message, _ in found if topic == "/humans/faces/tracked"]
    assert [len(message.ids) for message in tracked] == [*(len(line["faces"]) for line in lines), 0]
    facs = [message for topic, message, _ in found if topic.endswith("/facs")]
    faces = [face for line in lines for face in line["faces"]]
    assert len(facs) == len(faces) == 5
    for message, face in zip(facs, faces, strict=True):
        assert message.header.frame_id == "eye"
        for au, values in face["aus"].items():
            assert message.intensity[int(au[2:])] == pytest.approx(values["intensity"], abs=1e-3)
            assert message.confidence[int(au[2:])] == pytest.approx(values["confidence"], abs=1e-3)
    times = [message.header.stamp.ns for message in tracked[:6]]
    assert [round((time - times[0]) / 1e9, 3) for time in times] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert not [topic for topic, _, _ in found if "image" in topic or "cropped" in topic]


def test_pictures_are_recorded_when_asked(predict, video, tmp_path):
    pytest.importorskip("mcap", reason="of the mcap extra")
    pytest.importorskip("rosbags", reason="of the mcap extra")
    called = predict(video, "--mcap", tmp_path / "a.mcap", "--mcap-images", "--face-images")
    assert called.code == 0, called.err
    topics = [topic.split("/")[-1] for topic, _, _ in messages(tmp_path / "a.mcap")]
    assert topics.count("compressed") == 6
    assert topics.count("cropped") == topics.count("aligned") == 5


def test_dds_and_a_recording_go_on_together(predict, tmp_path):
    pytest.importorskip("cyclonedds", reason="of the dds extra")
    pytest.importorskip("mcap", reason="of the mcap extra")
    domain = 100 + os.getpid() % 100
    options = ("--dds", "--domain", domain, "--dds-interface", "localhost", "--mcap", tmp_path / "a.mcap")
    called = predict(PORTRAIT, *options)
    assert called.code == 0, called.err
    assert len(messages(tmp_path / "a.mcap")) == 5


def test_zenoh_peers_get_the_messages(predict, video):
    zenoh = pytest.importorskip("zenoh", reason="of the zenoh extra")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"tcp/127.0.0.1:{free.getsockname()[1]}"
    config = zenoh.Config()
    config.insert_json5("mode", '"peer"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("listen/endpoints", json.dumps([endpoint]))
    found, enough = [], threading.Event()

    def note(sample):
        found.append(sample)
        if len([1 for sample in found if str(sample.key_expr).endswith("/facs")]) >= 5:
            enough.set()

    with zenoh.open(config) as session:
        session.declare_subscriber("fleet/r1/**", note)
        called = predict(video, "--zenoh", "fleet/r1", "--zenoh-connect", endpoint, "--zenoh-format", "json")
        assert called.code == 0, called.err
        assert enough.wait(10)
    facs = [sample for sample in found if str(sample.key_expr).endswith("/facs")]
    assert all(len(json.loads(bytes(sample.payload))["intensity"]) == 99 for sample in facs)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--domain", "3"], 2, "--dds"),
        (["--dds", "--domain", "233"], 2, "232"),
        (["--dds", "--domain", "-1"], 2, "232"),
        (["--dds", "--domain", "x"], 2, "--domain"),
        (["--dds-interface", "lo"], 2, "--dds"),
        (["--dds", "--domain", "96", "--dds-interface", "nosuch0"], 2, "nosuch0"),
        (["--dds", "--domain", "96", "--dds-interface", "a b"], 2, "no network interface"),
        (["--mcap-images"], 2, "--mcap FILE"),
        (["--mcap", "/nosuch/a.mcap"], 1, "cannot be written"),
        (["--mcap", str(PORTRAIT)], 2, "exists"),
        (["--zenoh-connect", "tcp/a:1"], 2, "--zenoh KEY"),
        (["--zenoh", "a", "--zenoh-listen", "nowhere"], 2, "no Zenoh endpoint"),
        (["--zenoh", "/a"], 2, "no Zenoh key"),
        (["--zenoh", "a", "--zenoh-format", "xml"], 2, "xml"),
        (["--frame-id", "eye"], 2, "--dds, --mcap or --zenoh"),
        (["--face-images"], 2, "--dds, --mcap or --zenoh"),
        (["--dds", "--intensity-scale", "0"], 2, "intensity_scale"),
        (["--dds", "--intensity-scale", "nan"], 2, "intensity_scale"),
    ],
)
def test_what_makes_no_sense_is_refused(predict, options, code, said):
    for package in ("cyclonedds", "mcap", "zenoh"):
        pytest.importorskip(package, reason="of an extra")
    called = predict(PORTRAIT, *options)
    assert (called.code, said in called.err) == (code, True), called.err


@pytest.mark.parametrize(
    ("options", "module", "extra"),
    [
        (["--dds", "--domain", "97"], "cyclonedds.core", "dds"),
        (["--mcap", "{folder}/a.mcap"], "mcap.writer", "mcap"),
        (["--zenoh", "a"], "zenoh", "zenoh"),
    ],
)
def test_a_missing_library_names_its_extra(predict, tmp_path, monkeypatch, options, module, extra):
    pytest.importorskip("rosbags", reason="of the mcap extra")
    monkeypatch.setitem(sys.modules, module, None)
    called = predict(PORTRAIT, *(option.format(folder=tmp_path) for option in options))
    assert (called.code, f"dsrfau-edge[{extra}]" in called.err) == (3, True), called.err
    assert not list(tmp_path.glob("*.mcap"))


def test_a_failing_recording_does_not_stop_the_results(predict, video, tmp_path, monkeypatch):
    pytest.importorskip("mcap", reason="of the mcap extra")
    from dsrfau_edge.robotics import recording

    class Full(recording._File):
        def write(self, data):
            if self.tell() > 2000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(recording, "_File", Full)
    monkeypatch.setattr(recording, "_CHUNK", 1000)
    called = predict(video, "--json", "--mcap", tmp_path / "a.mcap")
    assert called.code == 1
    assert "No space left" in called.err
    assert len(called.out.splitlines()) == 6


@pytest.mark.parametrize("option", ["--mcap-images", "--face-images"])
def test_no_image_means_no_recorded_pictures(predict, tmp_path, option):
    called = predict(PORTRAIT, "--no-image", "--mcap", tmp_path / "a.mcap", option)
    assert (called.code, "--no-image" in called.err) == (2, True), called.err
    assert not list(tmp_path.iterdir())
