"""Streams on real pictures: one face that moves, blinks out and comes back; times that make no sense; all options."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import cv2
import numpy as np
import pytest

from dsrfau_edge import Predictor
from dsrfau_edge.errors import DataError, InputError, UsageError
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.network import ASSETS
from dsrfau_edge.following import StreamOptions
from dsrfau_edge.signals.baseline import Baseline
from dsrfau_edge.stream import Frame

PORTRAIT = cv2.resize(read_image(ASSETS.parent / "portrait.jpg"), (256, 256), interpolation=cv2.INTER_AREA)
EMPTY = np.full_like(PORTRAIT, 90)
STEP = 1 / 30


@pytest.fixture(scope="module")
def predictor():
    with Predictor("dsrfau-nano", runtime="onnxruntime") as predictor:
        yield predictor


def noisy(count, spread=5.0, picture=PORTRAIT):
    rng = np.random.default_rng(0)
    for index in range(count):
        yield index * STEP, np.clip(picture + rng.normal(0, spread, picture.shape), 0, 255).astype(np.uint8)


def test_a_face_keeps_its_id_and_its_intensities_are_those_of_the_picture(predictor):
    (still,) = predictor(PORTRAIT)
    results = list(predictor.video((index * STEP, PORTRAIT) for index in range(12)))
    assert [[face.id for face in result.faces] for result in results] == [[0]] * 12
    last = results[-1].faces[0]
    assert max(abs(last.aus[au] - still.aus[au]) for au in still.aus) < 0.4
    assert last.neutral is None
    assert results[-1].size == (256, 256)
    assert [result.index for result in results] == list(range(12))
    assert results[3].timestamp == pytest.approx(3 * STEP)
    assert results[3].image is None


def test_smoothing_makes_a_noisy_face_stiller(predictor):
    def spread(values):
        return max(float(np.std([value[au] for value in values[10:]])) for au in predictor.aus)

    results = list(predictor.video(noisy(40)))
    raw = [result.faces[0].raw for result in results]
    smooth = [result.faces[0].aus for result in results]
    assert spread(smooth) < 0.6 * spread(raw)
    plain = list(predictor.video(noisy(40), StreamOptions(smoothing=None)))
    assert all(face.aus == face.raw for result in plain for face in result.faces)


def test_sides_and_aus_are_smoothed_alike(predictor):
    *_, last = predictor.video(noisy(5))
    face = last.faces[0]
    for au in predictor.sided:
        assert face.aus[au] == pytest.approx((face.left[au] + face.right[au]) / 2)


def test_what_rests_is_taken_off_where_that_is_asked_for(predictor):
    options = StreamOptions(baseline=Baseline(ready_after=0.5, min_trust=0.0))
    results = list(predictor.video(noisy(60, 0.5), options))
    first, last = results[0].faces[0], results[-1].faces[0]
    assert first.neutral is None, "nothing is known yet"
    assert max(last.neutral.values()) > 1.0, "this face smiles all the time"
    assert max(last.aus.values()) < 0.5
    assert max(last.raw.values()) > 1.0
    assert last.to_dict()["aus"]["AU12"].keys() >= {"raw", "neutral"}


def test_a_held_pose_is_saved_and_begun_with(predictor, tmp_path):
    stream = predictor.stream(StreamOptions(baseline=Baseline(mode="held", min_trust=0.0)))
    for time, picture in noisy(30, 0.5):
        stream(picture, time)
    stream.baselines[0].hold()
    stream.baselines[0].save(tmp_path / "rest.json")
    again = predictor.stream(StreamOptions(baseline=Baseline.from_file(tmp_path / "rest.json")))
    (face,) = again(PORTRAIT, 0.0).faces
    assert max(face.aus.values()) < 0.5 * max(face.raw.values())


def test_a_baseline_of_another_network_is_refused_at_once(predictor):
    with pytest.raises(DataError):
        predictor.stream(StreamOptions(baseline=Baseline(mode="held", level={"AU12_left": 1.0})))


def test_presence_comes_and_goes_with_events(predictor):
    stream = predictor.stream(StreamOptions(forget_after=0.2))
    first = stream(PORTRAIT, 0.0)
    here = {au for au, present in first.faces[0].present.items() if present}
    assert {event.au for event in first.events} == here
    assert {event.kind for event in first.events} == {"onset"}
    assert all(bool(first.faces[0].letters[au]) == present for au, present in first.faces[0].presence.items())
    events = [event for index in range(1, 12) for event in stream(EMPTY, index * STEP).events]
    assert {event.au for event in events if event.kind == "offset"} == here, "the face is gone"
    assert stream.baselines == {}


def test_it_moves_grows_and_is_covered_for_a_moment(predictor):
    stream, ids = predictor.stream(), []
    for index in range(30):
        matrix = np.array([[1 + 0.01 * index, 0, 2.0 * index], [0, 1 + 0.01 * index, index]])
        picture = cv2.warpAffine(EMPTY if 12 <= index < 18 else PORTRAIT, matrix, (400, 400))
        ids.append([face.id for face in stream(picture, index * STEP).faces])
    assert ids == [[0]] * 12 + [[]] * 6 + [[0]] * 12


def test_a_face_that_is_always_there_is_never_forgotten(predictor):
    stream = predictor.stream(StreamOptions(forget_after=0))
    ids = [[face.id for face in stream(PORTRAIT, index * 0.3).faces] for index in range(3)]
    assert ids == [[0]] * 3
    assert [[face.id for face in stream(picture, time).faces] for picture, time in ((EMPTY, 0.7), (PORTRAIT, 0.8))] == [
        [],
        [1],
    ]


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_a_face_that_leaps_is_placed_right_at_once(predictor, share):
    """From one frame to the next it is half out of the region that it is looked for in."""
    stream = predictor.stream()
    first = stream(cv2.copyMakeBorder(PORTRAIT, 0, 0, 0, 200, cv2.BORDER_REPLICATE), 0.0).faces[0].landmarks[:, :2]
    width = float(np.ptp(first[:, 0]))
    leap = round(share * width)
    picture = cv2.copyMakeBorder(PORTRAIT, 0, 0, leap, 200 - leap, cv2.BORDER_REPLICATE)
    (face,) = stream(picture, STEP).faces
    assert face.id == 0
    assert np.linalg.norm(face.landmarks[:, :2] - (leap, 0) - first, axis=1).mean() < 0.04 * width


def test_without_tracking_each_frame_is_a_picture(predictor):
    stream = predictor.stream(StreamOptions(track=False))
    (face,) = stream(PORTRAIT, 0.0).faces
    (alone,) = predictor(PORTRAIT)
    assert face.aus == alone.aus
    assert (face.raw, face.present) == (None, None)


def test_frames_of_a_source_bring_their_own_name_and_time(predictor):
    result = predictor.stream(StreamOptions(keep_images=True))(Frame("film.mp4", 7, 3.5, PORTRAIT))
    assert (result.source, result.index, result.timestamp) == ("film.mp4", 7, 3.5)
    assert result.image is PORTRAIT


@pytest.mark.parametrize("time", [None, math.nan, math.inf, 0.5, 0.4, "1", datetime.now(), 10**400, [1.0], 1j])
def test_a_time_that_makes_no_sense_changes_nothing(predictor, time):
    stream = predictor.stream()
    stream(PORTRAIT, 0.5)
    with pytest.raises(InputError):
        stream(PORTRAIT, time)
    assert stream(PORTRAIT, 0.6).faces[0].id == 0


@pytest.mark.parametrize("frame", [None, "a.jpg", np.zeros((0, 4, 3), np.uint8), np.full((4, 4, 3), np.nan)])
@pytest.mark.parametrize("given", [lambda frame: frame, lambda frame: Frame("", 1, STEP, frame)])
def test_a_frame_that_is_no_picture_changes_nothing(predictor, frame, given):
    stream = predictor.stream()
    stream(PORTRAIT, 0.0)
    with pytest.raises(InputError):
        stream(given(frame), STEP)
    assert stream(PORTRAIT, STEP).faces[0].id == 0


def test_time_may_start_anew_where_that_is_allowed(predictor):
    stream = predictor.stream(StreamOptions(restart_time=True, baseline=Baseline()))
    ids = [stream(PORTRAIT, time).faces[0].id for time in (100.0, 100.03, 5.0, 5.03, 5.03, 5.06)]
    assert ids == [0] * 6


def test_the_resolution_may_change_in_mid_stream(predictor):
    stream = predictor.stream()
    stream(PORTRAIT, 0.0)
    large = cv2.resize(PORTRAIT, (512, 512))
    found = [stream(large, STEP * index).faces for index in range(1, 30)]
    assert [[face.id for face in faces] for faces in found] == [[1]] * 29, "places are told in pixels"


def test_grey_and_16_bit_frames(predictor):
    stream = predictor.stream()
    grey = cv2.cvtColor(PORTRAIT, cv2.COLOR_BGR2GRAY)
    frames = (PORTRAIT, grey, grey.astype(np.uint16) << 8)
    assert [len(stream(frame, index * STEP).faces) for index, frame in enumerate(frames)] == [1] * 3
    assert [len(stream(Frame("", 0, 1 + index * STEP, frame)).faces) for index, frame in enumerate(frames)] == [1] * 3


def test_reset_forgets(predictor):
    stream = predictor.stream(StreamOptions(baseline=Baseline()))
    stream(PORTRAIT, 10.0)
    assert list(stream.baselines) == [0]
    stream.reset()
    assert stream.baselines == {}
    assert stream(PORTRAIT, 0.0).faces[0].id == 1


def test_what_is_present_at_a_reset_ends(predictor):
    stream = predictor.stream()
    begun = {event.au for event in stream(PORTRAIT, 10.0).events}
    stream.reset()
    events = stream(EMPTY, 0.0).events
    assert {event.au for event in events if event.kind == "offset"} == begun != set()
    assert {event.timestamp for event in events} == {10.0}
    assert not stream(EMPTY, STEP).events


def test_a_result_is_the_users_own(predictor):
    """Neither writing into one nor filling the picture's memory again reaches the stream or the result."""
    stream = predictor.stream(StreamOptions(keep_images=True, detect_every=1000, forget_after=0))
    memory = PORTRAIT.copy()
    first = stream(memory, 0.0)
    first.faces[0].landmarks[:] = 0
    first.faces[0].matrix[:] = 0
    assert [face.id for face in stream(memory, STEP).faces] == [0]
    memory[:] = 0
    assert np.array_equal(first.image, PORTRAIT)


