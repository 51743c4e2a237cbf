"""What can be exported: a checkpoint folder of the training, or a bundle, told apart by what lies in the folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..bundle import Bundle, default_bundle, find_bundle
from ..errors import DataError
from ..manifest import CALIBRATION, MANIFEST

CHECKPOINT = "checkpoint.json"
_GRAPH = "model.onnx"
_SCHEMA = 1
_AGAIN = "Copy it again from where it came, or train again with dsrfau-train."


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


def load_source(path: str | Path | None = None) -> Source:
    """Read a checkpoint folder or a bundle, also one of the package by its name; by default the bundled student.

    Raises:
        DataError: the checkpoint is incomplete or corrupt, or the folder is neither.
        BundleError: the bundle is.
    """
    folder = find_bundle(path) if path is not None else default_bundle()
    if (folder / CHECKPOINT).is_file():
        return _from_checkpoint(folder)
    if path is None or (folder / MANIFEST).exists() or folder.suffix == ".dsrfau":
        return _from_bundle(Bundle.open(folder))
    what = "does not exist" if not folder.exists() else f"holds neither {CHECKPOINT} nor {MANIFEST}"
    raise DataError(f"{folder} {what}. Give a checkpoint folder of dsrfau-train or a bundle NAME.dsrfau.")


def _from_bundle(bundle: Bundle) -> Source:
    manifest = bundle.manifest
    return Source(
        path=bundle.path,
        name=manifest.name,
        graph=bundle.portable_path.read_bytes(),
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
    )


def _from_checkpoint(folder: Path) -> Source:
    try:
        text = (folder / CHECKPOINT).read_bytes()
        raw = json.loads(text)
        if raw["schema"] != _SCHEMA:
            raise DataError(
                f"{folder} has schema {raw['schema']!r}; this version reads schema {_SCHEMA}. Update the package "
                "(pip install -U dsrfau-edge), or train again with this version."
            )
        files = {str(name): str(digest) for name, digest in raw["files"].items()}
        graph = _checked(folder, files)
        return Source(
            path=folder,
            name=folder.resolve().name,
            graph=graph,
            aus=tuple(map(str, raw["aus"])),
            sites=tuple(map(str, raw["sites"])),
            input_size=int(raw["input_size"]),
            template=dict(raw["template"]),
            heatmap={**raw["heatmap"], "size": int(raw["heatmap"]["size"])},
            calibration=folder / CALIBRATION if (folder / CALIBRATION).is_file() else None,
            origin={"checkpoint_sha256": hashlib.sha256(text).hexdigest(), "graph_sha256": files[_GRAPH]},
            training={**dict(raw.get("training") or {}), "network": raw.get("network")},
            data=dict(raw.get("data") or {}),
            metrics=dict(raw.get("metrics") or {}),
        )
    except OSError as error:
        raise DataError(f"The checkpoint {folder} cannot be read ({error}). {_AGAIN}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"The checkpoint {folder} cannot be read ({CHECKPOINT}: {error!r}). {_AGAIN}") from error


def _checked(folder: Path, files: Mapping[str, str]) -> bytes:
    """The portable graph, once every file that is needed here matches its checksum."""
    contents = {name: (folder / name).read_bytes() for name in (_GRAPH, CALIBRATION) if name in files}
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != files[name]:
            raise DataError(f"The checkpoint {folder} is corrupt: {name} does not match its checksum. {_AGAIN}")
    return contents[_GRAPH]
