"""`dsrfau-eval` on a checkpoint and on a bundle."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from toy_data import write_toy

from dsrfau_edge.bundle import write_bundle
from dsrfau_edge.cli.eval import command
from dsrfau_edge.errors import DsrfauError
from dsrfau_edge.manifest import Manifest


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, toy):
    pytest.importorskip("lightning", reason="training needs the train extra")
    from dsrfau_edge.train.data.prepared import load_prepared
    from dsrfau_edge.train.recipes import load_recipe
    from dsrfau_edge.train.run import RunOptions, train_role

    folder = tmp_path_factory.mktemp("trained")
    train_role("student", load_prepared([toy]), load_recipe("tiny"), RunOptions(folder))
    return folder / "student"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, checkpoint):
    description = json.loads((checkpoint / "checkpoint.json").read_text())
    manifest = Manifest(
        name="student", created="2026-01-01T00:00:00+00:00", target="onnx", precision="fp32",
        aus=tuple(description["aus"]), sites=tuple(description["sites"]), input_size=64, batch="dynamic",
        template=_template(), heatmap=description["heatmap"], model="model.onnx", portable="model.onnx",
        training=description["training"],
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("bundles") / "student.dsrfau"
    return write_bundle(folder, manifest, {"model.onnx": checkpoint / "model.onnx"}).path


def _template():
    from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE

    return DEFAULT_TEMPLATE.to_dict()


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_checkpoint_scores_as_at_the_end_of_its_training(checkpoint, toy):
    result = run(checkpoint, "--data", toy, "--json", "--runtime", "onnxruntime", "--threads", 1)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    recorded = json.loads((checkpoint / "checkpoint.json").read_text())["metrics"]["held_out"]
    assert report["samples"] == recorded["samples"]
    assert report["mean"]["mae"] == pytest.approx(recorded["mean"]["mae"], abs=2e-4)


def test_a_bundle_scores_like_its_checkpoint(checkpoint, bundle, toy):
    reports = [json.loads(run(path, "--data", toy, "--json").stdout) for path in (checkpoint, bundle)]
    assert reports[0]["per_au"] == reports[1]["per_au"]


def test_splits_and_the_table(bundle, toy):
    sizes = {
        split: json.loads(run(bundle, "--data", toy, "--split", split, "--json").stdout)["samples"]
        for split in ("train", "held-out", "all")
    }
    assert sizes["train"] + sizes["held-out"] == sizes["all"] == 32
    table = run(bundle, "--data", toy).stdout
    assert "| AU12     |" in table
    assert "split held-out" in table


def test_no_torch_is_loaded(bundle, toy):
    code = (
        "import sys; from dsrfau_edge.cli.eval import command\n"
        f"command([{str(bundle)!r}, '--data', {str(toy)!r}], standalone_mode=False)\n"
        "assert not {'torch', 'lightning', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("model", "message"),
    [("missing", "does not exist"), ("other", "takes crops of 32 px, the data holds 64 px")],
)
def test_refusals(tmp_path, tiny_bundle, toy, model, message):
    path = tiny_bundle if model == "other" else tmp_path / model
    result = run(path, "--data", toy)
    assert isinstance(result.exception, DsrfauError)
    assert result.exception.exit_code == 5
    assert message in str(result.exception)


def test_torch_runs_a_checkpoint(checkpoint, toy):
    reports = [json.loads(run(checkpoint, "--data", toy, "--runtime", name, "--bootstrap", 0, "--json").stdout)
               for name in ("onnxruntime", "torch")]  # fmt: skip
    assert [report["runtime"] for report in reports] == ["onnxruntime", "torch"]
    assert reports[1]["mean"]["mae"] == pytest.approx(reports[0]["mean"]["mae"], abs=1.1e-4)


def test_torch_runs_no_bundle(bundle, toy):
    result = run(bundle, "--data", toy, "--runtime", "torch")
    assert result.exception.exit_code == 2
    assert "runs a checkpoint's own network" in str(result.exception)


def test_intervals_groups_nuisances_and_sides(bundle, toy):
    arguments = ["--data", toy, "--split", "all", "--bootstrap", 50, "--by", "rig,tone", "--by", "rig",
                 "--nuisance", "grey"]  # fmt: skip
    report = json.loads(run(bundle, *arguments, "--json").stdout)
    row = report["per_au"]["AU12"]
    assert row["intervals"]["mae"][0] <= row["mae"] <= row["intervals"]["mae"][1]
    assert set(report["per_site"]) == {"AU12_left", "AU12_right", "AU25"}
    assert report["groups"]["rig"]["unknown"] == 32
    assert set(report["groups"]) == {"rig", "tone"}
    assert report["nuisances"]["grey"]["samples"] == 32
    assert report["bootstrap"]["resamples"] == 50
    table = run(bundle, *arguments, "--sides")
    assert "| AU12_left" in table.stdout
    assert "| grey " in table.stdout
    assert "another alignment" in table.stderr


def test_a_report_is_written_and_its_files_named(bundle, toy, tmp_path):
    pytest.importorskip("matplotlib", reason="the charts need the synth extra")
    result = run(bundle, "--data", toy, "--bootstrap", 0, "--report", tmp_path / "report", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == json.loads(result.stdout)
    assert str(tmp_path / "report" / "report.md") in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--by", "shoes"], 2, "no groups by 'shoes'"),
        (["--nuisance", "fog"], 2, "no nuisance 'fog'"),
        (["--protocol", "mine"], 2, "Unknown protocol"),
        (["--protocol", "disfa-0"], 5, "No sample of this data is of the kind 'disfa'"),
        (["--runtime", "abacus"], 2, "Unknown runtime"),
        (["--report", __file__], 2, "is a file"),
        (["--data", "nowhere"], 5, "holds no index.json"),
    ],
)
def test_wrong_options(bundle, toy, arguments, code, message):
    result = run(bundle, "--data", toy, *arguments)
    assert isinstance(result.exception, DsrfauError)
    assert result.exception.exit_code == code
    assert message in str(result.exception)


def test_the_same_model_twice_is_refused(bundle, toy):
    result = run(bundle, bundle, "--data", toy)
    assert result.exception.exit_code == 2


def test_no_model_and_negative_resamples_are_usage(toy, bundle):
    assert run("--data", toy).exit_code == 2
    assert run(bundle, "--data", toy, "--bootstrap", -1).exit_code == 2
