"""One camera of the service in a thread of its own."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable, UsageError
from dsrfau_edge.live import LiveStream
from dsrfau_edge.live.options import Backoff, LiveOptions
from dsrfau_edge.live.stats import LiveStats

from .histogram import Histogram

if TYPE_CHECKING:
    from dsrfau_edge.face_stream import FaceStream
    from dsrfau_edge.following import StreamOptions
    from dsrfau_edge.predictor import Predictor
    from dsrfau_edge.results import FrameResult
    from dsrfau_edge.stream import Frame

    from .memory import BaselineMemory
    from .settings import CameraSettings

_log = logging.getLogger(__name__)

State = Literal["connecting", "running", "reconnecting", "failed", "ended"]
_RETRY = LiveOptions(backoff=1.0, longest_backoff=30.0)
_COUNTS = ("frames", "captured", "dropped", "corrupt", "rejected", "restarts", "reconnects", "abandoned")


@dataclass(frozen=True, slots=True)
class CameraStats:
    """A camera until now.

    Attributes:
        state: `connecting` until the first frame, `running`, `reconnecting`, `failed` for good, `ended`.
        faces: in the newest result.
        age: seconds since that; None before the first.
        fps: results a second of late; None while there are none.
        latency_ms: median of late from a frame's arrival to its result.
        latency_p99_ms: 99th percentile likewise.
        frames: results given; this and what follows count from the service's start, see `LiveStats`.
        captured: frames that came.
        dropped: passed over because a newer one had come.
        corrupt: not decodable.
        rejected: without a usable time.
        restarts: times that the clock went back.
        reconnects: times that the source was opened again.
        abandoned: threads left behind in a driver.
        failures: errors that ended the stream and made the service begin it anew.
        restored: neutral baselines taken over from before the restart.
        last_error: the last trouble.
    """

    state: State
    faces: int
    age: float | None
    fps: float | None
    latency_ms: float | None
    latency_p99_ms: float | None
    frames: int
    captured: int
    dropped: int
    corrupt: int
    rejected: int
    restarts: int
    reconnects: int
    abandoned: int
    failures: int
    restored: int
    last_error: str | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        rounded = {
            name: None if value is None else round(value, 3)
            for name, value in (
                ("age", self.age),
                ("fps", self.fps),
                ("latency_ms", self.latency_ms),
                ("latency_p99_ms", self.latency_p99_ms),
            )
        }
        return {**asdict(self), **rounded}


class Camera:
    """Reads, predicts and delivers until it is stopped; an error of any kind begins its stream anew.

    Attributes:
        latencies: of all results since the start.
    """

    def __init__(
        self,
        settings: CameraSettings,
        predictor: Predictor,
        deliver: Callable[[FrameResult], None],
        memory: BaselineMemory | None = None,
        *,
        retry: LiveOptions = _RETRY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is opened yet.

        Args:
            settings: of this camera.
            predictor: shared by all cameras.
            deliver: gets each result, and must not wait.
            memory: of neutral baselines.
            retry: whose back-off is used after errors that no stream survives.
            clock: seconds.
        """
        self.settings, self.memory = settings, memory
        self.latencies = Histogram()
        self._predictor, self._deliver, self._clock = predictor, deliver, clock
        self._backoff = Backoff(retry)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._live: LiveStream | None = None
        self._state: State = "connecting"
        self._before = dict.fromkeys(_COUNTS, 0)
        self._failures, self._faces = 0, 0
        self._last: float | None = None
        self._last_error: str | None = None
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"camera {settings.name}", daemon=True)

    @property
    def name(self) -> str:
        """As results call it."""
        return self.settings.name

    @property
    def stats(self) -> CameraStats:
        """How it goes."""
        with self._lock:
            live = None if self._live is None else self._live.stats
            counts = {name: before + (getattr(live, name) if live else 0) for name, before in self._before.items()}
            age = None if self._last is None else max(self._clock() - self._last, 0.0)
            state = self._state_of(live)
            running = live is not None and state == "running"
            return CameraStats(
                state=state,
                faces=self._faces if running else 0,
                age=age,
                fps=live.fps if live and running else None,
                latency_ms=live.latency_ms if live else None,
                latency_p99_ms=live.latency_p99_ms if live else None,
                failures=self._failures,
                restored=0 if self.memory is None else self.memory.restored,
                last_error=(live.last_error if live else None) or self._last_error,
                **counts,
            )

    def progresses(self, patience: float) -> bool:
        """Whether its thread does what it should: wait for a frame or an attempt, or predict, but not for longer.

        A camera that has failed or ended counts as well: restarting the service would not help it.
        """
        if not self._thread.is_alive():
            return self._state in ("failed", "ended")
        busy = self._busy_since
        return busy is None or self._clock() - busy <= patience

    @property
    def over(self) -> bool:
        """Whether it has ended or failed for good."""
        return self._state in ("failed", "ended")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End it, without waiting."""
        self._stopping.set()
        with self._lock:
            live = self._live
        if live is not None:
            live.stop()

    def join(self, seconds: float) -> bool:
        """Wait for the end; whether it came."""
        if self._thread.ident is not None:
            self._thread.join(max(seconds, 0.0))
        return not self._thread.is_alive()

    def _state_of(self, live: LiveStats | None) -> State:
        if self._state in ("failed", "ended") or live is None or live.state == "ended":
            return self._state
        if live.state == "connecting" and self._last is not None:
            return "reconnecting"
        return live.state

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._session()
            except (RuntimeUnavailable, UsageError) as error:  # which time does not heal
                if self._stopping.is_set():  # such as that a stream was stopped before it had begun
                    break
                self._end("failed", error)
                return
            except DsrfauError as error:
                self._failed(error, "")
            except Exception as error:  # a defect in one camera's path must not end the others
                _log.debug("Camera %s", self.name, exc_info=True)
                self._failed(error, f"{type(error).__name__}: ")
            else:
                break
        self._end("ended", None)

    def _session(self) -> None:
        predictor = cast("Predictor", _Watched(self))
        live = LiveStream(predictor, self.settings.source, self.settings.stream, self.settings.live)
        with self._lock:
            self._live = live
        try:
            with live:
                if self._stopping.is_set():
                    return
                for result in live:
                    self._take(result)
        finally:
            with self._lock:
                last, self._live = live.stats, None
                self._before = {name: before + getattr(last, name) for name, before in self._before.items()}

    def _take(self, result: FrameResult) -> None:
        self._last, self._faces = self._clock(), len(result.faces)
        self._backoff.reset()
        if result.latency_ms is not None:
            self.latencies.add(result.latency_ms / 1000)
        self._deliver(replace(result, source=self.name))

    def _failed(self, error: Exception, kind: str) -> None:
        level = logging.DEBUG if self._backoff.failures else logging.WARNING
        pause = self._backoff.next(random.random())
        with self._lock:
            self._failures += 1
            self._state = "reconnecting"
            self._last_error = f"{kind}{error}"
        _log.log(level, "Camera %s: %s%s Beginning anew in %.0f s.", self.name, kind, error, pause)
        self._stopping.wait(pause)

    def _end(self, state: State, error: Exception | None) -> None:
        with self._lock:
            self._state = state
            self._last_error = str(error) if error else self._last_error
        if error is not None:
            _log.error("Camera %s has failed, the others go on: %s", self.name, error)

    # What `_Watched` does around each prediction

    def _predicted(self, stream: FaceStream, frame: Frame) -> FrameResult:
        self._busy_since = self._clock()
        try:
            result = stream(frame)
            if self.memory is not None:
                self.memory.look(result, lambda: stream.baselines)
            return result
        finally:
            self._busy_since = None


class _Watched:
    """The predictor as a live stream needs it, with an eye on how long each frame takes."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera

    def stream(self, options: StreamOptions) -> _WatchedStream:
        return _WatchedStream(self._camera, self._camera._predictor.stream(options))


class _WatchedStream:
    def __init__(self, camera: Camera, stream: FaceStream) -> None:
        self._camera, self._stream = camera, stream

    def __call__(self, frame: Frame) -> FrameResult:
        return self._camera._predicted(self._stream, frame)

    def reset(self) -> None:
        self._stream.reset()
