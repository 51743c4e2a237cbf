"""The checkpoint folder: a trained network, its portable graph and everything one has to know about it.

    NAME/  model.safetensors  checkpoint.json  model.onnx  calibration.zip

No pickle: reading one runs no code. Written beside its destination and renamed when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from safetensors.torch import load_file, save_file

from dsrfau_edge.errors import DataError

from .data.prepared import Indices, PreparedData
from .data.targets import spot_sigma
from .graph import export_graph, parity
from .inference import count_macs, count_parameters, cpu_latency
from .networks.heatmap import STRIDE, HeatmapNetwork, NetworkConfig

SCHEMA = 1
DESCRIPTION = "checkpoint.json"
WEIGHTS, GRAPH, CALIBRATION = "model.safetensors", "model.onnx", "calibration.zip"
CALIBRATION_COUNT = 200
_PARITY_CROPS = 8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What `checkpoint.json` says."""

    network: Mapping[str, Any]
    aus: tuple[str, ...]
    sites: tuple[str, ...]
    input_size: int
    template: Mapping[str, Any]
    heatmap: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values with the schema's version."""
        return {"schema": SCHEMA, **asdict(self), "aus": list(self.aus), "sites": list(self.sites)}


def save_checkpoint(
    folder: str | Path,
    network: HeatmapNetwork,
    data: PreparedData,
    *,
    calibration: Indices,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> Checkpoint:
    """Write a checkpoint folder, replacing one of the same name.

    Args:
        folder: where it goes.
        network: the trained network.
        data: what it was trained on.
        calibration: positions (of the training split) that int8 calibration may use.
        training: recipe, seed and so on.
        metrics: held-out metrics; the network's size, operations and latency are added.

    Raises:
        VerificationFailed: the exported graph does not match the network; nothing is written.
    """
    folder = Path(folder)
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
            data={"sets": list(data.sources), "licences": sorted({source["licence"] for source in data.sources})},
            metrics={**metrics, **size, "cpu_latency": cpu_latency(graph, side), "parity": verified},
            files={name: _sha256(part / name) for name in (WEIGHTS, GRAPH, CALIBRATION)},
        )
        (part / DESCRIPTION).write_text(json.dumps(checkpoint.to_dict(), indent=1), encoding="utf-8")
        _replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return checkpoint


def read_checkpoint(folder: str | Path, *, verify: bool = True) -> Checkpoint:
    """Read a checkpoint's description.

    Args:
        folder: the checkpoint folder.
        verify: compare every file with its recorded sha256.

    Raises:
        DataError: it is none, of another schema, incomplete or damaged.
    """
    path = Path(folder) / DESCRIPTION
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        schema = raw.pop("schema")
        if schema != SCHEMA:
            raise DataError(
                f"{path}: schema {schema} is not the one this version reads ({SCHEMA}). Train it again with this "
                "version."
            )
        checkpoint = Checkpoint(**{**raw, "aus": tuple(raw["aus"]), "sites": tuple(raw["sites"])})
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{folder} is not a checkpoint: it holds no {DESCRIPTION}. Train one with `dsrfau-train all`."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a checkpoint ({error!r}). Train it again.") from error
    if verify:
        _verify(Path(folder), checkpoint)
    return checkpoint


def load_network(folder: str | Path) -> tuple[HeatmapNetwork, Checkpoint]:
    """Build a checkpoint's network with its weights, in evaluation mode.

    Raises:
        DataError: the checkpoint is damaged, or its weights are not those of its network.
    """
    checkpoint = read_checkpoint(folder)
    network = HeatmapNetwork(NetworkConfig.from_dict(checkpoint.network), len(checkpoint.sites), pretrained=False)
    try:
        network.load_state_dict(load_file(Path(folder) / WEIGHTS))
    except RuntimeError as error:
        raise DataError(
            f"{folder}: {WEIGHTS} does not hold the network that {DESCRIPTION} describes ({error})."
        ) from error
    return network.eval(), checkpoint


def _verify(folder: Path, checkpoint: Checkpoint) -> None:
    for name, expected in checkpoint.files.items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{folder} is incomplete: {name} is missing. Copy the whole folder again, or train again.")
        if _sha256(path) != expected:
            raise DataError(f"{path} was changed or damaged since it was written (sha256 differs). Copy it again.")


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


def read_calibration(folder: str | Path) -> npt.NDArray[np.uint8]:
    """The calibration crops `[n, size, size, 3]` of a checkpoint."""
    with zipfile.ZipFile(Path(folder) / CALIBRATION) as archive:
        encoded = [np.frombuffer(archive.read(name), np.uint8) for name in sorted(archive.namelist())]
    return np.stack([np.asarray(cv2.imdecode(picture, cv2.IMREAD_COLOR), np.uint8) for picture in encoded])


def _replace(part: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.replace(old)
    part.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
