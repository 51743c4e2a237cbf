"""`dsrfau-train confidence`: fit how far a model's readings can be trusted, and store that with the model."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import note

if TYPE_CHECKING:
    from dsrfau_edge.train.confidence.scoring import Calibration
    from dsrfau_edge.train.confidence.study import Study


@click.command(name="confidence")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data",
    "folders",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of prepared data of persons that the model was not trained on; may be given several times.",
)
@click.option(
    "--split",
    type=click.Choice(["held-out", "all"]),
    default="held-out",
    show_default=True,
    help="held-out: the persons that training with the model's recipe leaves out; all: the data is of others anyway.",
)
@click.option(
    "--views", type=click.IntRange(1), default=3, show_default=True, help="Pictures made worse of each sample."
)
@click.option("--runtime", help="Runtime to use; the best one by default.")
@click.option("--device", help="Device of the runtime, such as cpu or cuda:0.")
@click.option("--limit", type=click.IntRange(min=1), help="Read no more than so many samples of each folder.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of what is done to them.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what was fitted to this JSON file instead of into MODEL.",
)
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def command(
    *,
    model: Path,
    folders: tuple[Path, ...],
    split: str,
    views: int,
    runtime: str | None,
    device: str | None,
    limit: int | None,
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Fit the confidences of MODEL, a bundle or a checkpoint folder, and store them in it.

    Each sample becomes pictures that are made worse in drawn ways: small, blurred, dark, noisy, turned, covered. The
    model is fitted on half of the persons and judged on the others. Add faces at every turn of the head:
    `dsrfau-synth render --wide-poses`.
    """
    from dsrfau_edge.bundle import store_confidence
    from dsrfau_edge.train.confidence.observing import observe
    from dsrfau_edge.train.confidence.study import study
    from dsrfau_edge.train.data.prepared import load_prepared
    from dsrfau_edge.train.evaluation.pooling import common_units
    from dsrfau_edge.train.evaluation.subjects import open_session, open_subject

    subject = open_subject(model)
    data = load_prepared(folders, limit=limit)
    common_units([subject], data)
    positions = subject.positions(data, split)
    opened = open_session(subject, runtime, device, threads=1)
    try:
        with _bar(len(positions)) as step:
            observed = observe(opened.session, data, positions, subject, views=views, seed=seed, step=step)
    finally:
        opened.session.close()
    note(f"{len(observed)} of {len(observed) + observed.missed} degraded faces were found")
    about = {
        "data": [{key: source[key] for key in ("kind", "index_sha256")} for source in data.sources],
        "runtime": opened.runtime,
        "precision": opened.precision,
    }
    found = study(observed, about)
    stored = found.model.to_dict()
    if output is None:
        path = store_confidence(model, stored)
    else:
        path = output
        _write(path, json.dumps(stored, indent=1) + "\n")
    report = {"output": str(path), "faces": len(observed), "missed": observed.missed, **found.to_dict()}
    click.echo(json.dumps(report, indent=1) if as_json else _table(found))
    note(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def _write(path: Path, text: str) -> None:
    from dsrfau_edge.shards import store

    store(path, text.encode())


def _table(found: Study) -> str:
    rows = [
        "confidence on the half of the persons that it was not fitted on (half of the faces show each AU)",
        f"{'':<6} {'right':>6} {'ECE':>13} {'Brier':>13} {'AUC of wrong':>13}",
        f"{'':<6} {'':>6} {'before after':>13} {'before after':>13} {'before after':>13}",
    ]
    rows += [_row(name or "all", found.before[name], found.after[name]) for name in found.after]
    rows += [f"fitted without the rig {name}: ECE {one.ece:.3f}, AUC {one.auc:.3f}" for name, one in found.rigs.items()]
    return "\n".join(rows)


def _row(name: str, before: Calibration, after: Calibration) -> str:
    pairs = ((before.ece, after.ece), (before.brier, after.brier), (before.auc, after.auc))
    return f"{name:<6} {after.right:>6.3f} " + " ".join(f"{one:>6.3f} {other:>6.3f}" for one, other in pairs)


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where that is a terminal and -q was not given."""
    if not (sys.stderr.isatty() and logging.getLogger("dsrfau_edge").isEnabledFor(logging.WARNING)):
        yield lambda _: None
        return
    with click.progressbar(length=total, label="degrading and reading", file=sys.stderr, show_pos=True) as bar:
        yield bar.update
