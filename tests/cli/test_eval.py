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
    assert "| AU12 |" in table
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
    [("missing", "does not exist"), ("other", "does not predict|takes crops of")],
)
def test_refusals(tmp_path, tiny_bundle, toy, model, message):
    path = tiny_bundle if model == "other" else tmp_path / model
    result = run(path, "--data", toy)
    assert isinstance(result.exception, DsrfauError)
    assert result.exception.exit_code == 5
    import re

    assert re.search(message, str(result.exception))
