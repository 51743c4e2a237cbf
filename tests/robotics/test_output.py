"""Several ways out at once, some of which fail."""

from __future__ import annotations

import subprocess
import sys

import pytest
from faces import make_face, make_result

from dsrfau_edge.errors import DsrfauError
from dsrfau_edge.outputs.base import Output
from dsrfau_edge.robotics import FaceMessages
from dsrfau_edge.robotics.output import RobotOutput


class Recorder:
    """Keeps batches; fails from a number of them on."""

    def __init__(self, fails_at=None, fails_closing=False):
        self.batches, self.closed = [], 0
        self._fails_at, self._fails_closing = fails_at, fails_closing

    def send(self, batch, image):
        if self._fails_at is not None and len(self.batches) >= self._fails_at:
            raise DsrfauError("it is full")
        self.batches.append((batch, image))

    def close(self):
        self.closed += 1
        if self._fails_closing:
            raise DsrfauError("it does not close")


def results(count):
    return [make_result(make_face(0), index=index, timestamp=index / 30, source="s") for index in range(count)]


def test_all_sinks_get_the_same_batches_and_an_end():
    first, second = Recorder(), Recorder()
    output = RobotOutput(FaceMessages(), [first, second])
    assert isinstance(output, Output)
    for result in results(3):
        output.write(result)
    output.close()
    output.close()
    assert first.batches == second.batches
    assert [len(batch.messages) for batch, _ in first.batches] == [4, 4, 4, 1]
    assert first.batches[-1][0].gone == first.batches[0][0].appeared
    assert (first.closed, second.closed) == (1, 1)


def test_a_sink_that_fails_is_closed_and_told_in_the_end():
    failing, going = Recorder(fails_at=1), Recorder()
    output = RobotOutput(FaceMessages(), [failing, going])
    for result in results(3):
        output.write(result)
    assert (failing.closed, len(going.batches)) == (1, 3)
    with pytest.raises(DsrfauError, match="full"):
        output.close()
    assert (failing.closed, going.closed) == (1, 1)
    output.close()


def test_the_last_sink_to_fail_ends_the_output():
    output = RobotOutput(FaceMessages(), [Recorder(fails_at=1, fails_closing=True)])
    first, second, _ = results(3)
    output.write(first)
    with pytest.raises(DsrfauError, match="full"):
        output.write(second)
    output.close()


def test_one_that_does_not_close_does_not_keep_the_others_open():
    first, second = Recorder(fails_closing=True), Recorder()
    output = RobotOutput(FaceMessages(), [first, second])
    with pytest.raises(DsrfauError, match="does not close"):
        output.close()
    assert second.closed == 1


def test_messages_need_no_middleware():
    code = "import dsrfau_edge.robotics, dsrfau_edge.robotics.output, dsrfau_edge.cli.predict, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"cyclonedds", "mcap", "mcap_ros2", "rosbags", "zenoh", "rclpy", "onnxruntime", "openvino"}
