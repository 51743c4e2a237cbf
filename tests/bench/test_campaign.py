"""Row after row, with a process that is made up."""

from __future__ import annotations

import numpy as np
import pytest

from dsrfau_edge.bench import report, vendor
from dsrfau_edge.bench.campaign import Campaign, Modes, labels
from dsrfau_edge.bench.candidates import Wanted
from dsrfau_edge.bench.fastest import fastest
from dsrfau_edge.bench.job import Job
from dsrfau_edge.bench.timing import figures
from dsrfau_edge.errors import InputError, RuntimeUnavailable, UsageError
from dsrfau_edge.runtimes.base import Availability

CALM = {"stable": True, "calls": 20, "windows": 2, "seconds": 0.2, "difference": 0.01}
#: Milliseconds and error of each candidate, and what it computes in.
SPEED = {
    "one fp32": (2.0, 0.0, "fp32"), "one fp32, native": (2.0, 0.0, "fp32"),
    "two fp32": (3.0, 0.0, "fp32"), "two fp32, native": (1.0, 0.02, "bf16"),
}  # fmt: skip


class Fake:
    formats = ("onnx",)

    def __init__(self, name):
        self.name = name

    def availability(self, device=None):
        return Availability(ok=True, version="1")


class Launch:
    """Answers jobs at once; `fail` raises for what it names."""

    def __init__(self, **fail):
        self.jobs, self.fail = [], fail

    def __call__(self, job):
        self.jobs.append((job.kind, job.what, job.threads))
        if job.kind == "reference":
            return {"intensities": np.zeros((64, 5)).tolist()}
        milliseconds, error, computed = SPEED[job.what]
        if job.kind in self.fail:
            raise self.fail[job.kind]
        info = {"computed": computed, "layers": {computed: 7}}
        if job.kind == "info":
            return info
        times = np.full(200, milliseconds * 1e6, np.int64)
        values = {
            "figures": figures(times, int(times.sum())).to_dict(),
            "warm_up": CALM,
            **info,
            "runtime_version": "1",
        }
        return {**values, "intensities": np.full((64, 5), error).tolist()}


def campaign(bundle, launch=None, modes=None, **wanted):
    known = {name: Fake(name) for name in ("one", "two")}
    return Campaign([bundle], Wanted(**wanted), modes or Modes(), Job("crops", "", ""), launch or Launch(), known)


def test_every_candidate_once_and_the_reference_once(opened_bundle):
    launch = Launch()
    made = campaign(opened_bundle, launch, threads=(1, 2))
    rows = list(made.run())
    assert [(row.runtime, row.model, row.threads) for row in rows] == [
        ("one", "fp32", 1), ("one", "fp32", 2),
        ("two", "fp32", 1), ("two", "fp32, native", 1), ("two", "fp32", 2), ("two", "fp32, native", 2),
    ]  # fmt: skip
    assert [kind for kind, _, _ in launch.jobs].count("reference") == 1
    assert [kind for kind, _, _ in launch.jobs].count("info") == 4  # not once more for the second thread count
    assert {(one.runtime, "either way" in one.reason) for one in made.impossible} == {("one fp32, native", True)}


def test_parity_hash_and_size_are_of_the_file_that_ran(opened_bundle):
    rows = list(campaign(opened_bundle).run())
    native = rows[-1]
    assert native.parity["mean"] == pytest.approx(0.02)
    assert native.parity["crops_from"] == "the bundle's own calibration crops"
    assert native.sha256 == opened_bundle.manifest.files["model.onnx"].sha256
    assert native.model_bytes == opened_bundle.model_path.stat().st_size
    assert "load_average" in native.before


def test_a_row_that_fails_does_not_take_the_others_with_it(opened_bundle):
    made = campaign(opened_bundle, Launch(frames=RuntimeUnavailable("it broke")), Modes(sources=("x",)))
    rows = list(made.run())
    assert [(row.kind, row.measured) for row in rows[:2]] == [("crops", True), ("frames", False)]
    assert rows[1].reason == "it broke"
    assert len(made.failed) == 3
    assert "not measured: it broke" in "\n".join(report.lines(rows[1]))


def test_bad_frames_end_everything(opened_bundle):
    made = campaign(opened_bundle, Launch(frames=InputError("no face")), Modes(sources=("x",)))
    with pytest.raises(InputError):
        list(made.run())
    assert len(made.rows) == 1


