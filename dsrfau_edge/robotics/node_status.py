"""What the node tells about itself once a second, as `/diagnostics` takes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from statistics import median


class Level(IntEnum):
    """As in diagnostic_msgs/msg/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Status:
    """How it goes: a level, one sentence, and values by name."""

    level: Level
    message: str
    values: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Counts:
    """What has happened since the node was activated.

    Attributes:
        frames: pictures predicted and published.
        faces: found in the last one.
        unreadable: pictures that were none, or of an encoding that is not known.
        repeated: pictures with the stamp of the one before.
        unstamped: pictures with the stamp 0, which the present was put in place of.
        discarded: results that came after the node was deactivated, or after their face was gone.
        refused: names of another node's faces that can be no part of a topic's name.
        problem: the last one, in words.
    """

    frames: int = 0
    faces: int = 0
    unreadable: int = 0
    repeated: int = 0
    unstamped: int = 0
    discarded: int = 0
    refused: int = 0
    problem: str = ""


class Report:
    """Rates and latencies between one status and the next."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._before = Counts()
        self._latencies: list[float] = []

    def latency(self, seconds: float) -> None:
        """From a picture's coming to its messages' going."""
        self._latencies.append(seconds)

    def read(self, now: float, counts: Counts) -> tuple[dict[str, str], bool]:
        """Values since the last call, and whether something went wrong in that time."""
        before, span = self._before, now - self._since
        latencies, self._latencies = self._latencies, []
        self._since = now
        self._before = Counts(**{name: getattr(counts, name) for name in Counts.__slots__})
        values = {"fps": f"{(counts.frames - before.frames) / span:.1f}" if span > 0 else "0.0"}
        if latencies:
            values["latency_ms"] = f"{1000 * median(latencies):.1f}"
            values["latency_max_ms"] = f"{1000 * max(latencies):.1f}"
        for name in Counts.__slots__:
            values[name] = str(getattr(counts, name))
        wrong = any(getattr(counts, name) > getattr(before, name) for name in ("unreadable", "unstamped", "refused"))
        return values, wrong
