"""Whole runs on toy faces: continuing, keeping, stopping."""

from __future__ import annotations

import csv
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from toy_data import toy_sample, write_toy

torch = pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("lightning", reason="training needs the train extra")

from dsrfau_edge.errors import DataError, DsrfauError, UsageError  # noqa: E402
from dsrfau_edge.shards import read_index, write_index, write_shard  # noqa: E402
from dsrfau_edge.train import run as run_module  # noqa: E402
from dsrfau_edge.train.checkpoint import load_network, start_from  # noqa: E402
from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402
from dsrfau_edge.train.module import TrainingModule  # noqa: E402
from dsrfau_edge.train.networks.heatmap import HeatmapNetwork, NetworkConfig  # noqa: E402
from dsrfau_edge.train.recipes import load_recipe  # noqa: E402
from dsrfau_edge.train.run import RunOptions, train_role  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return load_prepared([write_toy(tmp_path_factory.mktemp("toy"))])


def recipe(*settings):
    return load_recipe("tiny", settings)


def weights(folder):
    return load_network(folder)[0].state_dict()


def stop_after(monkeypatch, epochs, error):
    original = TrainingModule.training_step

    def step(self, batch, index):
        if self.current_epoch >= epochs:
            raise error
        return original(self, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", step)


def test_a_killed_run_continues_and_ends_where_an_unbroken_one_does(tmp_path, data, monkeypatch):
    plan = recipe("teacher.epochs=3")
    train_role("teacher", data, plan, RunOptions(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        stop_after(patch, 2, RuntimeError("power cut"))
        with pytest.raises(RuntimeError, match="power cut"):
            train_role("teacher", data, plan, RunOptions(tmp_path / "broken"))
    assert (tmp_path / "broken/runs/teacher/last.ckpt").is_file()
    seen = []
    original = TrainingModule.training_step
    monkeypatch.setattr(
        TrainingModule, "training_step", lambda self, *a: (seen.append(self.current_epoch), original(self, *a))[1]
    )
    train_role("teacher", data, plan, RunOptions(tmp_path / "broken"))
    assert set(seen) == {2}, "only the last epoch is left to do"
    logs = [path.parent.name for path in sorted((tmp_path / "broken/runs/teacher").glob("csv-*/metrics.csv"))]
    assert logs == ["csv-0", "csv-1"], "the killed run's log is kept"
    whole, broken = weights(tmp_path / "whole/teacher"), weights(tmp_path / "broken/teacher")
    for name, value in whole.items():
        torch.testing.assert_close(value, broken[name], msg=name)


def test_a_state_that_was_cut_short_is_not_continued(tmp_path, data):
    said = []
    options = RunOptions(tmp_path, report=said.append)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 1, RuntimeError("power cut"))
        with pytest.raises(RuntimeError, match="power cut"):
            train_role("teacher", data, recipe("teacher.epochs=2"), options)
    last = tmp_path / "runs/teacher/last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    train_role("teacher", data, recipe("teacher.epochs=2"), options)
    assert any("cut short" in text for text in said)
    assert any("epoch 1 of 2" in text for text in said[2:])


def test_ctrl_c_is_a_keyboard_interrupt(tmp_path, data, monkeypatch):
    stop_after(monkeypatch, 0, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train_role("teacher", data, recipe(), RunOptions(tmp_path))


def test_a_finished_checkpoint_is_kept_until_something_changes(tmp_path, data, monkeypatch):
    options = RunOptions(tmp_path)
    train_role("teacher", data, recipe(), options)
    fits = []
    monkeypatch.setattr(run_module, "fit", lambda task, *rest: fits.append(rest) or _Fitted())
    monkeypatch.setattr(run_module, "save_checkpoint", lambda *args, **options: None)
    train_role("teacher", data, recipe(), options)
    assert not fits
    train_role("teacher", data, recipe(), replace(options, fresh=True))
    other = recipe("teacher.learning_rate=1e-3")
    with pytest.raises(UsageError, match=r"finished checkpoint of another recipe.*--fresh.*-o"):
        train_role("teacher", data, other, options)
    assert len(fits) == 1
    assert (tmp_path / "teacher/checkpoint.json").is_file()
    train_role("teacher", data, other, replace(options, fresh=True))
    assert len(fits) == 2


def test_a_killed_replacement_continues_without_a_second_fresh(tmp_path, data, monkeypatch):
    options, other = RunOptions(tmp_path), recipe("teacher.epochs=2", "teacher.learning_rate=1e-3")
    train_role("teacher", data, recipe(), options)
    with monkeypatch.context() as patch:
        stop_after(patch, 1, RuntimeError("power cut"))
        with pytest.raises(RuntimeError, match="power cut"):
            train_role("teacher", data, other, replace(options, fresh=True))
    said = []
    checkpoint = train_role("teacher", data, other, replace(options, report=said.append))
    assert any("continuing from" in text for text in said)
    assert checkpoint.training["recipe"]["teacher"]["learning_rate"] == pytest.approx(1e-3)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("folder", ["teacher", "runs/teacher"])
def test_folders_of_somebody_else_are_left_alone(tmp_path, data, monkeypatch, folder, fresh):
    monkeypatch.setattr(run_module, "fit", lambda *args: pytest.fail("training began"))
    photo = tmp_path / folder / "photo.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"a photo")
    with pytest.raises(UsageError, match=r"teacher is not training's to replace.*-o"):
        train_role("teacher", data, recipe(), RunOptions(tmp_path, fresh=fresh))
    assert photo.read_bytes() == b"a photo"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [photo]


def test_a_file_in_the_place_of_the_checkpoint(tmp_path, data):
    (tmp_path / "teacher").write_text("a list of teachers")
    with pytest.raises(UsageError, match="is not a folder"):
        train_role("teacher", data, recipe(), RunOptions(tmp_path))
    assert (tmp_path / "teacher").read_text() == "a list of teachers"


def test_empty_folders_are_free(tmp_path, data):
    for folder in ("teacher", "runs/teacher"):
        (tmp_path / folder).mkdir(parents=True)
    train_role("teacher", data, recipe(), RunOptions(tmp_path))
    load_network(tmp_path / "teacher")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_revision_is_that_of_a_repository_that_knows_the_file(tmp_path, monkeypatch):
    def git(*arguments):
        command = ["git", "-C", tmp_path, "-c", "user.name=A", "-c", "user.email=a@b.invalid", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "theirs")
    code = tmp_path / "venv" / "run.py"
    code.parent.mkdir()
    code.write_text("first\n")
    monkeypatch.setattr(run_module, "__file__", str(code))
    assert run_module._revision() is None, "a package installed inside somebody's repository"
    git("add", "venv/run.py")
    git("commit", "--quiet", "--message", "ours")
    assert run_module._revision() == git("rev-parse", "HEAD")
    code.write_text("second\n")
    assert run_module._revision() == git("rev-parse", "HEAD") + "+"


class _Fitted:
    is_global_zero = True
    strategy = type("Strategy", (), {"barrier": staticmethod(lambda: None), "root_device": torch.device("cpu")})


def test_logs_name_every_component(tmp_path, data):
    options = RunOptions(tmp_path)
    train_role("teacher", data, recipe(), options)
    train_role("student", data, recipe(), options, teacher=tmp_path / "teacher")
    with (tmp_path / "runs/student/csv-0/metrics.csv").open() as file:
        columns = csv.DictReader(file).fieldnames
    for name in ("total", "heatmap", "feature_map", "region_wise", "channel_wise"):
        assert f"train/{name}_epoch" in columns
    assert {"held_out/icc", "held_out/pcc", "held_out/mae"} <= set(columns)
    assert list((tmp_path / "runs/student/tensorboard").glob("events.*"))
    assert not (tmp_path / "runs/student/last.ckpt").exists()


def test_a_student_without_teacher(tmp_path, data):
    checkpoint = train_role("student", data, recipe(), RunOptions(tmp_path))
    assert checkpoint.training["teacher"] is None
    assert checkpoint.metrics["held_out"]["samples"] > 0


def test_new_looks_are_reported_apart(tmp_path, data):
    plan = recipe("data.held_out_looks=true", "data.held_out=0.5")
    held_out = train_role("teacher", data, plan, RunOptions(tmp_path)).metrics["held_out"]
    assert 0 < held_out["new_looks"]["samples"] <= held_out["samples"]


def test_a_loss_that_is_no_number_stops_and_keeps_the_batch(tmp_path, data, monkeypatch):
    monkeypatch.setattr(
        "dsrfau_edge.train.task.HeatmapTask.heatmap_loss", lambda self, batch, maps: maps.sum() * float("nan")
    )
    with pytest.raises(DsrfauError, match="not finite.*learning rate") as caught:
        train_role("teacher", data, recipe(), RunOptions(tmp_path))
    saved = np.load(tmp_path / "runs/teacher/broken_batch.npz")
    assert saved["crops"].shape[1:] == (64, 64, 3)
    assert "broken_batch.npz" in str(caught.value)


def test_a_teacher_may_know_other_sites_but_not_other_crops(tmp_path, data):
    """What is distilled are hidden stages; they have to be of the same crop."""
    train_role("teacher", data, recipe(), RunOptions(tmp_path))
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    samples = [
        replace(s, intensities=s.intensities[:2], centres=s.centres[:2]) for s in (toy_sample(n) for n in range(16))
    ]
    index = read_index(write_toy(tmp_path / "toy"))
    entry = write_shard(fewer, "shard-000000.tar", samples)
    write_index(fewer, replace(index, aus=("AU12",), sites=index.sites[:2], shards=(entry,)))
    options, teacher = RunOptions(tmp_path / "o"), tmp_path / "teacher"
    student = train_role("student", load_prepared([fewer]), recipe(), options, teacher=teacher)
    assert student.sites == index.sites[:2]
    elsewhere = load_prepared([write_toy(tmp_path / "else", template={"landmarks": [0], "points": [[0.4, 0.5]]})])
    with pytest.raises(DataError, match="another size or alignment"):
        train_role("student", elsewhere, recipe(), RunOptions(tmp_path / "p"), teacher=teacher)


def test_a_run_starts_from_a_checkpoint(tmp_path, data):
    first = train_role("student", data, recipe(), RunOptions(tmp_path))
    gently = recipe("student.learning_rate=1e-9", "student.weight_decay=0")
    options = RunOptions(tmp_path / "on", seed=1)
    second = train_role("student", data, gently, options, init=tmp_path / "student")
    (before, _), (after, _) = (load_network(folder) for folder in (tmp_path / "student", tmp_path / "on" / "student"))
    for name, value in after.named_parameters():
        torch.testing.assert_close(value, before.get_parameter(name), rtol=0, atol=1e-5)
    assert second.training["init"] == first.files
    assert second.training["fingerprint"] != first.training["fingerprint"]


def test_a_start_from_a_checkpoint_fits_the_adaptors_to_it(tmp_path, data, monkeypatch):
    """Random ones would first pull the student away from what it knows."""
    train_role("teacher", data, recipe(), RunOptions(tmp_path))
    train_role("student", data, recipe(), RunOptions(tmp_path), teacher=tmp_path / "teacher")
    gently = recipe("student.learning_rate=1e-9", "student.weight_decay=0")

    def feature_map(name):
        options = RunOptions(tmp_path / name)
        train_role("student", data, gently, options, teacher=tmp_path / "teacher", init=tmp_path / "student")
        with (tmp_path / name / "runs/student/csv-0/metrics.csv").open() as lines:
            (value,) = [
                row["train/feature_map_epoch"] for row in csv.DictReader(lines) if row["train/feature_map_epoch"]
            ]
        return float(value)

    fitted = feature_map("fitted")
    monkeypatch.setattr("dsrfau_edge.train.run.fit_adaptors", lambda task, crops: None)
    assert fitted < 0.5 * feature_map("random")


def test_only_what_is_built_alike_is_taken_over(tmp_path, data):
    train_role("student", data, recipe(), RunOptions(tmp_path))
    source, _ = load_network(tmp_path / "student")
    config = replace(source.config, widths=(16, 16, 24))
    network = HeatmapNetwork(config, 4)
    sites = ("AU25", "AU01_left", "AU12_left", "AU12_right")
    assert 0.5 < start_from(network, sites, tmp_path / "student") < 1
    assert torch.equal(network.backbone.stem[0].weight, source.backbone.stem[0].weight)
    network = HeatmapNetwork(source.config, 4)
    start_from(network, sites, tmp_path / "student")
    assert torch.equal(network.head.weight[[2, 3, 0]], source.head.weight)
    assert not network.head.weight[1].equal(source.head.weight[1])
    with pytest.raises(DataError, match="too differently"):
        start_from(HeatmapNetwork(NetworkConfig("resnet18", pretrained=False), 3), ("AU25",) * 3, tmp_path / "student")


def test_averaged_weights_are_resumed_too(tmp_path, data, monkeypatch):
    """The moving average differs from the last weights, and a killed run ends with the unbroken run's average."""
    chosen = recipe("student.ema=0.9", "student.epochs=2")
    train_role("student", data, chosen, RunOptions(tmp_path / "whole"))
    train_role("student", data, recipe("student.epochs=2"), RunOptions(tmp_path / "plain"))
    with monkeypatch.context() as patch:
        stop_after(patch, 1, RuntimeError("power cut"))
        with pytest.raises(RuntimeError, match="power cut"):
            train_role("student", data, chosen, RunOptions(tmp_path / "broken"))
    train_role("student", data, chosen, RunOptions(tmp_path / "broken"))
    whole, plain, broken = (weights(tmp_path / name / "student") for name in ("whole", "plain", "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    assert not torch.equal(whole["head.weight"], plain["head.weight"])


def test_a_folder_that_cannot_be_written(tmp_path, data):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="another folder with -o"):
        train_role("teacher", data, recipe(), RunOptions(tmp_path / "file"))
