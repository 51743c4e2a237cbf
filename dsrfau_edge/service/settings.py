"""What a service is to do: its cameras, its outputs, and what belongs to all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsrfau_edge.errors import UsageError
from dsrfau_edge.following import StreamOptions
from dsrfau_edge.live.options import LiveOptions

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MOST_WAITING = 100_000


def check_name(what: str, name: str) -> str:
    """A name that may stand in metrics, topics and file names.

    Raises:
        UsageError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{what} has the name {name!r}. Give 1 to 64 letters, digits, '_', '.' or '-', beginning with a letter or "
            "digit."
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings:
    """One camera.

    Attributes:
        name: as results, health, metrics and topics call it; its address, which may hold a password, is shown nowhere.
        source: what `Predictor.live` takes.
        stream: what is done with faces over time.
        live: how the source is read.
    """

    name: str
    source: str | int
    stream: StreamOptions = field(default_factory=StreamOptions)
    live: LiveOptions = field(default_factory=lambda: LiveOptions(wait=True))

    def __post_init__(self) -> None:
        """Check the name."""
        check_name("A camera", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """One output.

    Attributes:
        name: as health and metrics call it.
        kind: see `outputs.KINDS`.
        to: where to: an address, a file, a key; what it means is the kind's.
        cameras: names of those whose results it gets; None for all.
        queue: results that wait for it at most.
        images: it gets the pictures as well.
        domain: of DDS; as ROS 2 has it where None.
        interface: of DDS, the network interface, or `localhost`.
        connect: of Zenoh, the routers or peers to connect to.
    """

    name: str
    kind: str
    to: str
    cameras: tuple[str, ...] | None = None
    queue: int = 64
    images: bool = False
    domain: int | None = None
    interface: str | None = None
    connect: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: one of them makes no sense.
        """
        check_name("An output", self.name)
        if not 1 <= self.queue <= _MOST_WAITING:
            raise UsageError(f"Output {self.name}: queue is {self.queue}; give 1 to {_MOST_WAITING} results.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """The whole service.

    Attributes:
        cameras: one or more.
        outputs: one or more.
        predictor: keyword arguments of `Predictor`.
        state: folder for what outlasts a restart; None to store nothing.
        listen: host and port of the health endpoint; None to listen nowhere.
    """

    cameras: tuple[CameraSettings, ...]
    outputs: tuple[OutputSettings, ...]
    predictor: Mapping[str, Any] = field(default_factory=dict)
    state: Path | None = None
    listen: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            UsageError: names are given twice, an output is of a camera that there is not, or something is missing.
        """
        if not self.cameras:
            raise UsageError("There is no camera. Give a SOURCE, or a [[camera]] in the file.")
        if not self.outputs and self.listen is None:
            raise UsageError(
                "Nothing is to be done with the results. Choose an output (--send, --record, --mcap, --dds, --zenoh; "
                "[[output]] in the file), or --http for metrics alone."
            )
        _check_different("cameras", [camera.name for camera in self.cameras])
        _check_different("outputs", [output.name for output in self.outputs])
        known = {camera.name for camera in self.cameras}
        for output in self.outputs:
            for name in output.cameras or ():
                if name not in known:
                    raise UsageError(
                        f"Output {output.name} is to get the results of camera {name}, which there is not. Known: "
                        f"{', '.join(sorted(known))}."
                    )
        if self.state is not None and not any(_learns(camera) for camera in self.cameras):
            raise UsageError(
                "There is nothing to keep in the state folder: no camera learns a neutral baseline. Set baseline = "
                '"online" (--baseline online), or leave the state folder out.'
            )


def _learns(camera: CameraSettings) -> bool:
    return camera.stream.baseline is not None and camera.stream.baseline.mode == "online"


def _check_different(what: str, names: list[str]) -> None:
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise UsageError(f"Two {what} are called {double[0]}. Give each a name of its own.")


def public_name(source: str | int) -> str:
    """A name for a camera that was given none: never its address, which may hold a password."""
    if isinstance(source, int) or source.isdecimal():
        return f"camera_{source}"
    if "://" in source or " ! " in source:
        return "camera"
    cleaned = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(source).name).strip("-._")
    return cleaned[:64] or "camera"
