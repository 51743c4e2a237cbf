"""Whether a second process gets every robot message, how late, and what sending them costs.

Made-up faces go out over DDS or Zenoh at a camera's pace, through the same code as in `dsrfau-predict`; a process of
its own, with types of its own (those of `examples/robotics`), counts what arrives. A message's stamp is the moment at
which its making began, so that a latency holds everything up to the reader's Python object. Both processes are on one
machine and its loopback interface.

    python benchmarks/robotics.py --over dds --seconds 60
    python benchmarks/robotics.py --over zenoh --seconds 60
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
_LISTEN = "tcp/127.0.0.1:17447"


def load(path: Path) -> ModuleType:
    """A file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def results(seconds: float, rate: float, faces: int) -> Iterator[Any]:
    """Live results of `faces` faces at a rate, each when its time has come."""
    sys.path.insert(0, str(ROOT / "tests"))
    from faces import make_face, make_result

    start = time.monotonic()
    for index in range(round(seconds * rate)):
        time.sleep(max(start + index / rate - time.monotonic(), 0))
        values = (0.2, 0.6, index % 50 / 10, index % 50 / 10, 4.75)
        made = [make_face(number, values) for number in range(faces)]
        result = make_result(*made, index=index, timestamp=index / rate, source="script")
        object.__setattr__(result, "latency_ms", 0.0)  # so that its stamp is now
        yield result


def publish(options: argparse.Namespace) -> dict[str, Any]:
    """Send everything.

    Returns:
        What was sent by kind of message, and milliseconds that each frame took to make and to send.
    """
    from dsrfau_edge.robotics import FaceMessages

    make, sink, sent, costs = FaceMessages(), _sink(options), {"facs": 0, "tracked": 0}, []
    time.sleep(2.0)  # for the two sides to find each other; Zenoh keeps nothing for those who come late
    for result in results(options.seconds, options.rate, options.faces):
        started = time.perf_counter()
        batch = make(result)
        sink.send(batch, None)
        costs.append((time.perf_counter() - started) * 1000)
        for kind in sent:
            sent[kind] += sum(item.topic.endswith(f"/{kind}") for item in batch.messages)
    time.sleep(2.0)
    sink.close()
    return {"sent": sent, "costs": costs, "dropped": getattr(sink, "dropped", None)}


def _sink(options: argparse.Namespace) -> Any:
    if options.over == "dds":
        from dsrfau_edge.robotics.dds import DdsPublisher

        return DdsPublisher(domain=options.domain, interface="localhost")
    from dsrfau_edge.robotics.zenoh import ZenohPublisher

    return ZenohPublisher("bench/robot", listen=[_LISTEN])


def subscribe(options: argparse.Namespace) -> None:
    """Count what arrives until told to stop through stdin; write stamps and times of arrival to a file."""
    arrivals: list[tuple[str, int, int]] = []
    (_over_dds if options.over == "dds" else _over_zenoh)(options, arrivals)
    Path(options.to).write_text(json.dumps(arrivals))


def _over_dds(options: argparse.Namespace, arrivals: list[tuple[str, int, int]]) -> None:
    from cyclonedds.core import InstanceState, ReadCondition, SampleState, ViewState, WaitSet
    from cyclonedds.domain import Domain

    example = load(ROOT / "examples/robotics/dds_subscriber.py")
    kept = Domain(options.domain, example.LOCAL)
    faces = example.Faces(options.domain)
    waiting = WaitSet(faces._participant)
    known: dict[str, Any] = {}
    take = example.take

    def noted(reader: Any, kind: type) -> list[Any]:
        found = take(reader, kind)
        now = time.time_ns()
        name = "tracked" if kind is example.IdsList else "facs"
        arrivals.extend((name, _ns(message.header.stamp), now) for message in found)
        return list(found)

    example.take = noted
    print("ready", flush=True)
    while not _told_to_stop():
        for name, reader in {"": faces._tracked, **faces._faces}.items():
            if name not in known:
                known[name] = ReadCondition(reader, SampleState.NotRead | ViewState.Any | InstanceState.Any)
                waiting.attach(known[name])
        waiting.wait(20_000_000)
        faces.poll()
    del kept


def _over_zenoh(options: argparse.Namespace, arrivals: list[tuple[str, int, int]]) -> None:
    import zenoh

    example = load(ROOT / "examples/robotics/zenoh_subscriber.py")
    config = zenoh.Config()
    config.insert_json5("mode", '"client"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("connect/endpoints", json.dumps([_LISTEN]))
    config.insert_json5("connect/timeout_ms", "20000")

    def note(sample: Any) -> None:
        found = example.read(bytes(sample.payload), str(sample.encoding))
        arrivals.append(("facs", found["stamp"][0] * 10**9 + found["stamp"][1], time.time_ns()))

    with zenoh.open(config) as session:
        session.declare_subscriber("bench/*/humans/faces/*/facs", note)
        print("ready", flush=True)
        while not _told_to_stop():
            time.sleep(0.05)


def _told_to_stop() -> bool:
    import select

    return bool(select.select([sys.stdin], [], [], 0)[0])


def _ns(stamp: Any) -> int:
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def summary(sent: dict[str, Any], arrivals: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Counts and latencies in ms by kind of message; the cost of a frame at the sender in ms."""
    kinds = {}
    for kind, count in sent["sent"].items():
        late = np.array([now - stamp for name, stamp, now in arrivals if name == kind], float) / 1e6
        kinds[kind] = {"sent": count, "received": len(late)}
        if len(late):
            kinds[kind] |= {"median": float(np.median(late)), "p99": float(np.quantile(late, 0.99)), "max": late.max()}
    costs = np.array(sent["costs"])
    cost = {"median": float(np.median(costs)), "p99": float(np.quantile(costs, 0.99)), "max": float(costs.max())}
    return {"kinds": kinds, "cost": cost, "dropped": sent["dropped"]}


def table(found: dict[str, Any]) -> str:
    """The summary as Markdown."""
    lines = ["| message | sent | received | median | p99 | most |", "|---|---|---|---|---|---|"]
    for kind, row in found["kinds"].items():
        if "median" in row:
            late = " | ".join(f"{row[key]:.2f} ms" for key in ("median", "p99", "max"))
            lines.append(f"| {kind} | {row['sent']} | {row['received']} | {late} |")
    cost = found["cost"]
    lines.append("")
    lines.append(
        f"A frame's messages cost the sender {cost['median']:.2f} ms (median; p99 {cost['p99']:.2f} ms, at most "
        f"{cost['max']:.1f} ms)."
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both processes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--over", choices=["dds", "zenoh"], default="dds")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=30.0, help="frames per second")
    parser.add_argument("--faces", type=int, default=4)
    parser.add_argument("--domain", type=int, default=211, help="DDS domain, one that nobody uses")
    parser.add_argument("--to", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.to:
        subscribe(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "arrivals.json"
        given = ["--over", options.over, "--domain", str(options.domain), "--to", str(target)]
        with subprocess.Popen(
            [sys.executable, __file__, *given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as reader:
            sent = publish(options)
            reader.communicate("stop\n", timeout=60)
        print(table(summary(sent, json.loads(target.read_text()))))


if __name__ == "__main__":
    main()
