"""Between two checkpoints of one network: the weights before a training and after it, averaged.

A training on one kind of faces makes a network better on these and may make it worse on others. The weighted mean of
the weights before and after keeps most of what was gained, and of what was there (Wortsman et al., "Robust fine-tuning
of zero-shot models", CVPR 2022). It costs nothing on the device. ADR 19 has what it did for the bundled student.
"""

from __future__ import annotations

from pathlib import Path

import torch

from dsrfau_edge.checkpoint import Checkpoint, read_checkpoint, require_replaceable
from dsrfau_edge.errors import DataError, UsageError

from .checkpoint import load_network, save_checkpoint
from .data.prepared import PreparedData
from .networks.heatmap import HeatmapNetwork
from .recipes import Recipe
from .run import calibration_order, evaluate_splits
from .spread import match_spread, undo_spread


def average_checkpoints(
    before: Path, after: Path, share: float, data: PreparedData, recipe: Recipe, folder: Path
) -> Checkpoint:
    """Write the checkpoint between two; its spread and its metrics are measured anew.

    Args:
        before: checkpoint that the training started from (`--init`).
        after: checkpoint that it gave.
        share: weight of `after`, 0–1.
        data: prepared data with the checkpoints' sites: spread, calibration and metrics are of it.
        recipe: whose split and spread apply; `after`'s own.
        folder: where to write; a checkpoint there is replaced.

    Returns:
        What was written; `training` is that of `after`, with `averaged` added.

    Raises:
        DataError: a checkpoint cannot be read, or the two are of different networks, or the data of other sites.
        UsageError: the folder holds something else, or one of the two.
    """
    if folder.resolve() in (before.resolve(), after.resolve()):
        raise UsageError(f"{folder} is one of the two checkpoints. Choose another folder with -o.")
    require_replaceable(folder)
    first, old = _loaded(before)
    network, new = _loaded(after)
    if first.config.to_dict() | {"pretrained": None} != network.config.to_dict() | {"pretrained": None}:
        raise DataError(f"{before} and {after} are different networks: only weights of one network can be averaged.")
    for name in ("sites", "input_size", "template"):
        if getattr(old, name) != getattr(new, name):
            raise DataError(f"{before} and {after} differ in their {name}: they answer different questions.")
    if data.index.sites != new.sites or data.index.input_size != new.input_size:
        raise DataError(f"The data has other sites or crops than {after}. Give data like what it was trained on.")
    ours = first.state_dict()
    mixed = {
        name: torch.lerp(ours[name], value, share) if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(mixed)
    positions = data.split("train", **recipe.data.split_options())
    seed = int(new.training.get("seed") or 0)
    limit = recipe.role(str(new.training["role"])).spread
    told = {"spread": match_spread(network, data, positions, limit=limit, seed=seed)} if limit > 1 else {"spread": {}}
    averaged = {"share": share, "before": dict(old.files), "after": dict(new.files)}
    return save_checkpoint(
        folder,
        network,
        data,
        calibration=calibration_order(positions, seed),
        training={**new.training, **told, "averaged": averaged},
        metrics={"held_out": evaluate_splits(network, data, recipe)},
    )


def _loaded(folder: Path) -> tuple[HeatmapNetwork, Checkpoint]:
    """A checkpoint's network as the losses left it."""
    network, described = load_network(folder)
    undo_spread(network, described.sites, described.training.get("spread") or {})
    return network, read_checkpoint(folder, verify=False)
