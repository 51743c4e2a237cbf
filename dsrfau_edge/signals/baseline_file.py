"""The file of a neutral baseline: JSON with a schema version and the level of each site by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..action_units import MAX_INTENSITY
from ..errors import DataError
from ..shards import store

SCHEMA = 1
_KIND = "neutral baseline"


def to_content(levels: Mapping[str, float]) -> dict[str, Any]:
    """What the file holds, of levels by site."""
    return {"schema": SCHEMA, "kind": _KIND, "levels": {site: round(value, 6) for site, value in levels.items()}}


def write_levels(path: Path, content: dict[str, Any]) -> None:
    """Write the file, whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    store(path, (json.dumps(content, indent=1) + "\n").encode())


def read_levels(path: Path) -> dict[str, float]:
    """Levels by site.

    Raises:
        DataError: there is no such file, it is not a baseline, or a level is no intensity.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check the path, or save a baseline there first.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a neutral baseline ({error}). Save it again.") from error
    return from_content(raw, str(path))


def from_content(raw: Any, name: str) -> dict[str, float]:
    """Levels by site, checked; `name` says in errors where they are from.

    Raises:
        DataError: they are no levels of this version.
    """
    if not isinstance(raw, dict) or raw.get("kind") != _KIND:
        raise DataError(f"{name} is not a neutral baseline. Give a file that NeutralBaseline.save has written.")
    if raw.get("schema") != SCHEMA:
        raise DataError(
            f"{name}: schema {raw.get('schema')!r} is not the one that this version reads ({SCHEMA}). Save the "
            "baseline again."
        )
    levels = raw.get("levels")
    if not isinstance(levels, dict) or not levels or not all(_is_level(value) for value in levels.values()):
        raise DataError(
            f"{name} does not hold an intensity from 0 to {MAX_INTENSITY:g} for each site. Save the baseline again."
        )
    return {site: float(value) for site, value in levels.items()}


def levels_of(levels: Mapping[str, float], sites: Sequence[str]) -> list[float]:
    """The levels in the order of a network's sites.

    Raises:
        DataError: they are of other sites.
    """
    if set(levels) == set(sites):
        return [float(levels[site]) for site in sites]
    missing = [site for site in sites if site not in levels]
    unknown = [site for site in levels if site not in sites]
    parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(unknown)} too"] * bool(unknown)
    raise DataError(
        f"The neutral baseline is of another network: it {' and '.join(parts)}. Save one with the network in use."
    )


def _is_level(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= MAX_INTENSITY
