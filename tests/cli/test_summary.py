"""`dsrfau-train summary`: the table, its ratios, its JSON."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("lightning", reason="training needs the train extra")

from dsrfau_edge.cli.train import command  # noqa: E402
from dsrfau_edge.errors import UsageError  # noqa: E402

TINY = ("--recipe", "tiny", "--size", 64, "--sites", 3)


def run(*arguments):
    return CliRunner().invoke(command, ["summary", *map(str, arguments)])


@pytest.fixture(scope="module")
def report():
    result = run(*TINY, "--runs", 3, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_everything_is_told_of_both_networks(report):
    assert (report["recipe"], report["input_size"], report["sites"]) == ("tiny", 64, 3)
    for role, upsampler in (("teacher", "deconv"), ("student", "separable")):
        costs = report[role]
        assert (costs["backbone"], costs["upsampler"]) == ("tiny", upsampler)
        assert costs["activations_peak_int8"] < costs["activations_peak_fp32"] < costs["activations_total_fp32"]
        assert costs["activations_total_int8"] < costs["activations_total_fp32"]
        assert costs["milliseconds"] == costs["latency"]["milliseconds"] > 0
        assert costs["latency"]["runs"] == 3


def test_ratios_are_of_teacher_to_student(report):
    names = {"parameters", "macs", "milliseconds"}
    names |= {f"activations_{kind}_{precision}" for kind in ("peak", "total") for precision in ("fp32", "int8")}
    assert set(report["ratios"]) == names
    for name, ratio in report["ratios"].items():
        assert ratio == pytest.approx(report["teacher"][name] / report["student"][name], abs=1e-3)
    assert report["ratios"]["macs"] > 1


def test_the_reference_pair_without_timing():
    result = run("--recipe", "reference", "--size", 256, "--sites", 10, "--no-latency")
    assert result.exit_code == 0, result.output
    lines = {line[:24].strip(): line[24:].split() for line in result.stdout.splitlines()}
    assert lines["weights"] == ["34.00", "M", "15.37", "M", "2.21"]
    assert lines["MACs"] == ["7227.8", "M", "3855.6", "M", "1.87"]
    assert lines["backbone"] == ["resnet50", "resnet18"]
    assert "time" not in lines
    assert "Time:" not in result.stdout
    for convention in ("kernel × input positions", "norms folded", "Heatmaps are float32"):
        assert convention in result.stdout


def test_the_table_is_timed_unless_told_otherwise():
    result = run(*TINY, "--runs", 2)
    assert result.exit_code == 0, result.output
    assert "Time: median of 2 runs, onnxruntime" in result.stdout
    (time,) = [line.split() for line in result.stdout.splitlines() if line.startswith("time ")]
    assert [word for word in time if word == "ms"] == ["ms", "ms"]


def test_a_recipe_file_and_settings(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[student.network]\nbackbone = "tiny"\npretrained = false\n[student]\nfrozen_stages = 0\n')
    settings = ("teacher.network.backbone=tiny", "teacher.network.pretrained=false", "teacher.frozen_stages=0")
    chosen = [part for setting in settings for part in ("--set", setting)]
    result = run("--recipe", file, *chosen, "--size", 64, "--no-latency", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["recipe"] == "mine"
    assert report["teacher"]["parameters"] == report["student"]["parameters"], "the same network twice"
    assert set(report["ratios"].values()) == {1.0}
    assert "latency" not in report["student"]


def test_sizes_that_no_network_takes():
    error = run("--size", 100).exception
    assert isinstance(error, UsageError)
    assert "multiples of 32" in str(error)
