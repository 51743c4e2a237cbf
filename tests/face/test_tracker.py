"""The tracker against a made-up front end, whose scene is known to the last pixel; and on the sample portrait."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
from dsrfau_edge.face.frontend import AlignedFace, FaceFrontEnd, same_place
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.landmarks import Landmarks
from dsrfau_edge.face.network import ASSETS
from dsrfau_edge.face.tracker import FaceTracker

FRAME = np.zeros((480, 640, 3), np.uint8)
STEP = 1 / 30
#: A mesh like a face: 468 points in a unit square, the template's where the template has them.
MESH = np.random.default_rng(0).uniform(-0.5, 0.5, (468, 3))
MESH[list(DEFAULT_TEMPLATE.landmarks), :2] = np.asarray(DEFAULT_TEMPLATE.points) - 0.5
MESH[:4, :2] = [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]


@dataclass
class Person:
    x: float
    y: float = 240.0
    size: float = 100.0

    @property
    def landmarks(self):
        points = MESH * self.size + (self.x, self.y, 0)
        return Landmarks(points.astype(np.float32), 0.99)

    @property
    def box(self):
        half = self.size / 2
        return self.x - half, self.y - half, self.x + half, self.y + half


class Scene:
    """A front end that sees the persons it is told of; of two in one place it sees the first."""

    template = DEFAULT_TEMPLATE

    def __init__(self, *persons, max_faces=None):
        self.persons = list(persons)
        self.max_faces = max_faces
        self.looks, self.places = 0, 0

    def _seen(self):
        seen = []
        for person in self.persons:
            if not any(same_place(person.box, other.box) for other in seen):
                seen.append(person)
        return seen

    def find(self, image, known=(), turn=None):
        self.looks += 1
        new = [one for one in self._seen() if not any(same_place(one.box, box) for box in known)]
        faces = [AlignedFace(one.box, 0.9, one.landmarks, *self.cut(image, one.landmarks.points)) for one in new]
        return sorted(faces, key=lambda face: face.box[0] - face.box[2])[: self.max_faces]

    def landmarks(self, image, roi):
        """The face nearest to the middle of the region, as the landmark network has it."""
        self.places += 1
        near = [one for one in self._seen() if abs(one.x - roi.x) < roi.side / 2 and abs(one.y - roi.y) < roi.side / 2]
        if not near:
            return Landmarks(np.zeros((468, 3), np.float32), 0.01)
        return min(near, key=lambda one: abs(one.x - roi.x) + abs(one.y - roi.y)).landmarks

    def cut(self, image, points):
        return self.template.matrix(points, 32), np.zeros((32, 32, 3), np.uint8)


class Film:
    """Frames of a scene at 30 a second."""

    def __init__(self, scene, **options):
        self.scene, self.tracker, self.time = scene, FaceTracker(scene, **options), 0.0

    def __call__(self, *persons, step=STEP):
        if persons or not self.scene.persons:
            self.scene.persons = list(persons)
        self.time += step
        return self.tracker(FRAME, self.time)

    def ids(self, *persons, step=STEP):
        return [one.id for one in self(*persons, step=step)]

    def empty(self, frames=1):
        self.scene.persons = []
        for _ in range(frames):
            self.time += STEP
            assert self.tracker(FRAME, self.time) == []


def test_the_detector_rests_while_a_face_is_followed():
    film = Film(Scene(Person(300)), detect_every=10)
    for frame in range(30):
        assert film.ids(Person(300 + frame)) == [0]
    assert film.scene.looks == 3
    assert film.scene.places == 29, "one pass of the landmark network a frame"


def test_it_never_looks_for_more_faces_than_wanted():
    film = Film(Scene(Person(300), max_faces=1), detect_every=1)
    for _ in range(10):
        assert film.ids(Person(300), Person(500, size=180)) == [0] or film.scene.looks == 1
    assert film.scene.looks == 1


def test_it_looks_in_every_frame_where_there_is_no_face():
    film = Film(Scene())
    film.empty(7)
    assert film.scene.looks == 7


def test_a_face_that_comes_later_is_found_at_the_next_look():
    film = Film(Scene(Person(100)), detect_every=5)
    seen = [len(film(Person(100), Person(400))) if frame else len(film(Person(100))) for frame in range(12)]
    assert seen[0] == 1
    assert seen[-1] == 2
    assert seen.index(2) <= 6


def test_a_short_occlusion_keeps_the_id_and_a_long_one_does_not():
    film = Film(Scene(Person(300)), forget_after=1.0)
    assert film.ids(Person(300)) == [0]
    film.empty(20)
    assert film.ids(Person(320)) == [0]
    film.empty(40)
    assert film.ids(Person(320)) == [1]


def test_a_face_that_comes_back_elsewhere_is_another():
    film = Film(Scene(Person(100)))
    assert film.ids(Person(100)) == [0]
    film.empty(3)
    assert film.ids(Person(500)) == [1]


def test_a_face_of_another_size_in_the_same_place_is_another():
    film = Film(Scene(Person(300)))
    assert film.ids(Person(300)) == [0]
    film.empty(3)
    assert film.ids(Person(300, size=240)) == [1]


def test_one_that_leaves_and_enters_again_is_new():
    film = Film(Scene(Person(560)))
    for x in (560, 580, 600, 620):
        assert film.ids(Person(x)) == [0]
    film.empty(2)
    assert film.ids(Person(600)) == [1]


@pytest.mark.parametrize("front", [0, 1])
def test_two_who_cross_keep_their_ids(front):
    """Whoever is nearer to the camera covers the other one for a few frames."""
    film = Film(Scene())
    first = film(Person(100), Person(500))
    ids = {round(one.face.box[0]): one.id for one in first}
    left, right = ids[50], ids[450]
    for frame in range(100):
        a, b = Person(100 + 4 * frame), Person(500 - 4 * frame)
        found = film(*((a, b) if front == 0 else (b, a)))
    where = {one.id: one.face.box[0] + 50 for one in found}
    assert where[left] == pytest.approx(496, abs=2)
    assert where[right] == pytest.approx(104, abs=2)


def test_a_jump_in_time_forgets_and_time_that_starts_anew_does_not():
    film = Film(Scene(Person(300)))
    assert film.ids(Person(300)) == [0]
    assert film.ids(Person(300), step=30.0) == [1], "nobody knows who sits there half a minute later"
    assert film.ids(Person(300), step=-20.0) == [1]
    assert film.ids(Person(300)) == [1]


def test_frames_far_apart_are_matched_by_place():
    film = Film(Scene(Person(300)), forget_after=10.0)
    for x in (300, 330, 290):
        assert film.ids(Person(x), step=5.0) == [0]


def test_reset_forgets_the_faces_but_goes_on_counting():
    film = Film(Scene(Person(300)))
    assert film.ids(Person(300)) == [0]
    film.tracker.reset()
    assert film.tracker.ids == frozenset()
    assert film.ids(Person(300)) == [1]


def test_twelve_faces():
    persons = [Person(60 + 90 * (i % 6), 150 + 150 * (i // 6), 60 + i) for i in range(12)]
    film = Film(Scene(*persons))
    for _ in range(20):
        found = film(*persons)
    assert sorted(one.id for one in found) == list(range(12))
    sizes = [one.face.box[2] - one.face.box[0] for one in found]
    assert sizes == sorted(sizes, reverse=True)


moves = st.lists(
    st.lists(st.tuples(st.integers(0, 640), st.integers(0, 480), st.integers(20, 300)), max_size=5),
    min_size=1,
    max_size=25,
)


@settings(deadline=None)
@given(moves, st.integers(1, 5), st.sampled_from([None, 1, 3]), st.lists(st.floats(-2, 3), min_size=25, max_size=25))
def test_whatever_comes_and_goes(film, every, max_faces, steps):
    """No face twice, none that is not there, ids never used again, and no more than wanted."""
    scene = Scene(max_faces=max_faces)
    tracker = FaceTracker(scene, detect_every=every)
    time, gone, before = 0.0, set(), set()
    for persons, step in zip(film, steps, strict=False):
        scene.persons = [Person(*place) for place in persons]
        time += step
        found = tracker(FRAME, time)
        ids = [one.id for one in found]
        assert len(set(ids)) == len(ids)
        assert max_faces is None or len(ids) <= max_faces
        assert not gone & set(ids)
        for one in found:
            assert any(np.abs(one.face.landmarks.points - p.landmarks.points).max() < 1e-2 for p in scene.persons)
        boxes = [one.face.box for one in found]
        assert set(ids) <= tracker.ids
        gone |= before - tracker.ids
        before = set(tracker.ids)
        assert len(boxes) == len({tuple(box) for box in boxes})
        if persons and not before and not max_faces:
            pytest.fail("there is a face, and nobody is tracked")


def trembling(portrait, rng, frames):
    for _ in range(frames):
        yield np.clip(portrait + rng.normal(0, 6, portrait.shape), 0, 255).astype(np.uint8)


def test_a_still_face_lies_stiller_in_its_crop_than_by_its_landmarks_alone():
    portrait = cv2.resize(read_image(ASSETS.parent / "portrait.jpg"), (320, 320), interpolation=cv2.INTER_AREA)
    front = FaceFrontEnd(DEFAULT_TEMPLATE, 128, max_faces=1)
    spread = {}
    for steady in (True, False):
        tracker, corners = FaceTracker(front, steady=steady), []
        for index, frame in enumerate(trembling(portrait, np.random.default_rng(0), 30)):
            (one,) = tracker(frame, index * STEP)
            corners.append(one.face.matrix @ (0, 0, 1))
        spread[steady] = float(np.std(corners[5:], axis=0).max())
    assert spread[True] < 0.5 * spread[False]


def test_a_moving_face_is_not_left_behind():
    portrait = read_image(ASSETS.parent / "portrait.jpg")
    front = FaceFrontEnd(DEFAULT_TEMPLATE, 128, max_faces=1)
    tracker, template = FaceTracker(front), list(DEFAULT_TEMPLATE.landmarks)
    for index in range(20):
        frame = cv2.warpAffine(portrait, np.array([[1, 0, -60 + 6.0 * index], [0, 1, 0]]), (512, 512))
        (one,) = tracker(frame, index * STEP)
    points = one.face.landmarks.points[template, :2] @ one.face.matrix[:, :2].T + one.face.matrix[:, 2]
    lag = points - (np.asarray(DEFAULT_TEMPLATE.points) * 128 - 0.5)
    still = front(portrait)[0]
    rest = still.landmarks.points[template, :2] @ still.matrix[:, :2].T + still.matrix[:, 2]
    rest -= np.asarray(DEFAULT_TEMPLATE.points) * 128 - 0.5
    assert np.abs((lag - rest).mean(0)).max() < 2.0, "pixels of the crop"
