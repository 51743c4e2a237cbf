"""One training run from data and recipe to a checkpoint; continues where a killed run stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch import callbacks, loggers

from dsrfau_edge import __version__
from dsrfau_edge.errors import DataError, UsageError

from .checkpoint import load_network, save_checkpoint
from .data.dataset import BalancedSampler, CropDataset, FixedSampler, make_loader
from .data.prepared import Indices, PreparedData
from .description import DESCRIPTION, Checkpoint, read_checkpoint
from .distillation import DistillationTask
from .inference import held_out_metrics
from .module import TrainingModule
from .networks.heatmap import HeatmapNetwork
from .recipes import Recipe
from .task import HeatmapTask

#: Held-out samples looked at after every epoch; all of them at the end.
_EPOCH_CHECK = 1000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run needs beside data and recipe.

    `folder` receives the checkpoint as `ROLE/` and logs and resume state under `runs/ROLE/`. `progress` shows a bar;
    `fresh` starts anew instead of continuing; `report` is told how far the run is, a line at a time.
    """

    folder: Path
    seed: int = 0
    progress: bool = False
    fresh: bool = False
    accelerator: str = "auto"
    report: Callable[[str], None] = _log.info


def train_role(
    role: str, data: PreparedData, recipe: Recipe, options: RunOptions, *, teacher: Path | None = None
) -> Checkpoint:
    """Train a teacher or a student and write its checkpoint to `options.folder / role`.

    A finished checkpoint of the same recipe, seed and data is kept; an unfinished run continues after its last epoch.

    Args:
        role: `teacher` or `student`.
        data: prepared data.
        recipe: how.
        options: where, seed and so on.
        teacher: checkpoint folder of the teacher; a student without one learns from the heatmaps alone.

    Raises:
        DataError: unusable data or teacher.
        DsrfauError: the loss stopped being a number.
    """
    destination, run = options.folder / role, options.folder / "runs" / role
    fingerprint = _fingerprint(role, data, recipe, options.seed, teacher)
    if not options.fresh and (destination / DESCRIPTION).is_file():
        finished = read_checkpoint(destination)
        if finished.training.get("fingerprint") == fingerprint:
            options.report(f"{destination} is already trained with this recipe, seed and data: kept")
            return finished
    _prepare(run, fingerprint, fresh=options.fresh)

    lightning.seed_everything(options.seed, workers=True, verbose=False)
    positions = data.split("train", held_out=recipe.data.held_out, looks=recipe.data.held_out_looks)
    task = _task(role, data, recipe, teacher)
    started = time.monotonic()
    module = _fit(task, data, positions, recipe, role, options, run)
    seconds = time.monotonic() - started

    network = module.task.network.cpu().eval()
    metrics = {"held_out": evaluate_splits(network, data, recipe)}
    training = _provenance(role, recipe, options.seed, fingerprint, seconds, len(positions), teacher)
    rng = np.random.default_rng(options.seed)
    calibration = rng.permutation(positions)
    checkpoint = save_checkpoint(
        destination, network, data, calibration=calibration, training=training, metrics=metrics
    )
    (run / "last.ckpt").unlink(missing_ok=True)
    return checkpoint


def evaluate_splits(network: HeatmapNetwork, data: PreparedData, recipe: Recipe) -> dict[str, Any]:
    """Metrics on the held-out identities and, where looks are held out too, on those of them in a new look."""
    share, looks = recipe.data.held_out, recipe.data.held_out_looks
    scores = held_out_metrics(network, data, data.split("held-out", held_out=share, looks=looks), split="held-out")
    if recipe.data.held_out_looks:
        try:
            harder = data.split("held-out-looks", held_out=share, looks=looks)
        except DataError:
            _log.warning("No held-out identity wears a held-out look: nothing to report on them.")
        else:
            scores["new_looks"] = held_out_metrics(network, data, harder, split="held-out-looks")
    return scores


def _task(role: str, data: PreparedData, recipe: Recipe, teacher: Path | None) -> HeatmapTask:
    config = recipe.role(role)
    network = HeatmapNetwork(config.network, len(data.index.sites))
    common = {"foreground": config.foreground, "frozen_stages": config.frozen_stages}
    if role == "teacher" or teacher is None:
        return HeatmapTask(network, **common)  # type: ignore[arg-type]
    taught, described = load_network(teacher)
    if described.sites != data.index.sites or described.input_size != data.index.input_size:
        raise DataError(
            f"The teacher {teacher} was trained for other sites or another input size than this data. Train a "
            "teacher on it."
        )
    return DistillationTask(network, taught, config=recipe.distillation, **common)  # type: ignore[arg-type]


