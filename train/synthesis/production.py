"""Sets of rendered faces: the same bytes whatever the engine and the number of workers, resumable."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dsrfau_edge.action_units import ALL_AUS
from dsrfau_edge.errors import DataError
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
from dsrfau_edge.shards import INDEX_NAME, ShardEntry, ShardIndex, crop_side, entry_of, store, unwritable, write_index

from .engines import Engine, local_engine, shard_name
from .intensity import SITES
from .plan import Plan, fingerprint
from .rigs import licence_of
from .scene import BACKGROUND_LICENCE

__all__ = ["Plan", "produce"]

_PLAN = "plan.json"
_ASSETS_LICENCE = "MakeHuman assets: CC0 1.0"
_logger = logging.getLogger(__name__)


def _ignore(count: int) -> None:
    del count


def produce(
    plan: Plan,
    folder: Path,
    *,
    engine: Engine | None = None,
    on_found: Callable[[int], None] = _ignore,
    on_faces: Callable[[int], None] = _ignore,
) -> ShardIndex:
    """Render the shards that are not there yet and write the index.

    Args:
        plan: what to render.
        folder: where to; a folder begun with another plan is refused.
        engine: where it is rendered; on this machine by default.
        on_found: told the number of faces that an earlier run left.
        on_faces: told the number of faces rendered since the last time.

    Raises:
        DataError: the folder holds another set or cannot be written to, or files to render from are missing.
        RuntimeUnavailable: a rig, OpenGL or the engine is missing.
    """
    plan = plan.absolute()
    notes = _claim(plan, folder)
    done = _finished(plan, folder)
    on_found(sum(entry.count for entry in done.values()))
    missing = [number for number in range(plan.shards) if number not in done]
    if missing:
        with contextlib.closing((engine or local_engine())(plan, missing, on_faces)) as rendering:  # type: ignore[type-var]
            for rendered in rendering:
                _note_versions(folder, notes, rendered.made_with)
                store(folder / rendered.shard.entry.file, rendered.shard.content)
                done[rendered.number] = rendered.shard.entry
    index = _index(plan, tuple(done[number] for number in sorted(done)), notes)
    write_index(folder, index)
    return index


def _claim(plan: Plan, folder: Path) -> dict[str, Any]:
    """Begin or continue in a folder; what its plan's file says."""
    path = folder / _PLAN
    wanted = json.loads(json.dumps(fingerprint(plan)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.part"):  # of a run that was killed
            stale.unlink()
        if path.is_file():
            notes: dict[str, Any] = json.loads(path.read_bytes())
            if notes.get("plan") != wanted:
                raise DataError(
                    f"{folder} holds a set made with other options or another version ({_PLAN}). "
                    "Give another folder, or the same options."
                )
            return notes
    except OSError as error:
        raise unwritable(folder, error) from error
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path} cannot be read ({error}). Give another folder, or empty this one.") from error
    if any(folder.glob("*.tar")) or (folder / INDEX_NAME).exists():
        raise DataError(f"{folder} holds shards that were not begun here (no {_PLAN}). Give another folder.")
    notes = {"plan": wanted, "made_with": []}
    store(path, json.dumps(notes, indent=1).encode())
    return notes


def _finished(plan: Plan, folder: Path) -> dict[int, ShardEntry]:
    done: dict[int, ShardEntry] = {}
    for number in range(plan.shards):
        path = folder / shard_name(number)
        if path.is_file():
            done[number] = entry_of(path)
            if done[number].count != len(plan.faces(number)):
                raise DataError(
                    f"{path} holds {done[number].count} faces where {len(plan.faces(number))} belong. Delete it; the "
                    "same command makes it again."
                )
    return done


def _note_versions(folder: Path, notes: dict[str, Any], made_with: Mapping[str, str]) -> None:
    """Keep what the shards are made with beside the plan, where a run that continues finds it."""
    known: list[dict[str, str]] = notes["made_with"]
    if dict(made_with) in known:
        return
    if known:
        _logger.warning(
            "Some shards are made with other versions or another graphics driver (%s) than others: the set is good, "
            "but a run on one machine may give other bytes.",
            ", ".join(f"{key} {value}" for key, value in made_with.items()),
        )
    known.append(dict(made_with))
    store(folder / _PLAN, json.dumps(notes, indent=1).encode())


def _index(plan: Plan, shards: tuple[ShardEntry, ...], notes: Mapping[str, Any]) -> ShardIndex:
    licences = [*map(licence_of, plan.specs), *([_ASSETS_LICENCE] if plan.assets else []), BACKGROUND_LICENCE]
    return ShardIndex(
        kind="rendered",
        aus=ALL_AUS,
        sites=SITES,
        crop_size=crop_side(plan.input_size),
        input_size=plan.input_size,
        template=DEFAULT_TEMPLATE.to_dict(),
        licence="; ".join(dict.fromkeys(licences)),
        shards=shards,
        generator={
            "rigs": [spec.name for spec in plan.specs],
            "count": plan.count,
            "seed": plan.seed,
            "input_size": plan.input_size,
            "per_identity": plan.per_identity,
            "assets": notes["plan"]["assets"],
            "version": notes["plan"]["version"],
            "made_with": notes["made_with"],
        },
    )
