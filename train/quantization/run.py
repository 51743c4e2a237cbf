"""A short fine-tune of a trained student under fake quantization, from checkpoint to checkpoint.

The result is an ordinary checkpoint in float, which the exporter quantizes like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dsrfau_edge.checkpoint import Checkpoint, read_checkpoint
from dsrfau_edge.errors import DataError, UsageError

from ..data.prepared import PreparedData
from ..recipes import Recipe, recipe_with
from ..run import Job, RunOptions, execute
from .scheme import Scheme
from .tuning import Tuning

ROLE = "student"


def own_recipe(folder: Path, settings: Sequence[str]) -> Recipe:
    """The recipe that a checkpoint was trained by, with single values replaced.

    With it the same persons stay held out, and the losses are those of the training.

    Raises:
        DataError: there is no such checkpoint.
        UsageError: it does not say by which, or says it in words that this version does not know.
    """
    recorded = read_checkpoint(folder).training.get("recipe")
    if not isinstance(recorded, Mapping):
        raise UsageError(
            f"{folder} does not say by which recipe it was trained, and so not whom it left out. Train it "
            "again, or name a recipe where there is --recipe."
        )
    return recipe_with(recorded, settings)


def train_quantized(
    folder: Path,
    data: PreparedData,
    recipe: Recipe,
    options: RunOptions,
    *,
    scheme: Scheme,
    teacher: Path | None = None,
) -> Checkpoint:
    """Fine-tune a checkpoint's network for an int8 scheme; writes `options.folder / "student"`.

    Continues, keeps and replaces like `train_role`.

    Args:
        folder: the checkpoint to start from.
        data: prepared data with the checkpoint's sites.
        recipe: how; of its parts `qat`, `student`, `data`, `augmentation` and `distillation`.
        options: where, seed and so on.
        scheme: the integers that the exporter will use.
        teacher: checkpoint folder of the teacher; without one the heatmaps alone are learned.

    Raises:
        DataError: unusable data, checkpoint or teacher.
        UsageError: a folder to write to holds something else, a finished checkpoint of another recipe, or `folder`.
        DsrfauError: the loss stopped being a number.
    """
    _require_fit(folder, read_checkpoint(folder), data)
    destination = options.places(ROLE)[0]
    if destination.resolve() == folder.resolve():
        raise UsageError(f"The result would replace {folder}, which it starts from. Choose another folder with -o.")
    tuning = Tuning(folder, data, recipe, options, scheme, teacher)
    job = Job(
        ROLE,
        recipe.qat.role(recipe.student),
        {"init": folder, "teacher": teacher},
        tuning.task,
        tuning.finish,
        {"scheme": scheme.name, "qat": asdict(recipe.qat)},
    )
    return execute(job, data, recipe, options)


def _require_fit(folder: Path, checkpoint: Checkpoint, data: PreparedData) -> None:
    """Refuse data that a checkpoint's network cannot be trained on.

    Raises:
        DataError: other crops, other sites, or no labels.
    """
    index = data.index
    if checkpoint.input_size != index.input_size or dict(checkpoint.template) != dict(index.template):
        raise DataError(
            f"{folder} was trained on crops of another size or alignment than this data. Prepare the data as it was "
            "prepared for the training."
        )
    if checkpoint.sites != index.sites:
        missing = [site for site in checkpoint.sites if site not in index.sites]
        new = [site for site in index.sites if site not in checkpoint.sites]
        told = f"it lacks {', '.join(missing)}" if missing else f"it labels {', '.join(new)} as well"
        raise DataError(
            f"This data does not label what {folder} predicts: {told}. Give the data of the training; "
            "`dsrfau-train student --init` goes on from a checkpoint on other data."
        )
    if np.isnan(data.intensities).all():
        raise DataError("No crop of this data is labelled, and nothing can be learned from it. Give labelled data.")