def _fit(
    task: HeatmapTask,
    data: PreparedData,
    positions: Indices,
    recipe: Recipe,
    role: str,
    options: RunOptions,
    run: Path,
) -> TrainingModule:
    config, seed = recipe.role(role), options.seed
    held_out = data.split("held-out", held_out=recipe.data.held_out, looks=recipe.data.held_out_looks)
    checked = np.random.default_rng(0).permutation(held_out)[:_EPOCH_CHECK]
    batch = min(config.batch, len(positions))
    task.train()  # frozen stages and the teacher go to evaluation mode; Lightning keeps the modes it finds
    with quiet_lightning():
        trainer = _trainer(config.epochs, config.precision, config.clip, options, run)
    sampler = BalancedSampler(
        data, positions, balance=recipe.data.balance, seed=seed, rank=trainer.global_rank, world=trainer.world_size
    )
    workers = recipe.data.workers
    train = make_loader(
        CropDataset(data, augmentation=recipe.augmentation, seed=seed),
        sampler,
        batch=batch,
        workers=workers,
        drop_last=True,
    )
    held = make_loader(CropDataset(data, augmentation=None, seed=seed), FixedSampler(checked), batch=64, workers=0)
    module = TrainingModule(
        task.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        config=config,
        steps=config.epochs * len(train),
        sites=data.index.sites,
        aus=data.index.aus,
        folder=run,
        report=lambda text: options.report(f"{role}: {text}"),
    )
    last = run / "last.ckpt"
    if last.is_file():
        options.report(f"{role}: continuing from {last}")
    with quiet_lightning(), _interruptible(trainer):
        # weights_only=False: our own file of a run on this machine, with the optimizer's and the loops' state.
        trainer.fit(module, train, held, ckpt_path=str(last) if last.is_file() else None, weights_only=False)
    return module


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
    )
    try:
        with warnings.catch_warnings():
            for message in meant:
                warnings.filterwarnings("ignore", message=f".*{message}.*")
            yield
    finally:
        logger.setLevel(level)


def _trainer(epochs: int, precision: str, clip: float, options: RunOptions, run: Path) -> lightning.Trainer:
    checkpoints = callbacks.ModelCheckpoint(dirpath=run, filename="last", save_top_k=1, enable_version_counter=False)
    return lightning.Trainer(
        max_epochs=epochs,
        accelerator=options.accelerator,
        precision=precision,
        gradient_clip_val=clip or None,
        logger=[
            # A folder per attempt: the CSV logger empties the one it is given, with the first part of a killed run.
            loggers.CSVLogger(run.parent, name=run.name, version=f"csv-{len(list(run.glob('csv-*')))}"),
            loggers.TensorBoardLogger(run.parent, name=run.name, version="tensorboard"),
        ],
        callbacks=[checkpoints, *_progress(shown=options.progress)],
        enable_progress_bar=options.progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        use_distributed_sampler=False,
    )


def _progress(*, shown: bool) -> Sequence[callbacks.Callback]:
    return [callbacks.RichProgressBar(console_kwargs={"stderr": True})] if shown and sys.stderr.isatty() else []


def _prepare(run: Path, fingerprint: str, *, fresh: bool) -> None:
    """Make the run's folder; a state of another recipe or seed is not continued."""
    mark = run / "fingerprint"
    if run.exists() and (fresh or not mark.is_file() or mark.read_text() != fingerprint):
        shutil.rmtree(run)
    try:
        run.mkdir(parents=True, exist_ok=True)
        mark.write_text(fingerprint)
    except OSError as error:
        raise UsageError(f"Cannot write to {run}: {error.strerror}. Choose another folder with -o.") from error


def _fingerprint(role: str, data: PreparedData, recipe: Recipe, seed: int, teacher: Path | None) -> str:
    parts: dict[str, Any] = {
        "role": role,
        "config": recipe.to_dict()[role],
        "augmentation": recipe.to_dict()["augmentation"],
        "data": {name: value for name, value in recipe.to_dict()["data"].items() if name != "workers"},
        "sets": [(source["index_sha256"], source["samples"]) for source in data.sources],
        "seed": seed,
    }
    if role == "student":
        parts["distillation"] = recipe.to_dict()["distillation"]
        parts["teacher"] = None if teacher is None else dict(read_checkpoint(teacher).files)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _provenance(
    role: str, recipe: Recipe, seed: int, fingerprint: str, seconds: float, samples: int, teacher: Path | None
) -> dict[str, Any]:
    return {
        "role": role,
        "recipe": recipe.to_dict(),
        "seed": seed,
        "epochs": recipe.role(role).epochs,
        "samples": samples,
        "seconds": round(seconds),
        "teacher": None if teacher is None else dict(read_checkpoint(teacher, verify=False).files),
        "revision": _revision(),
        "versions": {"dsrfau_edge": __version__, "torch": torch.__version__, "lightning": lightning.__version__},
        "fingerprint": fingerprint,
    }


def _revision() -> str | None:
    """Git revision of this code, with `+` where it was changed since; `None` outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        revision = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return revision.stdout.strip() + ("+" if changed.stdout.strip() else "")
