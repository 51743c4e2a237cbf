"""One training run from data and recipe to a checkpoint; continues where a killed run stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from dsrfau_edge import __version__
from dsrfau_edge.checkpoint import DESCRIPTION, Checkpoint, read_checkpoint, require_replaceable
from dsrfau_edge.errors import DataError, UsageError

from .adaptors import fit_adaptors
from .checkpoint import CALIBRATION_COUNT, load_network, save_checkpoint, start_from
from .data.prepared import Indices, PreparedData
from .distillation import DistillationTask
from .fitting import LAST, Fitting, fit
from .inference import held_out_metrics
from .networks.heatmap import HeatmapNetwork
from .recipes import Recipe, RoleConfig
from .spread import match_spread
from .task import HeatmapTask

_log = logging.getLogger(__name__)
#: File in a run's folder that says what is trained there; a folder without it is not a run's.
_MARK = "fingerprint"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run needs beside data and recipe.

    `folder` receives the checkpoint as `ROLE/` and logs and resume state under `runs/ROLE/`. `progress` shows a bar;
    `fresh` starts anew and may replace a finished checkpoint; `devices` (`auto` or a number) and `nodes` are
    Lightning's; `report` is told how far the run is, a line at a time.
    """

    folder: Path
    seed: int = 0
    progress: bool = False
    fresh: bool = False
    accelerator: str = "auto"
    devices: str = "auto"
    nodes: int = 1
    report: Callable[[str], None] = _log.info

    def places(self, role: str) -> tuple[Path, Path]:
        """Folders of a role's checkpoint and of its run.

        Raises:
            UsageError: one of them is there already and was not written by training.
        """
        destination, run = self.folder / role, self.folder / "runs" / role
        require_replaceable(destination)
        require_replaceable(run, _MARK)
        return destination, run

    def fitting(self, run: Path, role: str, *, resume: bool) -> Fitting:
        """The part of it that the fitting of one role needs."""
        return Fitting(
            run=run,
            resume=resume,
            seed=self.seed,
            progress=self.progress,
            accelerator=self.accelerator,
            devices=self.devices,
            nodes=self.nodes,
            report=lambda text: self.report(f"{role}: {text}"),
        )


@dataclass(frozen=True, slots=True)
class Job:
    """What one training differs in from another.

    Attributes:
        role: the recipe's part that it belongs to, and the folder that its checkpoint goes to.
        config: how it is trained.
        parents: checkpoint folders that it takes something from, by what they are to it.
        task: makes what is trained.
        finish: told the task on its device once it is trained; returns the network to save, and what else the
            checkpoint is to say of the training.
        settings: what else the result depends on.
    """

    role: str
    config: RoleConfig
    parents: Mapping[str, Path | None]
    task: Callable[[], HeatmapTask]
    finish: Callable[[HeatmapTask], tuple[HeatmapNetwork, Mapping[str, Any]]]
    settings: Mapping[str, Any] = field(default_factory=dict)


def train_role(
    role: str,
    data: PreparedData,
    recipe: Recipe,
    options: RunOptions,
    *,
    teacher: Path | None = None,
    init: Path | None = None,
) -> Checkpoint:
    """Train a teacher or a student and write its checkpoint to `options.folder / role`.

    A finished checkpoint of the same recipe, seed and data is kept, one of others is replaced only with `fresh`; an
    unfinished run continues after its last epoch.

    Args:
        role: `teacher` or `student`.
        data: prepared data.
        recipe: how.
        options: where, seed and so on.
        teacher: checkpoint folder of the teacher; a student without one learns from the heatmaps alone.
        init: checkpoint folder whose weights to start from, in place of ImageNet's or random ones.

    Raises:
        DataError: unusable data, teacher or start.
        UsageError: a folder to write to holds something else, or a finished checkpoint of another recipe.
        DsrfauError: the loss stopped being a number.
    """
    config = recipe.role(role)

    def task() -> HeatmapTask:
        network = HeatmapNetwork(config.network, len(data.index.sites))
        made = make_task(network, data, recipe, config, None if role == "teacher" else teacher)
        if init is not None:
            share = start_from(made.network, data.index.sites, init)
            options.report(f"{role}: {share:.0%} of the weights start as those of {init}")
            if isinstance(made, DistillationTask):
                fit_adaptors(made, calibration_crops(data, recipe, options.seed))
        return made

    def finish(trained: HeatmapTask) -> tuple[HeatmapNetwork, Mapping[str, Any]]:
        if config.spread <= 1:
            return trained.network, {}
        positions = data.split("train", **recipe.data.split_options())
        factors = match_spread(trained.network, data, positions, limit=config.spread, seed=options.seed)
        return trained.network, {"spread": factors}

    return execute(Job(role, config, {"teacher": teacher, "init": init}, task, finish), data, recipe, options)


