"""The checkpoint between two: its weights by hand, its ends, and what cannot be averaged."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from calling import call
from toy_data import toy_sample, write_toy

pytest.importorskip("lightning", reason="training needs the train extra")

from dsrfau_edge.checkpoint import DESCRIPTION, read_checkpoint  # noqa: E402
from dsrfau_edge.errors import DataError, UsageError  # noqa: E402
from dsrfau_edge.shards import read_index, write_index, write_shard  # noqa: E402
from dsrfau_edge.train.averaging import average_checkpoints  # noqa: E402
from dsrfau_edge.train.checkpoint import load_network  # noqa: E402
from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402
from dsrfau_edge.train.recipes import load_recipe  # noqa: E402
from dsrfau_edge.train.run import RunOptions, train_role  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two checkpoints, the second begun from the first and spread; and their data."""
    folder = tmp_path_factory.mktemp("averaging")
    faces = write_toy(folder / "toy", 40, identities=20)
    data = load_prepared([faces])
    first = load_recipe("tiny", ["data.workers=0"])
    train_role("student", data, first, RunOptions(folder / "before", report=lambda text: None))
    before = folder / "before" / "student"
    second = load_recipe("tiny", ["data.workers=0", "student.spread=3.0", "student.learning_rate=0.01"])
    train_role("student", data, second, RunOptions(folder / "after", report=lambda text: None), init=before)
    return before, folder / "after" / "student", data, second, faces


def weights(folder):
    return load_network(folder)[0].state_dict()


def test_weights_lie_between(trained, tmp_path):
    before, after, data, recipe, _ = trained
    factors = read_checkpoint(after).training["spread"]
    assert max(factors.values()) > 1, "nothing is tested of the spread"
    written = average_checkpoints(before, after, 0.25, data, recipe, tmp_path / "student")
    old, new, found = weights(before), weights(after), weights(tmp_path / "student")
    for name in ("backbone.stem.0.weight", "upsampler.up.0.1.running_var" if "upsampler.up.0.1.running_var" in old
                 else "upsampler.reduce.0.1.running_var"):  # fmt: skip
        torch.testing.assert_close(found[name], 0.75 * old[name] + 0.25 * new[name])
    own = written.training["spread"]
    for row, site in enumerate(data.index.sites):
        plain = new["head.weight"][row] / factors[site]
        expected = (0.75 * old["head.weight"][row] + 0.25 * plain) * own[site]
        torch.testing.assert_close(found["head.weight"][row], expected)
    assert written.training["averaged"]["share"] == 0.25
    assert written.training["averaged"]["before"] == read_checkpoint(before).files
    assert written.metrics["held_out"]["samples"] == read_checkpoint(after).metrics["held_out"]["samples"]


def test_the_ends_are_the_checkpoints(trained, tmp_path):
    before, after, data, recipe, _ = trained
    whole = average_checkpoints(before, after, 1.0, data, recipe, tmp_path / "student")
    found, new = weights(tmp_path / "student"), weights(after)
    for name, value in new.items():
        torch.testing.assert_close(found[name], value)
    assert whole.metrics["held_out"]["mean"]["mae"] == pytest.approx(
        read_checkpoint(after).metrics["held_out"]["mean"]["mae"], abs=1e-6
    )
    average_checkpoints(before, after, 0.0, data, recipe, tmp_path / "student")
    found, old = weights(tmp_path / "student"), weights(before)
    for name, value in old.items():
        if value.is_floating_point() and not name.startswith("head."):
            assert torch.equal(found[name], value), name


