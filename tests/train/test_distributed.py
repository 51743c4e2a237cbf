"""Several processes against one.

With the same batch in all, the same draws and norms that stand still, two processes end with one process's weights, up
to the rounding of sums taken in another order. What does differ by nature: a batch norm in training mode sees the share
of its own process, a rounding can be amplified by more steps than these, and `batch` of a recipe is each process's own.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from toy_data import write_toy

torch = pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("lightning", reason="training needs the train extra")

from dsrfau_edge.cli import train as command_module  # noqa: E402
from dsrfau_edge.train import fitting as fitting_module  # noqa: E402
from dsrfau_edge.train import run as run_module  # noqa: E402
from dsrfau_edge.train.checkpoint import load_network  # noqa: E402
from dsrfau_edge.train.data.dataset import BalancedSampler, CropDataset, make_loader  # noqa: E402
from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402
from dsrfau_edge.train.recipes import load_recipe  # noqa: E402
from dsrfau_edge.train.run import RunOptions, train_role  # noqa: E402

#: Both roles with norms in evaluation mode, then a teacher with living ones; a third of the labels is missing.
_BOTH = """
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dsrfau_edge.train.data.prepared import load_prepared
from dsrfau_edge.train.recipes import load_recipe
from dsrfau_edge.train.run import RunOptions, train_role
from dsrfau_edge.train.task import HeatmapTask

torch.set_num_threads(1)
folder, output, devices = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
data = load_prepared([folder])
data.intensities[np.random.default_rng(0).random(data.intensities.shape) < 1 / 3] = np.nan
batch = 16 // int(devices)
recipe = load_recipe("tiny", [f"{role}.{setting}" for role in ("teacher", "student")
                              for setting in (f"batch={batch}", "epochs=2")])
living = HeatmapTask.train


def train(self, mode=True):
    living(self, mode)
    for module in self.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return self


HeatmapTask.train = train
options = RunOptions(output, accelerator="cpu", devices=devices)
train_role("teacher", data, recipe, options)
train_role("student", data, recipe, options, teacher=output / "teacher")
HeatmapTask.train = living
train_role("teacher", data, recipe, RunOptions(output / "living", accelerator="cpu", devices=devices))
"""

#: Two processes' gradients of the heatmap loss, averaged, beside that of the whole batch.
_NORMALISED = """
import sys

import torch
from torch import distributed, multiprocessing

from dsrfau_edge.train.losses import HeatmapLoss


def batch():
    generator = torch.Generator().manual_seed(0)
    spots = torch.rand(8, 3, 8, 8, generator=generator, dtype=torch.float64)
    intensities = torch.rand(8, 3, generator=generator, dtype=torch.float64) * 5
    intensities[:4, 1:] = float("nan")  # the first share has a third of the labels
    predicted = torch.randn(8, 3, 8, 8, generator=generator, dtype=torch.float64)
    return predicted, spots, intensities


def process(rank, store):
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    mine = slice(4 * rank, 4 * rank + 4)
    predicted, spots, intensities = batch()
    whole = predicted.clone().requires_grad_()
    loss = HeatmapLoss(foreground=10.0)(whole[mine], spots[mine], intensities[mine])
    loss.backward()
    mean, gradient = loss.detach().clone(), whole.grad
    for value in (mean, gradient):
        distributed.all_reduce(value)
        value /= 2
    if rank == 0:
        torch.save({"mean": mean, "gradient": gradient}, sys.argv[2])
    distributed.destroy_process_group()


if __name__ == "__main__":
    multiprocessing.spawn(process, (sys.argv[1],), nprocs=2)
    predicted, spots, intensities = batch()
    predicted.requires_grad_()
    loss = HeatmapLoss(foreground=10.0)
    value = loss(predicted, spots, intensities)
    value.backward()
    alone = torch.stack([loss(predicted[part], spots[part], intensities[part])
                         for part in (slice(4), slice(4, 8))]).mean()
    found = torch.load(sys.argv[2])
    torch.save({**found, "expected": value.detach(), "expected_gradient": predicted.grad, "alone": alone.detach()},
               sys.argv[2])
