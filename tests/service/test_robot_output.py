"""ROS4HRI messages of several cameras through one connection, recording or key."""

from __future__ import annotations

import pytest
from faces import make_face, make_result

from dsrfau_edge.errors import DsrfauError
from dsrfau_edge.service.outputs import KINDS
from dsrfau_edge.service.robot_output import RobotCameras, namespace
from dsrfau_edge.service.settings import OutputSettings


class Keeper:
    def __init__(self, error=None):
        self.batches, self.closed, self.error = [], 0, error

    def send(self, batch, image):
        if self.error:
            raise self.error
        self.batches.append(batch)

    def close(self):
        self.closed += 1

    def topics(self):
        return [item.topic for batch in self.batches for item in batch.messages]


def test_one_camera_has_the_topics_of_rep_155():
    keeper = Keeper()
    output = RobotCameras(keeper, ("front",))
    output.write(make_result(make_face(), timestamp=1.0, source="front"))
    assert keeper.topics()[0] == "/humans/faces/tracked"
    assert keeper.batches[0].header.frame_id == "front"


def test_several_cameras_have_a_namespace_each_and_end_in_order():
    keeper = Keeper()
    output = RobotCameras(keeper, ("front", "2-left"))
    for name in ("front", "2-left"):
        output.write(make_result(make_face(), timestamp=1.0, source=name))
    assert {topic.split("/")[1] for topic in keeper.topics()} == {"front", "_2_left"}
    output.close()
    assert [batch.messages[0].topic for batch in keeper.batches[2:]] == [
        "/front/humans/faces/tracked", "/_2_left/humans/faces/tracked",
    ]  # fmt: skip
    assert keeper.closed == 1


def test_a_connection_that_has_failed_is_closed_all_the_same():
    keeper = Keeper(DsrfauError("gone"))
    output = RobotCameras(keeper, ("front",))
    with pytest.raises(DsrfauError, match="gone"):
        output.write(make_result(source="front", timestamp=1.0))
    output.close()
    assert keeper.closed == 1


@pytest.mark.parametrize(("name", "expected"), [("front", "/front"), ("a-b.c", "/a_b_c"), ("0", "/_0")])
def test_namespaces_are_ros_names(name, expected):
    assert namespace(name) == expected


def test_dds_is_joined_and_left(tmp_path):
    pytest.importorskip("cyclonedds", reason="of the dds extra")
    settings = OutputSettings(name="dds", kind="dds", to="", domain=91, interface="localhost")
    output = KINDS["dds"].open(settings, ("front", "rear"))
    for name in ("front", "rear"):
        output.write(make_result(make_face(), timestamp=0.1, source=name))
    output.close()


def test_zenoh_without_a_router_is_an_error_that_is_tried_again():
    pytest.importorskip("zenoh", reason="of the zenoh extra")
    pytest.importorskip("rosbags", reason="of the zenoh extra")
    settings = OutputSettings(name="zenoh", kind="zenoh", to="fleet/robot7", connect=("tcp/127.0.0.1:9",))
    with pytest.raises(DsrfauError, match="Start the router"):
        KINDS["zenoh"].open(settings, ("front",))


def test_a_recording_of_two_cameras_is_read_back(tmp_path):
    reader = pytest.importorskip("mcap.reader", reason="of the mcap extra")
    pytest.importorskip("rosbags", reason="of the mcap extra")
    settings = OutputSettings(name="mcap", kind="mcap", to=f"{tmp_path}/a-{{time}}.mcap")
    output = KINDS["mcap"].open(settings, ("front", "rear"))
    for index in range(3):
        for name in ("front", "rear"):
            output.write(make_result(make_face(), timestamp=0.1 * index, source=name, index=index))
    output.close()
    (path,) = tmp_path.iterdir()
    with path.open("rb") as stream:
        topics = [channel.topic for _, channel, _ in reader.make_reader(stream).iter_messages()]
    assert sum(topic.startswith("/front/") and topic.endswith("/facs") for topic in topics) == 3
    assert sum(topic.startswith("/rear/") and topic.endswith("/facs") for topic in topics) == 3
