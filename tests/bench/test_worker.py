"""What one process measures, and how its end reaches the command."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest

from dsrfau_edge.bench import child, worker
from dsrfau_edge.bench.bare import overhead
from dsrfau_edge.bench.inputs import PORTRAIT
from dsrfau_edge.bench.job import Job, Row
from dsrfau_edge.bench.timing import Series, Span, WarmUpRule
from dsrfau_edge.errors import InputError, RuntimeUnavailable

QUICK = {"span": Span(6, None, least=1), "rule": WarmUpRule(calls=2, seconds=0, limit=0.5), "power_seconds": 0.01}


@pytest.fixture
def job(tiny_bundle, tiny_crops, tmp_path):
    np.save(tmp_path / "crops.npy", tiny_crops)
    return Job("crops", str(tiny_bundle), "onnxruntime", crops=str(tmp_path / "crops.npy"), threads=1, **QUICK)


def test_the_model_alone(job):
    found = worker.measure_crops(replace(job, batch=3))
    assert found["figures"]["calls"] == 6
    assert found["figures"]["p50"] <= found["figures"]["p90"] <= found["figures"]["p99"] <= found["figures"]["max"]
    assert min(found["load_ms"], found["first_ms"]) > 0
    assert (found["computed"], found["layers"]) == ("fp32", {"fp32": found["layers"]["fp32"]})
    assert np.shape(found["intensities"]) == (8, 5)
    assert np.allclose(found["intensities"], worker.reference(job)["intensities"], atol=1e-5)
    if sys.platform == "linux":
        assert found["memory"]["peak_bytes"] >= found["memory"]["base_bytes"] > 1e6
    assert found["power"]["watts"] is None or found["power"]["watts"] > 0
    json.dumps(Row.of(job, **{key: value for key, value in found.items() if key != "intensities"}).to_dict())


def test_whole_frames(job):
    found = worker.measure_frames(replace(job, kind="frames", sources=(str(PORTRAIT),)))
    assert found["frames"]["faces"] == 1
    assert list(found["stages"]) == ["detect", "landmarks", "align", "infer", "assemble", "rest"]
    parts = sum(stage["mean"] for stage in found["stages"].values())
    assert parts == pytest.approx(found["figures"]["mean"], rel=0.02)
    assert np.shape(found["intensities"]) == (8, 5)


def test_a_stream_lets_the_detector_rest(job):
    found = worker.measure_frames(replace(job, kind="frames", stream=True, sources=(str(PORTRAIT),)))
    assert found["frames"]["faces"] == 1
    assert found["frames"]["stream"]
    assert found["stages"]["detect"]["p50"] == 0 < found["stages"]["landmarks"]["p50"]


def test_frames_without_a_face(job, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "wall.png"), np.full((64, 64, 3), 90, np.uint8))
    with pytest.raises(InputError, match="No face"):
        worker.measure_frames(replace(job, kind="frames", sources=(str(tmp_path / "wall.png"),)))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_in_turn_with_the_bare_loop(job, runtime):
    pytest.importorskip(runtime)
    found = worker.measure_bare(replace(job, kind="bare", runtime=runtime))
    assert found["overhead"]["pairs"] == found["figures"]["calls"] == 6
    assert {"percent", "interval", "p90_percent", "cpu_percent", "microseconds"} <= set(found["overhead"])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_bare_loop_computes_the_same(job, runtime):
    pytest.importorskip(runtime)
    from dsrfau_edge.bench.bare import bare_call
    from dsrfau_edge.runtimes.base import SessionOptions

    crops = np.load(job.crops)[:1]
    call = bare_call(worker.files_of(job), runtime, None, SessionOptions(threads=1))
    got = call(crops)
    assert np.allclose(got, worker.reference(job)["intensities"][:1], atol=1e-4)


def test_overhead_by_hand():
    bare = np.array([100, 200, 300, 400, 500]) * 1000
    found = overhead(Series(bare * 2, bare * 3), Series(bare, bare))
    assert (found["percent"], found["p90_percent"], found["cpu_percent"]) == (100, 100, 200)
    assert (found["microseconds"], found["pairs"]) == (300, 5)
    low, high = found["interval"]
    assert low <= 100 <= high


def test_a_session_that_does_not_say_what_it_runs_on(job):
    class Mute:
        @property
        def info(self):
            raise AttributeError("info")

    assert "does not say what it runs on" in worker._told(Mute(), job)["notes"][0]


def test_the_process_passes_on_what_it_found_and_errors_of_ours(job, tmp_path):
    found = child.launch(replace(job, kind="info"))
    assert found["computed"] == "fp32"
    with pytest.raises(InputError, match="There is no file"):
        child.launch(replace(job, kind="frames", sources=(str(tmp_path / "absent.png"),)))


def test_a_process_that_crashes(job):
    script = "import os, signal, sys; sys.stderr.write('the library says why'); sys.stderr.flush(); "
    with pytest.raises(RuntimeUnavailable, match="SIGABRT: the library says why"):
        child.launch(job, worker=(sys.executable, "-c", script + "os.kill(os.getpid(), signal.SIGABRT)"))
    with pytest.raises(RuntimeUnavailable, match="SIGKILL .most often for want of memory"):
        child.launch(job, worker=(sys.executable, "-c", script + "os.kill(os.getpid(), signal.SIGKILL)"))
    with pytest.raises(RuntimeUnavailable, match="ended with code 0"):  # with half an answer
        child.launch(job, worker=(sys.executable, "-c", "import sys; open(sys.argv[2], 'w').write('{')"))
    with pytest.raises(RuntimeUnavailable, match="ended with code 3"):
        child.launch(job, worker=(sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(KeyboardInterrupt):
        child.launch(job, worker=(sys.executable, "-c", "raise SystemExit(130)"))


def test_a_process_that_hangs_is_ended(job, tmp_path):
    mark = tmp_path / "pid"
    script = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    with pytest.raises(RuntimeUnavailable, match="--timeout"):
        child.launch(job, timeout=4.0, worker=(sys.executable, "-c", script))
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), signal.SIGCONT)


def test_a_job_survives_its_journey(job):
    told = json.loads(json.dumps(replace(job, sources=("a", "b"), native=True).to_dict()))
    assert Job.from_dict(told) == replace(job, sources=("a", "b"), native=True)
