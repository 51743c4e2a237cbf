"""Messages over DDS, where ROS 2 nodes see them, by Cyclone DDS and without any ROS installation."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from dsrfau_edge.errors import DsrfauError

from .dds_domain import DOMAINS, default_domain, default_interface
from .face_messages import Batch

if TYPE_CHECKING:
    from dsrfau_edge.face.images import Image

#: How many messages of a topic are kept for readers that come late or cannot follow: two seconds at 30 a second.
HISTORY = 60
_MILLISECOND = 1_000_000
_FAREWELL = 500 * _MILLISECOND


class DdsPublisher:
    """Publishes messages under `rt/` and their topic, as ROS 2 does; a face's writers come and go with it.

    Reliable, so that both reliable and best-effort readers match, and transient-local, so that a reader that asks for
    it gets what was sent before it was found; of pictures only the last one is kept, for none who come late. Writing
    never waits for readers: one that is slower than the history is long misses messages.
    """

    def __init__(self, *, domain: int | None = None, interface: str | None = None, history: int = HISTORY) -> None:
        """Join a domain.

        Args:
            domain: 0 to 232; as ROS 2 has it (`ROS_DOMAIN_ID`, else 0) by default.
            interface: network interface by name or address, or `localhost` for this machine alone. By default as
                `CYCLONEDDS_URI` says; where that is not set, the one that Cyclone DDS holds best, with multicast.
            history: messages kept a topic.

        Raises:
            RuntimeUnavailable: cyclonedds is not installed.
            UsageError: there is no such domain or interface.
            DsrfauError: the domain cannot be joined.
        """
        self.domain = default_domain() if domain is None else domain
        DOMAINS.prepare(self.domain, interface or default_interface())
        from cyclonedds.core import DDSException
        from cyclonedds.domain import DomainParticipant

        self._failure = DDSException
        self._history = history
        self._writers: dict[str, Any] = {}
        self._of_face: dict[str, list[str]] = {}
        #: Messages that could not be handed over in time.
        self.dropped = 0
        try:
            self._participant: Any = DomainParticipant(self.domain)
        except DDSException as error:
            raise DsrfauError(
                f"DDS domain {self.domain} cannot be joined ({error.msg}). Check the network, CYCLONEDDS_URI, or give "
                "--dds-interface localhost."
            ) from error

    def send(self, batch: Batch, image: Image | None) -> None:
        """Publish a batch, making and destroying writers as it says.

        Raises:
            DsrfauError: DDS has failed for good.
        """
        del image
        from .dds_types import to_dds

        try:
            for item in batch.messages:
                writer = self._writers.get(item.topic) or self._writer(item.topic, item.message.TYPE, item.face)
                try:
                    writer.write(to_dds(item.message))
                except self._failure as error:
                    if error.code != self._failure.DDS_RETCODE_TIMEOUT:
                        raise
                    self.dropped += 1
        except self._failure as error:
            raise DsrfauError(f"Publishing over DDS failed ({error.msg}). Start again.") from error
        for face in batch.gone:
            for topic in self._of_face.pop(face, ()):
                del self._writers[topic]

    def close(self) -> None:
        """Leave the domain, after half a second at most for readers to confirm what was sent last."""
        end = time.monotonic_ns() + _FAREWELL
        for writer in self._writers.values():
            # On a timeout cyclonedds 11.0 means to return False, and raises AttributeError.
            with contextlib.suppress(self._failure, AttributeError):
                writer.wait_for_acks(max(end - time.monotonic_ns(), 0))
        self._of_face.clear()
        self._writers.clear()
        self._participant = None

    def readers(self, topic: str) -> int:
        """How many readers a topic has that this process knows of."""
        writer = self._writers.get(topic)
        return 0 if writer is None else len(writer.get_matched_subscriptions())

    def _writer(self, topic: str, name: str, face: str | None) -> Any:
        from cyclonedds.core import Policy, Qos
        from cyclonedds.pub import DataWriter
        from cyclonedds.topic import Topic

        from .dds_types import dds_type

        picture = name.startswith("sensor_msgs/")
        qos = Qos(
            Policy.Reliability.Reliable(10 * _MILLISECOND),
            Policy.History.KeepLast(1 if picture else self._history),
            Policy.Durability.Volatile if picture else Policy.Durability.TransientLocal,
            Policy.DurabilityService(0, Policy.History.KeepLast(1 if picture else self._history), -1, -1, -1),
            Policy.DataRepresentation(use_cdrv0_representation=True),  # XCDR1, which is what ROS 2 reads
        )
        made = DataWriter(self._participant, Topic(self._participant, f"rt{topic}", dds_type(name)), qos)
        self._writers[topic] = made
        if face is not None:
            self._of_face.setdefault(face, []).append(topic)
        return made
