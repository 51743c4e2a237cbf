"""From results to the messages and topics of ROS4HRI (REP-155), without any middleware."""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dsrfau_edge.action_units import CATALOGUE, MAX_INTENSITY, canonical_au
from dsrfau_edge.errors import UsageError

from .face_ids import FaceIds
from .landmarks import hri_landmarks
from .messages import (
    AU_COUNT,
    FacialActionUnits,
    FacialLandmarks,
    Header,
    IdsList,
    Message,
    NormalizedRegionOfInterest2D,
)
from .pictures import aligned, cropped, image_message
from .stamps import Stamps

if TYPE_CHECKING:
    from dsrfau_edge.results import Face, FrameResult

_TOPIC = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageOptions:
    """What is published, and how.

    Attributes:
        namespace: put before every topic, such as `/front`; empty for those of REP-155 themselves.
        frame_id: name of the camera's optical frame in every header.
        intensity_scale: what intensities 0 to 5 are multiplied by. hri_msgs does not say which range its field has; its
            readers take 0 to 1, which the default gives.
        aus: publish these AUs only; None for all that the network estimates.
        landmarks: publish `/landmarks`.
        cropped: publish `/cropped`, for which results have to carry their picture.
        aligned: publish `/aligned`, likewise.
        face_size: side of those two in pixels.
        keep_seconds: for how long a face that is out of sight keeps its publishers; it leaves `/tracked` at once.
    """

    namespace: str = ""
    frame_id: str = "camera"
    intensity_scale: float = 1 / MAX_INTENSITY
    aus: tuple[str, ...] | None = None
    landmarks: bool = True
    cropped: bool = False
    aligned: bool = False
    face_size: int = 128
    keep_seconds: float = 1.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: one of them makes no sense.
        """
        if not _TOPIC.fullmatch(self.namespace):
            raise UsageError(f"The namespace {self.namespace!r} is no ROS name; give one such as /front or /robot_1.")
        if not (math.isfinite(self.intensity_scale) and self.intensity_scale > 0):
            raise UsageError(f"intensity_scale is {self.intensity_scale}; give a number above 0, such as 0.2 or 1.")
        if "\0" in self.frame_id:
            raise UsageError("frame_id holds a zero byte; give a name such as camera_color_optical_frame.")
        if not 8 <= self.face_size <= 4096:
            raise UsageError(f"face_size is {self.face_size}; give 8 to 4096 pixels.")
        if not (math.isfinite(self.keep_seconds) and self.keep_seconds >= 0):
            raise UsageError(f"keep_seconds is {self.keep_seconds}; give seconds, 0 or more.")
        if self.aus is not None:
            object.__setattr__(self, "aus", tuple(canonical_au(au) for au in self.aus))


@dataclass(frozen=True, slots=True)
class TopicMessage:
    """A message, where it goes (such as `/humans/faces/qkzra/facs`), and whose it is: a face's name or None."""

    topic: str
    message: Message
    face: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one result makes.

    Attributes:
        header: of all its messages.
        messages: in the order to send them: `/tracked` first.
        appeared: names of faces that need publishers from now on; their messages are in this batch.
        gone: names of faces whose publishers are to be destroyed; this batch has no messages of theirs.
    """

    header: Header
    messages: tuple[TopicMessage, ...]
    appeared: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


class FaceMessages:
    """Makes the messages of one stream's results, one after another; for one thread at a time."""

    def __init__(
        self,
        options: MessageOptions | None = None,
        *,
        clock: Callable[[], int] = time.time_ns,
        names: random.Random | None = None,
    ) -> None:
        """Take a clock that gives nanoseconds since 1970, and where the faces' names are drawn from."""
        self.options = options or MessageOptions()
        self._stamps = Stamps(clock)
        self._ids = FaceIds(names)
        self._last: dict[str, int] = {}  # when each face that has publishers was last seen, in ns
        self._source: str | None = None
        self._root = f"{self.options.namespace}/humans/faces"

    @property
    def tracked_topic(self) -> str:
        """Topic of the list of faces in sight."""
        return f"{self._root}/tracked"

    def __call__(self, result: FrameResult, header: Header | None = None) -> Batch:
        """The messages of a result.

        Args:
            result: of the next frame. Where its source is another than before, the faces so far are gone.
            header: as of the picture's own message; made from the result's timestamp where it is None.

        Raises:
            UsageError: pictures of faces were asked for, and the result carries no picture; or AUs that the network
                does not estimate.
        """
        if (self.options.cropped or self.options.aligned) and result.faces and result.image is None:
            raise UsageError("Pictures of faces were asked for, but the results carry none. Set keep_images=True.")
        header = header or Header(self._stamps(result), self.options.frame_id)
        gone = self._new_source(result.source)
        now = header.stamp.ns
        names = [self._ids(face.id) for face in result.faces]
        appeared = tuple(name for name in names if name not in self._last)
        self._last.update((name, now) for name in names)
        gone += self._expired(now)
        messages = [TopicMessage(self.tracked_topic, IdsList(header, tuple(names)))]
        for name, face in zip(names, result.faces, strict=True):
            messages.extend(
                TopicMessage(f"{self._root}/{name}/{part}", message, name)
                for part, message in self._of_face(face, result, header)
            )
        return Batch(header, tuple(messages), appeared, gone)

    def end(self, header: Header | None = None) -> Batch:
        """What tells that all faces are gone: an empty `/tracked`, for instance before shutting down."""
        header = header or Header(self._stamps.now(), self.options.frame_id)
        gone = tuple(self._last)
        self._last.clear()
        return Batch(header, (TopicMessage(self.tracked_topic, IdsList(header, ())),), (), gone)

    def _new_source(self, source: str) -> tuple[str, ...]:
        if source == self._source:
            return ()
        if self._source is not None:
            self._ids.restart()
        self._source = source
        gone = tuple(self._last)
        self._last.clear()
        return gone

    def _expired(self, now: int) -> tuple[str, ...]:
        keep = self.options.keep_seconds * 1e9
        gone = tuple(name for name, seen in self._last.items() if seen != now and not 0 <= now - seen <= keep)
        for name in gone:
            del self._last[name]
        return gone

    def _of_face(self, face: Face, result: FrameResult, header: Header) -> Iterator[tuple[str, Message]]:
        options = self.options
        yield "facs", action_units_message(face, header, scale=options.intensity_scale, aus=options.aus)
        yield "roi", region_message(face, result.size, header)
        if options.landmarks:
            width, height = result.size
            points = hri_landmarks(face.landmarks, result.size, _fraction(face.confidence))
            yield "landmarks", FacialLandmarks(header, points, height, width)
        if result.image is not None:
            if options.cropped:
                yield "cropped", image_message(cropped(result.image, face, options.face_size), header)
            if options.aligned:
                yield "aligned", image_message(aligned(result.image, face, options.face_size), header)


