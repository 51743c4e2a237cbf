"""Reads the action units that `dsrfau-predict SOURCE --zenoh fleet/robot7` publishes, with nothing but eclipse-zenoh.

    pip install eclipse-zenoh
    python zenoh_subscriber.py 'fleet/*' --connect tcp/127.0.0.1:7447

It prints one JSON line a message, of all robots whose key matches, until it is interrupted.
"""

from __future__ import annotations

import argparse
import json
import logging
import struct
import sys
import time

import zenoh

CDR = "application/cdr;hri_msgs/msg/FacialActionUnits"
JSON = "application/json;hri_msgs/msg/FacialActionUnits"


def read(payload: bytes, encoding: str) -> dict:
    """Stamp, and intensity by AU where something is known of it.

    Raises:
        ValueError: these bytes are no such message.
    """
    try:
        if encoding == JSON:
            message = json.loads(payload)
            stamp = message["header"]["stamp"]["sec"], message["header"]["stamp"]["nanosec"]
            intensity, confidence = message["intensity"], message["confidence"]
        elif encoding == CDR:
            stamp, intensity, confidence = read_cdr(payload)
        else:
            raise ValueError(f"its encoding is {encoding}")
        pairs = zip(intensity, confidence, strict=True)
        return {
            "stamp": list(stamp),
            "aus": {f"AU{number:02d}": round(i, 4) for number, (i, c) in enumerate(pairs) if c > 0},
        }
    except (struct.error, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"it is no FacialActionUnits ({error})") from error


def read_cdr(payload: bytes) -> tuple[tuple[int, int], tuple[float, ...], tuple[float, ...]]:
    """A header of four bytes, a stamp, a string, padding to four bytes, and twice 99 floats."""
    order = {b"\0\0": ">", b"\0\1": "<"}.get(payload[:2])
    if order is None:
        raise ValueError("it does not begin like CDR")
    sec, nanosec, length = struct.unpack_from(f"{order}iII", payload, 4)
    values = struct.unpack_from(f"{order}198f", payload, 16 + (length + 3) // 4 * 4)
    return (sec, nanosec), values[:99], values[99:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("key", help="such as fleet/robot7, or fleet/* for all")
    parser.add_argument("--connect", default="tcp/127.0.0.1:7447")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long")
    options = parser.parse_args()
    config = zenoh.Config()
    config.insert_json5("mode", '"client"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("connect/endpoints", json.dumps([options.connect]))
    config.insert_json5("connect/timeout_ms", "20000")

    def show(sample: zenoh.Sample) -> None:
        key = str(sample.key_expr)
        try:
            found = read(bytes(sample.payload), str(sample.encoding))
        except ValueError as error:
            logging.warning("passed over %s: %s", key, error)
            return
        robot, _, rest = key.partition("/humans/faces/")
        print(json.dumps({"robot": robot, "face": rest.split("/")[0], **found}), flush=True)

    with zenoh.open(config) as session:
        session.declare_subscriber(f"{options.key}/humans/faces/*/facs", show)
        print("ready", file=sys.stderr, flush=True)
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            time.sleep(0.05)


if __name__ == "__main__":
    main()
