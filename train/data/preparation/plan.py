"""What a set is to be made of: pictures with their labels, cut into shards, and what had to be left out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import dsrfau_edge
from dsrfau_edge.errors import DataError
from dsrfau_edge.shards import PackedShard, ShardIndex

SHARD = 256
#: Why a picture is not in the set. A loss is counted under one of these, never passed over.
NO_FACE = "no face"
UNREADABLE = "unreadable picture"
MISSING = "picture missing"
UNLABELLED = "no label"
DAMAGED = "damaged video"
UNNUMBERED = "no frame number in the name"
NO_LABELS = "subject without labels"
NO_PICTURES = "labels without pictures"
OTHER_RIG = "other rig"
#: What happened to pictures that are in the set.
SEVERAL = "several faces, the largest taken"
#: Modules that no byte of a set depends on.
_WITHOUT_EFFECT = {"run.py", "summary.py", "preview.py"}


@dataclass(frozen=True, slots=True)
class Item:
    """One picture with its labels.

    Attributes:
        number: its number in the plan, from which its key is made.
        path: the picture, or the video it is in, relative to the folder of all pictures.
        position: its place in that video, from 0; None for a picture of its own.
        identity: whose face it is.
        intensities: by site, NaN where unlabelled.
        meta: what is known of it beside.
    """

    number: int
    path: str
    position: int | None
    identity: str
    intensities: tuple[float, ...]
    meta: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Loss:
    """A picture that is not in the set (or `count` of them), and why; `frame` is its number, of a table the line."""

    source: str
    why: str
    frame: int | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class Task:
    """Shards that are made together, by number; those of one video are."""

    shards: tuple[tuple[int, tuple[Item, ...]], ...]

    @property
    def count(self) -> int:
        """Pictures to make."""
        return sum(len(items) for _, items in self.shards)


@dataclass(frozen=True, slots=True)
class Made:
    """A shard that is made (None where all its pictures were lost), and what happened to those planned for it."""

    number: int
    shard: PackedShard | None
    lost: tuple[Loss, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)


class Maker(Protocol):
    """Makes the shards of a task; travels to worker processes."""

    def __call__(self, task: Task, on_pictures: Callable[[int], None]) -> list[Made]:
        """Make a task's shards, and tell how many pictures were dealt with since the last time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A set to be made; equal plans make equal bytes (for one OpenCV and numpy).

    Attributes:
        index: the set's index, as yet without shards.
        maker: makes the shards.
        tasks: what there is to make.
        lost: what could not be planned for.
        labels: defects of single labels, by name.
        decides: what else decides the bytes, such as options; plain types.
    """

    index: ShardIndex
    maker: Maker
    tasks: tuple[Task, ...]
    lost: tuple[Loss, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    decides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Pictures to make."""
        return sum(task.count for task in self.tasks)

    def fingerprint(self) -> dict[str, Any]:
        """What decides the bytes: options in words, all pictures and labels as one hash, and the code's."""
        digest = hashlib.sha256()
        for task in self.tasks:
            for number, items in task.shards:
                digest.update(f"shard {number}\n".encode())
                for item in items:
                    line = (item.number, item.path, item.position, item.identity, item.intensities, dict(item.meta))
                    digest.update(json.dumps(line).encode())
        return {
            "kind": self.index.kind,
            "input_size": self.index.input_size,
            **self.decides,
            "pictures": self.count,
            "pictures_sha256": digest.hexdigest(),
            "version": _version(),
        }


@lru_cache(maxsize=1)
def _version() -> str:
    package, here = Path(dsrfau_edge.__file__).parent, Path(__file__).parent
    own = [path for path in (*here.glob("*.py"), *here.glob("*.json")) if path.name not in _WITHOUT_EFFECT]
    beside = [package / "action_units.py", *(package / "face").glob("*.py"), package / "shards.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in [*sorted(own), *sorted(beside)])).hexdigest()


def shard_name(number: int) -> str:
    """File of a shard."""
    return f"shard-{number:06d}.tar"


def tasks_of(items: Sequence[Item]) -> tuple[Task, ...]:
    """Items cut into shards; those of one video, which stand together, are one task and share no shard with others."""
    return tuple(_numbered(_runs(items)))


def _runs(items: Sequence[Item]) -> Iterator[list[tuple[Item, ...]]]:
    for video, group in groupby(items, key=lambda item: item.path if item.position is not None else None):
        run = tuple(group)
        shards = [run[start : start + SHARD] for start in range(0, len(run), SHARD)]
        if video is None:
            yield from ([shard] for shard in shards)
        else:
            yield shards


def _numbered(runs: Iterator[list[tuple[Item, ...]]]) -> Iterator[Task]:
    number = 0
    for shards in runs:
        yield Task(tuple(enumerate(shards, number)))
        number += len(shards)


def limited(items: Sequence[Item], limit: int | None) -> Sequence[Item]:
    """The first `limit` items; all by default."""
    return items if limit is None else items[:limit]


def require_some(items: Sequence[Item], source: Path, lost: Sequence[Loss]) -> None:
    """Refuse a source that leaves nothing to make.

    Raises:
        DataError: there is nothing; the reasons are named.
    """
    if items:
        return
    reasons = {loss.why: 0 for loss in lost}
    for loss in lost:
        reasons[loss.why] += loss.count
    told = ", ".join(f"{why}: {count}" for why, count in sorted(reasons.items())) or "it holds none"
    raise DataError(f"{source} leaves no labelled picture to prepare ({told}). Is it the right folder?")


def sided(by_au: Mapping[str, float], sites: Sequence[str]) -> tuple[float, ...]:
    """Intensities by site, from those by AU (`AU12`) or by site (`AU12_left`, goes first); NaN where neither is."""
    nan = float("nan")

    def value(site: str) -> float:
        own = by_au.get(site, nan)
        return by_au.get(site.partition("_")[0], nan) if math.isnan(own) else own

    return tuple(value(site) for site in sites)
