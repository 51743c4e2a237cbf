"""`dsrfau-train confidence` fits, stores and reports; what it stores travels with the model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from portrait_data import write_portraits

from dsrfau_edge import Predictor
from dsrfau_edge.bundle import Bundle, find_bundle, store_confidence
from dsrfau_edge.cli.confidence import command
from dsrfau_edge.cli.inspection import inspect
from dsrfau_edge.errors import BundleError, DataError, InputError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_portraits(tmp_path_factory.mktemp("portraits"))


@pytest.fixture
def mine(tmp_path):
    folder = Path(shutil.copytree(find_bundle("dsrfau-nano"), tmp_path / "mine.dsrfau"))
    store_confidence(folder, {})
    return folder


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def test_it_fits_and_stores(mine, data, tmp_path):
    before = Bundle.open(mine).manifest
    found = run(mine, "--data", data, "--split", "all", "--views", 3, "--runtime", "onnxruntime", "--json")
    assert found.exit_code == 0
    report = json.loads(found.stdout)
    assert report["faces"] + report["missed"] == 3 * 160
    assert report["after"]["all"]["ece"] < report["before"]["all"]["ece"]
    manifest = Bundle.open(mine).manifest  # every checksum still right
    assert manifest.files == before.files
    assert manifest.confidence["about"]["identities"] < 24
    assert manifest.confidence["about"]["data"][0]["kind"] == "toy"
    assert "fitted" in CliRunner().invoke(inspect, [str(mine)]).output
    with Predictor(mine, runtime="onnxruntime") as predictor:
        assert predictor.confidence_calibrated


def test_it_writes_a_file_and_leaves_the_model_alone(mine, data, tmp_path):
    found = run(mine, "--data", data, "--split", "all", "--runtime", "onnxruntime", "--seed", 1, "-o", tmp_path / "c")
    assert found.exit_code == 0
    assert "AU12" in found.stdout
    assert set(json.loads((tmp_path / "c").read_text())["aus"]) == set(Bundle.open(mine).manifest.aus)
    assert Bundle.open(mine).manifest.confidence == {}


def test_a_bundle_without_says_that_it_is_a_heuristic(mine):
    assert "heuristic" in CliRunner().invoke(inspect, [str(mine)]).output


def test_a_checkpoint_stores_it_too(tiny_checkpoint, tmp_path):
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))
    stored = store_confidence(folder, {"schema": 1, "any": "thing"})
    assert stored.name == "checkpoint.json"
    assert Bundle.open(folder).manifest.confidence == {"schema": 1, "any": "thing"}
    assert [path.name for path in folder.iterdir() if path.name.endswith(".part")] == []


def test_a_place_that_cannot_be_written_keeps_what_it_has(mine, monkeypatch):
    before = (mine / "manifest.json").read_bytes()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(BundleError, match="No space left"):
        store_confidence(mine, {"schema": 1})
    assert (mine / "manifest.json").read_bytes() == before
    assert not list(mine.glob(".*"))


def test_bad_input_says_so(mine, data, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        run(tmp_path / "none", "--data", data)
    with pytest.raises(DataError, match="index.json"):
        run(mine, "--data", tmp_path)
    with pytest.raises(DataError, match="too few"):
        run(mine, "--data", data, "--split", "all", "--views", 1, "--limit", 12)
    assert run(mine).exit_code == 2
    assert run(mine, "--data", data, "--views", 0).exit_code == 2
