"""Rerun: what is logged is read back; without pictures where none are wanted; no usage data."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from faces import make_face, make_result

from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable, UsageError
from dsrfau_edge.outputs.peer import viewer_address
from dsrfau_edge.outputs.rerun_view import RerunView, quiet_viewer
from dsrfau_edge.signals.events import AuEvent

rr = pytest.importorskip("rerun", reason="needs the extra viz")
PICTURE = np.full((160, 200, 3), 90, np.uint8)


def read(path):
    """Columns and numbers of rows by entity; needs the reader that came with 0.30."""
    chunk = pytest.importorskip("rerun.chunk", reason="this Rerun cannot read recordings")
    found = {}
    for one in chunk.RrdReader(str(path)).stream():
        batch = one.to_record_batch()
        table = found.setdefault(one.entity_path, {})
        for name in batch.schema.names:
            table.setdefault(name, []).extend(batch[name].to_pylist())
    return found


def record(path, image=PICTURE, timestamp=0.0):
    view = RerunView(str(path))
    view.begin(SimpleNamespace(name="/a/my clip.mp4"))
    for index in range(3):
        at = None if timestamp is None else index / 30
        result = make_result(make_face(0), make_face(4), index=index, timestamp=at, source="/a/my clip.mp4")
        events = (AuEvent("onset", 4, "AU12", 0.01, 2.5),) * (index == 1)
        view.write(replace(result, image=image, events=events))
    view.write(make_result(index=3, timestamp=None if timestamp is None else 0.1))
    view.close()


def test_what_is_logged(tmp_path):
    record(tmp_path / "out.rrd")
    assert [path.name for path in tmp_path.iterdir()] == ["out.rrd"]
    found = read(tmp_path / "out.rrd")
    branch = "/my_clip.mp4"
    images = found[f"{branch}/camera/image"]["EncodedImage:blob"]
    assert len(images) == 3
    assert bytes(images[0][0][:3]) == b"\xff\xd8\xff"
    assert found[f"{branch}/camera/faces"]["Boxes2D:labels"] == [["face 0", "face 4"]] * 3 + [[]]
    assert [len(points) for points in found[f"{branch}/camera/landmarks"]["Points2D:positions"]] == [936] * 3 + [0]
    curve = found[f"{branch}/aus/face_4"]
    assert curve["Scalars:scalars"][0] == pytest.approx([0.4, 2.5, 4.75])
    assert ["AU04", "AU12", "AU25"] in curve["SeriesLines:names"]
    assert found[f"{branch}/events"]["TextLog:text"] == [["face 4: AU12 onset at intensity 2.5"]]
    assert found[f"{branch}/events"]["time"][0].total_seconds() == pytest.approx(0.01)


def test_without_pictures(tmp_path):
    record(tmp_path / "out.rrd", image=None)
    assert not any("image" in entity for entity in read(tmp_path / "out.rrd"))
    assert b"\xff\xd8\xff" not in (tmp_path / "out.rrd").read_bytes()


def test_a_disk_that_fills_leaves_a_recording_that_can_be_read(tmp_path, monkeypatch):
    left = iter([1e9, 1e9, 1e6])
    monkeypatch.setattr("dsrfau_edge.outputs.rerun_view.room_for", lambda _: next(left))
    view = RerunView(str(tmp_path / "out.rrd"))
    results = [make_result(make_face(0), index=n, timestamp=n / 30, source="clip.mp4") for n in range(3)]
    view.write(results[0])
    view.write(results[1])
    with pytest.raises(OSError, match="the disk is full") as caught:
        view.write(results[2])
    view.close()
    assert caught.value.errno == errno.ENOSPC
    assert len(read(tmp_path / "out.rrd")["/clip.mp4/aus/face_0"]["Scalars:scalars"]) == 2


def test_pictures_have_a_timeline_of_their_own(tmp_path):
    record(tmp_path / "out.rrd", timestamp=None)
    faces = read(tmp_path / "out.rrd")["/my_clip.mp4/camera/faces"]
    assert sorted(faces["picture"]) == [0, 1, 2, 3]


@pytest.mark.parametrize("target", ["", "viewer", "host", "host:x", "http://host:80", "rerun://", "out.mp4"])
def test_what_is_no_viewer(target):
    with pytest.raises(UsageError, match="NAME.rrd"):
        RerunView(target)


def test_addresses():
    assert viewer_address("host:9876") == "rerun+http://host:9876/proxy"
    assert viewer_address("rerun+http://[::1]:1/proxy") == "rerun+http://[::1]:1/proxy"


def test_a_viewer_that_is_not_there():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(DsrfauError, match="No Rerun viewer answers"):
        RerunView(f"127.0.0.1:{port}")


def test_without_rerun_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(RuntimeUnavailable, match=r"dsrfau-edge\[viz\]"):
        RerunView("out.rrd")


def test_the_sdk_leaves_no_trace_of_analytics(tmp_path):
    code = "import sys; sys.path.insert(0, 'tests/outputs'); from dsrfau_edge.outputs.rerun_view import RerunView\n"
    code += f"view = RerunView({str(tmp_path / 'out.rrd')!r}); view.close()"
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": ""}
    environment.pop("CI", None)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert not list(home.rglob("*analytics*"))


@pytest.mark.parametrize("quiet", [True, False])
def test_a_viewer_started_here_sends_no_usage_data(tmp_path, monkeypatch, quiet):
    """The viewer keeps an id and a queue for its reports in the user's folders; where it is quiet it makes neither."""
    program = shutil.which("rerun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("the viewer is not installed")
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--serve-grpc", "--port", str(port)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with quiet_viewer() if quiet else contextlib.nullcontext():
        viewer = subprocess.Popen(command, start_new_session=True, **silent)
    try:
        assert "CI" not in os.environ
        _until_it_listens(port)
        assert bool(list(tmp_path.rglob("analytics*"))) is not quiet
    finally:
        os.killpg(viewer.pid, signal.SIGKILL)  # the command starts the viewer as a process of its own
        viewer.wait()


def _until_it_listens(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("the viewer does not start")
