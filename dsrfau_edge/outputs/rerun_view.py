"""Results in Rerun's viewer, or in a recording for it: frames, boxes with ids, landmarks, AU curves, events.

The SDK itself reports nothing to anybody. The viewer, a program of its own, sends usage data unless told not to; one
that is started here is told so. See docs/privacy.md.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from ..errors import DsrfauError, RuntimeUnavailable
from .files import keep, part_of, room_for
from .peer import viewer_address

if TYPE_CHECKING:
    from ..results import FrameResult
    from ..stream import Source

_APPLICATION = "dsrfau-edge"
_JPEG_QUALITY = 80
_LEVELS = {"onset": "INFO", "apex": "DEBUG", "offset": "INFO"}
_REACHED_IN = 5.0
# What is left on the disk when a recording stops: the SDK writes by a thread of its own, tells nobody here that it
# could not, and has a footer to write in the end.
_RESERVE = 8 << 20


class RerunView:
    """What results become in Rerun.

    Each source has a branch of its own: `SOURCE/camera` with `image`, `faces` and `landmarks`, `SOURCE/aus/face_N` with
    a curve an AU, `SOURCE/events` as text. Videos and live sources lie on the timeline `time`, pictures on `picture`.
    """

    def __init__(self, target: str) -> None:
        """Begin a recording.

        Args:
            target: `spawn` starts a viewer here; `HOST:PORT` or `rerun+http://HOST:PORT/proxy` is one that runs;
                `NAME.rrd` is a file.

        Raises:
            UsageError: it is none of these.
            DsrfauError: no viewer answers there, or none can be started.
            OSError: the file cannot be written.
            RuntimeUnavailable: Rerun is not installed.
        """
        address = None if _is_file(target) or target == "spawn" else viewer_address(target)
        self._rerun = _import_rerun()
        self._path = Path(target) if _is_file(target) else None
        self._part: Path | None = None
        self._stream = self._rerun.RecordingStream(_APPLICATION)
        self._connect(target, address)
        self._branch, self._pictures = "", 0
        self._named: set[str] = set()

    def begin(self, source: Source) -> None:
        """The results that follow are of this source."""
        self._branch = _branch_of(source.name)

    def write(self, result: FrameResult) -> None:
        """Log one frame.

        Raises:
            OSError: the disk is nearly full, or the file as large as it may be. Close it then; it can be read.
        """
        self._require_room()
        rr, stream = self._rerun, self._stream
        branch = self._branch or _branch_of(result.source)
        if result.timestamp is None:
            stream.set_time("picture", sequence=self._pictures)
            self._pictures += 1
        else:
            stream.set_time("time", duration=result.timestamp)
        if result.image is not None:
            done, content = cv2.imencode(".jpg", result.image, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
            if done:
                image = rr.EncodedImage(contents=content.tobytes(), media_type="image/jpeg")
                stream.log(f"{branch}/camera/image", image)
        self._faces(result, f"{branch}/camera")
        for face in result.faces:
            self._curves(f"{branch}/aus/face_{face.id}", face.aus)
        for event in result.events:
            stream.set_time("time", duration=event.timestamp)
            text = f"face {event.face}: {event.au} {event.kind} at intensity {event.intensity:.1f}"
            stream.log(f"{branch}/events", rr.TextLog(text, level=_LEVELS[event.kind]))

    def close(self) -> None:
        """Hand over what is still waiting; a file takes its name."""
        with contextlib.suppress(Exception):  # a viewer that was closed is no failure; Rerun has said so itself
            self._stream.flush(timeout_sec=_REACHED_IN)
        self._stream.disconnect()
        if self._part is not None and self._path is not None:
            keep(self._part, self._path)

    def _require_room(self) -> None:
        if self._part is not None and room_for(self._part) < _RESERVE:
            raise OSError(errno.ENOSPC, "the recording stops, since the disk is full", str(self._path))

    def _faces(self, result: FrameResult, branch: str) -> None:
        rr, faces = self._rerun, result.faces
        boxes = np.array([face.box for face in faces], np.float32).reshape(-1, 4)
        labels = [f"face {face.id}" for face in faces]
        self._stream.log(
            f"{branch}/faces",
            rr.Boxes2D(array=boxes, array_format=rr.Box2DFormat.XYXY, labels=labels, class_ids=[f.id for f in faces]),
        )
        points = np.concatenate([face.landmarks[:, :2] for face in faces]) if faces else np.zeros((0, 2), np.float32)
        self._stream.log(f"{branch}/landmarks", rr.Points2D(points, radii=0.6))

    def _curves(self, entity: str, aus: Any) -> None:
        if entity not in self._named:
            self._named.add(entity)
            self._stream.log(entity, self._rerun.SeriesLines(names=list(aus)), static=True)
        self._stream.log(entity, self._rerun.Scalars(list(aus.values())))

    def _connect(self, target: str, address: str | None) -> None:
        blueprint = _blueprint()
        if self._path is not None:
            self._part = part_of(self._path)
            self._stream.save(self._part, default_blueprint=blueprint)
        elif address is not None:
            _require_viewer(address)
            self._stream.connect_grpc(address, default_blueprint=blueprint)
        else:
            try:
                with quiet_viewer():
                    self._stream.spawn(default_blueprint=blueprint)
            except RuntimeError as error:
                raise DsrfauError(
                    f"Rerun's viewer does not start ({error}). It needs a screen; without one give --rerun NAME.rrd, "
                    "and open that elsewhere."
                ) from error


@contextlib.contextmanager
def quiet_viewer() -> Iterator[None]:
    """A viewer started within sends no usage data: it sends none where it believes to be run by tests (`CI`)."""
    before = {name: os.environ.get(name) for name in ("CI", "FORCE_RERUN_ANALYTICS")}
    os.environ["CI"] = "1"
    os.environ.pop("FORCE_RERUN_ANALYTICS", None)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _is_file(target: str) -> bool:
    return target.lower().endswith(".rrd") and "://" not in target


def _require_viewer(address: str) -> None:
    """Rerun itself would wait for one that is not there until memory is full, and then block."""
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=_REACHED_IN).close()
    except OSError as error:
        raise DsrfauError(
            f"No Rerun viewer answers at {parts.netloc} ({error.strerror or error}). Start one there with `rerun`, or "
            "give --rerun spawn or --rerun NAME.rrd."
        ) from error


def _branch_of(name: str) -> str:
    """An entity path of one part."""
    last = Path(name).name or name
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in last) or "source"


def _blueprint() -> Any:
    import rerun.blueprint as layout

    views = layout.Vertical(layout.TimeSeriesView(name="AUs"), layout.TextLogView(name="events"), row_shares=[3, 1])
    return layout.Blueprint(layout.Horizontal(layout.Spatial2DView(name="camera"), views), collapse_panels=True)


def _import_rerun() -> Any:
    try:
        import rerun
    except ImportError as error:
        raise RuntimeUnavailable(
            "--rerun needs Rerun, which is not installed or does not load. Install it: pip install 'dsrfau-edge[viz]'"
        ) from error
    return rerun
