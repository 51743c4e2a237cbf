"""`dsrfau-train qat` from the command line: what it prints, and what it refuses with which exit code."""

from __future__ import annotations

import json

import numpy as np
import pytest
from calling import call
from toy_data import write_toy

torch = pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("lightning", reason="training needs the train extra")

from dsrfau_edge.cli import qat as module  # noqa: E402
from dsrfau_edge.train.checkpoint import load_network, save_checkpoint  # noqa: E402
from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402
from dsrfau_edge.train.networks.heatmap import HeatmapNetwork  # noqa: E402
from dsrfau_edge.train.quantization.scheme import SCHEMES  # noqa: E402
from dsrfau_edge.train.recipes import load_recipe  # noqa: E402


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def student(tmp_path_factory, toy):
    """A checkpoint that predicts something, and says that the recipe `tiny` made it."""
    folder, data, recipe = tmp_path_factory.mktemp("trained") / "student", load_prepared([toy]), load_recipe("tiny")
    torch.manual_seed(0)
    network = HeatmapNetwork(recipe.student.network, len(data.index.sites))
    torch.nn.init.normal_(network.head.weight, std=0.3)
    with torch.no_grad():
        network.train()(torch.from_numpy(np.stack([data.frame(position)[0] for position in range(16)])))
    training = {"role": "student", "recipe": recipe.to_dict()}
    positions = data.split("train", **recipe.data.split_options())
    save_checkpoint(folder, network.eval(), data, calibration=positions, training=training, metrics={})
    return folder


def test_it_says_what_int8_costs_and_what_to_type_next(tmp_path, toy, student):
    told = call(
        "train", "qat", student, "--data", toy, "--no-teacher", "-o", tmp_path, "--scheme", "s8s8", "--limit", 30
    )
    assert told.code == 0, told.err
    before, equalized, after, written, following = told.out.splitlines()
    for when, line in (("before", before), ("equalized", equalized), ("after", after)):
        assert line.startswith(f"int8 (s8s8, simulated) {when}: mean ICC ")
        assert "mean |ΔAU| 0." in line
    assert str(tmp_path / "student") in written
    assert following == f"Next: dsrfau-export {tmp_path / 'student'} --target tensorrt --int8 -o {tmp_path / 'bundles'}"
    assert "recipe 'tiny', scheme s8s8" in told.err, "the checkpoint's own recipe"
    assert load_network(tmp_path / "student")[1].data["sets"][0]["samples"] == 30


def test_json_epochs_and_settings(tmp_path, toy, student):
    told = call(
        "train", "qat", student, "--data", toy, "--teacher", student, "-o", tmp_path, "--recipe", "tiny",
        "--set", "qat.batch=8", "--epochs", 2, "--seed", 3, "--json",
    )  # fmt: skip
    assert told.code == 0, told.err
    training = json.loads(told.out)["training"]
    assert training["epochs"] == 2
    assert training["seed"] == 3
    assert training["quantization"]["batch"] == 8
    assert training["quantization"]["scheme"] == "u8s8"
    assert training["teacher"] == training["init"]


def test_schemes_are_those_that_there_are():
    assert tuple(SCHEMES) == module.SCHEMES


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "--no-teacher"),
        (("--teacher", "nowhere", "--no-teacher"), 2, "one of the two"),
        (("--no-teacher", "--scheme", "s4s4"), 2, "s4s4"),
        (("--no-teacher", "--epochs", "0"), 2, "0"),
        (("--no-teacher", "--limit", "0"), 2, "0"),
        (("--no-teacher", "--device", "banana"), 2, "banana"),
        (("--no-teacher", "--set", "qat.every=0"), 2, "qat.every"),
        (("--no-teacher", "--set", "qat.rate=1"), 2, "rate"),
        (("--no-teacher", "--set", "qat.batch=many"), 2, "wrong kind"),
        (("--no-teacher", "--recipe", "nonsense"), 2, "neither a recipe"),
        (("--teacher", "nowhere"), 5, "not a checkpoint"),
    ],
)
def test_options_that_make_no_sense(tmp_path, toy, student, arguments, code, message):
    told = call("train", "qat", student, "--data", toy, "-o", tmp_path / "out", *arguments)
    assert told.code == code
    assert message in told.err
    assert not (tmp_path / "out" / "student").exists()


def test_what_cannot_be_started_from_is_said_before_the_data_is_read(tmp_path, tiny_bundle):
    for folder, message in (
        (tiny_bundle, "is a bundle"),
        (tmp_path, "not a checkpoint"),
        ("nowhere", "not a checkpoint"),
    ):
        told = call("train", "qat", folder, "--data", "nowhere", "--no-teacher", "-o", tmp_path / "out")
        assert told.code == 5
        assert message in told.err


def test_data_and_folders_that_cannot_be(tmp_path, toy, student):
    told = call("train", "qat", student, "--data", tmp_path, "--no-teacher", "-o", tmp_path / "out")
    assert (told.code, "not prepared data" in told.err) == (5, True)
    photo = tmp_path / "album" / "student" / "photo.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"a photo")
    told = call("train", "qat", student, "--data", toy, "--no-teacher", "-o", tmp_path / "album", "--fresh")
    assert (told.code, "not training's to replace" in told.err) == (2, True)
    assert photo.read_bytes() == b"a photo"
    told = call("train", "qat", student, "--data", toy, "--no-teacher", "-o", student.parent, "--fresh")
    assert (told.code, "starts from" in told.err) == (2, True)
