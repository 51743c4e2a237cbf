"""What is evaluated: a checkpoint or a bundle, the names of its outputs, its training's split, and sessions of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dsrfau_edge.bundle import Bundle, find_bundle
from dsrfau_edge.checkpoint import DESCRIPTION, GRAPH, read_checkpoint
from dsrfau_edge.errors import DataError, InputError, RuntimeUnavailable, UsageError
from dsrfau_edge.runtimes.base import Crops, ModelFiles, Outputs, Session, SessionOptions
from dsrfau_edge.runtimes.registry import choose

from ..data.prepared import Indices, PreparedData

if TYPE_CHECKING:
    from ..networks.heatmap import HeatmapNetwork

_log = logging.getLogger(__name__)

TORCH = "torch"
_DEFAULT_HELD_OUT = 0.15


@dataclass(frozen=True, slots=True)
class Subject:
    """A model: its files, the names of what it predicts, the alignment it was made for, and its training's split.

    Attributes:
        split: options of `PreparedData.split` that training with its recipe used.
        recorded: whether the model says so itself; `split` is the default otherwise.
        checkpoint: whether it is one, which torch can load.
    """

    path: Path
    model: ModelFiles
    aus: tuple[str, ...]
    sites: tuple[str, ...]
    template: Mapping[str, Any]
    split: Mapping[str, Any]
    recorded: bool
    checkpoint: bool

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
    if (path / DESCRIPTION).is_file():
        return _checkpoint(path)
    if not path.exists():
        raise InputError(f"{path} does not exist. Give the folder of a bundle or of a checkpoint.")
    bundle = Bundle.open(path)
    manifest = bundle.manifest
    options, recorded = _split_of(manifest.training)
    return Subject(
        path, bundle.model_files(), manifest.aus, manifest.sites, manifest.template, options, recorded, checkpoint=False
    )


def _checkpoint(folder: Path) -> Subject:
    """A checkpoint through its portable graph, which was verified against the network when it was written."""
    checkpoint = read_checkpoint(folder)
    files = ModelFiles(
        path=folder / GRAPH,
        format="onnx",
        portable=folder / GRAPH,
        input_size=checkpoint.input_size,
        sites=len(checkpoint.sites),
        heatmap_size=int(checkpoint.heatmap["size"]),
        digest=checkpoint.files[GRAPH],
        name=folder.name,
    )
    options, recorded = _split_of(checkpoint.training)
    return Subject(
        folder, files, checkpoint.aus, checkpoint.sites, checkpoint.template, options, recorded, checkpoint=True
    )


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
    threads: int | None = None,
    heatmaps: bool = False,
) -> Opened:
    """Load a model into a runtime of the registry, or a checkpoint's own network into torch.

    Args:
        subject: what to load.
        runtime: a name of the registry, or `torch`; the best one here by default.
        device: the runtime's device.
        threads: CPU threads of one inference.
        heatmaps: return heatmaps too.

    Raises:
        UsageError: there is no such runtime, or torch was asked to run a bundle.
        RuntimeUnavailable: it cannot be used here.
        BundleError: it cannot read the model.
    """
    if runtime == TORCH:
        return Opened(_torch_session(subject, device, threads, heatmaps=heatmaps), TORCH, "fp32")
    choice = choose(subject.model, runtime, device)
    session = choice.load(device, SessionOptions(threads=threads, heatmaps=heatmaps))
    return Opened(session, choice.runtime.name, choice.model.precision)


def _torch_session(subject: Subject, device: str | None, threads: int | None, *, heatmaps: bool) -> Session:
    if not subject.checkpoint:
        raise UsageError(
            f"--runtime {TORCH} runs a checkpoint's network, and {subject.path} is a bundle. Give its checkpoint, or "
            "leave --runtime out."
        )
    try:
        import torch

        from ..checkpoint import load_network
    except ImportError as error:
        raise RuntimeUnavailable(
            f"--runtime {TORCH} needs packages that are not installed ({error.name}). Type "
            "`pip install 'dsrfau-edge[train]'`, or leave --runtime out: the checkpoint's graph runs without them."
        ) from error
    if threads is not None:
        torch.set_num_threads(threads)
    network, _ = load_network(subject.path)
    try:
        network = network.to(device or "cpu")
    except (RuntimeError, AssertionError) as error:  # a build without CUDA raises the latter
        raise RuntimeUnavailable(f"torch cannot use the device {device!r}: {error}. Give another --device.") from error
    return _TorchSession(network, heatmaps=heatmaps)


class _TorchSession:
    """A checkpoint's network behind the runtimes' protocol."""

    def __init__(self, network: HeatmapNetwork, *, heatmaps: bool) -> None:
        self._network: HeatmapNetwork | None = network
        self._heatmaps = heatmaps

    def infer(self, crops: Crops) -> Outputs:
        import torch

        from ..networks.heatmap import decode

        if self._network is None:
            raise RuntimeUnavailable("The session is closed. Load the model again.")
        device = next(self._network.parameters()).device
        with torch.inference_mode():
            maps = self._network(torch.from_numpy(crops).to(device)).heatmaps.float()
            intensities = np.asarray(decode(maps).cpu().numpy(), np.float32)
        return Outputs(intensities, np.asarray(maps.cpu().numpy(), np.float32) if self._heatmaps else None)

    def close(self) -> None:
        self._network = None
