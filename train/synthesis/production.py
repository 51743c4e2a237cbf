"""Sets of rendered faces: shards made by worker processes, the same bytes whatever their number, resumable."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import cv2

from dsrfau_edge.action_units import ALL_AUS
from dsrfau_edge.errors import DataError, DsrfauError
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE

from ..data.shards import INDEX_NAME, ShardEntry, ShardIndex, crop_side, entry_of, write_index, write_shard
from .faces import FaceFactory
from .intensity import SITES
from .rigs.makehuman import NAME, MakeHumanRig

SHARD = 480
_PLAN = "plan.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a set is made of; equal plans give equal bytes."""

    count: int
    seed: int
    input_size: int = 128
    per_identity: int = 6
    assets: str | None = None

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.count // SHARD)


def produce(plan: Plan, folder: Path, *, workers: int, on_shard: Callable[[ShardEntry], None]) -> ShardIndex:
    """Render the shards that are not there yet and write the index.

    Args:
        plan: what to render.
        folder: where to; a folder begun with another plan is refused.
        workers: processes; each has its own context.
        on_shard: told every shard that is there, at once for those of an earlier run.

    Raises:
        DataError: the folder holds another set.
        RuntimeUnavailable: rig or OpenGL are missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(plan, folder)
    for stale in folder.glob("*.part"):  # of a run that was killed
        stale.unlink()
    done: dict[int, ShardEntry] = {}
    for number in range(plan.shards):
        path = folder / _file(number)
        if path.is_file():
            done[number] = entry_of(path)
            on_shard(done[number])
    missing = [number for number in range(plan.shards) if number not in done]
    for number, entry in _render(plan, folder, missing, workers):
        done[number] = entry
        on_shard(entry)
    index = ShardIndex(
        kind="rendered",
        aus=ALL_AUS,
        sites=SITES,
        crop_size=crop_side(plan.input_size),
        input_size=plan.input_size,
        template=DEFAULT_TEMPLATE.to_dict(),
        licence=MakeHumanRig.licence + ("; MakeHuman assets: CC0 1.0" if plan.assets else ""),
        shards=tuple(done[number] for number in sorted(done)),
        generator={"rig": NAME, **{key: value for key, value in asdict(plan).items() if key != "assets"}},
    )
    write_index(folder, index)
    return index


def _claim(plan: Plan, folder: Path) -> None:
    path = folder / _PLAN
    content = json.dumps(_fingerprint(plan), indent=1).encode()
    if path.is_file():
        if path.read_bytes() != content:
            raise DataError(
                f"{folder} holds a set made with other options or another version ({_PLAN}). "
                "Give another folder, or the same options."
            )
        return
    if any(folder.glob("*.tar")) or (folder / INDEX_NAME).exists():
        raise DataError(f"{folder} holds shards that were not begun here (no {_PLAN}). Give another folder.")
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)


def _fingerprint(plan: Plan) -> dict[str, object]:
    """What decides a set's bytes: the options, the assets by name and size, and the code and tables of this version."""
    here = Path(__file__).parent
    code = sorted([*here.glob("*.py"), *here.glob("*.json"), *here.glob("shaders/*")])
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()
    root = Path(plan.assets) if plan.assets else None
    listing = sorted((str(path.relative_to(root)), path.stat().st_size) for path in root.rglob("*.*")) if root else []
    assets = hashlib.sha256(repr(listing).encode()).hexdigest() if root else None
    return {**asdict(plan), "assets": assets, "shard": SHARD, "version": digest}


def _file(number: int) -> str:
    return f"shard-{number:06d}.tar"


def _render(plan: Plan, folder: Path, numbers: list[int], workers: int) -> Iterator[tuple[int, ShardEntry]]:
    if not numbers:
        return
    # Software OpenGL would start a thread per core in every worker.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(numbers)), context, _start) as pool:
        try:
            for future in as_completed([pool.submit(_shard, plan, folder, number) for number in numbers]):
                yield future.result()
        except BrokenProcessPool as error:
            raise DsrfauError(
                "A rendering process died, most likely for want of memory or in the graphics driver. Give fewer "
                "--workers; the same command continues with the shards that are missing."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker at once and without a traceback


@lru_cache(maxsize=1)
def _factory(plan: Plan) -> FaceFactory:
    """A worker's rig and context, made at its first shard."""
    cv2.setNumThreads(1)
    assets = Path(plan.assets) if plan.assets else None
    return FaceFactory(seed=plan.seed, input_size=plan.input_size, assets=assets, per_identity=plan.per_identity)


def _shard(plan: Plan, folder: Path, number: int) -> tuple[int, ShardEntry]:
    first = number * SHARD
    faces = range(first, min(first + SHARD, plan.count))
    return number, write_shard(folder, _file(number), map(_factory(plan).sample, faces))
