"""The manifest of a bundle: what its model takes and gives, how it was made, and the checksums of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from .action_units import MAX_INTENSITY
from .errors import BundleError

if TYPE_CHECKING:
    from .face.alignment import AlignmentTemplate

SCHEMA = 2
#: Schemas that are read: those before the present one are migrated.
_READ = tuple(range(1, SCHEMA + 1))
_SPELLED = f"1 to {SCHEMA}"
MANIFEST = "manifest.json"
CALIBRATION = "calibration.zip"
Target = Literal["onnx", "openvino", "tensorrt"]
Precision = Literal["fp32", "fp16", "int8"]

#: What every graph takes; written down so that a reader of the manifest needs no source code.
INPUT = {"dtype": "uint8", "layout": "NHWC", "colour": "BGR"}


_DESCRIBED = ("parity", "gate", "source", "training", "data", "metrics", "confidence", "build")


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Checksum and length of one file of the bundle."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a bundle says of itself.

    Attributes:
        name: of the network, such as `student`.
        created: time of the export, ISO 8601 in UTC.
        target: runtime family that the model was made for.
        precision: that the model computes in.
        aus: action units in the order of the results.
        sites: names of the sites in the order of the network's outputs.
        input_size: side of the square crop in pixels.
        batch: crops per call, or `dynamic`.
        template: where the face stands in the crop, see `AlignmentTemplate`.
        heatmap: `size` of the square maps and `sigma` of their peaks in cells.
        model: name of the file in the target's format.
        portable: name of the fp32 ONNX graph; the same name where the model is that graph.
        graph: name of the ONNX graph that an engine was built from and can be built from again, or None.
        quantization: scheme of int8, or None.
        calibration: crops that int8 was calibrated on, or None.
        parity: differences to the portable graph measured at export.
        gate: what the conversion cost on labelled crops, ICC(3,1) by AU; empty where none were given.
        source: checksum of what was exported.
        training: recipe of the network.
        data: what it was trained on, with licences.
        metrics: measured on held-out data.
        confidence: how often a reading is right, see `face.reliability`; empty where that was not fitted.
        build: versions, platform and device of the export.
        files: checksums by name.
    """

    name: str
    created: str
    target: Target
    precision: Precision
    aus: tuple[str, ...]
    sites: tuple[str, ...]
    input_size: int
    batch: int | Literal["dynamic"]
    template: Mapping[str, Any]
    heatmap: Mapping[str, Any]
    model: str
    portable: str
    graph: str | None = None
    quantization: Mapping[str, Any] | None = None
    calibration: Mapping[str, Any] | None = None
    parity: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    confidence: Mapping[str, Any] = field(default_factory=dict)
    build: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    @property
    def heatmap_size(self) -> int:
        """Side of a heatmap in cells."""
        return int(self.heatmap["size"])

    @property
    def alignment(self) -> AlignmentTemplate:
        """The template as the face front end takes it."""
        from .face.alignment import AlignmentTemplate  # brings OpenCV, which reading a manifest does not need

        return AlignmentTemplate.from_dict(self.template)

    def to_dict(self) -> dict[str, Any]:
        """As stored, without the checksum that `to_json` adds."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "created": self.created,
            "target": self.target,
            "precision": self.precision,
            "aus": list(self.aus),
            "sites": list(self.sites),
            "intensity_range": [0, MAX_INTENSITY],
            "input": {"size": self.input_size, **INPUT},
            "batch": self.batch,
            "template": dict(self.template),
            "heatmap": dict(self.heatmap),
            "model": self.model,
            "portable": self.portable,
            "graph": self.graph,
            "quantization": None if self.quantization is None else dict(self.quantization),
            "calibration": None if self.calibration is None else dict(self.calibration),
            "parity": dict(self.parity),
            "gate": dict(self.gate),
            "source": dict(self.source),
            "training": dict(self.training),
            "data": dict(self.data),
            "metrics": dict(self.metrics),
            "confidence": dict(self.confidence),
            "build": dict(self.build),
            "files": {name: {"sha256": file.sha256, "bytes": file.bytes} for name, file in self.files.items()},
        }

    def to_json(self) -> str:
        """As stored, with a checksum over its own contents: a flipped bit must not swap two site names unnoticed."""
        raw = self.to_dict()
        return json.dumps({**raw, "checksum": _checksum(raw)}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: bytes | str, where: str = "bundle") -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            BundleError: it is something else, of another schema, or was changed since.
        """
        try:
            raw = json.loads(text)
        except (ValueError, UnicodeDecodeError) as error:
            raise _bad(where, f"it is not JSON ({error})") from error
        if not isinstance(raw, dict):
            raise _bad(where, "it is not a JSON object")
        _check_schema(raw, where)
        if raw.pop("checksum", None) != _checksum(raw):
            raise _bad(where, "its contents do not match its checksum, so it was edited or damaged")
        return cls.from_dict(raw, where)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], where: str = "bundle") -> Manifest:
        """Read what `to_dict` wrote.

        Raises:
            BundleError: it is something else, or of another schema.
        """
        _check_schema(raw, where)
        try:
            manifest = _parse(_migrated(raw))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _bad(where, f"a field is missing or of the wrong kind ({error!r})") from error
        problem = _problem(manifest, raw)
        if problem:
            raise _bad(where, problem)
        return manifest


