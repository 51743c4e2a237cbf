"""The outputs that a service can be given, and how each is opened."""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.outputs.peer import Peer

from .outlet import Outlet
from .recording import LineRecording

if TYPE_CHECKING:
    from dsrfau_edge.outputs.base import Output
    from dsrfau_edge.robotics.output import RobotOutput
    from dsrfau_edge.robotics.output import Sink as RobotSink

    from .settings import OutputSettings, ServiceSettings

_PLACEHOLDER = re.compile(r"\{(\w*)\}")
_IMAGE_TOPIC = "/image_raw/compressed"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of output.

    Attributes:
        open: makes the output, given its settings, where to, and the camera's name where it serves one alone.
        to: what `to` is; "" where there may be none.
        needs: packages to import, and the extra that holds them.
        single: one output serves one camera, so that each camera gets one of its own.
        file: it writes a new file, whose name needs `{time}` so that no restart meets an old one.
        images: it can take pictures.
        reopens: after a failure another attempt makes sense.
    """

    open: Callable[[OutputSettings, str, str], Output]
    to: str
    needs: tuple[tuple[str, ...], str] = ((), "")
    single: bool = False
    file: bool = False
    images: bool = False
    reopens: bool = True


def _stdout(settings: OutputSettings, to: str, camera: str) -> Output:
    del settings, to, camera
    from dsrfau_edge.outputs.lines import JsonLines

    return JsonLines(sys.stdout)


def _send(settings: OutputSettings, to: str, camera: str) -> Output:
    del settings, camera
    from .socket_output import SocketOutput

    return SocketOutput(to)


def _record(settings: OutputSettings, to: str, camera: str) -> Output:
    del settings, camera
    return LineRecording(Path(to))


def _mcap(settings: OutputSettings, to: str, camera: str) -> Output:
    from dsrfau_edge.robotics.recording import McapRecording

    return _robot("", camera, McapRecording(to, image_topic=_IMAGE_TOPIC if settings.images else None))


def _dds(settings: OutputSettings, to: str, camera: str) -> Output:
    from dsrfau_edge.robotics.dds import DdsPublisher

    return _robot(to, camera, DdsPublisher(domain=settings.domain, interface=settings.interface))


def _zenoh(settings: OutputSettings, to: str, camera: str) -> Output:
    del settings
    from dsrfau_edge.robotics.zenoh import ZenohPublisher

    return _robot("", camera, ZenohPublisher(to))


def _robot(namespace: str, camera: str, sink: RobotSink) -> RobotOutput:
    from dsrfau_edge.robotics.face_messages import FaceMessages, MessageOptions
    from dsrfau_edge.robotics.output import RobotOutput

    try:
        messages = FaceMessages(MessageOptions(namespace=namespace, frame_id=camera))
    except BaseException:
        sink.close()
        raise
    return RobotOutput(messages, [sink])


KINDS = {
    "send": Kind(_send, "tcp://HOST:PORT, udp://HOST:PORT or unix:PATH"),
    "stdout": Kind(_stdout, "", reopens=False),
    "record": Kind(_record, "FILE-{time}.jsonl", file=True),
    "mcap": Kind(_mcap, "FILE-{time}.mcap", (("mcap", "rosbags"), "mcap"), single=True, file=True, images=True),
    "dds": Kind(_dds, "", (("cyclonedds",), "dds"), single=True),
    "zenoh": Kind(_zenoh, "KEY", (("zenoh", "rosbags"), "zenoh"), single=True),
}


def check_output(output: OutputSettings, settings: ServiceSettings) -> None:
    """Refuse an output that could not work.

    Raises:
        UsageError: there is no such kind, or its target does not suit.
        RuntimeUnavailable: a package that it needs is not installed.
    """
    where = f"Output {output.name}"
    kind = KINDS.get(output.kind)
    if kind is None:
        raise UsageError(f"{where}: there is no kind {output.kind!r}. Known: {', '.join(KINDS)}.")
    if kind.to and not output.to:
        raise UsageError(f"{where}: {output.kind} needs where to: {kind.to}.")
    if output.to and output.kind == "stdout":
        raise UsageError(f"{where}: stdout goes nowhere else. Leave `to` out.")
    if output.images and not kind.images:
        raise UsageError(f"{where}: {output.kind} carries no pictures. Leave images out, or record them with mcap.")
    if output.kind != "dds" and (output.domain is not None or output.interface is not None):
        raise UsageError(f"{where}: domain and interface are of dds. Leave them out.")
    if output.kind == "send":
        Peer.parse(output.to)
    _check_placeholders(output, kind, len(_cameras_of(output, settings)))
    packages, extra = kind.needs
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise RuntimeUnavailable(
            f"{where} needs {', '.join(missing)}, which is not installed. Install it: pip install "
            f"'dsrfau-edge[{extra}]'."
        )


def _check_placeholders(output: OutputSettings, kind: Kind, cameras: int) -> None:
    where = f"Output {output.name}"
    found = set(_PLACEHOLDER.findall(output.to))
    known = _known(kind)
    if unknown := found - known:
        allowed = f" Known: {', '.join(sorted(f'{{{name}}}' for name in known))}." if known else ""
        raise UsageError(f"{where}: {{{min(unknown)}}} cannot be filled in in {output.to!r}.{allowed}")
    if kind.file and "time" not in found:
        raise UsageError(
            f"{where}: {output.to!r} has no {{time}}. A service writes a new file whenever it starts, and never over "
            f"an old one: give a name such as {kind.to}."
        )
    if kind.single and cameras > 1 and "camera" not in found:
        raise UsageError(
            f"{where} is of {cameras} cameras, each of which needs a place of its own. Put {{camera}} into its `to`, "
            f"such as {_example(kind)!r}."
        )


def _known(kind: Kind) -> set[str]:
    return ({"camera"} if kind.single else set()) | ({"time"} if kind.file else set())


def _example(kind: Kind) -> str:
    return "{camera}-{time}.mcap" if kind.file else "/{camera}"


def outlets_of(settings: ServiceSettings) -> list[tuple[Outlet, frozenset[str], bool]]:
    """Every output with the cameras whose results it gets, and whether with their pictures. Nothing is opened yet."""
    found = []
    for output in settings.outputs:
        kind, cameras = KINDS[output.kind], _cameras_of(output, settings)
        groups = [(camera,) for camera in cameras] if kind.single else [cameras]
        for group in groups:
            name = output.name if len(groups) == 1 else f"{output.name}-{group[0]}"
            opened = partial(_opened, kind, output, group[0] if kind.single else "")
            found.append(
                (Outlet(name, opened, capacity=output.queue, reopens=kind.reopens), frozenset(group), output.images)
            )
    return found


def _opened(kind: Kind, output: OutputSettings, camera: str) -> Output:
    shown = camera if kind.file else re.sub(r"[^A-Za-z0-9_]", "_", camera)  # as topics and keys allow it
    to = output.to.replace("{camera}", shown)
    if kind.file:
        to = str(_new_file(to))
    return kind.open(output, to, camera)


def _new_file(pattern: str) -> Path:
    """A name that is not taken, of this second."""
    path = Path(pattern.replace("{time}", time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())))
    number, free = 2, path
    while free.exists():
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return free


def _cameras_of(output: OutputSettings, settings: ServiceSettings) -> tuple[str, ...]:
    return output.cameras or tuple(camera.name for camera in settings.cameras)
