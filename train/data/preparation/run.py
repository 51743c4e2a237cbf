"""From a plan to a folder of shards: what was begun is continued, what is made is whole, what is lost is on record."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2

from dsrfau_edge.errors import DataError
from dsrfau_edge.shards import INDEX_NAME, ShardEntry, ShardIndex, entry_of, store, unwritable, write_index

from ...crew import messages
from .plan import Loss, Made, Maker, Plan, Task, shard_name

PLAN = "plan.json"
_LOSSES = "losses"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What came of a plan: the index as written, all losses, and what happened to pictures that are in the set."""

    index: ShardIndex
    lost: tuple[Loss, ...]
    notes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Record:
    """What is kept of a finished shard beside it; `entry` is None where all its pictures were lost."""

    entry: ShardEntry | None
    lost: tuple[Loss, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)

    @property
    def pictures(self) -> int:
        return (self.entry.count if self.entry else 0) + sum(loss.count for loss in self.lost)


def _ignore(count: int) -> None:
    del count


def prepare(
    plan: Plan,
    folder: Path,
    *,
    workers: int | None = None,
    on_found: Callable[[int], None] = _ignore,
    on_pictures: Callable[[int], None] = _ignore,
) -> Prepared:
    """Make the shards that are not there yet and write the index.

    Args:
        plan: what to make.
        folder: where to; a folder begun with another plan is refused.
        workers: processes, one per core by default; the bytes are the same for any number.
        on_found: told the number of pictures that an earlier run dealt with.
        on_pictures: told the number of pictures dealt with since the last time.

    Raises:
        DataError: the folder holds another set or cannot be written to, or no picture has a face.
    """
    _claim(plan, folder)
    done = _finished(plan, folder)
    on_found(sum(record.pictures for record in done.values()))
    tasks = [rest for task in plan.tasks if (rest := _rest(task, done)).shards]
    with contextlib.closing(_results(plan.maker, tasks, workers or os.cpu_count() or 1)) as results:  # type: ignore[type-var]
        for result in results:
            if isinstance(result, Made):
                done[result.number] = _keep(folder, result)
            else:
                on_pictures(result)
    records = [done[number] for number in sorted(done)]
    lost = (*plan.lost, *(loss for record in records for loss in record.lost))
    shards = tuple(record.entry for record in records if record.entry is not None)
    if not shards:
        raise DataError(
            f"Not one of {plan.count} pictures gave a sample ({_reasons(lost)}). Give pictures in which faces are seen."
        )
    notes: dict[str, int] = {}
    for record in records:
        for name, count in record.notes.items():
            notes[name] = notes.get(name, 0) + count
    index = replace(plan.index, shards=shards)
    write_index(folder, index)
    return Prepared(index, lost, notes)


def _reasons(lost: tuple[Loss, ...]) -> str:
    return ", ".join(f"{why}: {count}" for why, count in by_reason(lost).items())


def by_reason(lost: tuple[Loss, ...]) -> dict[str, int]:
    """Number of lost pictures by reason, the most frequent first."""
    counts: dict[str, int] = {}
    for loss in lost:
        counts[loss.why] = counts.get(loss.why, 0) + loss.count
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _results(maker: Maker, tasks: list[Task], workers: int) -> Iterator[Made | int]:
    """Shards as they are finished, and between them numbers of pictures dealt with."""
    yield from messages(_work, maker, tasks, workers, what="preparing")


def _work(maker: Maker, task: Task, tell: Callable[[object], None]) -> None:
    """In a worker process."""
    cv2.setNumThreads(1)
    for made in maker(task, tell):
        tell(made)


def _rest(task: Task, done: Mapping[int, _Record]) -> Task:
    return Task(tuple((number, items) for number, items in task.shards if number not in done))


def _claim(plan: Plan, folder: Path) -> None:
    """Begin or continue in a folder."""
    path, wanted = folder / PLAN, json.loads(json.dumps(plan.fingerprint()))
    try:
        (folder / _LOSSES).mkdir(parents=True, exist_ok=True)
        for stale in (*folder.glob("*.part"), *(folder / _LOSSES).glob("*.part")):  # of a run that was killed
            stale.unlink()
        begun = json.loads(path.read_bytes()) if path.is_file() else None
    except OSError as error:
        raise unwritable(folder, error) from error
    except ValueError as error:
        raise DataError(f"{path} cannot be read ({error}). Give another folder, or empty this one.") from error
    if begun is None:
        if any(folder.glob("*.tar")) or (folder / INDEX_NAME).exists():
            raise DataError(f"{folder} holds shards that were not begun here (no {PLAN}). Give another folder.")
        store(path, json.dumps(wanted, indent=1).encode())
    elif begun != wanted:
        differing = [name for name in wanted if not isinstance(begun, dict) or begun.get(name) != wanted[name]]
        raise DataError(
            f"{folder} holds a set that was begun with another source, other options or another version of this "
            f"package ({', '.join(differing) or PLAN}). Give another folder, or empty this one."
        )


def _finished(plan: Plan, folder: Path) -> dict[int, _Record]:
    """Shards of earlier runs that are as they were written; others are made again."""
    done = {}
    for task in plan.tasks:
        for number, items in task.shards:
            record = _read_record(folder, number)
            if record is not None and record.pictures == len(items):
                done[number] = record
    return done


def _read_record(folder: Path, number: int) -> _Record | None:
    shard = folder / shard_name(number)
    try:
        raw = json.loads(_record_path(folder, number).read_bytes())
        record = _Record(None, tuple(Loss(**loss) for loss in raw["lost"]), raw["notes"])
        if raw["sha256"] is None:
            return record
        if hashlib.sha256(shard.read_bytes()).hexdigest() != raw["sha256"]:
            return None
        return replace(record, entry=entry_of(shard))
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def _record_path(folder: Path, number: int) -> Path:
    return folder / _LOSSES / f"{shard_name(number).removesuffix('.tar')}.json"


def _keep(folder: Path, made: Made) -> _Record:
    """Store what belongs to a shard, the shard itself last: where it is, all is."""
    entry = made.shard.entry if made.shard else None
    raw: dict[str, Any] = {
        "sha256": entry.sha256 if entry else None,
        "lost": [asdict(loss) for loss in made.lost],
        "notes": dict(made.notes),
    }
    store(_record_path(folder, made.number), json.dumps(raw).encode())
    if made.shard is not None:
        store(folder / made.shard.entry.file, made.shard.content)
    return _Record(entry, made.lost, made.notes)