"""

#: The command line, with a loss that is no number in one process.
_BROKEN = """
import os

from dsrfau_edge.train.task import HeatmapTask

original = HeatmapTask.heatmap_loss
HeatmapTask.heatmap_loss = lambda self, batch, maps: original(self, batch, maps) * (
    float("nan") if os.environ.get("LOCAL_RANK") == "1" else 1.0
)
from dsrfau_edge.cli.main import train_main

train_main()
"""


def python(folder, text, *arguments, check=True):
    """Run a script of its own: Lightning starts the other processes with the same command line."""
    script = folder / "script.py"
    script.write_text(text)
    result = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)], check=False, capture_output=True, text=True, timeout=600
    )
    assert not check or result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return load_prepared([write_toy(tmp_path_factory.mktemp("toy"), 47)])


class TestShares:
    @pytest.mark.parametrize("world", [2, 3])
    @pytest.mark.parametrize(("balance", "shares"), [(0.0, ()), (0.5, ()), (0.5, (1.0,))])
    @pytest.mark.parametrize("epoch", [0, 3])
    def test_the_processes_batches_make_up_the_one_process_batch(self, data, world, balance, shares, epoch):
        positions = data.split("train", held_out=0.25)

        def batches(rank, world, batch):
            sampler = BalancedSampler(data, positions, balance=balance, shares=shares, seed=7, rank=rank, world=world)
            sampler.set_epoch(epoch)
            draws = [draw.position for draw in sampler]
            assert len(draws) == len(sampler) == len(positions) // world
            loader = make_loader(
                CropDataset(data, augmentation=None, seed=7), sampler, batch=batch, workers=0, drop_last=True
            )
            assert len(loader) == len(draws) // batch
            return [draws[start : start + batch] for start in range(0, len(loader) * batch, batch)]

        whole = batches(0, 1, 4 * world)
        assert len(whole) >= 2
        parts = [batches(rank, world, 4) for rank in range(world)]
        for step, expected in enumerate(whole):
            together = [position for part in parts for position in part[step]]
            assert Counter(together) == Counter(expected), step
        assert {len(part) for part in parts} == {len(whole)}, "all processes take as many steps as one"

    def test_no_share_is_another_ones(self, data):
        positions = data.split("train", held_out=0.25)
        samplers = [BalancedSampler(data, positions, balance=0, seed=1, rank=rank, world=3) for rank in range(3)]
        drawn = [draw.position for sampler in samplers for draw in sampler]
        assert len(set(drawn)) == len(drawn)


@pytest.mark.slow
@pytest.mark.timeout(1300)
class TestTwoProcessesAgainstOne:
    @pytest.fixture(scope="class")
    def runs(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("runs")
        toy = write_toy(folder / "toy", 64)
        for devices in (1, 2):
            python(folder, _BOTH, toy, folder / str(devices), devices)
        return folder / "1", folder / "2"

    @pytest.mark.parametrize("role", ["teacher", "student"])
    def test_weights_and_metrics_are_the_same(self, runs, role):
        (one, alone), (two, shared) = (load_network(folder / role) for folder in runs)
        config = load_recipe("tiny").role(role)
        moved = 0.0
        for name, value in one.state_dict().items():
            torch.testing.assert_close(two.state_dict()[name], value, rtol=0, atol=1e-4, msg=name)
        for layer in [module for module in one.modules() if isinstance(module, torch.nn.BatchNorm2d)]:
            assert (layer.running_mean == 0).all(), "the norms stood still"
            moved = max(moved, float((layer.weight.detach() - 1).abs().max()))
        assert moved > 2 * config.learning_rate, "and the weights went further than they differ"
        for name, value in alone.metrics["held_out"]["mean"].items():
            assert shared.metrics["held_out"]["mean"][name] == pytest.approx(value, abs=2e-3)

    @pytest.mark.parametrize("role", ["teacher", "student"])
    def test_what_is_logged_is_the_mean_of_all_processes(self, runs, role):
        logs = []
        for folder in runs:
            with (folder / "runs" / role / "csv-0" / "metrics.csv").open() as file:
                rows = list(csv.DictReader(file))
            names = [name for name in rows[0] if name.startswith("train/") and name.endswith("_epoch")]
            logs.append({name: [float(row[name]) for row in rows if row[name]] for name in names})
        assert len(logs[0]) == (2 if role == "teacher" else 5)
        for name, values in logs[0].items():
            assert len(values) == 2
            assert logs[1][name] == pytest.approx(values, rel=1e-3)

    def test_living_norms_do_differ(self, runs):
        """Each process has the statistics of its own share, and the first one's are kept."""
        one, two = (load_network(folder / "living" / "teacher")[0].state_dict() for folder in runs)
        name = "backbone.stem.1.running_mean"
        assert (one[name] - two[name]).abs().max() > 1e-4
        assert one[name].abs().max() > 1e-3


