"""`dsrfau-eval`: ICC(3,1), PCC, MAE and MSE of a checkpoint or bundle on prepared data. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from dsrfau_edge.errors import DataError, InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsrfau_edge.runtimes.base import ModelFiles
    from dsrfau_edge.train.data.prepared import Indices, PreparedData

_DEFAULT_HELD_OUT = 0.15
_BATCH = 64


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is evaluated: the model's files, its outputs' names, and how its training split the data."""

    model: ModelFiles
    aus: tuple[str, ...]
    sites: tuple[str, ...]
    held_out: float
    looks: bool


@click.command(name="eval", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data", "folders", multiple=True, required=True, type=click.Path(path_type=Path), help="Folder of prepared data."
)
@click.option(
    "--split",
    type=click.Choice(["held-out", "held-out-looks", "train", "all"]),
    default="held-out",
    show_default=True,
    help="Which samples; held-out are the identities that training with the model's recipe leaves out.",
)
@click.option("--runtime", help="Runtime to use; the best one here by default.")
@click.option("--device", help="Device of the runtime, such as cpu or cuda:0.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of one inference.")
@click.option("--limit", type=click.IntRange(min=1), help="Read no more than so many samples of each folder.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def command(
    *,
    model: Path,
    folders: tuple[Path, ...],
    split: str,
    runtime: str | None,
    device: str | None,
    threads: int | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Evaluate MODEL, a bundle or a checkpoint folder, on prepared data with known intensities."""
    from dsrfau_edge.runtimes.base import SessionOptions
    from dsrfau_edge.runtimes.registry import choose
    from dsrfau_edge.train.data.prepared import load_prepared
    from dsrfau_edge.train.metrics import evaluate, markdown_table, sites_to_aus

    subject = _subject(model)
    data = load_prepared(folders, limit=limit)
    columns = _matching_sites(subject, data)
    positions = data.split(split, held_out=subject.held_out, looks=subject.looks)
    choice = choose(subject.model, runtime, device)
    session = choice.load(device, SessionOptions(threads=threads))
    try:
        predictions = _predict(session, data, positions)[:, columns]
    finally:
        session.close()
    aus, sites = data.index.aus, data.index.sites
    scores = evaluate(sites_to_aus(data.intensities[positions], sites, aus), sites_to_aus(predictions, sites, aus), aus)
    identities = len(np.unique(data.identities[positions]))
    about = {"split": split, "samples": len(positions), "identities": identities, "runtime": choice.runtime.name}
    if as_json:
        report = {"model": str(model), **about, "precision": choice.model.precision, **scores}
        click.echo(json.dumps(report, indent=1))
        return
    click.echo(
        f"{model} ({choice.model.precision}) on {choice.runtime.name}: {len(positions)} crops of "
        f"{identities} identities, split {split}\n\n{markdown_table(scores)}"
    )


def _subject(path: Path) -> _Subject:
    from dsrfau_edge.bundle import Bundle
    from dsrfau_edge.train.description import DESCRIPTION

    if (path / DESCRIPTION).is_file():
        return _checkpoint(path)
    if not path.exists():
        raise InputError(f"{path} does not exist. Give the folder of a bundle or of a checkpoint.")
    bundle = Bundle.open(path)
    manifest = bundle.manifest
    return _Subject(bundle.model_files(), manifest.aus, manifest.sites, *_split_of(manifest.training))


def _checkpoint(folder: Path) -> _Subject:
    """A checkpoint through its portable graph, which was verified against the network when it was written."""
    from dsrfau_edge.runtimes.base import ModelFiles
    from dsrfau_edge.train.description import GRAPH, read_checkpoint

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
    return _Subject(files, checkpoint.aus, checkpoint.sites, *_split_of(checkpoint.training))


def _split_of(training: Mapping[str, Any]) -> tuple[float, bool]:
    """Share of held-out identities, and whether looks were held out, from the recorded recipe."""
    config = training.get("recipe", {}).get("data", {})
    return float(config.get("held_out", _DEFAULT_HELD_OUT)), bool(config.get("held_out_looks", False))


def _matching_sites(subject: _Subject, data: PreparedData) -> list[int]:
    """Column of each of the data's sites in the model's output."""
    if subject.model.input_size != data.index.input_size:
        raise DataError(
            f"The model takes crops of {subject.model.input_size} px, the data holds {data.index.input_size} px. "
            "Prepare the data for that size."
        )
    missing = [site for site in data.index.sites if site not in subject.sites]
    if missing:
        raise DataError(f"The model does not predict {', '.join(missing)}. Evaluate it on data with its own AUs.")
    return [subject.sites.index(site) for site in data.index.sites]


def _predict(session: Any, data: PreparedData, positions: Indices) -> npt.NDArray[np.float32]:
    parts = []
    for start in range(0, len(positions), _BATCH):
        crops = np.stack([data.frame(int(position))[0] for position in positions[start : start + _BATCH]])
        parts.append(session.infer(crops).intensities)
    return np.asarray(np.concatenate(parts), np.float32)
