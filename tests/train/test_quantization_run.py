"""Whole fine-tunes for int8 on toy faces: what is written, continuing, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_data import SITES, toy_sample, write_toy

torch = pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("lightning", reason="training needs the train extra")

from dsrfau_edge.checkpoint import read_checkpoint, sha256_of  # noqa: E402
from dsrfau_edge.errors import DataError, UsageError  # noqa: E402
from dsrfau_edge.shards import read_index, write_index, write_shard  # noqa: E402
from dsrfau_edge.train.checkpoint import load_network, save_checkpoint  # noqa: E402
from dsrfau_edge.train.data.dataset import Batch  # noqa: E402
from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402
from dsrfau_edge.train.module import TrainingModule  # noqa: E402
from dsrfau_edge.train.networks.heatmap import HeatmapNetwork  # noqa: E402
from dsrfau_edge.train.quantization.run import own_recipe, train_quantized  # noqa: E402
from dsrfau_edge.train.quantization.scheme import S8S8, U8S8  # noqa: E402
from dsrfau_edge.train.quantization.tuning import Tuning  # noqa: E402
from dsrfau_edge.train.recipes import load_recipe  # noqa: E402
from dsrfau_edge.train.run import RunOptions  # noqa: E402

SPREAD = {SITES[0]: 1.25, SITES[1]: 1.0, SITES[2]: 1.1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return load_prepared([write_toy(tmp_path_factory.mktemp("toy"))])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """Checkpoints of a teacher and a student that predict something, as a long training would leave them."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = load_recipe("tiny", ["student.spread=1.25"])
    for seed, role in enumerate(("teacher", "student")):
        torch.manual_seed(seed)
        network = HeatmapNetwork(recipe.role(role).network, len(data.index.sites))
        torch.nn.init.normal_(network.head.weight, std=0.3)
        torch.nn.init.constant_(network.head.bias, 0.5)
        with torch.no_grad():
            network.train()(torch.from_numpy(np.stack([data.frame(position)[0] for position in range(16)])))
        training = {"role": role, "recipe": recipe.to_dict(), "spread": SPREAD}
        positions = data.split("train", **recipe.data.split_options())
        save_checkpoint(folder / role, network.eval(), data, calibration=positions, training=training, metrics={})
    return folder


def recipe(trained, *settings):
    return own_recipe(trained / "student", settings)


def tune(trained, data, folder, *settings, scheme=U8S8, teacher=True, **options):
    return train_quantized(
        trained / "student",
        data,
        recipe(trained, *settings),
        RunOptions(folder, **options),
        scheme=scheme,
        teacher=trained / "teacher" if teacher else None,
    )


def test_it_writes_an_ordinary_checkpoint_that_says_where_it_is_from(tmp_path, data, trained):
    before = {path.name: sha256_of(path) for path in (trained / "student").iterdir()}
    said = []
    tuned = tune(trained, data, tmp_path, "qat.batch=8", scheme=S8S8, report=said.append)
    network, described = load_network(tmp_path / "student")
    assert type(network) is HeatmapNetwork
    assert described == tuned
    assert tuned.network == read_checkpoint(trained / "student").network
    assert tuned.training["init"] == dict(read_checkpoint(trained / "student").files)
    assert tuned.training["teacher"] == dict(read_checkpoint(trained / "teacher").files)
    assert tuned.training["quantization"]["scheme"] == "s8s8"
    assert set(tuned.training["spread"]) == set(SITES)
    costs = tuned.training["quantization"]["held_out"]
    for when in ("before", "after"):
        assert costs[when]["mean_difference"] > 0
        assert any(f"int8 (s8s8, simulated) {when}: mean ICC" in text for text in said)
    started = load_network(trained / "student")[0].state_dict()
    for name, value in network.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(value, started[name], msg=f"{name}: statistics stand still")
    assert any((value != started[name]).any() for name, value in network.state_dict().items() if "weight" in name)
    assert {path.name: sha256_of(path) for path in (trained / "student").iterdir()} == before


