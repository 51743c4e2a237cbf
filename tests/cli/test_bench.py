"""`dsrfau-bench` as it is typed: real rows on a tiny network, each in a process of its own."""

from __future__ import annotations

import json
import shutil

import pytest
from calling import call

from dsrfau_edge import Predictor
from dsrfau_edge.bench import child
from dsrfau_edge.runtimes import measured
from dsrfau_edge.runtimes.registry import runtimes

QUICK = ("--iterations", 5, "--threads", 1)
ONE = ("--runtime", "onnxruntime", "--precision", "fp32", *QUICK)


@pytest.fixture(scope="module")
def base(tiny_bundle, tmp_path_factory):
    """One row, as JSON and as Markdown."""
    folder = tmp_path_factory.mktemp("base")
    done = call("bench", tiny_bundle, *ONE, "-o", folder / "base.json", "--markdown", folder / "base.md")
    assert done.code == 0, done.err
    return folder / "base.json", folder / "base.md", done


def test_every_runtime_and_precision_that_runs_here(tiny_bundle):
    done = call("bench", tiny_bundle, *QUICK, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    rows = {(row["runtime"], row["native"]): row for row in told["rows"]}
    assert rows["onnxruntime", False]["parity"]["max"] == 0
    for row in rows.values():
        assert row["figures"]["calls"] == 5
        assert row["parity"]["crops"] == 64
        assert row["computed"] in ("fp32", "bf16")
        assert row["power"]["watts"] is not None or row["power"]["text"].startswith("not measured: ")
    if runtimes()["openvino"].availability().ok:
        assert rows["openvino", False]["computed"] == "fp32"
    listed = {row["runtime"] for row in told["rows"]} | {one["runtime"].split()[0] for one in told["not_measured"]}
    assert listed >= {"onnxruntime", "openvino", "tensorrt"}
    assert all(one["reason"] for one in told["not_measured"])


def test_the_report(base):
    path, markdown, done = base
    told = json.loads(path.read_text())
    (row,) = told["rows"]
    assert (told["schema"], told["tool"], told["interrupted"]) == (1, "dsrfau-bench", False)
    assert {"environment", "settings", "definitions", "command", "date", "not_measured"} <= set(told)
    assert {"cpu", "cores", "governor", "packages", "board"} <= set(told["environment"])
    assert len(row["sha256"]) == 64
    text = markdown.read_text()
    assert "| bundle | what | runtime |" in text
    assert "p90 is the headline" in text
    lines = done.out.splitlines()
    assert lines[0] == "tiny.dsrfau"
    assert "p90 ms" in lines[1]
    assert lines[2].split()[:5] == ["crops", "onnxruntime", "fp32", "fp32", "1"]
    assert f"written: {path}" in done.out
    assert done.err == ""


def test_frames_and_the_bare_loop(tiny_bundle):
    done = call("bench", tiny_bundle, *ONE, "--end-to-end", "--bare")
    assert done.code == 0, done.err
    assert "frames of portrait.jpg (1), 512x512 pixels, 1 faces a frame on average" in done.out
    assert "Predictor.predict_crops, in turn with it" in done.out
    assert not [line for line in done.out.splitlines() if line.startswith("crops")]  # only where --crops is given


def test_a_slower_run_ends_in_exit_code_4(tiny_bundle, base, tmp_path):
    told = json.loads(base[0].read_text())
    told["rows"][0]["figures"]["p90"] /= 1000
    fast = tmp_path / "fast.json"
    fast.write_text(json.dumps(told))
    done = call("bench", tiny_bundle, *ONE, "--compare", fast, "-o", tmp_path / "now.json")
    assert done.code == 4
    assert "Slower than --max-regression 10% allows: tiny.dsrfau, crops, onnxruntime fp32, 1 thread" in done.err
    assert "REGRESSED" in done.out
    assert json.loads((tmp_path / "now.json").read_text())["comparison"]["changes"][0]["regressed"]
    done = call("bench", tiny_bundle, *ONE, "--compare", fast, "--max-regression", "99999999%")
    assert (done.code, "within the limit" in done.out) == (0, True)


def test_other_devices_and_settings_are_not_compared(tiny_bundle, base, tmp_path):
    told = json.loads(base[0].read_text())
    told["environment"]["cpu"] = "Another"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(told))
    done = call("bench", tiny_bundle, *ONE, "--compare", other)
    assert (done.code, "CPU: Another then" in done.err, done.out) == (2, True, "")  # before anything is measured
    done = call("bench", tiny_bundle, *ONE[:-1], 2, "--compare", base[0])
    assert (done.code, "threads: 1 then, 2 now" in done.err) == (2, True)
    assert "p90 ms" in done.out  # what was measured is shown all the same


