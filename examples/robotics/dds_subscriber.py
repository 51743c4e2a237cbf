"""Reads the action units that `dsrfau-predict SOURCE --dds` publishes, with nothing but cyclonedds.

    pip install cyclonedds
    python dds_subscriber.py --domain 0

It prints one JSON line a message until it is interrupted. The types are written out here, so that the file can be taken
to a machine without dsrfau-edge. On a machine with ROS 2, `ros2 topic echo /humans/faces/ID/facs` shows the same.
"""

import argparse
import json
import logging
import struct
import sys
import time
from dataclasses import dataclass

from cyclonedds.core import DDSException, Policy, Qos
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import array, float32, int32, sequence, uint32
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic

LOCAL = """<CycloneDDS><Domain><General><Interfaces><NetworkInterface address="127.0.0.1"/></Interfaces>
<AllowMulticast>false</AllowMulticast></General><Discovery><ParticipantIndex>auto</ParticipantIndex>
<MaxAutoParticipantIndex>32</MaxAutoParticipantIndex><Peers><Peer address="127.0.0.1"/></Peers></Discovery>
</Domain></CycloneDDS>"""


@dataclass
class Time(IdlStruct, typename="builtin_interfaces::msg::dds_::Time_"):
    sec: int32
    nanosec: uint32


@dataclass
class Header(IdlStruct, typename="std_msgs::msg::dds_::Header_"):
    stamp: Time
    frame_id: str


@dataclass
class IdsList(IdlStruct, typename="hri_msgs::msg::dds_::IdsList_"):
    header: Header
    ids: sequence[str]


@dataclass
class FacialActionUnits(IdlStruct, typename="hri_msgs::msg::dds_::FacialActionUnits_"):
    header: Header
    intensity: array[float32, 99]
    confidence: array[float32, 99]


# Transient-local: also what was sent before this reader was found, so that a new face's first messages are not missed.
QOS = Qos(Policy.Reliability.Reliable(0), Policy.History.KeepAll, Policy.Durability.TransientLocal)


class Faces:
    """Follows `/humans/faces/tracked` and reads `/facs` of each face that it names."""

    def __init__(self, domain: int) -> None:
        self._participant = DomainParticipant(domain)
        self._tracked = self._reader("rt/humans/faces/tracked", IdsList)
        self._faces: dict[str, DataReader] = {}
        self._named: set[str] = set()

    def poll(self) -> list[tuple[str, FacialActionUnits]]:
        """The new messages, each with its face."""
        for message in take(self._tracked, IdsList):
            self._named = set(message.ids)
            for name in message.ids:
                if name not in self._faces:
                    self._faces[name] = self._reader(f"rt/humans/faces/{name}/facs", FacialActionUnits)
        found = []
        for name, reader in list(self._faces.items()):
            messages = take(reader, FacialActionUnits)
            found.extend((name, message) for message in messages)
            if not messages and name not in self._named and self._is_gone(reader):
                del self._faces[name]
        return found

    @staticmethod
    def _is_gone(reader: DataReader) -> bool:
        status = reader.get_subscription_matched_status()
        return bool(status.total_count) and not status.current_count

    def _reader(self, name: str, kind: type) -> DataReader:
        return DataReader(self._participant, Topic(self._participant, name, kind), QOS)


def take(reader: DataReader, kind: type) -> list:
    """What has come, one sample at a time, so that one which is no such message takes no other with it."""
    messages = []
    while True:
        try:
            samples = reader.take(N=1)
        except (DDSException, struct.error, ValueError) as error:
            logging.warning("passed over a sample that is no %s: %s", kind.__name__, error)
            continue
        if not samples:
            return messages
        messages.extend(sample for sample in samples if isinstance(sample, kind))  # the others tell of a writer's end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domain", type=int, default=0)
    parser.add_argument("--localhost", action="store_true", help="this machine alone, as --dds-interface localhost")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long")
    options = parser.parse_args()
    config = Domain(options.domain, LOCAL) if options.localhost else None
    faces, end = Faces(options.domain), time.monotonic() + options.seconds
    print("ready", file=sys.stderr, flush=True)
    while time.monotonic() < end:
        for name, message in faces.poll():
            units = {f"AU{n:02d}": round(message.intensity[n], 4) for n in range(99) if message.confidence[n] > 0}
            stamp = message.header.stamp
            print(json.dumps({"face": name, "stamp": [stamp.sec, stamp.nanosec], "aus": units}), flush=True)
        time.sleep(0.002)
    del config


if __name__ == "__main__":
    main()
