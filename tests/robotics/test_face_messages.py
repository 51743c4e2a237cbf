from __future__ import annotations

import dataclasses
import random
from importlib.resources import files

import cv2
import numpy as np
import pytest
from faces import make_face, make_result
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge import Predictor
from dsrfau_edge.errors import UsageError
from dsrfau_edge.robotics import FaceMessages, Header, MessageOptions, Time
from dsrfau_edge.robotics.face_ids import FaceIds
from dsrfau_edge.robotics.messages import (
    FacialActionUnits,
    FacialLandmarks,
    IdsList,
    Image,
    NormalizedRegionOfInterest2D,
)

SECOND = 1_000_000_000
HEADER = Header(Time(5, 6), "eye")


class Clock:
    def __init__(self, now=1_000 * SECOND):
        self.now = now

    def __call__(self):
        return self.now


def at(timestamp, *faces, source="cam", latency=None, image=None, index=0):
    result = make_result(*faces, index=index, timestamp=timestamp, source=source)
    return dataclasses.replace(result, latency_ms=latency, image=image)


def by_topic(batch):
    return {message.topic: message.message for message in batch.messages}


def names_of(batch):
    return batch.messages[0].message.ids


def test_one_face_makes_the_messages_of_rep_155():
    batch = FaceMessages(clock=Clock())(at(0.0, make_face()))
    (name,) = batch.appeared
    assert [(message.topic, type(message.message), message.face) for message in batch.messages] == [
        ("/humans/faces/tracked", IdsList, None),
        (f"/humans/faces/{name}/facs", FacialActionUnits, name),
        (f"/humans/faces/{name}/roi", NormalizedRegionOfInterest2D, name),
        (f"/humans/faces/{name}/landmarks", FacialLandmarks, name),
    ]
    assert {message.message.header for message in batch.messages} == {Header(Time(1000, 0), "camera")}
    assert names_of(batch) == (name,)
    assert batch.gone == ()


def test_intensities_stand_at_their_facs_numbers_as_fractions():
    facs = by_topic(FaceMessages(clock=Clock())(at(0.0, make_face())))
    (facs,) = [message for topic, message in facs.items() if topic.endswith("facs")]
    assert len(facs.intensity) == len(facs.confidence) == 99
    wanted = {4: (0.4 / 5, 0.5), 12: (2.5 / 5, 0.75), 25: (4.75 / 5, 0.8)}
    for number, (intensity, confidence) in enumerate(zip(facs.intensity, facs.confidence, strict=True)):
        assert (intensity, confidence) == pytest.approx(wanted.get(number, (0, 0)), abs=1e-6), number


def test_scale_and_aus_are_as_asked():
    options = MessageOptions(intensity_scale=1.0, aus=("12",), landmarks=False, namespace="/front", frame_id="left_eye")
    batch = FaceMessages(options, clock=Clock())(at(0.0, make_face()))
    facs = batch.messages[1]
    assert facs.topic.startswith("/front/humans/faces/")
    assert facs.message.header.frame_id == "left_eye"
    assert {n: v for n, v in enumerate(facs.message.intensity) if v} == {12: 2.5}
    assert {n: v for n, v in enumerate(facs.message.confidence) if v} == {12: 0.75}
    assert len(batch.messages) == 3


def test_an_au_that_the_network_does_not_estimate_is_refused():
    with pytest.raises(UsageError, match="AU06"):
        FaceMessages(MessageOptions(aus=("AU06",)))(at(0.0, make_face()))


def test_the_box_is_a_part_of_the_picture():
    batch = FaceMessages(clock=Clock())(at(0.0, make_face(box=(-20.0, 40.0, 100.0, 200.0))))
    region = batch.messages[2].message
    assert (region.xmin, region.ymin, region.xmax, region.ymax, region.c) == (0.0, 0.25, 0.5, 1.0, 0.875)


