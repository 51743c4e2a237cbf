"""Whether the service is well, as `/healthz` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .camera import CameraStats
from .outlet import OutletStats

#: A running camera whose newest result is older is not well.
STALE_AFTER = 10.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The service at one moment.

    Attributes:
        uptime: seconds since its start.
        cameras: by name.
        outputs: by name.
    """

    uptime: float
    cameras: Mapping[str, CameraStats]
    outputs: Mapping[str, OutletStats]


def camera_well(stats: CameraStats) -> bool:
    """Whether a camera gives results; one that came to its own end, such as a file, is well."""
    if stats.state == "ended":
        return True
    return stats.state == "running" and stats.age is not None and stats.age <= STALE_AFTER


def _trouble(stats: CameraStats) -> str:
    return "gives no results" if stats.state == "running" else f"is {stats.state}"


def output_well(stats: OutletStats) -> bool:
    """Whether an output takes results, or is about to."""
    return stats.state in ("opening", "ok", "closed")


def health(snapshot: Snapshot) -> tuple[bool, dict[str, Any]]:
    """Whether all is well, and what `/healthz` says."""
    troubles = [
        *(f"camera {name} {_trouble(stats)}" for name, stats in snapshot.cameras.items() if not camera_well(stats)),
        *(f"output {name} is {stats.state}" for name, stats in snapshot.outputs.items() if not output_well(stats)),
    ]
    return not troubles, {
        "status": "trouble" if troubles else "ok",
        "troubles": troubles,
        "uptime": round(snapshot.uptime, 1),
        "cameras": {
            name: {"ok": camera_well(stats), **stats.to_dict()} for name, stats in snapshot.cameras.items()
        },
        "outputs": {
            name: {"ok": output_well(stats), **stats.to_dict()} for name, stats in snapshot.outputs.items()
        },
    }  # fmt: skip


def summary(snapshot: Snapshot) -> str:
    """One line for systemd."""
    running = sum(stats.state == "running" for stats in snapshot.cameras.values())
    wrong = sum(not output_well(stats) for stats in snapshot.outputs.values())
    outputs = f", {wrong} of {len(snapshot.outputs)} outputs in trouble" if wrong else ""
    return f"{running} of {len(snapshot.cameras)} cameras running{outputs}"