def test_shares_with_fewer_labels_weigh_less(tmp_path):
    """The loss is a mean over labels, of which the two shares have 4 and 12: their gradients average to the whole."""
    python(tmp_path, _NORMALISED, tmp_path / "store", tmp_path / "found.pt")
    found = torch.load(tmp_path / "found.pt")
    torch.testing.assert_close(found["mean"], found["expected"], rtol=1e-12, atol=0)
    torch.testing.assert_close(found["gradient"], found["expected_gradient"], rtol=1e-10, atol=1e-15)
    assert abs(found["alone"] / found["expected"] - 1) > 0.02, "which the mean of their own means is not"


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_a_loss_that_is_no_number_in_one_process_ends_all(tmp_path, data):
    toy = write_toy(tmp_path / "toy")
    result = python(
        tmp_path, _BROKEN, "teacher", "--data", toy, "-o", tmp_path / "run", "--recipe", "tiny",
        "--device", "cpu", "--devices", 2, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "the loss is not finite" in result.stderr
    assert np.load(tmp_path / "run/runs/teacher/broken_batch.npz")["crops"].shape[1:] == (64, 64, 3)
    assert not (tmp_path / "run/teacher").exists()


@pytest.mark.parametrize("variable", ["LOCAL_RANK", "RANK", "SLURM_PROCID"])
def test_one_process_speaks(monkeypatch, variable):
    for name in ("LOCAL_RANK", "RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert command_module._is_first_process()
    monkeypatch.setenv(variable, "0")
    assert command_module._is_first_process()
    monkeypatch.setenv(variable, "1")
    assert not command_module._is_first_process()


class _Stopped(Exception):
    pass


@pytest.mark.parametrize(
    ("fresh", "rate", "continues"), [(False, 2e-3, True), (True, 2e-3, False), (False, 1e-3, False)]
)
def test_no_process_continues_what_the_first_is_about_to_remove(tmp_path, data, monkeypatch, fresh, rate, continues):
    """Under torchrun and SLURM all start at once: a second process may look before the first has cleared the folder."""
    seen = []

    def fit(task, data, config, recipe, fitting):
        seen.append(fitting_module._state(fitting))
        raise _Stopped

    run = tmp_path / "runs" / "teacher"
    run.mkdir(parents=True)
    old, new = (load_recipe("tiny", [f"teacher.learning_rate={value}"]) for value in (2e-3, rate))
    job = run_module.Job("teacher", old.teacher, {}, pytest.fail, pytest.fail)
    (run / "fingerprint").write_text(run_module._fingerprint(job, data, old, 0))
    torch.save({}, run / "last.ckpt")
    monkeypatch.setattr(run_module, "fit", fit)
    monkeypatch.setattr(run_module.rank_zero_only, "rank", 1)
    with pytest.raises(_Stopped):
        train_role("teacher", data, new, RunOptions(tmp_path, fresh=fresh))
    assert seen == [run / "last.ckpt" if continues else None]
