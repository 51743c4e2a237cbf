"""`dsrfau-synth`: render faces with known AU intensities, and look at them."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsrfau_edge.cli import synth_pictures, synth_rigs
from dsrfau_edge.errors import UsageError

if TYPE_CHECKING:
    from types import FrameType

_TERMINATED = 128 + signal.SIGTERM


@click.group("synth", short_help="Render faces with known AU intensities.")
def command() -> None:
    """Render faces with known AU intensities, and look at what was rendered."""


@command.command("render", short_help="Render labelled faces into shards.")
@click.option("--count", type=click.IntRange(1), required=True, help="Number of faces.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Same seed, same bytes (for one GL driver, OpenCV and numpy).",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the shards.")
@click.option(
    "--size",
    type=click.Choice(["128", "256"]),
    default="128",
    show_default=True,
    help="Network input the crops are for.",
)
@click.option(
    "--assets",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="MakeHuman asset folder (skins/, eyebrows/, eyelashes/, hair/); procedural looks without it.",
)
@click.option("--per-identity", type=click.IntRange(1), default=6, show_default=True, help="Faces of each identity.")
@click.option(
    "--rig",
    "rigs",
    multiple=True,
    metavar="RIG",
    help="makehuman (default) or ict=FILE; again for another: identities take them in turn.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes; one per core by default.")
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Where it is rendered."
)
@click.option("--ray-address", metavar="HOST:PORT", help="A Ray cluster; without it --engine ray uses this machine.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def render(
    *,
    count: int,
    seed: int,
    output: Path,
    size: str,
    assets: Path | None,
    per_identity: int,
    rigs: tuple[str, ...],
    workers: int | None,
    engine: str,
    ray_address: str | None,
    as_json: bool,
) -> None:
    """Render COUNT labelled face crops into shards.

    Killed, it resumes with the shards that are missing. A face depends on the seed and its number alone.
    """
    if ray_address and engine != "ray":
        raise UsageError("--ray-address is for --engine ray. Add that, or leave the address out.")
    from dsrfau_edge.train.synthesis.engines import local_engine, ray_engine
    from dsrfau_edge.train.synthesis.production import Plan, produce

    chosen = local_engine(workers) if engine == "local" else ray_engine(workers, ray_address)
    plan = Plan(count, seed, int(size), per_identity, str(assets) if assets else None, rigs or ("makehuman",))
    with _stops_on_sigterm(), _bar(count) as bar:
        index = produce(plan, output, engine=chosen, on_found=bar.found, on_faces=bar.rendered)
    megabytes = sum(shard.size or 0 for shard in index.shards) / 1e6
    if as_json:
        report = {
            "output": str(output),
            "faces": index.count,
            "rendered": bar.count,
            "seconds": round(bar.seconds, 1),
            "shards": len(index.shards),
            "megabytes": round(megabytes, 1),
        }
        click.echo(json.dumps(report))
        return
    click.echo(f"{index.count} faces in {len(index.shards)} shards, {megabytes:.1f} MB: {output}")
    click.echo(f"Next: dsrfau-train all --data {output} -o runs/first")


class _Bar:
    """Counts faces; those of an earlier run are done but do not count as speed."""

    def __init__(self, show: Callable[[int, str], None]) -> None:
        self.count, self._done = 0, 0
        self._show, self._start, self._first = show, time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._start

    def found(self, count: int) -> None:
        """So many are there already."""
        self._done = count
        self._show(self._done, "")

    def rendered(self, count: int) -> None:
        """So many more were rendered."""
        now = time.monotonic()
        if not self.count:
            self._first = now  # workers take seconds to start; the rate is that of rendering
        self.count += count
        self._done += count
        rate = (self.count - 1) / (now - self._first) if now > self._first else 0.0
        self._show(self._done, f"{rate:.1f} images/s" if rate else "")


@contextlib.contextmanager
def _bar(total: int) -> Iterator[_Bar]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
               TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn())  # fmt: skip
    console = Console(stderr=True)
    wanted = console.is_terminal and logging.getLogger("dsrfau_edge").isEnabledFor(logging.WARNING)
    with Progress(*columns, console=console, disable=not wanted, speed_estimate_period=120) as progress:
        task = progress.add_task("faces", total=total, rate="")
        yield _Bar(lambda done, rate: progress.update(task, completed=done, rate=rate))


@contextlib.contextmanager
def _stops_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does: workers stop, and nothing half written stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        sys.exit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


for _verb in (
    synth_pictures.sheet,
    synth_pictures.ladder,
    synth_pictures.stats,
    synth_rigs.pack_ict,
    synth_rigs.calibrate,
):
    command.add_command(_verb)
