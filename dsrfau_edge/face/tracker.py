"""Faces from frame to frame: the landmarks of one frame say where to look in the next.

As in MediaPipe's face pipeline, the landmark network itself tells whether the face is still there, so that the detector
runs only to find new faces. Who a face belongs to is never recognised: an id is a place that was held without a break.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .frontend import AlignedFace, Box, FaceFrontEnd, centre, inside, same_place, side
from .landmarks import MIN_PRESENCE, Landmarks, roi_from_landmarks
from .steady import SteadyPoints

#: Landmarks of an earlier frame tell where to look up to this many seconds later.
_LEAD = 0.35
#: Points that move further than this between frames, in sides of the face, are looked for twice.
_FAR = 0.15
#: A face found again may have moved by so many of its sides, and grown or shrunk by this factor.
_REACH, _GROWTH = 1.0, 1.6
#: A face of which less than this part is in the picture when it is lost has left rather than been covered.
_LEFT = 0.8


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """A face of a stream; `id` is its own as long as it is tracked."""

    id: int
    face: AlignedFace


_Step = tuple[AlignedFace, Box]


@dataclass(slots=True)
class _Track:
    """A face that is followed; while it is lost, `face` and `place` are of when it was last seen, at the time `seen`.

    `place` is the box of its landmarks, also outside the picture.
    """

    id: int
    face: AlignedFace
    place: Box
    seen: float
    steady: SteadyPoints | None = field(default=None, repr=False)
    velocity: complex = 0j  # of the centre, in pixels a second
    lost: bool = False

    def expected(self, timestamp: float) -> complex:
        """Centre of the face at another time, if it goes on as it went."""
        return centre(self.place) + self.velocity * min(timestamp - self.seen, _LEAD)

    def move(self, face: AlignedFace, place: Box, timestamp: float) -> None:
        """Take the face's place in a new frame."""
        passed = timestamp - self.seen
        if self.lost or not 0 < passed <= _LEAD:
            self.velocity = 0j
        else:
            self.velocity += 0.5 * ((centre(place) - centre(self.place)) / passed - self.velocity)
        self.face, self.place, self.seen, self.lost = face, place, timestamp, False

    def restart_time(self, timestamp: float) -> None:
        """Be where it was at another time."""
        self.seen = timestamp
        if self.steady is not None:
            self.steady.reset()

    def lose(self) -> None:
        """The face is not to be seen."""
        self.lost = True
        if self.steady is not None:
            self.steady.reset()