def test_what_cannot_be_averaged(trained, tmp_path):
    before, after, data, recipe, faces = trained
    with pytest.raises(UsageError, match="one of the two"):
        average_checkpoints(before, after, 0.5, data, recipe, after)
    train_role("teacher", data, recipe, RunOptions(tmp_path, report=lambda text: None))
    with pytest.raises(DataError, match="different networks"):
        average_checkpoints(tmp_path / "teacher", after, 0.5, data, recipe, tmp_path / "student")
    other = tmp_path / "other"
    shutil.copytree(before, other)
    described = json.loads((other / DESCRIPTION).read_text())
    (other / DESCRIPTION).write_text(json.dumps({**described, "template": {"landmarks": [1], "points": [[0.5, 0.5]]}}))
    with pytest.raises(DataError, match="differ in their template"):
        average_checkpoints(other, after, 0.5, data, recipe, tmp_path / "student")
    with pytest.raises(UsageError, match="share of nan"):
        average_checkpoints(before, after, float("nan"), data, recipe, tmp_path / "student")
    shutil.rmtree(other)
    shutil.copytree(after, other)
    tuned = {**described["training"], "quantization": {"held_out": {"equalized": {"icc_float": 0.5}}}}
    (other / DESCRIPTION).write_text(json.dumps({**described, "files": {}, "training": tuned}))
    with pytest.raises(DataError, match="fine-tuned for int8"):
        average_checkpoints(before, other, 0.5, data, recipe, tmp_path / "student")
    index = replace(data.index, template={"landmarks": [1], "points": [[0.5, 0.5]]})
    with pytest.raises(DataError, match="other sites or crops"):
        average_checkpoints(before, after, 0.5, replace(data, index=index), recipe, tmp_path / "student")
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not training's"):
        average_checkpoints(before, after, 0.5, data, recipe, full)
    assert not (tmp_path / "student").exists()


def test_the_command(trained, tmp_path):
    before, after, _, _, faces = trained
    command = ["train", "average", before, after, "--data", faces, "-o", tmp_path]
    written = call(*command, "--share", "0.85", "--json")
    assert written.code == 0, written.err
    assert json.loads(written.out)["training"]["averaged"]["share"] == 0.85
    again = call(*command)
    assert again.code == 2
    assert "--fresh" in again.err
    replaced = call(*command, "--fresh")
    assert replaced.code == 0, replaced.err
    assert replaced.out.startswith("0.5 of")
    assert read_checkpoint(tmp_path / "student").training["averaged"]["share"] == 0.5
    taken = call(*command[:7], after.parent, "--fresh")
    assert taken.code == 2
    assert "one of the two" in taken.err
    missing = call(*command[:3], tmp_path / "nothing", *command[4:])
    assert missing.code == 5
    assert "not a checkpoint" in missing.err


def test_a_training_on_fewer_action_units(trained, tmp_path):
    """A coded set labels some units only: what both know is averaged, the result predicts what the later does."""
    before, _, data, _, faces = trained
    index = read_index(faces)
    chosen = index.sites[1:3]
    columns = [index.sites.index(site) for site in chosen]
    coded = tmp_path / "coded"
    samples = [toy_sample(number, identities=20) for number in range(40)]
    samples = [replace(one, intensities=one.intensities[columns], centres=one.centres[columns]) for one in samples]
    coded.mkdir()
    shards = (write_shard(coded, "shard-000000.tar", samples),)
    aus = tuple(dict.fromkeys(site.split("_")[0] for site in chosen))
    write_index(coded, replace(index, sites=chosen, aus=aus, shards=shards, licence="research only"))
    fewer = load_prepared([coded])
    recipe = load_recipe("tiny", ["data.workers=0", "student.learning_rate=0.01"])
    train_role("student", fewer, recipe, RunOptions(tmp_path / "fine", report=lambda text: None), init=before)
    fine = tmp_path / "fine" / "student"
    written = average_checkpoints(before, fine, 0.25, fewer, recipe, tmp_path / "student")
    assert written.sites == chosen
    old, new, found = weights(before), weights(fine), weights(tmp_path / "student")
    torch.testing.assert_close(found["head.weight"], 0.75 * old["head.weight"][columns] + 0.25 * new["head.weight"])
    assert written.data["licences"] == sorted({index.licence, "research only"})
    assert read_checkpoint(fine).data["licences"] == written.data["licences"], "what it began from counts"
    assert written.training["fingerprint"] != read_checkpoint(fine).training["fingerprint"]
