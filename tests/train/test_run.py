"""Whole runs on toy faces: continuing, keeping, stopping."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from toy_data import toy_sample, write_toy

torch = pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("lightning", reason="training needs the train extra")

from dsrfau_edge.errors import DataError, DsrfauError, UsageError  # noqa: E402
from dsrfau_edge.train import run as run_module  # noqa: E402
from dsrfau_edge.train.checkpoint import load_network  # noqa: E402
from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402
from dsrfau_edge.train.data.shards import read_index, write_index, write_shard  # noqa: E402
from dsrfau_edge.train.module import TrainingModule  # noqa: E402
from dsrfau_edge.train.recipes import load_recipe  # noqa: E402
from dsrfau_edge.train.run import RunOptions, train_role  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return load_prepared([write_toy(tmp_path_factory.mktemp("toy"))])


def recipe(*settings):
    return load_recipe("tiny", settings=settings)


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
    train_role("teacher", data, recipe("teacher.learning_rate=1e-3"), options)
    assert len(fits) == 2


class _Fitted:
    is_global_zero = True
    strategy = type("Strategy", (), {"barrier": staticmethod(lambda: None)})


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


def test_a_teacher_for_other_sites(tmp_path, data):
    train_role("teacher", data, recipe(), RunOptions(tmp_path))
    folder = tmp_path / "other"
    folder.mkdir()
    samples = [
        replace(s, intensities=s.intensities[:2], centres=s.centres[:2]) for s in (toy_sample(n) for n in range(16))
    ]
    index = read_index(write_toy(tmp_path / "toy"))
    entry = write_shard(folder, "shard-000000.tar", samples)
    write_index(folder, replace(index, aus=("AU12",), sites=index.sites[:2], shards=(entry,)))
    with pytest.raises(DataError, match="other sites"):
        train_role(
            "student", load_prepared([folder]), recipe(), RunOptions(tmp_path / "o"), teacher=tmp_path / "teacher"
        )


def test_a_folder_that_cannot_be_written(tmp_path, data):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="another folder with -o"):
        train_role("teacher", data, recipe(), RunOptions(tmp_path / "file"))
