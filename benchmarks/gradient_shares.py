"""How hard does each distillation loss pull, beside the heatmap loss? At weight 1, by stage.

The weights of a recipe say little by themselves: a loss of small value can have the largest gradient. This looks at
one student (fresh, or a checkpoint with adaptors fitted to it) and its teacher, on augmented training crops, and prints
each loss's value and the norm of its gradient over the student's upsampler as a share of the heatmap loss's. The weight
that makes a loss pull a tenth as hard as the heatmaps is 0.1 over that share. See README.md beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch


def gradient_shares(options: argparse.Namespace) -> dict[str, Any]:
    """Values and gradients of all losses; see the module."""
    from dsrfau_edge.errors import DataError
    from dsrfau_edge.train.adaptors import fit_adaptors
    from dsrfau_edge.train.checkpoint import load_network
    from dsrfau_edge.train.data.prepared import load_prepared
    from dsrfau_edge.train.distillation import DistillationTask
    from dsrfau_edge.train.networks.heatmap import HeatmapNetwork
    from dsrfau_edge.train.networks.upsampler import STAGES
    from dsrfau_edge.train.recipes import load_recipe
    from dsrfau_edge.train.run import make_task

    torch.manual_seed(options.seed)
    data = load_prepared(options.data, limit=options.limit)
    everywhere = [f"distillation.{kind}_stages={list(STAGES)}" for kind in ("feature", "relation")]
    recipe = load_recipe(options.recipe, [*options.settings, *everywhere])
    if options.student:
        network, known = load_network(options.student, spread=False)
        if known.sites != data.index.sites:
            raise DataError(f"{options.student} has other sites than this data. Give data like what it was trained on.")
    else:
        network = HeatmapNetwork(recipe.student.network, len(data.index.sites))
    task = make_task(network, data, recipe, recipe.student, options.teacher)
    assert isinstance(task, DistillationTask)
    batches = list(_batches(data, recipe, options))
    if options.student:
        fit_adaptors(task, torch.cat([batch.crops for batch in batches]))
    task.train()
    rows: dict[str, list[tuple[float, float]]] = {}
    parameters = [value for value in task.network.upsampler.parameters() if value.requires_grad]
    for batch in batches:
        with torch.no_grad():
            taught = task.teacher(batch.crops).stages
        prediction = task.network(batch.crops)
        losses = {"heatmap": task.heatmap_loss(batch, prediction.heatmaps)}
        for stage in STAGES:
            student, teacher = prediction.stages[stage], taught[stage]
            adapted = task.adaptors[stage](student)
            losses[f"feature_map {stage}"] = task.feature_map(adapted, teacher)
            losses[f"region_wise {stage}"] = task.region_wise(student, teacher)
            losses[f"channel_wise {stage}"] = task.channel_wise(adapted, teacher)
        for name, loss in losses.items():
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            norm = torch.stack([g.norm() for g in gradients if g is not None]).norm()
            rows.setdefault(name, []).append((float(loss.detach()), float(norm)))
    means = {name: np.mean(pairs, 0).tolist() for name, pairs in rows.items()}
    whole = means["heatmap"][1]
    return {name: {"value": value, "gradient": norm, "share": norm / whole} for name, (value, norm) in means.items()}


def _batches(data: Any, recipe: Any, options: argparse.Namespace) -> Iterable[Any]:
    from dsrfau_edge.train.data.dataset import BalancedSampler, CropDataset, make_loader

    positions = data.split("train", **recipe.data.split_options())
    sampler = BalancedSampler(data, positions, balance=recipe.data.balance, seed=options.seed)
    views = CropDataset(data, augmentation=recipe.augmentation, seed=options.seed)
    loader = make_loader(views, sampler, batch=min(recipe.student.batch, len(positions)), workers=0, drop_last=True)
    for _, batch in zip(range(options.batches), loader, strict=False):
        yield batch


def main(arguments: Iterable[str] | None = None) -> None:
    """Measure and print."""
    from dsrfau_edge.errors import DsrfauError

    options = _arguments(arguments)
    try:
        table = gradient_shares(options)
    except DsrfauError as error:
        sys.exit(f"error: {error}")
    if options.json:
        print(json.dumps(table))
        return
    print("| loss | value | gradient, share of the heatmaps' |\n|---|---|---|")
    for name, row in table.items():
        print(f"| {name} | {row['value']:.4f} | {row['share']:.2f} |")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return int(text)


def _arguments(arguments: Iterable[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True, help="prepared data")
    parser.add_argument("--teacher", type=Path, required=True, help="the teacher's checkpoint")
    parser.add_argument("--student", type=Path, help="a student's checkpoint; default a fresh one of the recipe")
    parser.add_argument("--recipe", default="dsrfau-nano", help="default dsrfau-nano")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="change a value of the recipe")
    parser.add_argument("--batches", type=_count, default=4, help="batches to average over; default 4")
    parser.add_argument("--limit", type=_count, help="use no more than so many crops of each folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(None if arguments is None else list(arguments))


if __name__ == "__main__":
    main()