class FaceTracker:
    """Finds the faces of one stream and keeps their ids. One thread at a time."""

    def __init__(
        self, front: FaceFrontEnd, *, detect_every: int = 15, forget_after: float = 1.0, steady: bool = True
    ) -> None:
        """Track with the models of `front`; see `StreamOptions` for the rest."""
        self._front = front
        self._detect_every = detect_every
        self._forget_after = forget_after
        self._steady = steady
        self._tracks: list[_Track] = []
        self._next, self._since, self._turn = 0, 0, 0
        self._time: float | None = None
        self._size: tuple[int, ...] | None = None

    @property
    def ids(self) -> frozenset[int]:
        """Faces that are tracked or lost only for the moment."""
        return frozenset(track.id for track in self._tracks)

    def reset(self) -> None:
        """Forget all faces; later ones have new ids."""
        self._tracks.clear()
        self._since, self._time = 0, None

    def __call__(self, image: npt.NDArray[np.uint8], timestamp: float) -> list[TrackedFace]:
        """Faces of the next frame, BGR `[H, W, 3]`, at `timestamp` seconds; the largest first.

        A timestamp before the last one starts the time anew; the faces stay.
        """
        if self._size not in (None, image.shape):
            self._tracks.clear()  # where the faces were is told in pixels of the other size
        self._size = image.shape
        if self._time is not None and timestamp < self._time:
            for track in self._tracks:
                track.restart_time(timestamp)
        gap = 0.0 if self._time is None else max(timestamp - self._time, 0.0)
        self._time = timestamp
        self._tracks = [track for track in self._tracks if timestamp - track.seen <= self._patience(track)]
        self._follow(image, timestamp)
        if self._must_look(gap):
            self._look(image, timestamp, gap)
        shown = [TrackedFace(track.id, track.face) for track in self._active()]
        return sorted(shown, key=lambda one: -side(one.face.box))

    def _patience(self, track: _Track) -> float:
        """Seconds since a face was seen that it is kept; the time from frame to frame loses none."""
        return self._forget_after if track.lost else max(self._forget_after, _LEAD)

    def _active(self) -> list[_Track]:
        return [track for track in self._tracks if not track.lost]

    def _follow(self, image: npt.NDArray[np.uint8], timestamp: float) -> None:
        """Place the landmarks of each tracked face, and see which faces are there no longer."""
        found = {track.id: self._step(image, track, timestamp) for track in self._active()}
        tracks = {track.id: track for track in self._active()}
        taken: list[Box] = []
        # A face that is covered by another lets its region slip over to that one. Then two are in one place, and the
        # one that got there against its own movement is the one that is covered.
        for key in sorted(found, key=lambda key: _surprise(tracks[key], found[key], timestamp)):
            track, step = tracks[key], found[key]
            if step is None or any(same_place(step[1], other) for other in taken):
                track.lose()
            else:
                track.move(*step, timestamp)
                taken.append(step[1])
        self._tracks = [track for track in self._tracks if not (track.lost and _left(track.face, image))]

    def _step(self, image: npt.NDArray[np.uint8], track: _Track, timestamp: float) -> _Step | None:
        last = track.face.landmarks.points
        landmarks = self._front.landmarks(image, roi_from_landmarks(last))
        if landmarks.presence >= MIN_PRESENCE and _moved(last, landmarks.points) > _FAR:
            # It was half out of the region, where points are only roughly right: look again where they say it is.
            landmarks = self._front.landmarks(image, roi_from_landmarks(landmarks.points))
        if landmarks.presence < MIN_PRESENCE:
            return None
        points = landmarks.points if track.steady is None else track.steady(landmarks.points, timestamp)
        try:
            matrix, crop = self._front.cut(image, points)
        except InputError:
            return None
        place = _place(landmarks)
        return AlignedFace(inside(place, image), track.face.score, landmarks, matrix, crop), place

    def _must_look(self, gap: float) -> bool:
        self._since += 1
        active = self._active()
        if self._front.max_faces is not None and len(active) >= self._front.max_faces:
            return False
        return not active or len(active) < len(self._tracks) or gap > _LEAD or self._since >= self._detect_every

    def _look(self, image: npt.NDArray[np.uint8], timestamp: float, gap: float) -> None:
        """Run the detector; a face near the place of a lost one takes up its id."""
        active = self._active()
        # Routine looks take one detector in turn, so that no frame pays for all of them.
        routine = bool(active) and len(active) == len(self._tracks) and gap <= _LEAD
        self._since, self._turn = 0, self._turn + 1
        known = [track.place for track in active]
        room = None if self._front.max_faces is None else self._front.max_faces - len(known)
        for face in self._front.find(image, known, self._turn if routine else None)[:room]:
            place = _place(face.landmarks)
            found = replace(face, box=inside(place, image))
            track = self._lost_near(place, timestamp)
            if track is None:
                steady = SteadyPoints(self._front.template) if self._steady else None
                track = _Track(self._next, found, place, timestamp, steady)
                self._next += 1
                self._tracks.append(track)
            track.move(found, place, timestamp)
            if track.steady is not None:
                track.steady(found.landmarks.points, timestamp)

    def _lost_near(self, box: Box, timestamp: float) -> _Track | None:
        """The lost face that may have come back here: near where it was or was going, and about as large."""

        def away(track: _Track) -> float:
            here = centre(box)
            return min(abs(here - centre(track.place)), abs(here - track.expected(timestamp)))

        near = [
            track
            for track in self._tracks
            if track.lost
            and away(track) <= _REACH * side(track.place)
            and 1 / _GROWTH <= side(box) / max(side(track.place), 1e-6) <= _GROWTH
        ]
        return min(near, key=away, default=None)


def _surprise(track: _Track, step: _Step | None, timestamp: float) -> float:
    """How far a face is from where it was going, in its sides."""
    if step is None:
        return np.inf
    return abs(centre(step[1]) - track.expected(timestamp)) / max(side(step[1]), 1e-6)


def _left(face: AlignedFace, image: npt.NDArray[np.uint8]) -> bool:
    """Whether a face was leaving the picture when it was last seen, rather than being covered."""
    height, width = image.shape[:2]
    flat = face.landmarks.points[:, :2]
    return float(((flat >= -0.5) & (flat <= (width - 0.5, height - 0.5))).all(-1).mean()) < _LEFT


def _moved(last: npt.NDArray[np.float32], points: npt.NDArray[np.float32]) -> float:
    """How far the points went, on average, in sides of the face."""
    flat = points[:, :2]
    return float(np.linalg.norm(flat - last[:, :2], axis=1).mean()) / max(float(np.ptp(flat, axis=0).max()), 1e-6)


def _place(landmarks: Landmarks) -> Box:
    low, high = landmarks.points[:, :2].min(0), landmarks.points[:, :2].max(0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
