"""What a checkpoint folder says of itself. No torch: an exporter and an evaluation read the same.

NAME/  model.safetensors  model.onnx  calibration.zip  checkpoint.json
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dsrfau_edge.errors import DataError, UsageError
from dsrfau_edge.manifest import MANIFEST

SCHEMA = 1
DESCRIPTION = "checkpoint.json"
WEIGHTS, GRAPH, CALIBRATION = "model.safetensors", "model.onnx", "calibration.zip"


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
    confidence: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values with the schema's version."""
        return {"schema": SCHEMA, **asdict(self), "aus": list(self.aus), "sites": list(self.sites)}


def read_checkpoint(folder: str | Path, *, verify: bool = True) -> Checkpoint:
    """Read a checkpoint's description.

    Args:
        folder: the checkpoint folder.
        verify: compare every file with its recorded sha256.

    Raises:
        DataError: it is none, of another schema, incomplete or damaged.
    """
    path = Path(folder) / DESCRIPTION
    if (Path(folder) / MANIFEST).is_file():
        raise DataError(
            f"{folder} is a bundle: it holds a finished model, not weights that can be trained. Give the checkpoint "
            "that it was exported from."
        )
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        schema = raw.pop("schema")
        if schema != SCHEMA:
            raise DataError(
                f"{path}: schema {schema} is not the one this version reads ({SCHEMA}). Update the package "
                "(pip install -U dsrfau-edge), or train it again with this version."
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


def require_replaceable(folder: Path, mark: str = DESCRIPTION) -> None:
    """Make sure that a folder is free to be written, or was written by training: nobody else's files are deleted.

    Args:
        folder: what is about to be replaced.
        mark: the file that training leaves in a folder of its own.

    Raises:
        UsageError: something else is there.
    """
    if not folder.exists() or (folder.is_dir() and ((folder / mark).is_file() or not any(folder.iterdir()))):
        return
    what = f"holds files but no {mark}" if folder.is_dir() else "is not a folder"
    raise UsageError(
        f"{folder} is not training's to replace: it {what}, so that something else put it there. Choose another "
        "folder with -o, or move it away."
    )


def _verify(folder: Path, checkpoint: Checkpoint) -> None:
    for name, expected in checkpoint.files.items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{folder} is incomplete: {name} is missing. Copy the whole folder again, or train again.")
        if sha256_of(path) != expected:
            raise DataError(f"The checkpoint {folder} is corrupt: {name} does not match its checksum. Copy it again.")


def sha256_of(path: Path) -> str:
    """Checksum of a file, as hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
