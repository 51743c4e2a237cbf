"""The fastest row within the accuracy gate, and keeping it so that `Predictor` chooses it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from ..bundle import Bundle
from ..runtimes.measured import Measured, remember
from .candidates import BASELINES
from .job import Row


def fastest(rows: Sequence[Row], max_difference: float, threads: int | None) -> Row | None:
    """The row of the model alone with the lowest p90 whose mean |ΔAU| is within `max_difference`, or None.

    Args:
        rows: of one bundle.
        max_difference: in intensity units.
        threads: only rows with so many.
    """
    within = [
        row
        for row in rows
        if row.kind == "crops" and row.measured and row.threads == threads and row.runtime not in BASELINES
        and row.parity.get("mean") is not None and row.parity["mean"] <= max_difference
    ]  # fmt: skip
    return min(within, key=lambda row: float(row.figures["p90"]), default=None)


def keep(bundle: Bundle, row: Row, folder: Path | None = None) -> Path:
    """Keep a row as the fastest way to run a bundle on this device; returns the file.

    Raises:
        RuntimeUnavailable: the user's cache folder cannot be written.
    """
    best = Measured(
        runtime=row.runtime,
        version=row.runtime_version,
        precision=row.precision,
        native=row.native,
        p90_ms=float(row.figures["p90"]),
        mean_difference=float(row.parity["mean"]),
        date=datetime.now(timezone.utc).date().isoformat(),
    )
    return remember(bundle.model_files(), best, folder)