def execute(job: Job, data: PreparedData, recipe: Recipe, options: RunOptions) -> Checkpoint:
    """Do a job and write its checkpoint to `options.folder / job.role`; see `train_role`."""
    role = job.role
    destination, run = options.places(role)
    fingerprint = _fingerprint(job, data, recipe, options.seed)
    if not options.fresh and (destination / DESCRIPTION).is_file():
        finished = read_checkpoint(destination)
        if finished.training.get("fingerprint") == fingerprint:
            options.report(f"{destination} is already trained with this recipe, seed and data: kept")
            return finished
        if rank_zero_only.rank == 0:
            _require_consent(destination, run, fingerprint)
    # Every process decides by itself, since any of them may look before the first one has cleared the folder.
    resume = not options.fresh and _marked(run) == fingerprint
    lightning.seed_everything(options.seed, workers=True, verbose=False)
    positions = data.split("train", **recipe.data.split_options())
    task = job.task()
    if rank_zero_only.rank == 0:  # not before it is known that there is something to do
        _prepare(run, fingerprint, fresh=options.fresh)
    started = time.monotonic()
    trainer = fit(task, data, job.config, recipe, options.fitting(run, role, resume=resume))
    seconds = time.monotonic() - started
    if trainer.is_global_zero:  # one process of a distributed run writes, the others wait for it
        training = _provenance(job, recipe, options.seed, fingerprint, seconds, len(positions))
        task.network.to(trainer.strategy.root_device).eval()  # Lightning has moved it to the CPU
        network, told = job.finish(task)
        metrics = {"held_out": evaluate_splits(network, data, recipe)}
        calibration = calibration_order(positions, options.seed)
        save_checkpoint(
            destination,
            network.cpu(),
            data,
            calibration=calibration,
            training={**training, **told},
            metrics=metrics,
            parents=[read_checkpoint(path, verify=False) for path in job.parents.values() if path is not None],
        )
        (run / LAST).unlink(missing_ok=True)
    trainer.strategy.barrier()
    return read_checkpoint(destination, verify=False)


def calibration_order(positions: Indices, seed: int) -> Indices:
    """Training positions in the order in which a checkpoint takes its calibration crops from them."""
    return np.random.default_rng(seed).permutation(positions)


def calibration_crops(data: PreparedData, recipe: Recipe, seed: int) -> torch.Tensor:
    """The crops that a checkpoint will carry, uint8 `[n, side, side, 3]`."""
    chosen = calibration_order(data.split("train", **recipe.data.split_options()), seed)[:CALIBRATION_COUNT]
    return torch.from_numpy(np.stack([data.frame(int(position))[0] for position in chosen]))


def evaluate_splits(network: HeatmapNetwork, data: PreparedData, recipe: Recipe) -> dict[str, Any]:
    """Metrics on the held-out identities and, where looks are held out too, on those of them in a new look."""
    options = recipe.data.split_options()
    scores = held_out_metrics(network, data, data.split("held-out", **options), split="held-out")
    if recipe.data.held_out_looks:
        try:
            harder = data.split("held-out-looks", **options)
        except DataError:
            _log.warning("No held-out identity wears a held-out look: nothing to report on them.")
        else:
            scores["new_looks"] = held_out_metrics(network, data, harder, split="held-out-looks")
    return scores