def test_threads_number_their_frames_in_turn(predictor):
    stream = predictor.stream(StreamOptions(restart_time=True))
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda index: stream(PORTRAIT, index).index, range(60))) == list(range(60))


@pytest.mark.parametrize("options", [1, "x", {}, {"track": False}])
def test_what_is_no_options(predictor, options):
    with pytest.raises(UsageError, match="StreamOptions"):
        predictor.stream(options)


@pytest.mark.parametrize("frames", [None, 0, 5.5, lambda: [(0, PORTRAIT)]])
def test_what_is_no_video_is_refused_at_once(predictor, frames):
    with pytest.raises(UsageError, match="cannot be read from"):
        predictor.video(frames)


@pytest.mark.parametrize("path", [ASSETS.parent, ASSETS.parent / "portrait.jpg", "none.mp4"])
def test_paths_that_are_no_video_are_refused_at_once(predictor, path):
    with pytest.raises(InputError, match="no video|no file"):
        predictor.video(path)


@pytest.mark.parametrize("item", [(), (0, PORTRAIT, 1), None, PORTRAIT, (PORTRAIT, 0.0)])
def test_frames_without_time_or_picture(predictor, item):
    with pytest.raises(InputError):
        list(predictor.video([item]))


def test_streams_of_one_predictor_do_not_mix(predictor):
    """Several cameras, one model: the same frames give the same results as one camera alone."""

    def run(_):
        return [[face.aus for face in result.faces] for result in predictor.video(noisy(8))]

    alone = run(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(found == alone for found in pool.map(run, range(4)))


def test_a_closed_predictor_says_so():
    predictor = Predictor("dsrfau-nano", runtime="onnxruntime")
    stream = predictor.stream()
    predictor.close()
    with pytest.raises(UsageError, match="closed"):
        stream(PORTRAIT, 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"detect_every": 0}, {"detect_every": 1.5}, {"detect_every": "2"}, {"detect_every": None},
        {"forget_after": -1}, {"forget_after": math.nan}, {"forget_after": "1"}, {"forget_after": 10**400},
        {"smoothing": True}, {"baseline": "online"}, {"presence": None}, {"track": "no"}, {"steady_crops": 1},
        {"keep_images": None}, {"restart_time": []},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(wrong):
    with pytest.raises(UsageError):
        StreamOptions(**wrong)


def test_a_video_file(predictor, tmp_path):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (256, 256))
    for _ in range(6):
        writer.write(PORTRAIT)
    writer.release()
    results = list(predictor.video(path))
    assert [len(result.faces) for result in results] == [1] * 6
    assert results[5].timestamp == pytest.approx(0.2, abs=0.01)
    with pytest.raises(InputError):
        list(predictor.video(tmp_path / "none.mp4"))


def test_twelve_faces(predictor):
    head = cv2.resize(read_image(ASSETS.parent / "portrait.jpg")[:300, 70:370], (160, 160))
    crowd = np.vstack([np.hstack([head] * 4)] * 3)
    stream = predictor.stream()
    results = [stream(np.roll(crowd, index, 1), index * STEP) for index in range(4)]
    assert [sorted(face.id for face in result.faces) for result in results] == [list(range(12))] * 4
