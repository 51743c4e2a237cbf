"""The configuration file: what it says arrives, and every mistake in it is told."""

from __future__ import annotations

import contextlib
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable, UsageError
from dsrfau_edge.service import outputs
from dsrfau_edge.service.config import address_of, read_config, settings_of
from dsrfau_edge.service.settings import public_name

WHOLE = """
state = "/var/lib/dsrfau"
listen = "127.0.0.1:9000"

[predictor]
bundle = "dsrfau-nano"
max_faces = 2

[[camera]]
name = "front"
source = 0
baseline = "online"
smooth = false
detect_every = 5
stall_after = 2

[[camera]]
source = "rtsp://user:secret@robot/rear"

[[output]]
kind = "send"
to = "unix:/run/aus.sock"
cameras = ["front"]
queue = 8

[[output]]
name = "log"
kind = "record"
to = "/data/aus-{time}.jsonl"
"""


def camera(**more):
    return {"name": "front", "source": 0, **more}


def output(**more):
    return {"kind": "send", "to": "tcp://127.0.0.1:9", **more}


def parsed(**more):
    return settings_of({"camera": [camera()], "output": [output()], **more}, "file.toml")


def test_a_whole_file_arrives(tmp_path):
    path = tmp_path / "serve.toml"
    path.write_text(WHOLE)
    found = read_config(path)
    assert str(found.state) == "/var/lib/dsrfau"
    assert found.listen == ("127.0.0.1", 9000)
    assert found.predictor == {"bundle": "dsrfau-nano", "max_faces": 2}
    front, rear = found.cameras
    assert (front.name, front.source, front.stream.smoothing, front.stream.detect_every) == ("front", 0, None, 5)
    assert front.stream.baseline.mode == "online"
    assert (front.live.stall_after, front.live.wait, front.live.attempts) == (2.0, True, None)
    assert (rear.name, rear.stream.baseline) == ("camera", None)
    send, log = found.outputs
    assert (send.name, send.cameras, send.queue) == ("send", ("front",), 8)
    assert (log.name, outputs.cameras_of(log, found)) == ("log", ("front", "camera"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"camera": [camera(nmae="x")]}, "unknown key nmae. Did you mean name"),
        ({"cameras": []}, "unknown key cameras. Did you mean camera"),
        ({"state": 3}, "state is 3; it has to be text"),
        ({"camera": camera()}, "camera is"),
        ({"camera": [3]}, "it has to be a table"),
        ({"camera": []}, "There is no camera"),
        ({"camera": [{}]}, "lacks source"),
        ({"camera": [camera(source=True)]}, "source is True"),
        ({"camera": [camera(source=1.5)]}, "text or a whole number"),
        ({"camera": [camera(), camera()]}, "Two cameras are called front"),
        ({"camera": [camera(name="a b")]}, "has the name 'a b'"),
        ({"camera": [camera(name="")]}, "has the name ''"),
        ({"camera": [camera(smooth="no")]}, "smooth is 'no'; it has to be true or false"),
        ({"camera": [camera(detect_every=0)]}, "detect_every is 0"),
        ({"camera": [camera(detect_every=True)]}, "detect_every is True"),
        ({"camera": [camera(stall_after=-1)]}, "stall_after is -1"),
        ({"camera": [camera(stall_after=float("nan"))]}, "stall_after is nan"),
        ({"camera": [camera(longest_backoff=0.1)]}, "longest_backoff"),
        ({"camera": [camera(baseline="nowhere.json")]}, "There is no file nowhere.json"),
        ({"output": []}, "Nothing is to be done"),
        ({"output": [{"to": "x"}]}, "lacks kind"),
        ({"output": [output(kind="sned")]}, "no kind 'sned'. Known: send"),
        ({"output": [output(), output()]}, "Two outputs are called send"),
        ({"output": [output(queue=0)]}, "queue is 0"),
        ({"output": [output(cameras=["rear"])]}, "camera rear, which there is not. Known: front"),
        ({"output": [output(cameras="front")]}, "it has to be a list"),
        ({"output": [output(cameras=[])]}, "a list of names"),
        ({"output": [output(to="")]}, "needs `to`"),
        ({"output": [output(to="http://x")]}, "no address to send to"),
        ({"output": [output(kind="stdout")]}, "takes no `to`"),
        ({"output": [output(images=True)]}, "images is of mcap"),
        ({"output": [output(domain=3)]}, "domain is of dds"),
        ({"output": [output(domain=0)]}, "domain is of dds"),
        ({"output": [output(connect=["tcp/x:1"])]}, "connect is of zenoh"),
        ({"output": [output(kind="record", to="x.jsonl")]}, "has no {time}"),
        ({"output": [output(kind="record", to="{time}/x.jsonl")]}, "has no {time}"),
        ({"output": [output(kind="mcap", to="x.mcap")]}, "has no {time}"),
        ({"output": [output(kind="dds", to="/x")]}, "takes no `to`"),
        ({"output": [{"kind": "dds", "domain": 300}]}, "no DDS domain 300"),
        ({"output": [output(kind="zenoh", to="a//b")]}, "no Zenoh key"),
        ({"output": [output(kind="zenoh", to="a", connect=["x"])]}, "x"),
        ({"predictor": {"bundel": "x"}}, "unknown key bundel. Did you mean bundle"),
        ({"predictor": {"max_faces": "2"}}, "max_faces is '2'"),
        ({"predictor": 1}, "predictor is 1"),
        ({"listen": "x y"}, "no address to listen at"),
        ({"state": "/x"}, "no camera learns a neutral baseline"),
    ],
)
def test_every_mistake_is_told(values, words):
    with pytest.raises(DsrfauError) as told:
        parsed(**values)
    assert words in str(told.value)
    assert told.value.exit_code in (2, 5)


