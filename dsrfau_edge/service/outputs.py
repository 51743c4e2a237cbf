"""The outputs that a service can be given, and how each is opened."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.outputs.peer import Peer

from .outlet import Outlet
from .recording import TIME, LineRecording, Recording
from .robot_output import RobotCameras, namespace

if TYPE_CHECKING:
    from dsrfau_edge.outputs.base import Output

    from .settings import OutputSettings, ServiceSettings

_UNSET = {"images": False, "domain": None, "interface": None, "connect": ()}
_IMAGE_TOPIC = "/image_raw/compressed"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of output.

    Attributes:
        open: makes the output, given its settings and the names of its cameras.
        to: what `to` is; "" where there is none.
        packages: that are imported, and the extra that holds them.
        file: it writes a new file, whose name needs `{time}` so that no restart meets an old one.
        reopens: after a failure another attempt makes sense.
        options: which of the settings beside those of every kind it takes.
    """

    open: Callable[[OutputSettings, tuple[str, ...]], Output]
    to: str
    packages: tuple[tuple[str, ...], str] = ((), "")
    file: bool = False
    reopens: bool = True
    options: tuple[str, ...] = ()


def _stdout(settings: OutputSettings, cameras: tuple[str, ...]) -> Output:
    del settings, cameras
    from dsrfau_edge.outputs.lines import JsonLines

    return JsonLines(sys.stdout)


def _send(settings: OutputSettings, cameras: tuple[str, ...]) -> Output:
    del cameras
    from .socket_output import SocketOutput

    return SocketOutput(settings.to)


def _record(settings: OutputSettings, cameras: tuple[str, ...]) -> Output:
    del cameras
    return Recording(settings.to, LineRecording)


def _mcap(settings: OutputSettings, cameras: tuple[str, ...]) -> Output:
    from dsrfau_edge.robotics.recording import McapRecording

    topic = _IMAGE_TOPIC if settings.images else None
    return Recording(settings.to, lambda path: RobotCameras(McapRecording(path, image_topic=topic), cameras))


def _dds(settings: OutputSettings, cameras: tuple[str, ...]) -> Output:
    from dsrfau_edge.robotics.dds import DdsPublisher

    return RobotCameras(DdsPublisher(domain=settings.domain, interface=settings.interface), cameras)


def _zenoh(settings: OutputSettings, cameras: tuple[str, ...]) -> Output:
    from dsrfau_edge.robotics.zenoh import ZenohPublisher

    return RobotCameras(ZenohPublisher(settings.to, connect=settings.connect), cameras)


KINDS = {
    "send": Kind(_send, "tcp://HOST:PORT, udp://HOST:PORT or unix:PATH"),
    "stdout": Kind(_stdout, "", reopens=False),
    "record": Kind(_record, "aus-{time}.jsonl", file=True),
    "mcap": Kind(_mcap, "aus-{time}.mcap", (("mcap", "rosbags"), "mcap"), file=True, options=("images",)),
    "dds": Kind(_dds, "", (("cyclonedds",), "dds"), options=("domain", "interface")),
    "zenoh": Kind(_zenoh, "a key, such as fleet/robot7", (("zenoh", "rosbags"), "zenoh"), options=("connect",)),
}


def check_output(output: OutputSettings, settings: ServiceSettings) -> None:
    """Refuse an output that could not work.

    Raises:
        UsageError: there is no such kind, or a setting does not suit it.
        RuntimeUnavailable: a package that it needs is not installed.
    """
    where = f"Output {output.name}"
    kind = KINDS.get(output.kind)
    if kind is None:
        raise UsageError(f"{where}: there is no kind {output.kind!r}. Known: {', '.join(KINDS)}.")
    if bool(kind.to) != bool(output.to):
        raise UsageError(f"{where}: " + (f"{output.kind} needs `to`: {kind.to}." if kind.to else
                         f"{output.kind} takes no `to`. Leave it out."))  # fmt: skip
    for option, unset in _UNSET.items():
        if option not in kind.options and getattr(output, option) != unset:
            owner = next(name for name, other in KINDS.items() if option in other.options)
            raise UsageError(f"{where}: {option} is of {owner}, and this is {output.kind}. Leave it out.")
    _check_target(output, kind, where)
    _check_cameras(output, settings, where)
    packages, extra = kind.packages
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise RuntimeUnavailable(
            f"{where} needs {', '.join(missing)}, which is not installed. Install it: pip install "
            f"'dsrfau-edge[{extra}]'."
        )


def _check_target(output: OutputSettings, kind: Kind, where: str) -> None:
    if kind.file and (TIME not in Path(output.to).name or output.to.endswith("/")):
        raise UsageError(
            f"{where}: the file's name in {output.to!r} has no {TIME}. A service writes a new file whenever it "
            f"starts, and never over an old one: give a name such as {kind.to}."
        )
    if output.kind == "send":
        Peer.parse(output.to)
    if output.kind == "zenoh":
        from dsrfau_edge.robotics.zenoh import check_endpoints, check_key

        check_key(output.to)
        check_endpoints(output.connect, ())
    if output.kind == "dds" and output.domain is not None:
        from dsrfau_edge.robotics.dds_domain import check_domain

        check_domain(output.domain)


def _check_cameras(output: OutputSettings, settings: ServiceSettings, where: str) -> None:
    cameras = cameras_of(output, settings)
    if output.images and len(cameras) > 1:
        raise UsageError(
            f"{where} is to record the pictures of {len(cameras)} cameras, which would be mixed under one topic. Make "
            "an output for each, with cameras = [...]."
        )
    if output.kind in ("mcap", "dds", "zenoh") and len({namespace(camera) for camera in cameras}) < len(cameras):
        raise UsageError(f"{where}: two of the cameras have the same name in ROS topics. Name them apart.")


def outlets_of(settings: ServiceSettings) -> list[tuple[Outlet, frozenset[str], bool]]:
    """Every output with the cameras whose results it gets, and whether with their pictures. Nothing is opened yet."""
    found = []
    for output in settings.outputs:
        kind, cameras = KINDS[output.kind], cameras_of(output, settings)
        opened = partial(kind.open, output, cameras)
        outlet = Outlet(output.name, opened, capacity=output.queue, reopens=kind.reopens)
        found.append((outlet, frozenset(cameras), output.images))
    return found


def cameras_of(output: OutputSettings, settings: ServiceSettings) -> tuple[str, ...]:
    """Names of the cameras that an output serves."""
    return output.cameras or tuple(camera.name for camera in settings.cameras)