def test_the_normal_exporter_takes_it(tmp_path, data, trained):
    pytest.importorskip("onnxruntime", reason="the export extra")
    pytest.importorskip("sympy", reason="the export extra")
    from dsrfau_edge.export import graph, onnx
    from dsrfau_edge.export.calibration import load_calibration
    from dsrfau_edge.export.source import load_source

    tune(trained, data, tmp_path)
    graphs = []
    for folder in (tmp_path / "student", trained / "student"):
        source = load_source(folder)
        calibration = load_calibration(source)
        side = source.input_size
        model = graph.parse_graph(source.graph, size=side, sites=3, heatmap_size=side // 4, where=str(folder))
        made = onnx.to_int8(graph.with_batch(model, 1), calibration.crops, onnx.CPU_SCHEME, "minmax")
        graphs.append([(node.op_type, tuple(node.input), tuple(node.output)) for node in made.graph.node])
    assert graphs[0] == graphs[1], "the same pairs at the same places"


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_killed_run_continues_and_ends_where_an_unbroken_one_does(tmp_path, data, trained, monkeypatch, ema):
    settings = ("qat.epochs=2", "qat.batch=8", "qat.every=2", f"qat.ema={ema}")
    tune(trained, data, tmp_path / "whole", *settings)
    original = TrainingModule.training_step

    def stop(self, batch, index):
        if self.current_epoch >= 1:
            raise RuntimeError("power cut")
        return original(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", stop)
        with pytest.raises(RuntimeError, match="power cut"):
            tune(trained, data, tmp_path / "broken", *settings)
    said = []
    tune(trained, data, tmp_path / "broken", *settings, report=said.append)
    assert any("continuing from" in text for text in said)
    whole, broken = (load_network(tmp_path / name / "student")[0].state_dict() for name in ("whole", "broken"))
    for name, value in whole.items():
        torch.testing.assert_close(value, broken[name], msg=name)


def test_a_finished_one_is_kept_until_something_changes(tmp_path, data, trained):
    tune(trained, data, tmp_path, teacher=False)
    said = []
    tune(trained, data, tmp_path, teacher=False, report=said.append)
    assert "kept" in said[-1]
    assert len(said) == 1
    for change in ({"scheme": S8S8}, {"teacher": True}, {"seed": 1}):
        with pytest.raises(UsageError, match="--fresh"):
            tune(trained, data, tmp_path, **{"teacher": False, **change})


def test_the_losses_see_the_head_as_they_left_it(data, trained, tmp_path):
    tuning = Tuning(trained / "student", data, recipe(trained), RunOptions(tmp_path), U8S8, None)
    head, before = tuning.task().network.head, load_network(trained / "student")[0].head
    for row, site in enumerate(data.index.sites):
        torch.testing.assert_close(head.weight[row] * SPREAD[site], before.weight[row])
        torch.testing.assert_close(head.bias[row] * SPREAD[site], before.bias[row])


def test_adaptors_are_fitted_before_the_student_is_trained_by_them(data, trained, tmp_path, monkeypatch):
    def losses():
        tuning = Tuning(trained / "student", data, recipe(trained), RunOptions(tmp_path), U8S8, trained / "teacher")
        torch.manual_seed(3)
        task = tuning.task().eval()
        batch = Batch(*(torch.from_numpy(np.stack(part)) for part in zip(*map(sample, range(8)), strict=True)))
        with torch.no_grad():
            return {name: float(value) for name, value in task(batch).items()}

    def sample(position):
        return data.frame(position)[0], data.intensities[position], data.frame(position)[1]

    fitted = losses()
    monkeypatch.setattr("dsrfau_edge.train.quantization.tuning.fit_adaptors", lambda task, crops: None)
    random = losses()
    assert fitted["feature_map"] < 0.5 * random["feature_map"]
    assert fitted["heatmap"] == random["heatmap"], "the student is left alone"


def test_frozen_stages_keep_their_weights_and_are_rounded(data, trained, tmp_path):
    tuning = Tuning(trained / "student", data, recipe(trained, "qat.frozen_stages=2"), RunOptions(tmp_path), U8S8, None)
    task = tuning.task().train()
    stem = task.network.backbone.stem[0].weight
    assert not stem.requires_grad
    assert not any(p.requires_grad for p in task.network.backbone.stages[1].parameters())
    assert all(p.requires_grad for p in task.network.backbone.stages[2].parameters())


def test_what_it_cannot_start_from(tmp_path, data, trained, tiny_bundle):
    with pytest.raises(DataError, match=r"is a bundle.*exported from"):
        read_checkpoint(tiny_bundle)
    with pytest.raises(DataError, match="not a checkpoint"):
        read_checkpoint(tmp_path)
    nameless = tmp_path / "nameless"
    shutil.copytree(trained / "student", nameless)
    described = json.loads((nameless / "checkpoint.json").read_text())
    del described["training"]["recipe"]
    (nameless / "checkpoint.json").write_text(json.dumps(described))
    with pytest.raises(UsageError, match="--recipe"):
        own_recipe(nameless, [])
    with pytest.raises(UsageError, match="replace"):
        train_quantized(trained / "student", data, recipe(trained), RunOptions(trained, fresh=True), scheme=U8S8)
    assert (trained / "student/model.safetensors").is_file()


def relabelled(folder: Path, toy: Path, change) -> Path:
    """Toy faces whose samples and index went through `change`."""
    folder.mkdir()
    samples, index = change([toy_sample(number) for number in range(16)], read_index(toy))
    entry = write_shard(folder, "shard-000000.tar", samples)
    write_index(folder, replace(index, shards=(entry,)))
    return folder


def test_data_that_does_not_fit(tmp_path, trained):
    toy = write_toy(tmp_path / "toy")

    def fewer(samples, index):
        cut = [replace(s, intensities=s.intensities[:2], centres=s.centres[:2]) for s in samples]
        return cut, replace(index, aus=("AU12",), sites=index.sites[:2])

    def unlabelled(samples, index):
        return [replace(s, intensities=np.full(3, np.nan, np.float32)) for s in samples], index

    cases = [
        (relabelled(tmp_path / "fewer", toy, fewer), "lacks AU25"),
        (relabelled(tmp_path / "unlabelled", toy, unlabelled), "No crop of this data is labelled"),
        (write_toy(tmp_path / "else", template={"landmarks": [0], "points": [[0.4, 0.5]]}), "size or alignment"),
    ]
    for folder, message in cases:
        with pytest.raises(DataError, match=message):
            tune(trained, load_prepared([folder]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_teacher_of_other_crops(tmp_path, data, trained):
    other = tmp_path / "teacher"
    shutil.copytree(trained / "teacher", other)
    described = json.loads((other / "checkpoint.json").read_text())
    described["input_size"] = 128
    (other / "checkpoint.json").write_text(json.dumps(described))
    with pytest.raises(DataError, match=r"teacher .* another size or alignment"):
        train_quantized(
            trained / "student", data, recipe(trained), RunOptions(tmp_path / "o"), scheme=U8S8, teacher=other
        )


@pytest.mark.parametrize(
    "setting", ["qat.every=0", "qat.learning_rate=0", "qat.frozen_stages=-1", "qat.ema=1.0", "qat.epochs=0", "qat.x=1"]
)
def test_settings_that_make_no_sense(trained, setting):
    with pytest.raises(UsageError):
        recipe(trained, setting)
