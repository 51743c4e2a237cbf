"""The checkpoint folder: a trained network, its portable graph and everything one has to know about it.

No pickle: reading one runs no code. Written beside its destination and renamed when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from dsrfau_edge.checkpoint import (
    CALIBRATION,
    DESCRIPTION,
    GRAPH,
    WEIGHTS,
    Checkpoint,
    read_checkpoint,
    require_replaceable,
    sha256_of,
)
from dsrfau_edge.errors import DataError

from .costs import count_macs, count_parameters, cpu_latency
from .data.prepared import Indices, PreparedData
from .data.targets import spot_sigma
from .graph import export_graph, parity
from .networks.heatmap import STRIDE, HeatmapNetwork, NetworkConfig
from .spread import undo_spread

CALIBRATION_COUNT = 200
_PARITY_CROPS = 8


def save_checkpoint(
    folder: str | Path,
    network: HeatmapNetwork,
    data: PreparedData,
    *,
    calibration: Indices,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    parents: Iterable[Checkpoint] = (),
) -> Checkpoint:
    """Write a checkpoint folder, replacing one of the same name.

    Args:
        folder: where it goes.
        network: the trained network.
        data: what it was trained on.
        calibration: positions (of the training split) that int8 calibration may use.
        training: recipe, seed and so on.
        metrics: held-out metrics; the network's size, operations and latency are added.
        parents: what it was made from or taught by; the licences of their data are its own, too.

    Raises:
        VerificationFailed: the exported graph does not match the network; nothing is written.
        UsageError: there is a folder of that name which is no checkpoint; it is left alone.
    """
    folder = Path(folder)
    require_replaceable(folder)
    licences = {source["licence"] for source in data.sources}.union(
        *(parent.data.get("licences", ()) for parent in parents)
    )
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        index = data.index
        side = index.input_size
        graph = export_graph(network, input_size=side, metadata=_graph_metadata(data)).SerializeToString()
        crops = np.stack([data.frame(int(position))[0] for position in calibration[:_PARITY_CROPS]])
        verified = parity(network, graph, crops)
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, part / WEIGHTS)
        (part / GRAPH).write_bytes(graph)
        _write_calibration(part / CALIBRATION, data, calibration[:CALIBRATION_COUNT])
        size = {"parameters": count_parameters(network), "macs": count_macs(network, side)}
        checkpoint = Checkpoint(
            network=network.config.to_dict(),
            aus=index.aus,
            sites=index.sites,
            input_size=side,
            template=dict(index.template),
            heatmap={"size": side // STRIDE, "sigma": spot_sigma(side // STRIDE)},
            training=training,
            data={"sets": list(data.sources), "licences": sorted(licences)},
            metrics={**metrics, **size, "cpu_latency": cpu_latency(graph, side), "parity": verified},
            files={name: sha256_of(part / name) for name in (WEIGHTS, GRAPH, CALIBRATION)},
        )
        (part / DESCRIPTION).write_text(json.dumps(checkpoint.to_dict(), indent=1), encoding="utf-8")
        _replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return checkpoint


def load_network(folder: str | Path, *, spread: bool = True) -> tuple[HeatmapNetwork, Checkpoint]:
    """Build a checkpoint's network with its weights, in evaluation mode.

    Args:
        folder: the checkpoint folder.
        spread: as it predicts; without, as the losses left it, which is where a further training begins.

    Raises:
        DataError: the checkpoint is damaged, or its weights are not those of its network.
    """
    checkpoint = read_checkpoint(folder)
    network = HeatmapNetwork(NetworkConfig.from_dict(checkpoint.network), len(checkpoint.sites), pretrained=False)
    try:
        # Not `load_file`, which keeps 12 KiB of every file for good (safetensors 0.8).
        network.load_state_dict(load((Path(folder) / WEIGHTS).read_bytes()))
    except (RuntimeError, SafetensorError) as error:
        raise DataError(
            f"{folder}: {WEIGHTS} does not hold the network that {DESCRIPTION} describes ({error})."
        ) from error
    if not spread:
        undo_spread(network, checkpoint.sites, checkpoint.training.get("spread") or {})
    return network.eval(), checkpoint


def start_from(network: HeatmapNetwork, sites: Sequence[str], folder: str | Path) -> float:
    """Give a network a checkpoint's weights where the two are built alike; heatmaps go by the names of their sites.

    Args:
        network: the network to change.
        sites: names of its heatmaps.
        folder: the checkpoint; it may have another width, depth or other sites.

    Returns:
        Share of the network's weights that are now the checkpoint's, 0–1.

    Raises:
        DataError: the checkpoint is damaged, or less than half of the network's weights are found in it.
    """
    source, checkpoint = load_network(folder, spread=False)
    given, taken = source.state_dict(), dict[str, torch.Tensor]()
    for name, value in network.state_dict().items():
        if name.startswith("head.") and given[name].shape[1:] == value.shape[1:]:
            taken[name] = value.clone()
            for row, site in enumerate(sites):
                if site in checkpoint.sites:
                    taken[name][row] = given[name][checkpoint.sites.index(site)]
        elif name in given and given[name].shape == value.shape:
            taken[name] = given[name]
    share: float = sum(v.numel() for v in taken.values()) / sum(v.numel() for v in network.state_dict().values())
    if share < 0.5:
        raise DataError(
            f"{folder} is built too differently to start from: it has {share:.0%} of this network's weights. Choose a "
            "checkpoint with the same backbone and widths."
        )
    network.load_state_dict(taken, strict=False)
    return share


def _graph_metadata(data: PreparedData) -> dict[str, str]:
    index = data.index
    return {
        "dsrfau.aus": json.dumps(list(index.aus)),
        "dsrfau.sites": json.dumps(list(index.sites)),
        "dsrfau.input": json.dumps({"size": index.input_size, "dtype": "uint8", "layout": "NHWC", "colour": "BGR"}),
        "dsrfau.template": json.dumps(dict(index.template)),
    }


def _write_calibration(path: Path, data: PreparedData, positions: Indices) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number, position in enumerate(positions):
            encoded = cv2.imencode(".jpg", data.frame(int(position))[0], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
            # A fixed date: the same crops shall give the same file.
            archive.writestr(zipfile.ZipInfo(f"{number:04d}.jpg", (1980, 1, 1, 0, 0, 0)), encoded.tobytes())


def _replace(part: Path, folder: Path) -> None:
    require_replaceable(folder)
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.replace(old)
    part.replace(folder)
    shutil.rmtree(old, ignore_errors=True)