def test_an_interruption_leaves_what_was_measured(opened_bundle):
    launch = Launch()
    made = campaign(opened_bundle, launch)
    rows = made.run()
    next(rows)
    launch.fail = {"crops": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        next(rows)
    assert [row.runtime for row in made.rows] == ["one"]
    told = report.document(made, {"board": {}}, interrupted=True, extra={})
    assert (told["interrupted"], len(told["rows"])) == (True, 1)


def test_without_a_bare_loop_of_its_own_a_row_says_so(opened_bundle):
    rows = list(campaign(opened_bundle, modes=Modes(crops=False, bare=True)).run())
    assert all("No bare loop is written" in row.reason for row in rows)


def test_nothing_left_is_refused_with_what_there_is(opened_bundle):
    with pytest.raises(UsageError, match="tiny.dsrfau holds fp32"):
        list(campaign(opened_bundle, precisions=("int8",)).run())


def test_the_reader_is_told_what_makes_figures_worth_less(opened_bundle):
    launch = Launch()

    def busy(job):
        values = launch(job)
        if job.kind == "crops":
            values["warm_up"] = {**CALM, "stable": False, "difference": 0.3}
            values["figures"] = {**values["figures"], "calls": 60, "preemptions": 20}
        return values

    row = next(iter(campaign(opened_bundle, busy).run()))
    notes = "\n".join(row.notes)
    for text in ("Never became stable", "differed by 30%", "Only 60 calls", "took the processor away 20 times"):
        assert text in notes


def test_the_fastest_within_the_gate(opened_bundle):
    rows = list(campaign(opened_bundle, threads=(1, 2)).run())
    assert fastest(rows, 0.05, 1).model == "fp32, native"
    assert fastest(rows, 0.01, 1).runtime == "one"
    assert fastest(rows, 0.05, 4) is None


def test_labels_tell_folders_of_one_name_apart(opened_bundle, tmp_path):
    import shutil

    from dsrfau_edge.bundle import Bundle

    twins = [Bundle.open(shutil.copytree(opened_bundle.path, tmp_path / name / "x.dsrfau")) for name in ("a", "b")]
    assert list(labels([*twins, opened_bundle]).values()) == ["a/x.dsrfau", "b/x.dsrfau", "tiny.dsrfau"]


def test_benchmark_apps_output():
    printed = """[ INFO ] Build ................................. 2026.4.1-1234-abc
[ INFO ] Count:            915 iterations
[ INFO ] Latency:
[ INFO ]    Median:        2.07 ms
[ INFO ]    Average:       2.14 ms
[ INFO ]    Min:           1.90 ms
[ INFO ]    Max:           8.34 ms
[ INFO ] Throughput:   457.29 FPS
"""
    found = vendor.parse(printed)
    assert found == {"p50": 2.07, "mean": 2.14, "max": 8.34, "throughput": 457.29, "calls": 915}
    assert vendor._version(printed) == "2026.4.1"
    assert vendor.parse("nothing") == {}
    fast = vendor.parse("[ INFO ]    Median:        571.30 us\n[ INFO ]    Max:           2090.84 us\n")
    assert fast == pytest.approx({"p50": 0.5713, "max": 2.09084}), "what takes less than a millisecond is told in µs"


def test_benchmark_app_is_asked_as_our_own_calls_are_made(opened_bundle, tmp_path):
    files = opened_bundle.model_files()
    typed = vendor.command(tmp_path / "benchmark_app", files, Job("vendor", "", "openvino", threads=2, batch=4), 5.0)
    assert typed[1:] == [
        "-m", str(files.path), "-d", "CPU", "-hint", "none", "-nstreams", "1", "-api", "sync", "-shape", "[4,32,32,3]",
        "-t", "5", "-nthreads", "2", "-infer_precision", "f32",
    ]  # fmt: skip
    native = vendor.command(tmp_path, files, Job("vendor", "", "openvino", native=True, device="gpu:1"), 0.2)
    assert "-infer_precision" not in native
    assert native[native.index("-d") + 1] == "GPU.1"


def test_without_benchmark_app(opened_bundle, monkeypatch):
    monkeypatch.setattr(vendor, "tool", lambda: None)
    with pytest.raises(RuntimeUnavailable, match="pip install openvino"):
        vendor.run(opened_bundle.model_files(), Job("vendor", "", "openvino"), 1.0)


@pytest.mark.parametrize("script", ["raise SystemExit(1)", "print('[ ERROR ] it broke')"])
def test_a_benchmark_app_that_gives_no_time(opened_bundle, monkeypatch, tmp_path, script):
    import sys

    program = tmp_path / "benchmark_app"
    program.write_text(f"#!{sys.executable}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(vendor, "tool", lambda: program)
    with pytest.raises(RuntimeUnavailable, match="benchmark_app gave no time"):
        vendor.run(opened_bundle.model_files(), Job("vendor", "", "openvino"), 1.0)