@pytest.mark.parametrize(
    "wrong",
    [
        {"namespace": "front"},
        {"namespace": "/front/"},
        {"namespace": "/1"},
        {"namespace": "/a b"},
        {"intensity_scale": 0.0},
        {"intensity_scale": float("nan")},
        {"frame_id": "a\0b"},
        {"face_size": 0},
        {"keep_seconds": -1.0},
        {"keep_seconds": float("inf")},
        {"aus": ("AU99",)},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError):
        MessageOptions(**wrong)


def test_a_face_keeps_its_name_and_publishers_through_a_short_absence():
    make = FaceMessages(MessageOptions(keep_seconds=1.0), clock=Clock())
    first = make(at(0.0, make_face(3)))
    (name,) = first.appeared
    away = make(at(0.5))
    assert names_of(away) == ()
    assert (away.appeared, away.gone) == ((), ())
    back = make(at(1.0, make_face(3)))
    assert names_of(back) == (name,)
    assert (back.appeared, back.gone) == ((), ())


def test_a_face_that_stays_away_loses_its_publishers_once_but_not_its_name():
    make = FaceMessages(MessageOptions(keep_seconds=1.0), clock=Clock())
    (name,) = make(at(0.0, make_face(3))).appeared
    assert make(at(1.0)).gone == ()
    assert make(at(1.1)).gone == (name,)
    assert make(at(1.2)).gone == ()
    assert make(at(9.0, make_face(3))).appeared == (name,)


def test_faces_that_swap_places_keep_their_names():
    make = FaceMessages(clock=Clock())
    first, second = names_of(make(at(0.0, make_face(0), make_face(1))))
    assert names_of(make(at(0.1, make_face(1), make_face(0)))) == (second, first)


def test_the_next_source_has_other_faces():
    make = FaceMessages(clock=Clock())
    first = make(at(0.0, make_face(0), make_face(1), source="a.mp4"))
    second = make(at(0.0, make_face(0), source="b.mp4"))
    assert second.gone == first.appeared
    assert not set(second.appeared) & set(first.appeared)
    assert make(at(0.1, make_face(0), source="b.mp4")).appeared == ()


def test_the_end_tells_that_all_are_gone():
    make = FaceMessages(clock=Clock())
    (name,) = make(at(0.0, make_face(0))).appeared
    end = make.end()
    assert (names_of(end), end.gone) == ((), (name,))
    assert make.end().gone == ()


def test_live_results_are_stamped_with_their_arrival():
    clock = Clock(2_000 * SECOND)
    batch = FaceMessages(clock=clock)(at(17.0, make_face(), latency=250.0))
    assert batch.header.stamp == Time(1999, 750_000_000)


def test_videos_keep_their_own_time_and_never_go_back():
    clock = Clock()
    make = FaceMessages(clock=clock)
    stamps = [make(at(time, source="a.mp4")).header.stamp.ns for time in (2.0, 2.5, 12.0)]
    assert stamps == [1000 * SECOND, 1000 * SECOND + SECOND // 2, 1010 * SECOND]
    clock.now += SECOND  # a second was enough to read those ten
    following = [make(at(time, source="b.mp4")).header.stamp.ns for time in (0.0, 1.0)]
    assert following == [1010 * SECOND + 1, 1011 * SECOND + 1]
    assert make(at(0.0, source="b.mp4")).header.stamp.ns > following[-1]  # its clock went back
    assert make.end().header.stamp.ns >= following[-1]


def test_pictures_are_stamped_now_and_a_given_header_is_taken():
    clock = Clock()
    make = FaceMessages(clock=clock)
    assert make(at(None)).header.stamp == Time(1000, 0)
    header = Header(Time(3, 4), "head_camera")
    assert make(at(None, make_face()), header).messages[1].message.header is header


def test_a_header_whose_clock_goes_back_ends_the_faces_out_of_sight_only():
    make = FaceMessages(clock=Clock())
    first, second = make(at(0.0, make_face(0), make_face(1)), Header(Time(100, 0), "")).appeared
    batch = make(at(0.0, make_face(1)), Header(Time(50, 0), ""))
    assert (names_of(batch), batch.gone) == ((second,), (first,))


def test_times_beyond_the_message_are_its_last():
    assert Time.from_ns(3_000_000_000 * SECOND) == Time(0x7FFFFFFF, SECOND - 1)
    assert Time.from_ns(-1) == Time(-1, SECOND - 1)
    assert Time.from_ns(-1).ns == -1


def test_faces_without_their_picture_are_refused_and_without_faces_none_is_needed():
    make = FaceMessages(MessageOptions(cropped=True), clock=Clock())
    with pytest.raises(UsageError, match="keep_images"):
        make(at(0.0, make_face()))
    assert len(make(at(0.0)).messages) == 1


def test_faces_are_cut_out():
    image = np.zeros((160, 200, 3), np.uint8)
    image[30:140, 20:120] = (10, 20, 30)
    options = MessageOptions(cropped=True, aligned=True, face_size=64)
    batch = FaceMessages(options, clock=Clock())(at(0.0, make_face(), image=image))
    crop, upright = (message.message for message in batch.messages[-2:])
    assert [message.topic.split("/")[-1] for message in batch.messages[-2:]] == ["cropped", "aligned"]
    for message in (crop, upright):
        assert isinstance(message, Image)
        assert (message.height, message.width, message.encoding, message.step) == (64, 64, "bgr8", 192)
    pixels = np.frombuffer(crop.data, np.uint8).reshape(64, 64, 3)
    assert np.all(pixels[:, 5:59] == (10, 20, 30))  # 100 x 110 pixels fill 58 x 64
    assert np.all(pixels[:, [0, 1, 62, 63]] == 0)


def test_the_aligned_face_is_the_networks_crop_at_another_size(portrait_face, portrait):
    batch = FaceMessages(MessageOptions(aligned=True, face_size=96))(at(0.0, portrait_face, image=portrait), HEADER)
    message = batch.messages[-1].message
    seen = np.frombuffer(message.data, np.uint8).reshape(96, 96, 3)
    matrix = np.vstack([portrait_face.matrix, [0, 0, 1]])
    side = portrait_face.crop_size
    corners = np.array([[-0.5, -0.5], [side - 0.5, -0.5], [-0.5, side - 0.5]], np.float32)
    wanted = np.array([[-0.5, -0.5], [95.5, -0.5], [-0.5, 95.5]], np.float32)
    resize = np.vstack([cv2.getAffineTransform(corners, wanted), [0, 0, 1]])
    reference = cv2.warpAffine(portrait, (resize @ matrix)[:2], (96, 96), flags=cv2.INTER_AREA)
    assert np.corrcoef(seen.ravel(), reference.ravel())[0, 1] > 0.98


@pytest.fixture(scope="module")
def portrait():
    return cv2.imread(str(files("dsrfau_edge") / "assets" / "portrait.jpg"))


@pytest.fixture(scope="module")
def portrait_face(portrait):
    with Predictor(runtime="onnxruntime") as predictor:
        (face,) = predictor(portrait)
    return face


def test_landmarks_of_a_real_face_are_where_their_names_say(portrait_face, portrait):
    height, width = portrait.shape[:2]
    result = dataclasses.replace(at(0.0, portrait_face), size=(width, height))
    message = FaceMessages()(result, HEADER).messages[-1].message
    assert (message.width, message.height, len(message.landmarks)) == (width, height, 70)
    x, y = (np.array([getattr(point, axis) for point in message.landmarks]) for axis in "xy")
    assert all(point.c == pytest.approx(portrait_face.confidence) for point in message.landmarks[:68])
    assert all((point.x, point.y, point.c) == (0, 0, 0) for point in message.landmarks[68:])
    # The person's right is on the picture's left. These runs go from there to the other side.
    for run in (range(17), range(17, 27), range(31, 36), range(36, 40), range(42, 46), range(48, 55), range(60, 65)):
        assert np.all(np.diff(x[list(run)]) > 0), run
    for run in (range(54, 60), range(64, 68)):  # and these, along the lower lip, back
        assert np.all(np.diff(x[list(run)]) < 0), run
    assert np.all(np.diff(y[27:31]) > 0)  # down the nose
    assert y[8] == y[:68].max()  # the chin
    assert np.all(y[17:27] < y[36:48].min())  # eyebrows above eyes
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46), (51, 57), (62, 66), (61, 67), (63, 65)):
        assert y[upper] < y[lower]
        assert abs(x[upper] - x[lower]) < 0.02
    assert y[33] > y[30]  # the nostrils below the tip
    assert y[33] < y[51]  # and above the mouth


