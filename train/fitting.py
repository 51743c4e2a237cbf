"""Fitting a task with Lightning: loaders, trainer, logs, and the state that a killed run continues from."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch import callbacks, loggers
from lightning.pytorch.plugins.environments import SLURMEnvironment

from .data.dataset import BalancedSampler, CropDataset, FixedSampler, make_loader
from .data.prepared import PreparedData
from .module import TrainingModule
from .recipes import Recipe, RoleConfig
from .task import HeatmapTask

#: File of the state after the last finished epoch, in the run's folder.
LAST = "last.ckpt"
#: Held-out samples looked at after every epoch, but no more than are trained on; all of them at the end.
_EPOCH_CHECK = 1000


@dataclass(frozen=True, slots=True)
class Fitting:
    """Where and how to fit: the run's folder, the seed, Lightning's `accelerator`, `devices` and `nodes`.

    `resume` says that what lies in the folder is of this very run.
    """

    run: Path
    resume: bool
    seed: int
    progress: bool
    accelerator: str
    devices: str
    nodes: int
    report: Callable[[str], None]


def fit(
    task: HeatmapTask, data: PreparedData, config: RoleConfig, recipe: Recipe, fitting: Fitting
) -> lightning.Trainer:
    """Train a task in place, from the last finished epoch of an earlier attempt where there was one.

    Raises:
        KeyboardInterrupt: Ctrl-C; the finished epochs are kept.
        DsrfauError: the loss stopped being a number.
    """
    seed, chosen = fitting.seed, recipe.data
    positions = data.split("train", **chosen.split_options())
    held_out = data.split("held-out", **chosen.split_options())
    task.train()  # frozen stages and the teacher go to evaluation mode; Lightning keeps the modes it finds
    with quiet_lightning():
        trainer = _trainer(config, fitting)
    rank, world = trainer.global_rank, trainer.world_size
    sampler = BalancedSampler(
        data, positions, balance=chosen.balance, shares=chosen.weights, seed=seed, rank=rank, world=world
    )
    train = make_loader(
        CropDataset(data, augmentation=recipe.augmentation, seed=seed),
        sampler,
        batch=max(1, min(config.batch, len(positions) // world)),
        workers=chosen.workers,
        drop_last=True,
    )
    checked = np.random.default_rng(0).permutation(held_out)[: min(_EPOCH_CHECK, len(positions))]
    held = make_loader(CropDataset(data, augmentation=None, seed=seed), FixedSampler(checked), batch=64, workers=0)
    module = TrainingModule(
        task.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        config=config,
        steps=config.epochs * len(train),
        sites=data.index.sites,
        aus=data.index.aus,
        folder=fitting.run,
        report=fitting.report if trainer.is_global_zero else lambda text: None,
    )
    last = _state(fitting)
    if last is not None:  # loading processes draw ahead, before Lightning tells the sampler which epoch it is
        sampler.set_epoch(torch.load(last, map_location="cpu", weights_only=False)["epoch"] + 1)
    with quiet_lightning(), _interruptible(trainer):
        # weights_only=False: our own file of a run on this machine, with the optimizer's and the loops' state.
        trainer.fit(module, train, held, ckpt_path=last, weights_only=False)
    return trainer


def _state(fitting: Fitting) -> Path | None:
    """The state to continue from."""
    last = fitting.run / LAST
    if not (fitting.resume and last.is_file()):
        return None
    if not zipfile.is_zipfile(last):
        fitting.report(f"{last} was cut short: starting anew")
        return None
    fitting.report(f"continuing from {last}")
    return last


@contextlib.contextmanager
def _interruptible(trainer: lightning.Trainer) -> Iterator[None]:
    """Ctrl-C ends as KeyboardInterrupt: Lightning turns it into exit code 1 and ignores the signal from then on."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from error


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence what Lightning says about things that are meant: one loading process, parts in evaluation mode."""
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.WARNING)
    meant = (
        "does not have many workers",
        "Checkpoint directory",
        "in eval mode",
        "treespec",
        "number of training batches",
        "sync_dist=True",  # every process evaluates all of the same samples
    )
    try:
        with warnings.catch_warnings():
            for message in meant:
                warnings.filterwarnings("ignore", message=f".*{message}.*")
            yield
    finally:
        logger.setLevel(level)


def _moving_average(decay: float) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | int], torch.Tensor]:
    """Exponential moving average whose memory grows with the steps: the first weights are no part of it for long."""

    def update(average: torch.Tensor, current: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
        kept = min(decay, (1 + int(count)) / (10 + int(count)))
        return average * kept + current * (1 - kept)

    return update


def _trainer(config: RoleConfig, fitting: Fitting) -> lightning.Trainer:
    run = fitting.run
    state = callbacks.ModelCheckpoint(dirpath=run, filename=Path(LAST).stem, save_top_k=1, enable_version_counter=False)
    bar = fitting.progress and sys.stderr.isatty()
    average = [callbacks.WeightAveraging(avg_fn=_moving_average(config.ema))] if config.ema else []
    return lightning.Trainer(
        max_epochs=config.epochs,
        accelerator=fitting.accelerator,
        devices=fitting.devices,
        num_nodes=fitting.nodes,
        precision=config.precision,
        gradient_clip_val=config.clip or None,
        logger=[
            # A folder per attempt: the CSV logger empties the one it is given, with the first part of a killed run.
            loggers.CSVLogger(run.parent, name=run.name, version=f"csv-{len(list(run.glob('csv-*')))}"),
            loggers.TensorBoardLogger(run.parent, name=run.name, version="tensorboard"),
        ],
        callbacks=[*average, state, *([callbacks.RichProgressBar(console_kwargs={"stderr": True})] if bar else [])],
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        use_distributed_sampler=False,
        # Lightning's own requeueing would save another state, amid an epoch; the same command continues without it.
        plugins=[SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else None,
        default_root_dir=run,
    )
