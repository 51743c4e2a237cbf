"""The ROS 2 node without ROS 2: its states, what comes in, what goes out, and what it tells about itself."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dsrfau_edge.bench.host import Host, temperatures
from dsrfau_edge.errors import InputError, UsageError

from .messages import Header, Time
from .node_images import compressed_picture_of, picture_of
from .node_mailbox import Mailbox
from .node_pipelines import FaceCrops, Pipeline, WholePictures
from .node_publishers import Graph, Publishers, Subscription
from .node_settings import NodeSettings
from .node_status import Counts, Level, Report, Status

_IMAGE, _COMPRESSED, _IDS = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "hri_msgs/msg/IdsList"
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
#: So many seconds without a picture, and faces are taken to be gone and the camera to be lost.
SILENCE = 2.0
#: Faces of another node's detector that are read at once, where max_faces does not say.
_MOST_FACES = 100
_MOST_WARNINGS = 20
_Arrived = tuple[Any, float]  # a message, and when it came


@dataclass(slots=True)
class _Run:
    """What lives from one activation to its end."""

    pipeline: Pipeline
    publishers: Publishers
    report: Report
    heard: float  # when the last message came
    counts: Counts = field(default_factory=Counts)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)  # by topic, or by face
    absent: dict[str, float] = field(default_factory=dict)  # since when another node's face is out of sight
    stamps: dict[str, int] = field(default_factory=dict)  # the last one of each key
    frame_id: str = ""
    silent: bool = True
    warned: set[str] = field(default_factory=set)


class FaceNode:
    """A managed node's logic. Transitions and messages may come from one thread while another predicts.

    `run` is that other thread's: it takes the newest picture, predicts without holding anything up, and publishes
    unless the node has been deactivated meanwhile.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        load: Callable[[NodeSettings], Any] = NodeSettings.load,
        clock: Callable[[], float] = time.monotonic,
        host: Host | None = None,
    ) -> None:
        """Stand between a graph and a predictor, which `load` makes from the settings."""
        self._graph, self._load, self._clock, self._host = graph, load, clock, host or Host()
        self._lock = threading.Lock()  # states and everything that is published
        self._working = threading.Lock()  # held while the predictor is in use
        self._settings = NodeSettings()
        self._predictor: Any = None
        self._mailbox: Mailbox[_Arrived] = Mailbox()
        self._run: _Run | None = None

    @property
    def configured(self) -> bool:
        """Whether a predictor is loaded."""
        return self._predictor is not None

    def configure(self, settings: NodeSettings) -> None:
        """Load the predictor; this may take minutes where an engine is built.

        Raises:
            DsrfauError: the bundle or runtime cannot be used, or an AU is asked for that the network does not estimate.
        """
        predictor = self._load(settings)
        try:
            settings.check_network(predictor.aus)
        except UsageError:
            predictor.close()
            raise
        with self._lock:
            self._settings, self._predictor, self._mailbox = settings, predictor, Mailbox()

    def activate(self) -> None:
        """Take pictures, and publish."""
        settings, now = self._settings, self._clock()
        pipeline = (FaceCrops if settings.of_faces else WholePictures)(self._predictor, settings)
        run = _Run(pipeline, Publishers(self._graph), Report(now), heard=now)
        with self._lock:
            self._mailbox.dropped = 0
            self._run = run
            if settings.of_faces:
                topic, kind, callback = self._tracked_topic, _IDS, self._tracked
            elif settings.input == "compressed":
                topic, kind, callback = "image/compressed", _COMPRESSED, partial(self._receive, "")
            else:
                topic, kind, callback = "image", _IMAGE, partial(self._receive, "")
            run.subscriptions[topic] = self._graph.subscribe(topic, kind, callback)

    def deactivate(self, *, farewell: bool = True) -> None:
        """Take no pictures, say that all faces are gone (unless nobody can hear it), and destroy all publishers.

        Does not wait for the picture that is being predicted; its result is thrown away.
        """
        with self._lock:
            run, self._run = self._run, None
            if run is None:
                return
            for subscription in run.subscriptions.values():
                subscription.close()
            self._mailbox.clear()
            if farewell and not self._settings.of_faces:
                run.publishers.send(run.pipeline.forget("", self._header_now(run)))
            run.publishers.close()

    def cleanup(self, *, farewell: bool = True) -> None:
        """Let the predictor go, after the picture that is being predicted; from any state, also after an error."""
        self.deactivate(farewell=farewell)
        self._mailbox.close()
        with self._working:
            with self._lock:
                predictor, self._predictor = self._predictor, None
            if predictor is not None:
                predictor.close()

    def change(self, settings: NodeSettings) -> None:
        """Go on with other settings; see `NodeSettings.changed` for which may change when.

        Raises:
            UsageError: an AU is asked for that the network does not estimate.
        """
        with self._lock:
            if self._predictor is not None:
                settings.check_network(self._predictor.aus)
            self._settings = settings
            if self._run is not None:
                self._run.pipeline.change(settings)

    def run(self) -> None:
        """Predict until `cleanup`."""
        mailbox = self._mailbox  # that of this configuration
        while self._step(mailbox, None):
            pass

    def step(self) -> bool:
        """Predict the newest picture, if one is there; False where none is."""
        return self._step(self._mailbox, 0.0)

    def _step(self, mailbox: Mailbox[_Arrived], timeout: float | None) -> bool:
        taken = mailbox.take(timeout)
        if taken is None:
            return False
        with self._working:
            self._process(taken[0], *taken[1])
        return True

    def tick(self) -> Status:
        """Once a second: let go of what is gone, and tell how it goes."""
        with self._lock:
            run = self._run
            if run is None:
                return Status(Level.OK, "inactive" if self.configured else "unconfigured", self._about())
            now = self._clock()
            self._expire(run, now)
            silent = now - run.heard
            if silent > SILENCE and not run.silent and not self._settings.of_faces:
                run.silent = True
                run.publishers.send(run.pipeline.forget("", self._header_now(run)))
            values, wrong = run.report.read(now, run.counts)
            values["dropped"] = str(self._mailbox.dropped)
            values.update(self._about())
        if silent > SILENCE:
            return Status(
                Level.ERROR, f"nothing has come for {silent:.0f} s on {next(iter(run.subscriptions))}", values
            )
        if wrong:
            return Status(Level.WARN, run.counts.problem, values)
        return Status(Level.OK, "active", values)

    @property
    def _tracked_topic(self) -> str:
        return f"{self._settings.topic_prefix}/humans/faces/tracked"

    def _about(self) -> dict[str, str]:
        values: dict[str, str] = {"input": self._settings.input}
        if self._predictor is not None:
            info = self._predictor.info
            values.update(runtime=f"{info.runtime} {info.version}", device=info.device, precision=info.precision)
        for sensor, degrees in temperatures(self._host).items():
            values[f"temperature {sensor}"] = f"{degrees:g}"
        return values

    def _receive(self, key: str, message: Any) -> None:
        """A picture; it replaces the one that still waits."""
        now = self._clock()
        run = self._run
        if run is not None:
            run.heard = now
            self._mailbox.put(key, (message, now))

    def _tracked(self, message: Any) -> None:
        """Another node's list of faces in sight: one subscription each."""
        now = self._clock()
        with self._lock:
            run = self._run
            if run is None:
                return
            run.heard = now
            settings = self._settings
            seen = dict.fromkeys(list(message.ids)[: settings.max_faces or _MOST_FACES])
            for name in seen:
                run.absent.pop(name, None)
                if not _ID.fullmatch(name):
                    run.counts.refused += 1
                    self._problem(run, f"A face is called {name[:80]!r}, which is no part of a topic's name.")
                elif name not in run.subscriptions:
                    topic = f"{settings.topic_prefix}/humans/faces/{name}/{settings.input}"
                    run.subscriptions[name] = self._graph.subscribe(topic, _IMAGE, partial(self._receive, name))
            for name in run.subscriptions:
                if name not in seen and name != self._tracked_topic:
                    run.absent.setdefault(name, now)
            self._expire(run, now)

    def _expire(self, run: _Run, now: float) -> None:
        """Let go of another node's faces that have been out of sight for long."""
        for name in [name for name, since in run.absent.items() if now - since >= self._settings.keep_seconds]:
            del run.absent[name]
            run.subscriptions.pop(name).close()
            run.stamps.pop(name, None)
            self._mailbox.forget(name)
            run.publishers.send(run.pipeline.forget(name, self._header_now(run)))

    def _process(self, key: str, message: Any, arrival: float) -> None:
        run = self._run
        if run is None:
            return
        try:
            image = (compressed_picture_of if self._settings.input == "compressed" else picture_of)(message)
            header = self._header(run, key, message.header)
            result = None if header is None else run.pipeline.predict(key, image, header.stamp.ns / 1e9)
        except InputError as error:
            with self._lock:
                run.counts.unreadable += 1
                self._problem(run, str(error))
            return
        if result is None or header is None:
            return
        with self._lock:
            if self._run is not run or (key and key not in run.subscriptions):
                run.counts.discarded += 1
                return
            run.silent = False
            run.frame_id = header.frame_id
            run.publishers.send(run.pipeline.messages(key, result, header))
            run.counts.frames += 1
            run.counts.faces = len(result.faces)
            run.report.latency(self._clock() - arrival)

    def _header(self, run: _Run, key: str, header: Any) -> Header | None:
        """The picture's own header, with the present where its driver sets no stamp; None where it comes again."""
        stamp = Time(header.stamp.sec, header.stamp.nanosec)
        with self._lock:
            if stamp.ns == 0:
                run.counts.unstamped += 1
                self._problem(run, "Pictures come with the stamp 0. Have the driver set header.stamp.")
                stamp = Time.from_ns(self._graph.now())
            if run.stamps.get(key) == stamp.ns:
                run.counts.repeated += 1
                return None
            run.stamps[key] = stamp.ns
        return Header(stamp, header.frame_id)

    def _header_now(self, run: _Run) -> Header:
        return Header(Time.from_ns(self._graph.now()), run.frame_id)

    def _problem(self, run: _Run, text: str) -> None:
        """Keep it for the status; the log gets each one once."""
        run.counts.problem = text
        if text not in run.warned and len(run.warned) < _MOST_WARNINGS:
            run.warned.add(text)
            self._graph.warn(text)