def action_units_message(
    face: Face, header: Header, *, scale: float = 1 / MAX_INTENSITY, aus: tuple[str, ...] | None = None
) -> FacialActionUnits:
    """Intensities and confidences of a face; AUs that the network does not estimate have confidence 0.

    Raises:
        UsageError: the network does not estimate one of `aus`.
    """
    chosen = face.aus if aus is None else aus
    intensities = {au: face[au] * scale for au in chosen}
    confidences = {au: _fraction(face.confidences[au]) for au in chosen}
    return FacialActionUnits(header, _by_number(intensities), _by_number(confidences))


def region_message(face: Face, size: tuple[int, int], header: Header) -> NormalizedRegionOfInterest2D:
    """The face's box within the picture of `size` (width, height)."""
    width, height = size
    x0, y0, x1, y1 = face.box
    box = [_fraction(value) for value in (x0 / width, y0 / height, x1 / width, y1 / height, face.confidence)]
    return NormalizedRegionOfInterest2D(header, *np.array(box, np.float32).tolist())


def _by_number(values: Mapping[str, float]) -> tuple[float, ...]:
    """`float32[99]`, the values at their FACS numbers."""
    places = np.zeros(AU_COUNT, np.float32)
    for au, value in values.items():
        places[CATALOGUE[au].number] = value
    return tuple(places.tolist())


def _fraction(value: float) -> float:
    return min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0
