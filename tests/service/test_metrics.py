"""What `/metrics` and `/healthz` make of the service's state."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from dsrfau_edge.bench.host import Host
from dsrfau_edge.errors import RuntimeUnavailable
from dsrfau_edge.service.camera import CameraStats
from dsrfau_edge.service.health import STALE_AFTER, Snapshot, health, summary
from dsrfau_edge.service.histogram import BOUNDS, Histogram
from dsrfau_edge.service.metrics import metrics_page
from dsrfau_edge.service.outlet import OutletStats

FRONT = CameraStats(
    state="running", faces=2, age=0.05, fps=25.0, latency_ms=12.0, latency_p99_ms=30.0, frames=100, captured=110,
    dropped=9, corrupt=1, rejected=0, restarts=0, reconnects=3, abandoned=0, failures=0, restored=1, last_error=None,
)  # fmt: skip
LOST = replace(FRONT, state="reconnecting", faces=0, fps=None, age=20.0, last_error="gone")
SEND = OutletStats("ok", 90, 10, 2, 4, None)
WELL = Snapshot(60.0, {"front": FRONT}, {"send": SEND})


@pytest.fixture
def page(tmp_path):
    prometheus = pytest.importorskip("prometheus_client", reason="of the serve extra")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text("VmRSS:\t2048 kB\n")
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("CPU-therm\n")
    (zone / "temp").write_text("47500\n")

    def samples(snapshot, histogram=None):
        made, kind = metrics_page(lambda: snapshot, lambda: {"front": histogram or Histogram()}, Host(tmp_path))
        assert kind.startswith("text/plain")
        families = prometheus.parser.text_string_to_metric_families(made().decode())
        return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}

    import prometheus_client.parser  # noqa: F401

    return samples


def test_every_count_is_there(page):
    found = page(WELL)
    for name, value in {
        "frames_total": 100, "captured_total": 110, "dropped_total": 9, "corrupt_total": 1, "reconnects_total": 3,
        "rejected_total": 0, "restarts_total": 0, "abandoned_total": 0, "failures_total": 0,
        "up": 1, "faces": 2, "fps": 25, "last_frame_age_seconds": 0.05,
    }.items():  # fmt: skip
        assert found[f"dsrfau_camera_{name}", "front"] == value
    for name, value in {"written_total": 90, "dropped_total": 10, "errors_total": 2, "up": 1, "queued": 4}.items():
        assert found[f"dsrfau_output_{name}", "send"] == value
    assert found["dsrfau_resident_memory_bytes",] == 2048 * 1024
    assert found["dsrfau_temperature_celsius", "CPU-therm"] == 47.5
    assert found["dsrfau_uptime_seconds",] == 60.0


def test_what_is_not_known_is_not_there(page):
    found = page(Snapshot(1.0, {"front": replace(LOST, age=None)}, {}))
    assert found["dsrfau_camera_up", "front"] == 0
    assert not {name for name, *_ in found} & {"dsrfau_camera_fps", "dsrfau_camera_last_frame_age_seconds"}


def test_latencies_fall_into_buckets(page):
    histogram = Histogram()
    for seconds in (0.001, BOUNDS[0], 0.011, 99.0):
        histogram.add(seconds)
    found = page(WELL, histogram)
    assert found["dsrfau_latency_seconds_bucket", "front", "0.005"] == 2
    assert found["dsrfau_latency_seconds_bucket", "front", "0.02"] == 3
    assert found["dsrfau_latency_seconds_bucket", "front", "2.5"] == 3
    assert found["dsrfau_latency_seconds_bucket", "front", "+Inf"] == 4
    assert found["dsrfau_latency_seconds_count", "front"] == 4
    assert found["dsrfau_latency_seconds_sum", "front"] == pytest.approx(99.017)


def test_names_of_any_kind_stay_one_line(page):
    found = page(Snapshot(1.0, {'a"\n\\b': FRONT}, {}))
    assert found["dsrfau_camera_frames_total", 'a"\n\\b'] == 100


def test_without_the_package_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(RuntimeUnavailable, match=r"dsrfau-edge\[serve\]"):
        metrics_page(lambda: WELL, dict)


def test_all_is_well():
    well, told = health(WELL)
    assert well
    assert told["status"] == "ok"
    assert told["cameras"]["front"]["latency_ms"] == 12.0
    assert summary(WELL) == "1 of 1 cameras running"


@pytest.mark.parametrize(
    ("camera", "output", "words"),
    [
        (LOST, SEND, "camera front is reconnecting"),
        (replace(FRONT, state="connecting", age=None), SEND, "camera front is connecting"),
        (replace(FRONT, state="failed"), SEND, "camera front is failed"),
        (replace(FRONT, age=STALE_AFTER + 1), SEND, "camera front gives no results"),
        (FRONT, replace(SEND, state="failed"), "output send is failed"),
        (FRONT, replace(SEND, state="blocked"), "output send is blocked"),
        (FRONT, replace(SEND, state="retrying"), "output send is retrying"),
    ],
)
def test_every_trouble_has_its_word(camera, output, words):
    well, told = health(Snapshot(60.0, {"front": camera}, {"send": output}))
    assert not well
    assert told["troubles"] == [words]


def test_the_end_of_a_file_is_no_trouble():
    assert health(Snapshot(60.0, {"front": replace(FRONT, state="ended", age=500.0)}, {}))[0]


def test_systemd_is_told_how_many_run():
    shown = summary(Snapshot(1.0, {"a": FRONT, "b": LOST}, {"x": SEND, "y": replace(SEND, state="failed")}))
    assert shown == "1 of 2 cameras running, 1 of 2 outputs in trouble"
