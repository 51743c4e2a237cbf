"""DDS: a second process with types of its own gets what is published; on the loopback interface alone."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faces import make_face, make_result

from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.robotics import FaceMessages, MessageOptions
from dsrfau_edge.robotics.dds_domain import _Domains, check_domain, configuration, default_domain, default_interface

pytest.importorskip("cyclonedds", reason="of the dds extra")
from dsrfau_edge.robotics.dds import DdsPublisher
from dsrfau_edge.robotics.output import RobotOutput

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "robotics" / "dds_subscriber.py"
DOMAIN = 100 + os.getpid() % 100  # so that two runs of the tests on one machine do not meet


def result(index, faces=2):
    made = [make_face(number, (0.2, 0.6, (index % 50) / 10, (index % 50) / 10, 4.75)) for number in range(faces)]
    return make_result(*made, index=index, timestamp=index / 100, source="script")


@pytest.fixture
def publisher():
    made = DdsPublisher(domain=DOMAIN, interface="localhost")
    yield made
    made.close()


class Subscriber:
    """The example in a process of its own."""

    def __init__(self):
        command = [sys.executable, str(EXAMPLE), "--domain", str(DOMAIN), "--localhost", "--seconds", "60"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr.readline() == "ready\n"

    def lines(self, count):
        return [json.loads(self.process.stdout.readline()) for _ in range(count)]

    def end(self):
        self.process.terminate()
        self.process.communicate(timeout=20)


@pytest.fixture
def subscriber():
    made = Subscriber()
    yield made
    made.end()


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_another_process_gets_every_message_of_every_face(publisher, subscriber):
    make = FaceMessages()
    wanted = {}
    for index in range(50):
        batch = make(result(index))
        for item in batch.messages:
            if item.topic.endswith("/facs"):
                wanted.setdefault(item.face, []).append(item.message)
        publisher.send(batch, None)
        time.sleep(0.01)
    found = {}
    for line in subscriber.lines(100):
        found.setdefault(line["face"], []).append(line)
    assert set(found) == set(wanted)
    assert len(found) == 2
    for face, messages in wanted.items():
        for line, message in zip(found[face], messages, strict=True):
            assert line["stamp"] == [message.header.stamp.sec, message.header.stamp.nanosec]
            assert list(line["aus"]) == ["AU04", "AU12", "AU25"]
            assert line["aus"]["AU12"] == pytest.approx(message.intensity[12], abs=1e-4)
    assert publisher.dropped == 0


def test_a_reader_that_comes_late_gets_what_was_kept(publisher):
    make = FaceMessages()
    for index in range(30):
        publisher.send(make(result(index, 1)), None)
    late = Subscriber()
    publisher.send(make(result(30, 1)), None)
    assert len(late.lines(31)) == 31
    late.end()


def test_writers_come_and_go_with_faces(publisher, subscriber):
    make = FaceMessages(MessageOptions(keep_seconds=0.5))
    batch = make(result(0, 2))
    publisher.send(batch, None)
    topics = {item.topic for item in batch.messages}
    assert set(publisher._writers) == topics
    facs = [topic for topic in topics if topic.endswith("/facs")]
    wait_for(lambda: all(publisher.readers(topic) == 1 for topic in facs))
    publisher.send(make(result(10, 1)), None)
    assert set(publisher._writers) == topics  # for a short absence they stay
    publisher.send(make(result(90, 0)), None)
    assert set(publisher._writers) == {"/humans/faces/tracked"}
    publisher.send(make(result(91, 2)), None)
    assert set(publisher._writers) == topics
    subscriber.lines(4)
    wait_for(lambda: all(publisher.readers(topic) == 1 for topic in facs))


def test_a_reader_that_stands_still_holds_nobody_up(publisher, subscriber):
    """Stopped in the middle: the history turns over, and writing goes on as fast as before."""
    make = FaceMessages(MessageOptions(cropped=False))
    publisher.send(make(result(0)), None)
    subscriber.lines(2)
    os.kill(subscriber.process.pid, signal.SIGSTOP)
    started = time.monotonic()
    for index in range(1, 1001):
        publisher.send(make(result(index)), None)
    assert time.monotonic() - started < 60  # blocking would take 10 ms a message, 70 s
    assert publisher.dropped == 0
    os.kill(subscriber.process.pid, signal.SIGCONT)
    last = [make(result(index)) for index in range(1001, 1003)]
    for batch in last:
        publisher.send(batch, None)
    stamp = last[-1].header.stamp
    wait_for(lambda: subscriber.lines(1)[0]["stamp"] == [stamp.sec, stamp.nanosec])


def test_leaving_waits_for_what_was_sent_last_but_not_for_ever(subscriber):
    publisher, make = DdsPublisher(domain=DOMAIN, interface="localhost"), FaceMessages()
    publisher.send(make(result(0, 1)), None)
    subscriber.lines(1)
    for index in range(1, 41):
        publisher.send(make(result(index, 1)), None)
    publisher.close()
    assert len(subscriber.lines(40)) == 40
    publisher = DdsPublisher(domain=DOMAIN, interface="localhost")
    publisher.send(make(result(100, 1)), None)
    subscriber.lines(1)
    os.kill(subscriber.process.pid, signal.SIGSTOP)
    publisher.send(make(result(101, 1)), None)
    publisher.close()
    os.kill(subscriber.process.pid, signal.SIGCONT)


def test_datagrams_that_are_no_dds_do_no_harm(publisher, subscriber):
    """Random ones, and ones that begin like RTPS, to every port on which the two processes listen."""
    draw = random.Random(7)
    make = FaceMessages()
    first = 7400 + 250 * DOMAIN
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for index in range(100):
            for port in range(first, first + 30):
                start = draw.choice([b"", b"RTPS\x02\x05\x01\x10", b"RTPS\x02\x01\x01\x10" + bytes(12) + b"\x15\x05"])
                sender.sendto(start + draw.randbytes(draw.randrange(1, 200)), ("127.0.0.1", port))
            publisher.send(make(result(index, 1)), None)
            time.sleep(0.005)
    assert len(subscriber.lines(100)) == 100
    assert subscriber.process.poll() is None


def test_samples_of_another_type_under_our_names_do_no_harm(publisher, subscriber):
    from cyclonedds.domain import DomainParticipant
    from cyclonedds.idl import make_idl_struct, types
    from cyclonedds.pub import DataWriter
    from cyclonedds.topic import Topic

    make = FaceMessages()
    batch = make(result(0, 1))
    topic = next(item.topic for item in batch.messages if item.topic.endswith("/facs"))
    other = make_idl_struct("Other", "hri_msgs::msg::dds_::FacialActionUnits_", {"text": str, "more": types.uint64})
    participant = DomainParticipant(DOMAIN)
    liar = DataWriter(participant, Topic(participant, f"rt{topic}", other))
    for index in range(20):
        liar.write(other("x" * index, index))
        publisher.send(make(result(index, 1)), None)
        time.sleep(0.01)
    assert [list(line["aus"]) for line in subscriber.lines(20)] == [["AU04", "AU12", "AU25"]] * 20


def test_cyclone_itself_refuses_to_send_bytes_that_are_no_message(publisher):
    from cyclonedds._clayer import ddspy_write

    publisher.send(FaceMessages()(result(0, 1)), None)
    draw = random.Random(1)
    for writer in publisher._writers.values():
        for length in (4, 12, 200):
            assert ddspy_write(writer._ref, b"\0\1\0\0" + draw.randbytes(length)) < 0


def test_several_outputs_share_the_names_of_faces(publisher, tmp_path):
    pytest.importorskip("mcap", reason="of the mcap extra")
    from mcap.reader import make_reader

    from dsrfau_edge.robotics.recording import McapRecording

    output = RobotOutput(FaceMessages(), [publisher, McapRecording(tmp_path / "a.mcap")])
    output.write(result(0))
    published = set(publisher._writers)
    output.close()
    with (tmp_path / "a.mcap").open("rb") as stream:
        recorded = {channel.topic for _, channel, _ in make_reader(stream).iter_messages()}
    assert recorded == published


def test_wrong_domains_and_interfaces_are_refused():
    for domain in (-1, 233, 1000):
        with pytest.raises(UsageError, match="0 to 232"):
            DdsPublisher(domain=domain)
    for interface in ("", "eth 0", '"/><x', "a" * 65):
        with pytest.raises(UsageError, match="no network interface"):
            configuration(0, interface)
    with pytest.raises(UsageError, match="dds-interface"):
        DdsPublisher(domain=DOMAIN - 100, interface="nosuch0")


def test_a_process_uses_a_domain_on_one_interface_only():
    domains = _Domains()
    domains.prepare(99, None)
    domains.prepare(99, None)
    with pytest.raises(UsageError, match="another interface"):
        domains.prepare(99, "localhost")


def test_the_surroundings_of_ros_are_heeded():
    assert default_domain({}) == 0
    assert default_domain({"ROS_DOMAIN_ID": "42"}) == 42
    for wrong in ("x", "-1", "233", "1.5", "²"):
        with pytest.raises(UsageError, match="ROS_DOMAIN_ID"):
            default_domain({"ROS_DOMAIN_ID": wrong})
    assert check_domain(232) == 232
    assert default_interface({}) is None
    assert default_interface({"ROS_LOCALHOST_ONLY": "1"}) == "localhost"
    assert default_interface({"ROS_LOCALHOST_ONLY": "0"}) is None
    assert default_interface({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}) == "localhost"


def test_a_missing_cyclonedds_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cyclonedds.core", None)
    with pytest.raises(RuntimeUnavailable, match=r"dsrfau-edge\[dds\]"):
        DdsPublisher(domain=98)
