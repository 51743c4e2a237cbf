"""A run beside an earlier one: what became slower, what cannot be compared, what is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError
from .environment import COMPARED, lookup
from .report import SCHEMA, TOOL, threads_text

#: Figures that may be compared, where they stand in a row.
FIGURES: Mapping[str, Callable[[Mapping[str, Any]], float | None]] = {
    "p50": lambda row: row["figures"].get("p50"),
    "p90": lambda row: row["figures"].get("p90"),
    "p99": lambda row: row["figures"].get("p99"),
    "max": lambda row: row["figures"].get("max"),
    "cpu": lambda row: row["figures"].get("cpu"),
    "load": lambda row: row.get("load_ms"),
    "first": lambda row: row.get("first_ms"),
    "memory": lambda row: row["memory"].get("peak_bytes"),
}
#: What makes a row the same row in another run.
_IDENTITY = ("bundle", "kind", "runtime", "precision", "portable", "native")
#: What two rows must share besides, to be compared.
_CONDITIONS = ("threads", "batch", "device")
_SHOWN = 8
_SETTINGS = {"warm_up": "warm-up rule", "calls": "--iterations", "seconds": "--seconds"}


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one row in both runs; `percent` is what it grew by."""

    row: str
    figure: str
    before: float
    after: float
    percent: float
    regressed: bool
    other_model: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found; `versions` are those that changed."""

    changes: tuple[Change, ...]
    only_before: tuple[str, ...]
    only_now: tuple[str, ...]
    max_regression: float
    versions: tuple[str, ...] = ()

    @property
    def regressed(self) -> tuple[Change, ...]:
        """Figures that grew by more than was allowed."""
        return tuple(change for change in self.changes if change.regressed)

    def lines(self) -> list[str]:
        """For people."""
        told = []
        for one in self.changes:
            verdict = f"REGRESSED by more than {self.max_regression:g} %" if one.regressed else "within the limit"
            other = "; the model is another one" if one.other_model else ""
            told.append(
                f"{one.row}: {one.figure} {one.before:g} → {one.after:g} ({one.percent:+.1f} %), {verdict}{other}"
            )
        for where, names in (("the earlier run", self.only_before), ("this run", self.only_now)):
            told += [f"only in {where}: {name}" for name in names[:_SHOWN]]
            told += [f"only in {where}: {len(names) - _SHOWN} more rows"] if len(names) > _SHOWN else []
        return told + [f"changed since: {text}" for text in self.versions]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "max_regression_percent": self.max_regression,
            "changes": [{name: getattr(one, name) for name in Change.__dataclass_fields__} for one in self.changes],
            "only_before": list(self.only_before),
            "only_now": list(self.only_now),
            "changed_versions": list(self.versions),
        }


def percent_of(text: str) -> float:
    """`10%` and `10` are ten per cent.

    Raises:
        UsageError: it is no number of per cent, or negative.
    """
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"--max-regression {text!r} is not a share in per cent. Give it as in --max-regression 10%.")
    return value


def read_base(path: Path) -> dict[str, Any]:
    """An earlier report.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    again = "Give a file that dsrfau-bench wrote with -o FILE, or with --json."
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as an earlier result: {error}. {again}") from error
    if not isinstance(raw, dict) or raw.get("tool") != TOOL:
        raise InputError(f"{path} is not a result of {TOOL}. {again}")
    if raw.get("schema") != SCHEMA:
        raise InputError(
            f"{path} has schema {raw.get('schema')!r}; this version reads {SCHEMA}. Measure the base again."
        )
    shapes = (("rows", list), ("environment", dict), ("settings", dict))
    if not all(isinstance(raw.get(name), kind) for name, kind in shapes) or not all(map(_whole, raw["rows"])):
        raise InputError(f"{path} is damaged: rows, environment or settings are not as {TOOL} writes them. {again}")
    return raw