def test_landmarks_beside_the_picture_are_moved_to_its_edge_without_confidence():
    face = make_face()
    face.landmarks[:] = (-50.0, 80.0, 0.0)
    message = FaceMessages(clock=Clock())(at(0.0, face)).messages[-1].message
    assert {(point.x, point.y, point.c) for point in message.landmarks[:68]} == {(0.0, 0.5, 0.0)}


@given(st.lists(st.integers(0, 10**9), unique=True, max_size=60), st.integers())
def test_names_are_short_and_unique_and_stay(numbers, seed):
    ids = FaceIds(random.Random(seed))
    numbers = [number % 26**5 for number in numbers]
    names = [ids(number) for number in numbers]
    assert len(set(names)) == len(set(numbers))
    assert all(len(name) == 5 and name.isascii() and name.isalpha() and name.islower() for name in names)
    assert [ids(number) for number in numbers] == names


def test_names_differ_from_run_to_run():
    assert len({FaceIds()(0) for _ in range(20)}) > 15


@given(st.lists(st.tuples(st.floats(0, 2), st.sets(st.integers(0, 4))), max_size=40), st.floats(0, 2))
def test_publishers_are_made_and_destroyed_in_step_with_the_messages(steps, keep):
    """Whatever faces come and go: messages go only where a publisher stands, and in the end none is left."""
    make = FaceMessages(MessageOptions(keep_seconds=keep, landmarks=False), clock=Clock())
    standing, time = set(), 0.0
    for wait, numbers in steps:
        time += wait
        batch = make(at(time, *(make_face(number) for number in sorted(numbers))))
        assert not set(batch.appeared) & standing
        standing |= set(batch.appeared)
        assert set(batch.gone) <= standing
        standing -= set(batch.gone)
        assert {message.face for message in batch.messages if message.face} == set(names_of(batch)) <= standing
        assert len(names_of(batch)) == len(numbers)
    assert set(make.end().gone) == standing
