"""A Ray cluster to compute on: one that runs, or one started on this machine for the time of the work."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from .errors import RuntimeUnavailable

_MEMORY = 512 << 20  # bytes of the local cluster's object store


@contextlib.contextmanager
def cluster(address: str | None = None, workers: int | None = None) -> Iterator[Any]:
    """The module `ray`, connected. One that the program is connected to already is used as it is.

    Args:
        address: a cluster's (`HOST:6379`, `auto`); None starts one on this machine.
        workers: cores of the one that is started; all by default.

    Raises:
        RuntimeUnavailable: Ray is not installed, or no cluster answers.
    """
    ray = _import_ray()
    mine = not ray.is_initialized()
    if mine:
        _connect(ray, workers, address)
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


def _import_ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anybody
    try:
        import ray
    except ImportError as error:
        raise RuntimeUnavailable(
            "The engine `ray` needs Ray, which is not installed. Install it: pip install 'dsrfau-edge[ray]'"
        ) from error
    return ray


def _connect(ray: Any, workers: int | None, address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        ray.init(
            address="local",
            num_cpus=workers or os.cpu_count() or 1,
            object_store_memory=_MEMORY,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            **quiet,
        )
        return
    try:
        host, _, port = address.rpartition("://")[2].rpartition(":")
        if port.isdigit():  # Ray itself tries for minutes, and ends the process
            socket.create_connection((host, int(port)), timeout=5).close()
        ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise RuntimeUnavailable(
            f"No Ray cluster answers at {address} ({error}). Start one with `ray start --head`, or leave out "
            "--ray-address to use this machine."
        ) from error