def test_the_fastest_is_remembered_and_then_chosen(tiny_bundle):
    from dsrfau_edge.bundle import Bundle

    files = Bundle.open(tiny_bundle).model_files()
    try:
        done = call("bench", tiny_bundle, "--runtime", "onnxruntime", "--iterations", 3, "--remember")
        assert done.code == 0, done.err
        assert "Predictor runs tiny.dsrfau as onnxruntime fp32 from now on" in done.err
        with Predictor(tiny_bundle) as predictor:
            assert "measured to be the fastest here" in predictor.selection.reason
    finally:
        measured.forget(files)


def test_nothing_within_the_gate_is_not_remembered(tiny_bundle, monkeypatch):
    from dsrfau_edge.bundle import Bundle

    launch = child.launch

    def off(job, **options):
        values = launch(job, **options)
        if job.kind == "reference":
            values["intensities"] = [[min(value + 1, 5) for value in row] for row in values["intensities"]]
        return values

    monkeypatch.setattr(child, "launch", off)
    done = call("bench", tiny_bundle, *ONE, "--remember")
    assert (done.code, "--max-difference 0.05" in done.err) == (4, True)
    assert measured.recall(Bundle.open(tiny_bundle).model_files()) is None


def test_an_interruption_reports_what_there_is(tiny_bundle, tmp_path, monkeypatch):
    launch, jobs = child.launch, []

    def once(job, **options):
        jobs.append(job.kind)
        if jobs.count("crops") > 1:
            raise KeyboardInterrupt
        return launch(job, **options)

    monkeypatch.setattr(child, "launch", once)
    path = tmp_path / "part.json"
    done = call("bench", tiny_bundle, "--runtime", "onnxruntime", "--precision", "fp32", "--iterations", 3,
                "--threads", 1, "--threads", 2, "-o", path)  # fmt: skip
    assert (done.code, "interrupted" in done.err) == (130, True)
    told = json.loads(path.read_text())
    assert (told["interrupted"], [row["threads"] for row in told["rows"]]) == (True, [1])
    assert "p90 ms" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["--runtime", "tflite"], 2, "Unknown runtime"),
        (["--threads", 0], 2, "--threads"),
        (["--threads", "two"], 2, "--threads"),
        (["--batch", 0], 2, "--batch"),
        (["--batch", 2, "--end-to-end"], 2, "--batch needs --crops"),
        (["--iterations", 0], 2, "--iterations"),
        (["--seconds", 0], 2, "--seconds"),
        (["--seconds", "nan"], 2, "--seconds"),
        (["--frames", 3], 2, "--frames needs"),
        (["--stream"], 2, "--stream needs"),
        (["--precision", "int4"], 2, "--precision"),
        (["--precision", "int8"], 2, "holds fp32"),
        (["--max-regression", "5%"], 2, "--compare"),
        (["--figure", "p99"], 2, "--compare"),
        (["--remember", "--device", "cpu"], 2, "--device"),
        (["--remember", "--batch", 2], 2, "--batch 1"),
        (["--remember", "--end-to-end"], 2, "--crops"),
        (["--max-difference", "nan"], 2, "--max-difference"),
        (["--max-difference", -1], 2, "--max-difference"),
        (["--timeout", 0], 2, "--timeout"),
        (["--baseline", "jax"], 2, "--baseline"),
        (["--baseline", "torch"], 2, "checkpoint"),
        (["--vendor-tool", "--runtime", "onnxruntime"], 2, "--runtime openvino"),
        (["-o", "/no/such/folder/x.json"], 2, "cannot be written"),
        (["--json", "-o", "-"], 2, "stdout"),
        (["-o", "x.json", "--markdown", "x.json"], 2, "same file"),
        (["-o", "x.json", "--compare", "x.json"], 2, "replace"),
        (["--compare", "absent.json"], 5, "absent.json"),
        (["--image", "absent.jpg"], 5, "absent.jpg"),
        (["--device", "toaster", "--runtime", "onnxruntime"], 3, "toaster"),
    ],
)  # fmt: skip
def test_bad_options(tiny_bundle, tmp_path, monkeypatch, arguments, code, named):
    monkeypatch.chdir(tmp_path)
    done = call("bench", tiny_bundle, *arguments)
    assert (done.code, named in done.err) == (code, True), done.err
    assert not (tmp_path / "x.json").exists()


def test_a_share_that_is_none(tiny_bundle, base):
    done = call("bench", tiny_bundle, *ONE, "--compare", base[0], "--max-regression", "ten")
    assert (done.code, "ten" in done.err) == (2, True)


def test_a_named_runtime_that_is_not_here(tiny_bundle):
    if runtimes()["tensorrt"].availability().ok:
        pytest.skip("TensorRT can be used here")
    done = call("bench", tiny_bundle, "--runtime", "tensorrt")
    assert (done.code, "cannot be measured here" in done.err) == (3, True)


def test_a_damaged_bundle_is_refused(tiny_bundle, tmp_path):
    copy = shutil.copytree(tiny_bundle, tmp_path / "copy.dsrfau")
    (copy / "model.onnx").write_bytes(b"damaged")
    done = call("bench", copy)
    assert (done.code, "corrupt" in done.err) == (5, True)
    assert call("bench", tmp_path / "absent").code == 5
