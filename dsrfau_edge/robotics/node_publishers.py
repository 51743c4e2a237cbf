"""Publishers that come and go with the faces, over whatever carries messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .face_messages import Batch
from .messages import Message


class Publisher(Protocol):
    """One topic's."""

    def publish(self, message: Message) -> None:
        """Send it."""

    def close(self) -> None:
        """Destroy the publisher."""


class Subscription(Protocol):
    """One topic's."""

    def close(self) -> None:
        """Destroy it; its callback is not called again."""


class Graph(Protocol):
    """What the node needs of ROS 2. Names of types are such as `hri_msgs/msg/FacialActionUnits`."""

    def publisher(self, topic: str, kind: str) -> Publisher:
        """Make a publisher."""

    def subscribe(self, topic: str, kind: str, callback: Callable[[Any], None]) -> Subscription:
        """Call back with each message, by its fields."""

    def now(self) -> int:
        """Nanoseconds since 1970 on the robot's clock, which a simulation may set."""

    def warn(self, text: str) -> None:
        """Write a line in the log."""


class Publishers:
    """Sends batches, making and destroying publishers as they say; for one thread at a time."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._made: dict[str, Publisher] = {}
        self._of_face: dict[str, list[str]] = {}

    def send(self, batch: Batch) -> None:
        """Publish a batch."""
        for item in batch.messages:
            publisher = self._made.get(item.topic)
            if publisher is None:
                publisher = self._made[item.topic] = self._graph.publisher(item.topic, item.message.TYPE)
                if item.face is not None:
                    self._of_face.setdefault(item.face, []).append(item.topic)
            publisher.publish(item.message)
        for face in batch.gone:
            for topic in self._of_face.pop(face, ()):
                self._made.pop(topic).close()

    def close(self) -> None:
        """Destroy all publishers."""
        for publisher in self._made.values():
            publisher.close()
        self._made.clear()
        self._of_face.clear()
