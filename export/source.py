"""What can be exported: a checkpoint folder of the training, or a bundle, told apart by what lies in the folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..bundle import SUFFIX, Bundle, default_bundle, find_bundle
from ..checkpoint import DESCRIPTION
from ..errors import BundleError, DataError
from ..manifest import CALIBRATION, MANIFEST


@dataclass(frozen=True, slots=True)
class Source:
    """A network to export.

    Attributes:
        path: the folder it came from.
        name: of the network.
        graph: the portable fp32 graph, serialized ONNX with a dynamic batch.
        aus: action units in the order of the results.
        sites: names of the sites in the order of the outputs.
        input_size: side of the crops.
        template: alignment, see `AlignmentTemplate`.
        heatmap: `size` and `sigma`.
        calibration: archive of calibration crops, if there is one.
        origin: checksums that name it.
        training: recipe.
        data: what it was trained on.
        metrics: on held-out data.
        confidence: how often a reading is right.
    """

    path: Path
    name: str
    graph: bytes = field(repr=False)
    aus: tuple[str, ...]
    sites: tuple[str, ...]
    input_size: int
    template: Mapping[str, Any]
    heatmap: Mapping[str, Any]
    calibration: Path | None
    origin: Mapping[str, Any]
    training: Mapping[str, Any]
    data: Mapping[str, Any]
    metrics: Mapping[str, Any]
    confidence: Mapping[str, Any]


def load_source(path: str | Path | None = None) -> Source:
    """Read a checkpoint folder or a bundle, also one of the package by its name; by default the bundled student.

    Raises:
        DataError: the checkpoint is incomplete or corrupt, or the folder is neither.
        BundleError: the bundle is.
    """
    folder = find_bundle(path) if path is not None else default_bundle()
    if not any((folder / name).is_file() for name in (DESCRIPTION, MANIFEST)) and folder.suffix != SUFFIX:
        what = "does not exist" if not folder.exists() else f"holds neither {DESCRIPTION} nor {MANIFEST}"
        raise DataError(f"{folder} {what}. Give a checkpoint folder of dsrfau-train or a bundle NAME{SUFFIX}.")
    bundle = Bundle.open(folder)
    manifest = bundle.manifest
    try:
        graph = bundle.portable_path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{bundle.portable_path} cannot be read ({error.strerror}). Check its permissions."
        ) from error
    return Source(
        path=bundle.path,
        name=manifest.name,
        graph=graph,
        aus=manifest.aus,
        sites=manifest.sites,
        input_size=manifest.input_size,
        template=manifest.template,
        heatmap=manifest.heatmap,
        calibration=bundle.path / CALIBRATION if CALIBRATION in manifest.files else None,
        origin=manifest.source,
        training=manifest.training,
        data=manifest.data,
        metrics=manifest.metrics,
        confidence=manifest.confidence,
    )