def test_pictures_of_several_cameras_need_a_file_each():
    cameras = [camera(), camera(name="rear", source=1)]
    recorded = {"kind": "mcap", "to": "x-{time}.mcap", "images": True}
    with pytest.raises(UsageError, match="an output for each"):
        parsed(camera=cameras, output=[recorded])
    parsed(camera=cameras, output=[{**recorded, "cameras": ["rear"]}])


def test_names_that_are_one_in_ros_are_refused():
    with pytest.raises(UsageError, match="same name in ROS"):
        parsed(camera=[camera(name="a-b"), camera(name="a.b", source=1)], output=[{"kind": "dds"}])


def test_a_package_that_is_missing_is_said_at_once(monkeypatch):
    monkeypatch.setattr(outputs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailable, match=r"dsrfau-edge\[dds\]"):
        parsed(output=[{"kind": "dds"}])


@pytest.mark.parametrize("content", [b"x = ", b"\xff", b"a = 1\na = 2", b"#" * (2 << 20)])
def test_what_is_no_toml_is_told(tmp_path, content):
    path = tmp_path / "serve.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"is not TOML|larger than"):
        read_config(path)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(tmp_path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.sampled_from(
        ["camera", "output", "name", "source", "kind", "to", "cameras", "queue", "predictor", "state", "listen"]
    ), one, max_size=4),
)  # fmt: skip


@given(values)
def test_any_content_is_settings_or_an_error_of_ours(content):
    with contextlib.suppress(DsrfauError):
        settings_of(content, "file.toml")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ("127.0.0.1", 8095)),
        ("9000", ("127.0.0.1", 9000)),
        (":9000", ("127.0.0.1", 9000)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("robot.local", ("robot.local", 8095)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_addresses(text, address):
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["x:y", "a b:1", "1.2.3.4:70000", "a:b:1", "[::1]:x"])
def test_addresses_that_are_none(text):
    with pytest.raises(UsageError):
        address_of(text)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (0, "camera_0"),
        ("2", "camera_2"),
        ("rtsp://user:secret@robot/a", "camera"),
        ("v4l2src ! appsink", "camera"),
        ("/dev/video0", "video0"),
        ("/x/my clip.mp4", "my-clip.mp4"),
        ("/x/…", "camera"),
    ],
)
def test_names_of_cameras_that_were_given_none(source, name):
    assert public_name(source) == name
    parsed(camera=[{"source": source}])


@pytest.mark.skipif(sys.version_info >= (3, 11), reason="Python 3.11 reads TOML itself")
def test_python_3_10_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tomli", None)
    path = tmp_path / "serve.toml"
    path.write_text(WHOLE)
    with pytest.raises(RuntimeUnavailable, match=r"dsrfau-edge\[serve\]"):
        read_config(path)


def test_values_are_shown_short():
    with pytest.raises(UsageError) as told:
        parsed(state=json.loads("[" + "1," * 500 + "1]"))
    assert len(str(told.value)) < 200
