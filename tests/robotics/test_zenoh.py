"""Zenoh: a second process gets what is published, whichever way they meet; and what is no message does no harm."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from faces import make_face, make_result
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable, UsageError
from dsrfau_edge.robotics import FaceMessages

pytest.importorskip("zenoh", reason="of the zenoh extra")
pytest.importorskip("rosbags", reason="of the zenoh extra")
import zenoh

from dsrfau_edge.robotics.cdr import shared_cdr
from dsrfau_edge.robotics.zenoh import ZenohPublisher, check_endpoints, check_key, to_json

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "robotics" / "zenoh_subscriber.py"
_spec = importlib.util.spec_from_file_location("zenoh_subscriber", EXAMPLE)
example = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(example)


def free_endpoint():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp/127.0.0.1:{free.getsockname()[1]}"


def result(index, faces=2):
    values = (0.2, 0.6, (index % 50) / 10, (index % 50) / 10, 4.75)
    made = [make_face(number, values) for number in range(faces)]
    return make_result(*made, index=index, timestamp=index / 100, source="script")


class Subscriber:
    """The example in a process of its own."""

    def __init__(self, key, endpoint):
        command = [sys.executable, str(EXAMPLE), key, "--connect", endpoint, "--seconds", "60"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr.readline() == "ready\n"

    def lines(self, count):
        return [json.loads(self.process.stdout.readline()) for _ in range(count)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=20)


def settle(publisher, subscriber, make):
    """Send until the other side hears it: a subscription takes a moment to arrive."""
    heard = threading.Event()
    thread = threading.Thread(target=lambda: (subscriber.lines(1), heard.set()))
    thread.start()
    end = time.monotonic() + 20
    while not heard.is_set():
        assert time.monotonic() < end
        publisher.send(make(result(0, 1)), None)
        time.sleep(0.05)
    thread.join()


@pytest.mark.parametrize("form", ["cdr", "json"])
def test_another_process_gets_every_message(form):
    endpoint, make = free_endpoint(), FaceMessages()
    publisher = ZenohPublisher("fleet/robot7", listen=[endpoint], form=form)
    with Subscriber("fleet/*", endpoint) as subscriber:
        settle(publisher, subscriber, make)
        batches = [make(result(index)) for index in range(1000, 1050)]
        for batch in batches:
            publisher.send(batch, None)
        wanted = [item for batch in batches for item in batch.messages if item.topic.endswith("/facs")]
        first = batches[0].header.stamp
        line = subscriber.lines(1)[0]
        while line["stamp"] != [first.sec, first.nanosec]:  # more of what it took to meet
            line = subscriber.lines(1)[0]
        lines = [line, *subscriber.lines(len(wanted) - 1)]
    publisher.close()
    for line, item in zip(lines, wanted, strict=True):
        stamp = item.message.header.stamp
        assert (line["robot"], line["face"]) == ("fleet/robot7", item.face)
        assert line["stamp"] == [stamp.sec, stamp.nanosec]
        assert line["aus"] == pytest.approx({f"AU{n:02d}": item.message.intensity[n] for n in (4, 12, 25)}, abs=1e-4)


def session(endpoint):
    """Something that listens, as a router does."""
    config = zenoh.Config()
    config.insert_json5("mode", '"peer"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("listen/endpoints", json.dumps([endpoint]))
    return zenoh.open(config)


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_it_connects_to_others_and_again_after_they_were_gone():
    endpoint, make, found = free_endpoint(), FaceMessages(), []
    router = session(endpoint)
    router.declare_subscriber("r1/**", lambda sample: found.append(sample))
    publisher = ZenohPublisher("r1", connect=[endpoint])

    def sent():
        publisher.send(make(result(0, 1)), None)
        return bool(found)

    wait_for(sent)
    router.close()
    for index in range(20):
        publisher.send(make(result(index)), None)  # to nobody, which is no error
    found.clear()
    router = session(endpoint)
    router.declare_subscriber("r1/**", lambda sample: found.append(sample))
    wait_for(sent)
    publisher.close()
    router.close()


def test_payload_key_and_encoding_of_each_message():
    endpoint, found = free_endpoint(), {}
    router = session(endpoint)
    router.declare_subscriber("a/b/**", lambda sample: found.update({str(sample.key_expr): sample}))
    publisher = ZenohPublisher("a/b", connect=[endpoint])
    batch = FaceMessages()(result(0, 1))

    def sent():
        publisher.send(batch, None)
        return len(found) == 4

    wait_for(sent)
    for item in batch.messages:
        sample = found[f"a/b{item.topic}"]
        assert str(sample.encoding) == f"application/cdr;{item.message.TYPE}"
        assert shared_cdr().decode(item.message.TYPE, bytes(sample.payload)) == item.message
    publisher.close()
    router.close()


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/*", "a/**", "a b", "a?b", "a#b", "$a"])
def test_keys_that_are_none_are_refused(key):
    with pytest.raises(UsageError, match="no Zenoh key"):
        check_key(key)


@given(st.text(max_size=20))
def test_every_key_that_passes_is_one_for_zenoh(key):
    try:
        check_key(key)
    except UsageError:
        return
    zenoh.KeyExpr(f"{key}/humans/faces/tracked")


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1:7447", "tcp://x:1", "tcp/ x"])
def test_endpoints_that_are_none_are_refused(endpoint):
    for connect, listen in (([endpoint], []), ([], [endpoint])):
        with pytest.raises(UsageError, match="endpoint"):
            check_endpoints(connect, listen)


def test_nobody_there_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr("dsrfau_edge.robotics.zenoh._CONNECT_MS", 300)
    with pytest.raises(DsrfauError, match="Start the router") as caught:
        ZenohPublisher("a", connect=[free_endpoint()])
    assert ".rs" not in str(caught.value)


def test_an_endpoint_in_use_is_an_error():
    endpoint = free_endpoint()
    first = ZenohPublisher("a", listen=[endpoint])
    with pytest.raises(DsrfauError, match="in use"):
        ZenohPublisher("a", listen=[endpoint])
    first.close()


def test_forms_that_are_none_and_missing_libraries_are_refused(monkeypatch):
    with pytest.raises(UsageError, match="cdr or json"):
        ZenohPublisher("a", form="xml")
    monkeypatch.setitem(sys.modules, "zenoh", None)
    with pytest.raises(RuntimeUnavailable, match=r"dsrfau-edge\[zenoh\]"):
        ZenohPublisher("a")


def test_json_names_fields_and_carries_bytes():
    from dsrfau_edge.robotics.messages import CompressedImage, Header, Time

    message = CompressedImage(Header(Time(1, 2), "c"), "jpeg", b"\xff\xd8")
    assert json.loads(to_json(message)) == {
        "header": {"stamp": {"sec": 1, "nanosec": 2}, "frame_id": "c"},
        "format": "jpeg",
        "data": "/9g=",
    }


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=20,
)
shaped = st.fixed_dictionaries(
    {
        "header": anything | st.fixed_dictionaries({"stamp": anything | st.just({"sec": 1, "nanosec": 2})}),
        "intensity": anything,
        "confidence": anything,
    }
)


@given(
    st.binary(max_size=900)
    | st.binary(max_size=900).map(lambda data: b"\0\1\0\0" + data)
    | (anything | shaped).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([example.CDR, example.JSON, "text/plain", ""]),
)
def test_the_example_passes_over_what_is_no_message(payload, encoding):
    try:
        found = example.read(payload, encoding)
    except ValueError:
        return
    assert set(found) == {"stamp", "aus"}


def test_the_example_reads_what_we_write():
    message = FaceMessages()(result(0, 1)).messages[1].message
    for payload, encoding in ((shared_cdr().encode(message), example.CDR), (to_json(message), example.JSON)):
        found = example.read(payload, encoding)
        assert list(found["aus"]) == ["AU04", "AU12", "AU25"]
        assert math.isclose(found["aus"]["AU25"], 0.95, abs_tol=1e-4)


def open_sockets():
    """This process' listening TCP sockets and all its UDP sockets, as Linux writes their addresses."""
    mine = set()
    for item in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            mine.add(str(item.readlink()))
    found = set()
    for table, wanted in (("tcp", "0A"), ("tcp6", "0A"), ("udp", None), ("udp6", None)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            if f"socket:[{parts[9]}]" in mine and wanted in (None, parts[3]):
                found.add((table, parts[1].split(":")[0]))
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux' list of sockets")
def test_it_listens_on_loopback_or_nowhere(monkeypatch):
    before = open_sockets()
    monkeypatch.setattr("dsrfau_edge.robotics.zenoh.LOCAL", free_endpoint())
    alone = ZenohPublisher("a")
    assert open_sockets() - before == {("tcp", "0100007F")}
    alone.close()
    endpoint = free_endpoint()
    router = session(endpoint)
    with_router = open_sockets()
    connected = ZenohPublisher("a", connect=[endpoint])
    assert open_sockets() == with_router
    connected.close()
    router.close()
