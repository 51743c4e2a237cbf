"""What came of a preparation: `summary.json`, `losses.csv`, and a preview."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsrfau_edge.shards import store

from ...synthesis.statistics import BANDS, gather
from .plan import Plan
from .preview import preview
from .run import Prepared, by_reason

SUMMARY, LOSSES, PREVIEW = "summary.json", "losses.csv", "preview.jpg"


def summarise(plan: Plan, prepared: Prepared, folder: Path) -> dict[str, Any]:
    """Write `summary.json`, `losses.csv` and `preview.jpg` into the set's folder.

    Args:
        plan: what was to be made.
        prepared: what came of it.
        folder: the set's.

    Returns:
        What `summary.json` holds: kind, number of samples and subjects, losses by reason, defects of labels by kind,
        and for each AU the number of samples in each band.

    Raises:
        DataError: the folder cannot be written to.
    """
    index, counts = prepared.index, gather(folder)
    summary = {
        "kind": index.kind,
        "licence": index.licence,
        "input_size": index.input_size,
        "samples": index.count,
        "subjects": len({identity for shard in index.shards for identity in shard.identities}),
        "lost": by_reason(prepared.lost),
        "labels": dict(sorted(plan.labels.items())),
        "notes": dict(sorted(prepared.notes.items())),
        "bands": {
            au: dict(zip(BANDS, map(int, row), strict=True)) for au, row in zip(counts.aus, counts.bands, strict=True)
        },
    }
    store(folder / LOSSES, _table(prepared).encode())
    store(folder / PREVIEW, preview(folder, index))
    store(folder / SUMMARY, json.dumps(summary, indent=1).encode())
    return summary


def _table(prepared: Prepared) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("source", "frame", "reason", "pictures"))
    for loss in prepared.lost:
        writer.writerow((loss.source, "" if loss.frame is None else loss.frame, loss.why, loss.count))
    return stream.getvalue()


def unlabelled(summary: Mapping[str, Any]) -> dict[str, int]:
    """Samples of each AU without a label for it."""
    return {au: summary["samples"] - sum(row.values()) for au, row in summary["bands"].items()}
