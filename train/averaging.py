"""Between two checkpoints of one network: the weights before a training and after it, averaged.

A training on one kind of faces makes a network better on these and may make it worse on others. The weighted mean of
the weights before and after keeps most of what was gained, and of what was there (Wortsman et al., "Robust fine-tuning
of zero-shot models", CVPR 2022). It costs nothing on the device. ADR 19 has what it did for the bundled student.
"""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path

import torch

from dsrfau_edge.checkpoint import Checkpoint, require_replaceable
from dsrfau_edge.errors import DataError, UsageError

from .checkpoint import load_network, save_checkpoint, start_from
from .data.prepared import PreparedData
from .recipes import Recipe
from .run import calibration_order, evaluate_splits
from .spread import match_spread


def average_checkpoints(
    before: Path, after: Path, share: float, data: PreparedData, recipe: Recipe, folder: Path
) -> Checkpoint:
    """Write the checkpoint between two; its spread and its metrics are measured anew.

    Args:
        before: checkpoint that the training started from (`--init`).
        after: checkpoint that it gave; heatmaps of sites that `before` did not know stay as they are in it.
        share: weight of `after`, 0–1.
        data: prepared data with the sites of `after`: spread, calibration and metrics are of it.
        recipe: whose split and spread apply; `after`'s own.
        folder: where to write; a checkpoint there is replaced.

    Returns:
        What was written; `training` is that of `after` with `averaged`, the licences are those of both.

    Raises:
        DataError: a checkpoint cannot be read, or the two are of different networks, or the data is of other sites
            or crops.
        UsageError: the folder holds something else, or one of the two; or the share is none.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"A share of {share} is not between 0 (the checkpoint before) and 1 (the one after).")
    require_apart(folder, before, after)
    first, old = load_network(before, spread=False)
    network, new = load_network(after, spread=False)
    if first.config.to_dict() | {"pretrained": None} != network.config.to_dict() | {"pretrained": None}:
        raise DataError(f"{before} and {after} are different networks: only weights of one network can be averaged.")
    for name in ("input_size", "template"):
        if getattr(old, name) != getattr(new, name):
            raise DataError(f"{before} and {after} differ in their {name}: they look at different crops.")
    if _equalized(old) != _equalized(new):
        raise DataError(
            f"Of {before} and {after} one was fine-tuned for int8, its channels were balanced anew, and the two "
            "sets of weights no longer match. Average first and fine-tune the result, or fine-tune with "
            "--set qat.equalize=false."
        )
    index = data.index
    if index.sites != new.sites or index.input_size != new.input_size or dict(index.template) != dict(new.template):
        raise DataError(f"The data has other sites or crops than {after}. Give data like what it was trained on.")
    start = copy.deepcopy(network)  # sites that only `after` knows have nothing to be averaged with
    start_from(start, new.sites, before)
    ours = start.state_dict()
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
    fingerprint = hashlib.sha256(json.dumps(averaged, sort_keys=True).encode()).hexdigest()
    return save_checkpoint(
        folder,
        network,
        data,
        calibration=calibration_order(positions, seed),
        training={**new.training, **told, "averaged": averaged, "fingerprint": fingerprint},
        metrics={"held_out": evaluate_splits(network, data, recipe)},
        parents=(old, new),
    )


def require_apart(folder: Path, before: Path, after: Path) -> None:
    """Make sure that a folder can be written without losing one of the two.

    Raises:
        UsageError: it is one of them, or holds something else.
    """
    if folder.resolve() in (before.resolve(), after.resolve()):
        raise UsageError(f"{folder} is one of the two checkpoints. Choose another folder with -o.")
    require_replaceable(folder)


def _equalized(checkpoint: Checkpoint) -> bool:
    """Whether a fine-tune for int8 has balanced its channels: the function is the same, the weights are not."""
    tuned = checkpoint.training.get("quantization") or {}
    return (tuned.get("held_out") or {}).get("equalized") is not None
