"""`--engine ray`: the videos of an archive on the machines of a Ray cluster, the same bytes as on one.

Every machine needs this version of dsrfau-edge, the bundle and the videos under the same paths. Files come back to the
machine that the command runs on; nothing but that one writes results.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsrfau_edge.errors import DataError, DsrfauError, InputError
from dsrfau_edge.ray_cluster import cluster

from .archive_work import settings_of, work
from .stopping import Stopper

if TYPE_CHECKING:
    from dsrfau_edge.predictor import Predictor

    from .archive_state import Item, State
    from .predict_job import Report
    from .predict_options import Given

_RETRIES = 3


@dataclass(frozen=True, slots=True)
class Returned:
    """The files of one video."""

    frames: int
    result: bytes
    plot: bytes | None


def run_on_ray(given: Given, runtime: str, todo: Sequence[Item], state: State, report: Report) -> None:
    """Predict videos on a cluster, as many at a time as it has room for.

    Raises:
        DsrfauError: a machine differs from this one, or Ray gave up.
        OSError: results cannot be written.
        KeyboardInterrupt: a signal came; what is finished stays.
    """
    threads = given.threads or 1
    there = replace(given, runtime=runtime, threads=threads)
    waiting, running = deque(todo), dict[Any, "Item"]()
    with cluster(given.ray_address) as ray, Stopper() as stopper:
        task = ray.remote(num_cpus=threads, max_retries=_RETRIES)(_on_a_machine)
        slots = max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
        try:
            while waiting or running:
                while waiting and len(running) < slots:  # never more, that the memory here stays as it is
                    item = waiting.popleft()
                    running[task.remote(there, str(item.video), state.settings)] = item
                for ready in ray.wait(list(running), num_returns=1, timeout=0.5)[0]:
                    _take(ray.get(ready), running.pop(ready), state, report)
                stopper.check()
        except ray.exceptions.RayError as error:
            raise DsrfauError(
                f"Ray could not do a video: {str(error).strip().splitlines()[-1]}. See that every machine has this "
                "version of dsrfau-edge and memory to spare; the same command goes on with the videos that are missing."
            ) from error
        finally:
            for reference in running:
                with contextlib.suppress(Exception):  # of a cluster that is gone
                    ray.cancel(reference, force=True)


def _take(returned: Returned | DsrfauError, item: Item, state: State, report: Report) -> None:
    from .archive import put, scratch_in

    if isinstance(returned, InputError):
        report.failed_part(returned)
        return
    if isinstance(returned, DsrfauError):
        raise returned
    with scratch_in(state) as scratch:
        result, plot = scratch / "result", scratch / "plot"
        result.write_bytes(returned.result)
        if returned.plot is not None:
            plot.write_bytes(returned.plot)
        put(item, result, plot if returned.plot is not None else None, returned.frames, state)


def _on_a_machine(given: Given, video: str, wanted: Mapping[str, Any]) -> Returned | DsrfauError:
    """Predict a video where the program, the bundle and the options are those of the machine that asks."""
    try:
        predictor = _predictor(given)
        found = settings_of(given, predictor)
        differing = [key for key in wanted if found.get(key) != wanted[key]]
        if differing:
            return DataError(
                f"The machine {socket.gethostname()} differs from this one in {', '.join(differing)}. Install the same "
                "version everywhere, and put the bundle under the same path."
            )
        with tempfile.TemporaryDirectory() as folder:
            made = work(given, predictor, Path(video), Path(folder), Stopper())
            plot = made.plot.read_bytes() if made.plot is not None else None
            return Returned(made.frames, made.result.read_bytes(), plot)
    except DsrfauError as error:
        return type(error)(f"On the machine {socket.gethostname()}: {error}")


@lru_cache(maxsize=1)
def _predictor(given: Given) -> Predictor:
    """A worker's predictor, made at its first video."""
    from .predict import predictor

    return predictor(given)
