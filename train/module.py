"""Lightning's side of training: optimizer, schedule, logging, and the stop at a loss that is no number."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import nn

from dsrfau_edge.errors import DsrfauError
from dsrfau_edge.metrics import evaluate, sites_to_aus

from .data.dataset import Batch
from .inference import intensities_of
from .recipes import RoleConfig
from .task import HeatmapTask

_log = logging.getLogger(__name__)


class TrainingModule(lightning.LightningModule):  # type: ignore[misc]  # Lightning is not looked into
    """Trains a task by its recipe and reports the held-out metrics after every epoch.

    Args:
        task: what to train.
        config: the role's part of the recipe.
        steps: optimizer steps of the whole run.
        sites: names of the sites.
        aus: names of the action units.
        folder: where a batch is saved that breaks the training.
        report: told the metrics and the remaining time after every epoch.
    """

    def __init__(
        self,
        task: HeatmapTask,
        *,
        config: RoleConfig,
        steps: int,
        sites: tuple[str, ...],
        aus: tuple[str, ...],
        folder: Path,
        report: Callable[[str], None] = _log.info,
    ) -> None:
        super().__init__()
        self.task = task
        self.config = config
        self.steps = steps
        self.sites, self.aus = sites, aus
        self.folder = folder
        self._report = report
        self._clock = (0.0, 0)
        self._held_out: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        """One batch's total loss.

        Raises:
            DsrfauError: the loss is not finite; the batch is saved.
        """
        losses = self.task(batch)
        if not torch.isfinite(losses["total"]):
            self._stop(batch, losses)
        for name, value in losses.items():
            self.log(
                f"train/{name}",
                value.detach(),
                prog_bar=name == "total",
                on_step=True,
                on_epoch=True,
                sync_dist=self.trainer.world_size > 1,
            )
        total: torch.Tensor = losses["total"]
        return total

    def _stop(self, batch: Batch, losses: dict[str, torch.Tensor]) -> None:
        path = self.folder / "broken_batch.npz"
        np.savez_compressed(path, **{name: value.cpu().numpy() for name, value in batch._asdict().items()})
        parts = ", ".join(f"{name} {float(value.detach()):g}" for name, value in losses.items())
        raise DsrfauError(
            f"Training stopped at step {self.global_step}: the loss is not finite ({parts}). The batch is saved "
            f"as {path}. If its labels are sane, lower the learning rate (--set student.learning_rate=1e-3) and "
            "start again."
        )

    def validation_step(self, batch: Batch, index: int) -> None:
        """Collect predictions for the epoch's metrics."""
        self._held_out.append((batch.intensities.cpu().numpy(), intensities_of(self.task.network, batch.crops)))

    def on_validation_epoch_end(self) -> None:
        """Log mean ICC, PCC and MAE over the units."""
        labels, predictions = (np.concatenate(part) for part in zip(*self._held_out, strict=True))
        self._held_out.clear()
        labels, predictions = (sites_to_aus(values, self.sites, self.aus) for values in (labels, predictions))
        mean = evaluate(labels, predictions, self.aus)["mean"]
        for name, value in mean.items():
            self.log(f"held_out/{name}", math.nan if value is None else value, prog_bar=name in ("icc", "pcc"))
        self._log_epoch(mean)

    def on_train_start(self) -> None:
        """Start the clock that the remaining time is told from."""
        self._clock = (time.monotonic(), self.current_epoch)

    def _log_epoch(self, mean: Mapping[str, float | None]) -> None:
        started, first = self._clock
        done = self.current_epoch + 1
        seconds = time.monotonic() - started
        left = seconds / (done - first) * (self.config.epochs - done)
        scores = ", ".join(f"{name} {math.nan if value is None else value:.3f}" for name, value in mean.items())
        time_left = f"{seconds:.0f} s so far, about {left:.0f} s left"
        self._report(f"epoch {done} of {self.config.epochs}: held out {scores}; {time_left}")

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with a linear warm-up and a cosine to one percent; norms and biases do not decay."""
        config = self.config
        groups = parameter_groups(self.task, config)
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99))
        warmup = max(1, round(self.steps * config.warmup))

        def rate(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            progress = (step - warmup) / max(1, self.steps - warmup)
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def parameter_groups(task: nn.Module, config: RoleConfig) -> list[dict[str, Any]]:
    """Trainable parameters by learning rate (backbone or not) and weight decay (weights of two axes and more)."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith("network.backbone."), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": config.learning_rate * (config.backbone_rate if backbone else 1.0),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (backbone, decays), parameters in groups.items()
    ]
