"""`FaceStream`: the faces of one camera or video from frame to frame."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .face.images import Image, as_bgr
from .face.tracker import FaceTracker
from .following import StreamOptions
from .results import Face, FrameResult
from .signals.checks import check_type
from .signals.face_signals import FaceSignals
from .stream import Frame, seconds_of

if TYPE_CHECKING:
    from .estimation import Estimate, Estimator
    from .face.frontend import FaceFrontEnd
    from .signals.baseline import NeutralBaseline
    from .signals.events import AuEvent


class FaceStream:
    """Tracks, smooths and corrects; made by `Predictor.stream`. Threads take turns on one; it holds no frame.

    Example:
        >>> stream = predictor.stream(StreamOptions(baseline=Baseline()))
        >>> for timestamp, frame in camera:
        ...     for face in stream(frame, timestamp).faces:
        ...         print(face.id, face["AU12"], face.raw["AU12"])
    """

    def __init__(self, estimator: Estimator, front: FaceFrontEnd, options: StreamOptions | None = None) -> None:
        """Follow with a predictor's model and front end.

        Raises:
            DataError: the baseline to begin with is of other sites than the model's.
            UsageError: the options are no `StreamOptions`.
        """
        self.options = StreamOptions() if options is None else options
        check_type("options", self.options, (StreamOptions,), "StreamOptions()")
        if self.options.baseline is not None:
            self.options.baseline.check_sites(estimator.assemble.sites)
        self._estimator, self._front = estimator, front
        self._tracker = FaceTracker(
            front,
            detect_every=self.options.detect_every,
            forget_after=self.options.forget_after,
            steady=self.options.steady_crops,
        )
        self._signals: dict[int, FaceSignals] = {}
        self._ended: list[AuEvent] = []
        self._index = 0
        self._time: float | None = None
        self._lock = threading.Lock()

    def __call__(self, frame: Frame | Any, timestamp: float | None = None) -> FrameResult:
        """Predict the next frame.

        Args:
            frame: a `Frame`, or a picture as `Predictor` takes it.
            timestamp: of the picture in seconds, on any clock that only goes forward; a `Frame` has its own.

        Raises:
            InputError: the frame is no picture, or its timestamp is no number or does not come after the last one. The
                stream is then as it was, and the next frame may follow.
            UsageError: the predictor is closed.
        """
        _ = self._estimator.session
        known = isinstance(frame, Frame)
        image = as_bgr(frame.image if known else frame)
        with self._lock:
            source, index = (frame.source, frame.index) if known else ("", self._index)
            time = self._checked(frame.timestamp if known else timestamp)
            faces, events = self._faces(image, time)
            events, self._ended = self._ended + events, []
            self._time = time
            self._index += 1
        height, width = image.shape[:2]
        kept = image if self.options.keep_images else None
        if kept is not None and not known:
            kept = kept.copy()  # whoever gave it may fill the same memory again
        return FrameResult(source, index, time, (width, height), tuple(faces), events=tuple(events), image=kept)

    @property
    def baselines(self) -> dict[int, NeutralBaseline]:
        """The neutral baseline of each face that is tracked, by id; empty unless `StreamOptions.baseline` is given."""
        with self._lock:
            found = {number: signals.baseline for number, signals in self._signals.items()}
        return {number: baseline for number, baseline in found.items() if baseline is not None}

    def reset(self) -> None:
        """Forget all faces and the time, as between two recordings; ids are not used again.

        AUs that are present end with it; the next result tells so.
        """
        with self._lock:
            self._tracker.reset()
            for signals in self._signals.values():
                self._ended += signals.end()
            self._signals.clear()
            self._time = None

    def _checked(self, given: Any) -> float:
        timestamp = seconds_of(given)
        if timestamp is None or not math.isfinite(timestamp):
            raise InputError(
                f"A frame of a stream has the timestamp {given!r}. Give its time in seconds, such as "
                "time.monotonic() when it was taken, or frame number / frame rate."
            )
        if self._time is not None and timestamp <= self._time:
            if not self.options.restart_time:
                raise InputError(
                    f"The timestamp {timestamp:.6g} s does not come after the last one, {self._time:.6g} s. Give "
                    "frames in their order, call reset() between two streams, or set StreamOptions.restart_time."
                )
            for signals in self._signals.values():
                signals.restart_time()
        return timestamp

    def _faces(self, image: Image, time: float) -> tuple[list[Face], list[AuEvent]]:
        if not self.options.track:
            estimates = self._estimator.faces(self._front(image), image)
            return [estimate.face(number) for number, estimate in enumerate(estimates)], []
        tracked = self._tracker(image, time)
        events = self._gone()
        estimates = self._estimator.faces([one.face for one in tracked], image)
        faces = []
        with self._estimator.stage("assemble"):
            for one, estimate in zip(tracked, estimates, strict=True):
                face, found = self._signalled(one.id, estimate, time)
                faces.append(face)
                events += found
        return faces, events

    def _signalled(self, number: int, estimate: Estimate, time: float) -> tuple[Face, tuple[AuEvent, ...]]:
        if number not in self._signals:
            self._signals[number] = FaceSignals(self._estimator.assemble, number, self.options)
        signals = self._signals[number](estimate.row, time, estimate.trust)
        return estimate.face(number, signals), signals.events

    def _gone(self) -> list[AuEvent]:
        """Let go of the faces that the tracker has forgotten; what was present on them ends."""
        ids = self._tracker.ids
        events: list[AuEvent] = []
        for number in [number for number in self._signals if number not in ids]:
            events += self._signals.pop(number).end()
        return events
