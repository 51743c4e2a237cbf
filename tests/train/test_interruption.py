"""A run whose process is killed amid an epoch, by the signal that nothing can answer."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from toy_data import write_toy

pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("lightning", reason="training needs the train extra")

from dsrfau_edge.train.data.dataset import BalancedSampler  # noqa: E402
from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402
from dsrfau_edge.train.module import TrainingModule  # noqa: E402
from dsrfau_edge.train.recipes import load_recipe  # noqa: E402
from dsrfau_edge.train.run import RunOptions, train_role  # noqa: E402

#: Seconds; far more than it takes, since a busy machine is no failure.
_PATIENCE = 600
#: The command line; with STALL=epoch,batch it stops there, says so and waits for its end.
_COMMAND = """
import os
import time
from pathlib import Path

import torch

from dsrfau_edge.cli.main import train_main
from dsrfau_edge.train.module import TrainingModule

torch.set_num_threads(1)
original = TrainingModule.training_step


def step(self, batch, index):
    with Path(os.environ["STEPS"]).open("a") as file:
        print(self.current_epoch, index, file=file)
    if os.environ.get("STALL") == f"{self.current_epoch},{index}":
        Path(os.environ["STEPS"] + ".stalled").touch()
        time.sleep(600)
    return original(self, batch, index)


TrainingModule.training_step = step
train_main()
"""


class _PowerCutError(Exception):
    pass


def start(folder, data, output, *, steps, stall=""):
    script = folder / "train.py"
    script.write_text(_COMMAND)
    settings = ("teacher.epochs=3", "teacher.ema=0.9", "data.workers=1")
    arguments = [sys.executable, script, "teacher", "--data", data, "-o", output, "--recipe", "tiny", "--device", "cpu"]
    for setting in settings:
        arguments += ["--set", setting]
    return subprocess.Popen(
        [str(argument) for argument in arguments],
        env={**os.environ, "STEPS": str(steps), "STALL": stall, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process):
    _, said = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0, said
    return said


def steps_of(path):
    return [tuple(map(int, line.split())) for line in path.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(3 * _PATIENCE)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_ends_bit_for_bit_like_an_unbroken_one(tmp_path):
    data = write_toy(tmp_path / "toy")
    unbroken = start(tmp_path, data, tmp_path / "whole", steps=tmp_path / "whole.steps")
    process = start(tmp_path, data, tmp_path / "broken", steps=tmp_path / "first.steps", stall="1,1")
    deadline = time.monotonic() + _PATIENCE
    while not (tmp_path / "first.steps.stalled").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    finish(unbroken)
    every = steps_of(tmp_path / "whole.steps")
    assert [epoch for epoch, _ in every] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert steps_of(tmp_path / "first.steps") == every[:5], "amid the second epoch"
    assert not (tmp_path / "broken/teacher").exists()

    said = finish(start(tmp_path, data, tmp_path / "broken", steps=tmp_path / "second.steps"))
    assert "continuing from" in said
    assert steps_of(tmp_path / "second.steps") == every[3:], "the broken epoch anew, and none before it"
    names = ("model.safetensors", "model.onnx")
    described = json.loads((tmp_path / "whole/teacher/checkpoint.json").read_text())
    assert set(names) <= set(described["files"])
    for name in described["files"]:
        whole, broken = (
            hashlib.sha256((tmp_path / run / "teacher" / name).read_bytes()).hexdigest() for run in ("whole", "broken")
        )
        assert whole == broken, name
    again = json.loads((tmp_path / "broken/teacher/checkpoint.json").read_text())
    assert again["metrics"]["held_out"] == described["metrics"]["held_out"]


def test_the_first_epoch_after_a_break_is_not_the_first_one_again(tmp_path, monkeypatch):
    """Loading processes draw ahead, before the trainer has told the sampler which epoch it is."""
    drawn = []
    original = BalancedSampler.__iter__
    monkeypatch.setattr(BalancedSampler, "__iter__", lambda self: (drawn.append(self.epoch), original(self))[1])
    step = TrainingModule.training_step

    def stop(self, batch, index):
        if self.current_epoch == 1:
            raise _PowerCutError
        return step(self, batch, index)

    data = load_prepared([write_toy(tmp_path / "toy")])
    recipe = load_recipe("tiny", ["teacher.epochs=3", "data.workers=1"])
    options = RunOptions(tmp_path, accelerator="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", stop)
        with pytest.raises(_PowerCutError):
            train_role("teacher", data, recipe, options)
    assert drawn == [0, 1]
    drawn.clear()
    train_role("teacher", data, recipe, options)
    assert drawn == [1, 2]
