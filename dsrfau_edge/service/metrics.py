"""The service in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from dsrfau_edge import __version__
from dsrfau_edge.bench.host import Host, temperatures
from dsrfau_edge.bench.memory import resident_bytes
from dsrfau_edge.errors import RuntimeUnavailable

from .health import camera_well, output_well
from .histogram import BOUNDS

if TYPE_CHECKING:
    from .camera import CameraStats
    from .health import Snapshot
    from .histogram import Histogram

_CAMERA_COUNTS = {
    "frames": "Results given.",
    "captured": "Frames that came from the camera.",
    "dropped": "Frames passed over because a newer one had come.",
    "corrupt": "Frames that could not be decoded.",
    "rejected": "Frames without a usable time.",
    "restarts": "Times that the camera's clock went back.",
    "reconnects": "Times that the camera was opened again.",
    "abandoned": "Threads left behind in a driver that did not return.",
    "failures": "Errors after which the camera's stream was begun anew.",
}
_OUTPUT_COUNTS = {
    "written": "Results that the output took.",
    "dropped": "Results that the output did not get.",
    "errors": "Failures to open the output or to write to it.",
}


_CAMERA_GAUGES: dict[str, tuple[str, Callable[[CameraStats], float | None]]] = {
    "up": ("Whether the camera gives results.", lambda stats: float(camera_well(stats))),
    "faces": ("Faces in the newest result.", lambda stats: stats.faces),
    "fps": ("Results a second of late.", lambda stats: stats.fps),
    "last_frame_age_seconds": ("Since the newest result.", lambda stats: stats.age),
}


def metrics_page(
    snapshot: Callable[[], Snapshot], latencies: Callable[[], dict[str, Histogram]], host: Host | None = None
) -> tuple[Callable[[], bytes], str]:
    """What makes the page of `/metrics`, and its content type.

    Raises:
        RuntimeUnavailable: prometheus-client is not installed.
    """
    try:
        import prometheus_client
        from prometheus_client import core
    except ImportError as error:
        raise RuntimeUnavailable(
            "/metrics needs prometheus-client, which is not installed. Install it: pip install 'dsrfau-edge[serve]'."
        ) from error
    registry = prometheus_client.CollectorRegistry()
    registry.register(_Collector(core, snapshot, latencies, host or Host()))
    return lambda: bytes(prometheus_client.generate_latest(registry)), str(prometheus_client.CONTENT_TYPE_LATEST)


class _Collector:
    """Reads the counts when it is asked, so that nobody counts for a page that nobody reads."""

    def __init__(
        self, core: Any, snapshot: Callable[[], Snapshot], latencies: Callable[[], dict[str, Histogram]], host: Host
    ) -> None:
        self._counter, self._gauge = core.CounterMetricFamily, core.GaugeMetricFamily
        self._histogram = core.HistogramMetricFamily
        self._snapshot, self._latencies, self._host = snapshot, latencies, host

    def describe(self) -> list[Any]:
        return []  # or the registry would ask for all values once before the first page

    def collect(self) -> Iterator[Any]:
        now = self._snapshot()
        yield from self._cameras(now)
        yield self._latency()
        yield from self._outputs(now)
        yield from self._process(now)

    def _cameras(self, now: Snapshot) -> Iterator[Any]:
        for field, about in _CAMERA_COUNTS.items():
            family = self._counter(f"dsrfau_camera_{field}", about, labels=["camera"])
            for name, stats in now.cameras.items():
                family.add_metric([name], getattr(stats, field))
            yield family
        for field, (about, value) in _CAMERA_GAUGES.items():
            family = self._gauge(f"dsrfau_camera_{field}", about, labels=["camera"])
            for name, stats in now.cameras.items():
                if (known := value(stats)) is not None:
                    family.add_metric([name], known)
            yield family

    def _latency(self) -> Any:
        about = "From a frame's arrival to its result."
        family = self._histogram("dsrfau_latency_seconds", about, labels=["camera"])
        bounds = [*(str(bound) for bound in BOUNDS), "+Inf"]
        for name, histogram in self._latencies().items():
            counts, total = histogram.read()
            family.add_metric([name], list(zip(bounds, counts, strict=True)), total)
        return family

    def _outputs(self, now: Snapshot) -> Iterator[Any]:
        for field, about in _OUTPUT_COUNTS.items():
            family = self._counter(f"dsrfau_output_{field}", about, labels=["output"])
            for name, stats in now.outputs.items():
                family.add_metric([name], getattr(stats, field))
            yield family
        up = self._gauge("dsrfau_output_up", "Whether the output takes results.", labels=["output"])
        queued = self._gauge("dsrfau_output_queued", "Results that wait.", labels=["output"])
        for name, stats in now.outputs.items():
            up.add_metric([name], float(output_well(stats)))
            queued.add_metric([name], stats.queued)
        yield from (up, queued)

    def _process(self, now: Snapshot) -> Iterator[Any]:
        yield self._gauge("dsrfau_uptime_seconds", "Since the service's start.", now.uptime)
        if (memory := resident_bytes(self._host)) is not None:
            yield self._gauge("dsrfau_resident_memory_bytes", "Memory of the process.", memory)
        if descriptors := self._host.glob("proc/self/fd/*"):
            yield self._gauge("dsrfau_open_descriptors", "Open files and sockets.", len(descriptors))
        family = self._gauge("dsrfau_temperature_celsius", "Of the device.", labels=["sensor"])
        for sensor, value in temperatures(self._host).items():
            family.add_metric([sensor], value)
        yield family
        version = self._gauge("dsrfau_info", "What runs here.", labels=["version"])
        version.add_metric([__version__], 1)
        yield version
