"""Where shards are rendered: in processes of this machine, or on the machines of a Ray cluster.

An engine renders shards and hands their bytes back; whoever asked writes them. Nothing but that one writes.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2

from dsrfau_edge.errors import DataError, DsrfauError
from dsrfau_edge.ray_cluster import cluster
from dsrfau_edge.shards import PackedShard, Sample, pack_shard

from ..crew import messages
from .faces import FaceFactory
from .plan import Plan, fingerprint, made_with

_RETRIES = 3


@dataclass(frozen=True, slots=True)
class Rendered:
    """A shard, its number, and what it was made with."""

    number: int
    shard: PackedShard
    made_with: Mapping[str, str]


#: Renders the shards of these numbers in any order, and calls with the number of faces that were finished meanwhile.
Engine = Callable[[Plan, Sequence[int], Callable[[int], None]], Iterator[Rendered]]


def shard_name(number: int) -> str:
    """File of a shard."""
    return f"shard-{number:06d}.tar"


def render_shard(plan: Plan, number: int, on_face: Callable[[], None] = lambda: None) -> Rendered:
    """Render one shard in this process."""
    os.environ.setdefault("LP_NUM_THREADS", "1")  # software OpenGL would start a thread per core in every worker
    versions = made_with()
    factory = _factory(plan)

    def samples() -> Iterator[Sample]:
        for face in plan.faces(number):
            yield factory.sample(face)
            on_face()

    return Rendered(number, pack_shard(shard_name(number), samples()), versions)


@lru_cache(maxsize=1)
def _factory(plan: Plan) -> FaceFactory:
    """A worker's rigs and contexts, made at its first shard."""
    cv2.setNumThreads(1)
    assets = Path(plan.assets) if plan.assets else None
    return FaceFactory(
        seed=plan.seed,
        input_size=plan.input_size,
        assets=assets,
        per_identity=plan.per_identity,
        rigs=plan.specs,
        wide_poses=plan.wide_poses,
    )


def local_engine(workers: int | None = None) -> Engine:
    """Processes of this machine, one per core by default; none of them outlives the rendering."""
    return lambda plan, numbers, on_faces: _local(plan, numbers, on_faces, workers or os.cpu_count() or 1)


def ray_engine(workers: int | None = None, address: str | None = None) -> Engine:
    """Tasks on a Ray cluster.

    Args:
        workers: shards in work at a time; as many as the cluster has cores by default.
        address: a cluster's (`HOST:6379`, `auto`); None starts one on this machine.
    """
    return lambda plan, numbers, on_faces: _ray(plan, numbers, on_faces, workers, address)


def _local(plan: Plan, numbers: Sequence[int], on_faces: Callable[[int], None], workers: int) -> Iterator[Rendered]:
    with contextlib.closing(messages(_render, plan, numbers, workers, what="rendering")) as told:  # type: ignore[type-var]
        for message in told:
            if message is None:
                on_faces(1)
            else:
                yield message


def _render(plan: Plan, number: int, tell: Callable[[object], None]) -> None:
    """In a worker: tell every face as None, and then the shard."""
    tell(render_shard(plan, number, lambda: tell(None)))


def _ray(
    plan: Plan, numbers: Sequence[int], on_faces: Callable[[int], None], workers: int | None, address: str | None
) -> Iterator[Rendered]:
    in_flight: set[Any] = set()
    with cluster(address, workers) as ray:
        try:
            task = ray.remote(num_cpus=1, max_retries=_RETRIES, max_calls=0)(_on_a_machine)
            slots = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
            waiting, wanted = deque(numbers), fingerprint(plan)
            while waiting or in_flight:
                while waiting and len(in_flight) < slots:  # never more, that this process's memory stays as it is
                    in_flight.add(task.remote(plan, waiting.popleft(), wanted))
                ready = ray.wait(list(in_flight), num_returns=1)[0][0]
                result = ray.get(ready)
                in_flight.remove(ready)
                if isinstance(result, DsrfauError):
                    raise result
                on_faces(result.shard.entry.count)
                yield result
        except ray.exceptions.RayError as error:
            raise DsrfauError(
                f"Ray could not render a shard: {str(error).strip().splitlines()[-1]}. See that every machine has this "
                "version of dsrfau-edge and memory to spare; the same command continues with the shards that are "
                "missing."
            ) from error
        finally:
            for reference in in_flight:
                with contextlib.suppress(Exception):  # of a cluster that is gone
                    ray.cancel(reference, force=True)


def _on_a_machine(plan: Plan, number: int, wanted: Mapping[str, object]) -> Rendered | DsrfauError:
    """Render a shard where the files and the code are those of the driver's machine."""
    try:
        found = _fingerprint_here(plan)
        if found != wanted:
            differing = ", ".join(key for key in wanted if found.get(key) != wanted[key])
            return DataError(
                f"The machine {socket.gethostname()} has other files than this one ({differing}). Install the same "
                "version everywhere, and put assets and rig files under the same path."
            )
        return render_shard(plan, number)
    except DsrfauError as error:
        return type(error)(f"On the machine {socket.gethostname()}: {error}")


@lru_cache(maxsize=1)
def _fingerprint_here(plan: Plan) -> dict[str, object]:
    return fingerprint(plan)
