"""What is evaluated: a checkpoint or a bundle, the names of its outputs, its training's split, and sessions of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsrfau_edge.bundle import Bundle, find_bundle
from dsrfau_edge.errors import DataError, InputError
from dsrfau_edge.runtimes.base import ModelFiles, Session, SessionOptions
from dsrfau_edge.runtimes.registry import choose

from ..data.prepared import Indices, PreparedData

_log = logging.getLogger(__name__)

_DEFAULT_HELD_OUT = 0.15


@dataclass(frozen=True, slots=True)
class Subject:
    """A model: its files, the names of what it predicts, the alignment it was made for, and its training's split.

    Attributes:
        split: options of `PreparedData.split` that training with its recipe used.
        recorded: whether the model says so itself; `split` is the default otherwise.
    """

    path: Path
    model: ModelFiles
    aus: tuple[str, ...]
    sites: tuple[str, ...]
    template: Mapping[str, Any]
    split: Mapping[str, Any]
    recorded: bool

    def positions(self, data: PreparedData, split: str, protocol: str | None = None) -> Indices:
        """Positions of a split of the data, as this model's training saw it; `protocol` in place of the recorded one.

        Raises:
            DataError: the split is empty.
        """
        options = {**self.split, **({"protocol": protocol} if protocol else {})}
        try:
            return data.split(split, **options)
        except DataError as error:
            raise DataError(f"{self.path}: {error} Or evaluate another part with --split, --protocol.") from error


def open_subject(path: Path) -> Subject:
    """Open a checkpoint or a bundle, also one of the package by its name.

    Raises:
        InputError: there is nothing.
        BundleError: the bundle is broken.
        DataError: the checkpoint is broken.
    """
    path = find_bundle(path)
    if not path.exists():
        raise InputError(f"{path} does not exist. Give the folder of a bundle or of a checkpoint.")
    bundle = Bundle.open(path)
    manifest = bundle.manifest
    options, recorded = _split_of(manifest.training)
    files = bundle.model_files()
    return Subject(path, files, manifest.aus, manifest.sites, manifest.template, options, recorded)


def _split_of(training: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Options of the split from the recorded recipe, and whether there is one."""
    config = training.get("recipe", {}).get("data", {})
    options = {
        "held_out": float(config.get("held_out", _DEFAULT_HELD_OUT)),
        "looks": bool(config.get("held_out_looks", False)),
        "protocol": str(config.get("protocol", "identities")),
    }
    return options, bool(config)


@dataclass(frozen=True, slots=True)
class Opened:
    """A session with the names of the runtime and of the precision that compute."""

    session: Session
    runtime: str
    precision: str


def open_session(
    subject: Subject,
    runtime: str | None = None,
    device: str | None = None,
    *,
    precision: str | None = None,
    threads: int | None = None,
    heatmaps: bool = False,
) -> Opened:
    """Load a model into a runtime.

    Args:
        subject: what to load.
        runtime: its name, such as `torch` for a checkpoint's own network; the best one here by default.
        device: the runtime's device.
        precision: the bundle's own, or `fp32` for its portable graph.
        threads: CPU threads of one inference.
        heatmaps: return heatmaps too.

    Raises:
        UsageError: there is no such runtime, or torch was asked to run a bundle.
        RuntimeUnavailable: it cannot be used here.
        BundleError: it cannot read the model.
    """
    choice = choose(subject.model, runtime, device, precision=precision)
    session = choice.load(device, SessionOptions(threads=threads, heatmaps=heatmaps))
    return Opened(session, choice.runtime.name, choice.model.precision)
