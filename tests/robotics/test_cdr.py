"""The bytes of messages: three libraries agree on them, and bytes that are none do no harm."""

from __future__ import annotations

import dataclasses
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrfau_edge.errors import InputError
from dsrfau_edge.robotics.definitions import definition, parse_kind, whole_definition
from dsrfau_edge.robotics.messages import (
    TYPES,
    CompressedImage,
    FacialActionUnits,
    FacialLandmarks,
    Header,
    IdsList,
    Image,
    NormalizedPointOfInterest2D,
    NormalizedRegionOfInterest2D,
    Time,
)

pytest.importorskip("rosbags", reason="CDR is encoded by rosbags, of the mcap extra")
from dsrfau_edge.robotics.cdr import shared_cdr

# Neither DDS nor ROS carries zero bytes in strings.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)
floats = st.floats(width=32, allow_nan=False)
numbers = st.integers(0, 2**32 - 1)
blobs = st.binary(max_size=50)
stamps = st.builds(Time, st.integers(-(2**31), 2**31 - 1), numbers)
headers = st.builds(Header, stamps, texts)
arrays = st.lists(floats, min_size=99, max_size=99).map(tuple)
points = st.lists(st.builds(NormalizedPointOfInterest2D, floats, floats, floats), min_size=70, max_size=70).map(tuple)
messages = st.one_of(
    st.builds(FacialActionUnits, headers, arrays, arrays),
    st.builds(IdsList, headers, st.lists(texts, max_size=4).map(tuple)),
    st.builds(NormalizedRegionOfInterest2D, headers, floats, floats, floats, floats, floats),
    st.builds(FacialLandmarks, headers, points, numbers, numbers),
    st.builds(Image, headers, numbers, numbers, texts, st.integers(0, 255), numbers, blobs),
    st.builds(CompressedImage, headers, texts, blobs),
)
NAMES = [kind.TYPE for kind in TYPES]


def mcap_bytes(message):
    """By mcap-ros2-support, from the definition that our recordings carry."""
    dynamic = pytest.importorskip("mcap_ros2._dynamic")
    encoders = dynamic.serialize_dynamic(message.TYPE, whole_definition(type(message)))
    return bytes(encoders[message.TYPE](as_lists(message)))


def as_lists(value):
    """Objects with lists in them, which is what that library takes for arrays."""
    if dataclasses.is_dataclass(value):
        return SimpleNamespace(**{f.name: as_lists(getattr(value, f.name)) for f in dataclasses.fields(value)})
    return [as_lists(item) for item in value] if isinstance(value, tuple) else value


@settings(max_examples=150, deadline=None)
@given(messages)
def test_rosbags_cyclone_and_mcap_make_the_same_bytes(message):
    pytest.importorskip("cyclonedds", reason="of the dds extra")
    from dsrfau_edge.robotics.dds_types import dds_type, to_dds

    ours = shared_cdr().encode(message)
    assert ours[:4] == b"\0\1\0\0"
    assert to_dds(message).serialize(use_version_2=False) == ours
    assert mcap_bytes(message) == ours
    assert shared_cdr().decode(message.TYPE, ours) == message
    assert dds_type(message.TYPE).deserialize(ours).serialize(use_version_2=False) == ours


def test_a_message_written_by_hand():
    header = Header(Time(1, 2), "cam")
    intensity = tuple(np.arange(99, dtype=np.float32).tolist())
    message = FacialActionUnits(header, intensity, (0.5,) * 99)
    by_hand = b"\0\1\0\0" + struct.pack("<iII4s198f", 1, 2, 4, b"cam\0", *range(99), *[0.5] * 99)
    assert shared_cdr().encode(message) == by_hand
    assert shared_cdr().decode("hri_msgs/msg/FacialActionUnits", by_hand) == message


def test_big_endian_is_read():
    data = b"\0\0\0\0" + struct.pack(">iII4sI", 1, 2, 4, b"cam\0", 0)
    assert shared_cdr().decode("hri_msgs/msg/IdsList", data) == IdsList(Header(Time(1, 2), "cam"), ())


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(NAMES), st.binary(max_size=300), st.sampled_from([b"", b"\0\1\0\0", b"\0\0\0\0"]))
def test_bytes_that_are_no_message_are_refused_or_read_as_one(name, data, start):
    try:
        found = shared_cdr().decode(name, start + data)
    except InputError:
        return
    assert name == found.TYPE


@settings(max_examples=300, deadline=None)
@given(messages, st.data())
def test_damaged_messages_are_refused_or_read(message, data):
    good = bytearray(shared_cdr().encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(4, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    for content in (bytes(good), bytes(good[:cut]), bytes(good) + b"more!"):
        try:
            found = shared_cdr().decode(message.TYPE, content)
        except InputError:
            continue
        assert found.TYPE == message.TYPE


def test_unknown_types_are_refused():
    with pytest.raises(InputError, match="FacialActionUnits"):
        shared_cdr().decode("hri_msgs/msg/LiveSpeech", b"\0\1\0\0")


def test_definitions_are_msg_texts():
    assert definition(IdsList) == "std_msgs/Header header\nstring[] ids\n"
    rule = "=" * 80
    assert whole_definition(IdsList).split(rule + "\n") == [
        "std_msgs/Header header\nstring[] ids\n",
        "MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n",
        "MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n",
    ]
    with pytest.raises(ValueError, match="no type"):
        parse_kind("float32[")


def test_layouts_are_those_of_rosbags_own_definitions():
    """The common ones, which rosbags brings along for every ROS 2; hri_msgs it does not know."""
    from rosbags.typesys import Stores, get_typestore

    for store in (Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY):
        theirs, ours = get_typestore(store), shared_cdr()._store
        for name in NAMES:
            if not name.startswith("hri_msgs/"):
                assert theirs.fielddefs[name][1] == ours.fielddefs[name][1]
                assert theirs.hash_rihs01(name) == ours.hash_rihs01(name)
