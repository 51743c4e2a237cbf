"""What a live stream tells about itself, in memory that does not grow."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

State = Literal["connecting", "running", "reconnecting", "ended"]
_RECENT = 1000
_RECENT_RATE = 100


@dataclass(frozen=True, slots=True)
class LiveStats:
    """A stream until now.

    Attributes:
        state: `connecting` until the first frame, `running`, `reconnecting` between losing the source and its next
            frame, `ended`.
        frames: results given.
        captured: frames that came from the source, whether used or not.
        dropped: of these passed over because a newer one had come.
        corrupt: of these not decodable, or no pictures.
        rejected: of these with a timestamp that is no number or the same as the last one.
        restarts: of these with a timestamp before the last one, at which the stream's time began anew.
        reconnects: how often the source was opened again.
        abandoned: threads left behind in a driver that does not return; they end by themselves once it does.
        fps: results a second, over the last 100; None before the second.
        latency_ms: median from arrival to result over the last 1000; None before the first.
        latency_p99_ms: 99th percentile likewise.
        last_error: why the source was lost last, or the last damaged frame.
    """

    state: State
    frames: int
    captured: int
    dropped: int
    corrupt: int
    rejected: int
    restarts: int
    reconnects: int
    abandoned: int
    fps: float | None
    latency_ms: float | None
    latency_p99_ms: float | None
    last_error: str | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


@dataclass(slots=True)
class Counters:
    """What the capture side counts; changed under its lock."""

    state: State = "connecting"
    captured: int = 0
    dropped: int = 0
    corrupt: int = 0
    reconnects: int = 0
    abandoned: int = 0
    last_error: str | None = None


class Meter:
    """What the predicting side counts."""

    def __init__(self) -> None:
        self.frames = self.rejected = self.restarts = 0
        self._latencies: deque[float] = deque(maxlen=_RECENT)
        self._times: deque[float] = deque(maxlen=_RECENT_RATE)
        self._lock = threading.Lock()

    def result(self, now: float, latency_ms: float) -> None:
        """A result was made at `now`."""
        with self._lock:
            self.frames += 1
            self._times.append(now)
            self._latencies.append(latency_ms)

    def stats(self, counters: Counters) -> LiveStats:
        """All counts together."""
        with self._lock:
            latencies, times = list(self._latencies), list(self._times)
        median, p99 = np.percentile(latencies, (50, 99)).tolist() if latencies else (None, None)
        span = times[-1] - times[0] if times else 0.0
        return LiveStats(
            state=counters.state,
            frames=self.frames,
            captured=counters.captured,
            dropped=counters.dropped,
            corrupt=counters.corrupt,
            rejected=self.rejected,
            restarts=self.restarts,
            reconnects=counters.reconnects,
            abandoned=counters.abandoned,
            fps=(len(times) - 1) / span if span > 0 else None,
            latency_ms=median,
            latency_p99_ms=p99,
            last_error=counters.last_error,
        )
