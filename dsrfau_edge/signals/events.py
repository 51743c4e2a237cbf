"""Events of one AU on one face: when it came, was strongest and went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

EventKind = Literal["onset", "apex", "offset"]


@dataclass(frozen=True, slots=True)
class AuEvent:
    """One event.

    Attributes:
        kind: `onset` (the AU has become present), `apex` (it was strongest), `offset` (it is no longer present).
        face: id of the face.
        au: the AU, such as `AU12`.
        timestamp: seconds in the stream at which it happened; an apex is known only once it is over, and then lies
            before the timestamp of the result that brings it.
        intensity: 0 to 5 at that time.
    """

    kind: EventKind
    face: int
    au: str
    timestamp: float
    intensity: float

    def to_dict(self) -> dict[str, Any]:
        """As in the JSON output."""
        return {
            "kind": self.kind,
            "face": self.face,
            "au": self.au,
            "timestamp": round(self.timestamp, 4),
            "intensity": round(self.intensity, 4),
        }
