"""The configuration file of a service: TOML, checked before anything is opened."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import Any

from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.following import StreamOptions
from dsrfau_edge.live.options import LiveOptions
from dsrfau_edge.signals.baseline import Baseline
from dsrfau_edge.signals.one_euro import OneEuro

from .outputs import check_output
from .settings import CameraSettings, OutputSettings, ServiceSettings, public_name
from .table import Table

PORT = 8095
_LARGEST = 1 << 20
_PREDICTOR: dict[str, type] = {
    "bundle": str, "runtime": str, "device": str, "precision": str, "detector_range": str,
    "max_faces": int, "threads": int, "native_precision": bool,
}  # fmt: skip


def read_config(path: Path) -> ServiceSettings:
    """The settings in a file.

    Raises:
        UsageError: the file cannot be read, is no TOML, or says something that makes no sense.
        DataError: a neutral baseline that it names cannot be read.
        RuntimeUnavailable: this Python has no reader of TOML.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from error
    if len(raw) > _LARGEST:
        raise UsageError(f"{path} is larger than a configuration can be. Check the path.")
    return settings_of(_parsed(raw, path), str(path))


def settings_of(values: Any, where: str) -> ServiceSettings:
    """The settings in a parsed file.

    Raises:
        UsageError, DataError: as `read_config`.
    """
    table = Table(values, where)
    cameras = tuple(_camera(one) for one in table.tables("camera"))
    outputs = tuple(_output(one) for one in table.tables("output"))
    predictor = Table(table.take("predictor", dict, {}), "[predictor]")
    options = {key: value for key, kind in _PREDICTOR.items() if (value := predictor.take(key, kind, None)) is not None}
    predictor.end()
    state, listen = table.take("state", str, None), table.take("listen", str, None)
    table.end()
    settings = ServiceSettings(
        cameras=cameras,
        outputs=outputs,
        predictor=options,
        state=Path(state) if state else None,
        listen=address_of(listen) if listen is not None else None,
    )
    for output in settings.outputs:
        check_output(output, settings)
    return settings


def address_of(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `HOST`, `PORT`, `[::1]:PORT`; this machine and our port where not given.

    Raises:
        UsageError: it is none of these.
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon:
        host, port = ("", port) if port.isdecimal() else (port, "")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (port and not port.isdecimal()) or (":" in host and not _is_ip(host)) or any(c.isspace() for c in host):
        raise UsageError(f"{text!r} is no address to listen at. Give HOST:PORT, such as 127.0.0.1:{PORT}.")
    number = int(port) if port else PORT
    if number > 65535:
        raise UsageError(f"{text!r}: there is no port {number}. Give one up to 65535; 0 takes any that is free.")
    return host or "127.0.0.1", number


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def stream_options(baseline: str | None, *, smooth: bool, table: Table | None = None) -> StreamOptions:
    """How faces are followed; `baseline` is `online`, `off` or a file.

    Raises:
        UsageError: a value makes no sense.
        DataError: the file is no baseline.
    """
    given: dict[str, Any] = {"smoothing": OneEuro() if smooth else None}
    if baseline is not None and baseline != "off":
        given["baseline"] = Baseline() if baseline == "online" else Baseline.from_file(baseline)
    if table is not None:
        for key, kind in (("detect_every", int), ("forget_after", float)):
            if (value := table.take(key, kind, None)) is not None:
                given[key] = value
    return StreamOptions(**given)


def _camera(table: Table) -> CameraSettings:
    source: str | int = table.take("source", (str, int))
    name = table.take("name", str, public_name(source))
    table.where = f"Camera {name}"
    stream = stream_options(
        table.take("baseline", str, None), smooth=table.take("smooth", bool, default=True), table=table
    )
    live: dict[str, Any] = {}
    for key in ("rate", "stall_after", "open_timeout", "longest_backoff"):
        if (value := table.take(key, float, None)) is not None:
            live[key] = value
    table.end()
    try:
        return CameraSettings(name=name, source=source, stream=stream, live=LiveOptions(wait=True, **live))
    except UsageError as error:
        raise UsageError(f"{table.where}: {error}") from error


def _output(table: Table) -> OutputSettings:
    kind = table.take("kind", str)
    name = table.take("name", str, kind)
    table.where = f"Output {name}"
    found = OutputSettings(
        name=name,
        kind=kind,
        to=table.take("to", str, ""),
        cameras=table.texts("cameras"),
        queue=table.take("queue", int, 64),
        images=table.take("images", bool, default=False),
        domain=table.take("domain", int, None),
        interface=table.take("interface", str, None),
        connect=table.texts("connect") or (),
    )
    table.end()
    return found


def _parsed(raw: bytes, path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError as error:
            raise RuntimeUnavailable(
                "Python 3.10 reads TOML with tomli, which is not installed. Install it: pip install "
                "'dsrfau-edge[serve]'."
            ) from error
    try:
        parsed: dict[str, Any] = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}.") from error
    return parsed
