"""`dsrfau-export inspect`: what a bundle or a checkpoint says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dsrfau_edge.bundle import Bundle
    from dsrfau_edge.manifest import Manifest


@click.command(name="inspect", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--layers", is_flag=True, help="List the layers by the names that --keep-float takes (needs onnx).")
@click.option("--json", "as_json", is_flag=True, help="Print the whole manifest as JSON.")
def inspect(*, bundle: Path, layers: bool, as_json: bool) -> None:
    """Print what BUNDLE says of itself, once every file of it matches its checksum."""
    from dsrfau_edge.bundle import Bundle

    opened = Bundle.open(bundle)
    names = _layers(opened) if layers else []
    if as_json:
        click.echo(json.dumps({**opened.manifest.to_dict(), **({"layers": names} if layers else {})}, indent=1))
        return
    click.echo("\n".join([*_lines(opened), *(f"  {name}" for name in names)]))


def _layers(bundle: Bundle) -> list[str]:
    import onnx

    from dsrfau_edge.export.graph import weighted_sums
    from dsrfau_edge.export.source import load_source

    return weighted_sums(onnx.load_model_from_string(load_source(bundle.path).graph))


def _lines(bundle: Bundle) -> list[str]:
    manifest = bundle.manifest
    kind = "checkpoint" if bundle.checkpoint else "bundle"
    lines = [
        f"{bundle.path}: {kind} {manifest.name}, {manifest.target} {manifest.precision}, made {manifest.created}",
        f"  input  uint8 [{manifest.batch}, {manifest.input_size}, {manifest.input_size}, 3] BGR, aligned faces",
        f"  output intensities [{manifest.batch}, {len(manifest.sites)}] of {len(manifest.aus)} AUs, heatmaps of "
        f"{manifest.heatmap_size}x{manifest.heatmap_size} cells",
        f"  AUs    {' '.join(manifest.aus)}",
    ]
    lines += [f"  {title:<6} {text}" for title, text in _details(manifest) if text]
    lines.append("  files  every one matches its checksum")
    lines += [
        f"    {name}: {record.bytes / 1e6:.2f} MB, sha256 {record.sha256[:16]}…{_role(name, manifest)}"
        for name, record in manifest.files.items()
    ]
    return lines


def _details(manifest: Manifest) -> list[tuple[str, str]]:
    return [
        ("int8", _spelled(manifest.quantization)),
        ("calib", _spelled(manifest.calibration, but=("sha256",))),
        ("parity", _parity(manifest.parity)),
        ("gate", _gate(manifest.gate)),
        ("trust", _trust(manifest.confidence)),
        ("build", _spelled(manifest.build)),
        ("data", ", ".join(sorted({str(one) for one in manifest.data.get("licences", ())}))),
    ]


def _trust(confidence: Mapping[str, Any]) -> str:
    if not confidence:
        return "confidences are a heuristic; fit them with dsrfau-train confidence"
    about = confidence.get("about", {})
    return f"confidences fitted on {about.get('faces', '?')} degraded faces of {about.get('identities', '?')} persons"


def _parity(parity: Any) -> str:
    if not parity:
        return ""
    return (
        f"intensities within {parity['max']:g} of fp32 (mean {parity['mean']:g}) on {parity['crops']} "
        f"{parity['crops_from']} in {parity['runtime']}"
    )


def _gate(gate: Any) -> str:
    return f"{gate['metric']} falls by {gate['mean_drop']:g} on average on {gate['crops_from']}" if gate else ""


def _spelled(values: Any, *, but: tuple[str, ...] = ()) -> str:
    return ", ".join(f"{key} {_short(value)}" for key, value in (values or {}).items() if key not in but)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_short(part)}" for key, part in value.items()) + ")"
    return ", ".join(map(_short, value)) if isinstance(value, list) else str(value)


def _role(name: str, manifest: Manifest) -> str:
    roles = {manifest.portable: "portable fp32 graph", manifest.graph: "what the engine was built from",
             manifest.model: "the model"}  # fmt: skip
    return f" ({roles[name]})" if name in roles else ""
