"""The service itself: starts cameras and outputs, watches over them, and ends them in order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable

from .camera import Camera
from .health import Snapshot, health, summary
from .http_server import HttpServer, Response, json_response
from .memory import BaselineMemory
from .metrics import metrics_page
from .notify import Notifier
from .outputs import outlets_of
from .state import StateFile

if TYPE_CHECKING:
    from dsrfau_edge.predictor import Predictor
    from dsrfau_edge.results import FrameResult

    from .memory import Remembered
    from .outlet import Outlet
    from .settings import CameraSettings, ServiceSettings

_log = logging.getLogger(__name__)

#: Seconds between two looks at everything, and between two writings of the state.
TICK, SAVE_EVERY = 0.5, 15.0
#: Seconds that one frame may take before a camera's thread counts as hanging.
PATIENCE = 30.0
#: Seconds that the cameras have to end, and then the outputs to write what waits.
END_CAMERAS, END_OUTPUTS = 5.0, 5.0


class Service:
    """Made of settings and a predictor; `run` returns when it was stopped, or all cameras have ended.

    Example:
        >>> with Predictor() as predictor:
        ...     service = Service(settings, predictor)
        ...     service.run()                      # service.stop(), from any thread or a signal handler, ends it
    """

    def __init__(
        self, settings: ServiceSettings, predictor: Predictor, *, notifier: Notifier | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Nothing is opened but the state folder and the address to listen at.

        Raises:
            UsageError: the state folder cannot be made.
            DsrfauError: it cannot listen.
        """
        self._clock = clock
        self._started = clock()
        self._notifier = notifier or Notifier({})
        self._stopping = threading.Event()
        self._state = None if settings.state is None else StateFile(settings.state)
        earlier = {} if self._state is None else self._state.read()
        self._outlets = outlets_of(settings)
        pictured = {name for _, names, images in self._outlets for name in names if images}
        self.cameras = [
            self._camera(camera, predictor, images=camera.name in pictured, earlier=earlier)
            for camera in settings.cameras
        ]
        self.http = None if settings.listen is None else HttpServer(settings.listen, self._pages())

    @property
    def outlets(self) -> list[Outlet]:
        """The outputs."""
        return [outlet for outlet, _, _ in self._outlets]

    def snapshot(self) -> Snapshot:
        """How everything goes."""
        return Snapshot(
            self._clock() - self._started,
            {camera.name: camera.stats for camera in self.cameras},
            {outlet.name: outlet.stats for outlet in self.outlets},
        )

    def progresses(self) -> bool:
        """Whether every camera's thread does what it should, see `Camera.progresses`."""
        return all(camera.progresses(PATIENCE) for camera in self.cameras)

    def stop(self) -> None:
        """Have `run` return, without waiting; from any thread, and from a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Serve until `stop`, or until all cameras have ended.

        Raises:
            DsrfauError: every camera has failed for good; or every output, and health is not served either.
        """
        for outlet in self.outlets:
            outlet.start()
        for camera in self.cameras:
            camera.start()
        if self.http is not None:
            self.http.start()
        self._notifier.send("READY=1", f"STATUS={summary(self.snapshot())}")
        try:
            self._watch()
        finally:
            self._end()
        self._check_end()

    def _watch(self) -> None:
        watchdog = self._notifier.watchdog
        tick = TICK if watchdog is None else min(TICK, watchdog / 3)
        saved = self._clock()
        while not self._stopping.wait(tick) and not self._useless():
            status = f"STATUS={summary(self.snapshot())}"
            if self.progresses():
                self._notifier.send("WATCHDOG=1", status)
            else:
                self._notifier.send(status)
                _log.error("A camera's thread hangs.")
            if self._clock() - saved >= SAVE_EVERY:
                saved = self._clock()
                self._save()

    def _useless(self) -> bool:
        """Whether nothing more can come in, or nothing can go out."""
        return all(camera.over for camera in self.cameras) or self._mute()

    def _mute(self) -> bool:
        failed = [outlet.stats.state == "failed" for outlet in self.outlets]
        return bool(failed) and all(failed) and self.http is None

    def _check_end(self) -> None:
        failed = [stats for stats in self.snapshot().cameras.values() if stats.state == "failed"]
        if len(failed) == len(self.cameras):
            raise DsrfauError(f"No camera is left: {failed[0].last_error}")
        if self._mute():
            raise DsrfauError(f"No output is left: {self.outlets[0].stats.last_error}")

    def _end(self) -> None:
        self._notifier.send("STOPPING=1")
        for camera in self.cameras:
            camera.stop()
        until = self._clock() + END_CAMERAS
        for camera in self.cameras:
            if not camera.join(until - self._clock()):
                _log.warning("Camera %s does not return; it is left behind.", camera.name)
        for outlet in self.outlets:
            outlet.stop(END_OUTPUTS)
        until = self._clock() + END_OUTPUTS + 1
        for outlet in self.outlets:
            outlet.join(until - self._clock())
        self._save()
        if self.http is not None:
            self.http.close()

    def _save(self) -> None:
        if self._state is not None:
            self._state.write({
                camera.name: camera.memory.faces for camera in self.cameras if camera.memory is not None
            })  # fmt: skip

    def _camera(
        self,
        settings: CameraSettings,
        predictor: Predictor,
        *,
        images: bool,
        earlier: dict[str, tuple[Remembered, ...]],
    ) -> Camera:
        baseline = settings.stream.baseline
        memory = None
        if self._state is not None and baseline is not None and baseline.mode == "online":
            memory = BaselineMemory(earlier.get(settings.name, ()))
        stream = replace(settings.stream, keep_images=images)
        outlets = [(outlet, pictures) for outlet, names, pictures in self._outlets if settings.name in names]

        def deliver(result: FrameResult) -> None:
            bare = replace(result, image=None) if images else result
            for outlet, pictures in outlets:
                outlet.offer(result if pictures else bare)

        return Camera(replace(settings, stream=stream), predictor, deliver, memory)

    def _pages(self) -> dict[str, Callable[[], Response]]:
        try:
            page, kind = metrics_page(self.snapshot, lambda: {camera.name: camera.latencies for camera in self.cameras})
        except RuntimeUnavailable as error:
            _log.warning("%s Health is served without it.", error)
            missing = Response(HTTPStatus.NOT_IMPLEMENTED, f"{error}\n".encode())
            return {"/healthz": self._health, "/metrics": lambda: missing}
        return {"/healthz": self._health, "/metrics": lambda: Response(HTTPStatus.OK, page(), kind)}

    def _health(self) -> Response:
        well, told = health(self.snapshot())
        return json_response(told, HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE)