def make_task(
    network: HeatmapNetwork,
    data: PreparedData,
    recipe: Recipe,
    config: RoleConfig,
    teacher: Path | None,
    *,
    frozen_stages: int | None = None,
) -> HeatmapTask:
    """What to train a network at: the heatmaps, and what a teacher's hidden stages say where there is one.

    Raises:
        DataError: the teacher is of other crops, or cannot be read.
    """
    frozen = config.frozen_stages if frozen_stages is None else frozen_stages
    if teacher is None:
        return HeatmapTask(network, foreground=config.foreground, frozen_stages=frozen)
    taught, described = load_network(teacher)
    if described.input_size != data.index.input_size or described.template != dict(data.index.template):
        raise DataError(
            f"The teacher {teacher} was trained on crops of another size or alignment than this data. Train a teacher "
            "on it."
        )
    return DistillationTask(
        network, taught, config=recipe.distillation, foreground=config.foreground, frozen_stages=frozen
    )


def _require_consent(destination: Path, run: Path, fingerprint: str) -> None:
    """Refuse to replace a finished checkpoint, unless a run that was started with `fresh` only has to be continued."""
    if (run / LAST).is_file() and _marked(run) == fingerprint:
        return
    raise UsageError(
        f"{destination} holds a finished checkpoint of another recipe, seed, data or teacher. Replace it with --fresh, "
        "or choose another folder with -o."
    )


def _marked(run: Path) -> str | None:
    """What the run's folder says is trained there."""
    with contextlib.suppress(OSError):
        return (run / _MARK).read_text()
    return None


def _prepare(run: Path, fingerprint: str, *, fresh: bool) -> None:
    """Make the run's folder; a state of another recipe or seed is not continued."""
    marked = _marked(run)
    if marked is not None and (fresh or marked != fingerprint):
        shutil.rmtree(run)
    try:
        run.mkdir(parents=True, exist_ok=True)
        (run / _MARK).write_text(fingerprint)
    except OSError as error:
        raise UsageError(f"Cannot write to {run}: {error.strerror}. Choose another folder with -o.") from error


def _fingerprint(job: Job, data: PreparedData, recipe: Recipe, seed: int) -> str:
    parts: dict[str, Any] = {
        "role": job.role,
        "config": asdict(job.config),
        "augmentation": recipe.to_dict()["augmentation"],
        "data": {name: value for name, value in recipe.to_dict()["data"].items() if name != "workers"},
        "sets": [(source["index_sha256"], source["samples"]) for source in data.sources],
        "seed": seed,
        **job.settings,
    }
    if job.role == "student":
        parts["distillation"] = recipe.to_dict()["distillation"]
    parents = {name: path for name, path in job.parents.items() if path is not None}
    parts["parents"] = {name: dict(read_checkpoint(path).files) for name, path in parents.items()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _provenance(job: Job, recipe: Recipe, seed: int, fingerprint: str, seconds: float, samples: int) -> dict[str, Any]:
    return {
        "role": job.role,
        "recipe": recipe.to_dict(),
        "seed": seed,
        "epochs": job.config.epochs,
        "samples": samples,
        "seconds": round(seconds),
        **{name: path and dict(read_checkpoint(path, verify=False).files) for name, path in job.parents.items()},
        "revision": _revision(),
        "versions": {"dsrfau_edge": __version__, "torch": torch.__version__, "lightning": lightning.__version__},
        "fingerprint": fingerprint,
    }


def _revision() -> str | None:
    """Git revision of this code, with `+` where it was changed since; `None` outside a checkout.

    A package installed into somebody's repository is not of its revision: git has to know this very file.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        subprocess.run(
            [*git, "ls-files", "--error-unmatch", Path(__file__).name], capture_output=True, check=True, timeout=10
        )
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