def _migrated(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same in the present schema.

    1 → 2: engines are stored with the graph they were built from, and labelled crops may have been measured. What
    schema 1 called an engine's bundle has no such graph, and a graph that the device compiles is its own.
    """
    if raw["schema"] == 1:
        return {**raw, "schema": 2, "graph": None, "gate": {}}
    return raw


def _parse(raw: Mapping[str, Any]) -> Manifest:
    batch = raw["batch"]
    optional = {key: None if raw.get(key) is None else dict(raw[key]) for key in ("quantization", "calibration")}
    described = {key: dict(raw.get(key) or {}) for key in _DESCRIBED}
    return Manifest(
        name=str(raw["name"]),
        created=str(raw["created"]),
        target=raw["target"],
        precision=raw["precision"],
        aus=tuple(map(str, raw["aus"])),
        sites=tuple(map(str, raw["sites"])),
        input_size=int(raw["input"]["size"]),
        batch="dynamic" if batch == "dynamic" else int(batch),
        template=dict(raw["template"]),
        heatmap={**raw["heatmap"], "size": int(raw["heatmap"]["size"])},
        model=str(raw["model"]),
        portable=str(raw["portable"]),
        graph=None if raw["graph"] is None else str(raw["graph"]),
        files={str(k): FileRecord(str(v["sha256"]), int(v["bytes"])) for k, v in raw["files"].items()},
        **cast("dict[str, Any]", {**optional, **described}),
    )


def _problem(manifest: Manifest, raw: Mapping[str, Any]) -> str | None:
    """What makes no sense in a manifest whose fields are all there, or None."""
    models = (manifest.model, manifest.portable, *([manifest.graph] if manifest.graph is not None else []))
    named = (*manifest.files, *models)
    checks = (
        (manifest.target in get_args(Target), f"target {manifest.target!r} is unknown"),
        (manifest.precision in get_args(Precision), f"precision {manifest.precision!r} is unknown"),
        (bool(manifest.aus and manifest.sites), "it names no action units or no sites"),
        (manifest.input_size > 0 and manifest.heatmap_size > 0, "a size is not positive"),
        (manifest.batch == "dynamic" or manifest.batch > 0, "the batch is not positive"),
        (all(raw["input"].get(key) == value for key, value in INPUT.items()), f"its input is not {INPUT}"),
        # A name with a folder in it could point outside the bundle.
        (all(name == PurePath(name).name and name not in ("", "..") for name in named), "a file's name is not plain"),
        (all(name in manifest.files for name in models), "a model file has no checksum"),
    )
    return next((problem for fine, problem in checks if not fine), None)


def _check_schema(raw: Mapping[str, Any], where: str) -> None:
    schema = raw.get("schema")
    if schema not in _READ:
        raise BundleError(
            f"The manifest of {where} has schema {schema!r}; this version reads schema {_SPELLED}. Update the package "
            "(pip install -U dsrfau-edge), or export the bundle again with this version."
        )


def _checksum(raw: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _bad(where: str, problem: str) -> BundleError:
    return BundleError(
        f"The manifest of {where} cannot be used: {problem}. Copy the bundle again from where it came, or export it "
        "again with dsrfau-export."
    )