def _whole(row: Any) -> bool:
    """Whether a row of a file has what is compared."""
    return (
        isinstance(row, dict)
        and all(name in row for name in (*_IDENTITY, *_CONDITIONS))
        and all(isinstance(row.get(name), dict) for name in ("figures", "memory", "frames"))
    )


def require_same_device(base: Mapping[str, Any], environment: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse to compare results of different devices or ways of measuring.

    Raises:
        UsageError: they differ; every differing field is named.
    """
    pairs = [(words, lookup(base["environment"], key), lookup(environment, key)) for key, words in COMPARED.items()]
    pairs += [(words, base["settings"].get(key), settings.get(key)) for key, words in _SETTINGS.items()]
    different = [f"{words}: {_shown(one)} then, {_shown(other)} now" for words, one, other in pairs if one != other]
    if different:
        raise UsageError(
            "The earlier result is not comparable with this run: "
            + "; ".join(different)
            + ". Measure the base again under the same conditions: dsrfau-bench -o BASE.json"
        )


def changed_versions(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Systems and packages whose versions are others than in an earlier environment."""
    pairs = [(name, before.get(name), now.get(name)) for name in ("system", "python", "dsrfau_edge", "gpu_driver")]
    one, other = ((block.get("packages") or {}) for block in (before, now))
    pairs += [(name, one.get(name), other.get(name)) for name in sorted({*one, *other})]
    return tuple(f"{name} {a or 'absent'} → {b or 'absent'}" for name, a, b in pairs if a != b)


def compare(
    base: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    max_regression: float,
    figures: Sequence[str] = ("p90",),
    environment: Mapping[str, Any] | None = None,
) -> Comparison:
    """Compare rows with those of an earlier report.

    Raises:
        UsageError: no row of one run has a counterpart in the other.
    """
    before = {_key(row): row for row in base["rows"] if row["figures"]}
    now = {_key(row): row for row in rows if row["figures"]}
    both = [key for key in now if key in before]
    if not both:
        raise UsageError(_nothing_shared(list(before.values()), list(now.values())))
    changes = []
    for key in both:
        for figure in figures:
            one, other = (FIGURES[figure](row) for row in (before[key], now[key]))
            if one is not None and other is not None and one > 0:
                percent = 100 * (other / one - 1)
                another = before[key].get("sha256") != now[key].get("sha256")
                changes.append(Change(_name(now[key]), figure, one, other, percent, percent > max_regression, another))
    return Comparison(
        tuple(changes),
        tuple(_name(row) for key, row in before.items() if key not in now),
        tuple(_name(row) for key, row in now.items() if key not in before),
        max_regression,
        () if environment is None else changed_versions(base["environment"], environment),
    )


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        *(row[name] for name in (*_IDENTITY, *_CONDITIONS)),
        row["frames"].get("sha256"),
        row["frames"].get("stream", False),
    )


def _nothing_shared(before: list[Mapping[str, Any]], now: list[Mapping[str, Any]]) -> str:
    """Why no row has a counterpart: the fields whose values are nowhere the same."""
    told = []
    for name in (*_IDENTITY, *_CONDITIONS):
        one, other = ({str(row[name]) for row in rows} for rows in (before, now))
        if one.isdisjoint(other):
            told.append(
                f"{name}: {', '.join(sorted(one)) or 'no row'} then, {', '.join(sorted(other)) or 'no row'} now"
            )
    why = "; ".join(told) or "no combination of bundle, runtime, precision, threads and frames is the same"
    return f"The earlier result shares no row with this run: {why}. Give the options of the earlier run."


def _name(row: Mapping[str, Any]) -> str:
    model = f"{'portable ' if row['portable'] else ''}{row['precision']}{', native' if row['native'] else ''}"
    threads = threads_text(row["threads"])
    return f"{row['bundle']}, {row['kind']}, {row['runtime']} {model}, {threads}, batch {row['batch']}"


def _shown(value: Any) -> str:
    return "not readable" if value is None else value if isinstance(value, str) else json.dumps(value)
