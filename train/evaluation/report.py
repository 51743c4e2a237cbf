"""An evaluation written down: as plain types for JSON, and as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dsrfau_edge.action_units import CATALOGUE, PRESENCE_THRESHOLD

from .evaluation import Evaluation
from .groups import MIN_SAMPLES, Grouping
from .nuisances import Effect
from .scores import LEVEL, Estimate, Scores

SCHEMA = 1
_HEADS = {"icc": "ICC(3,1)", "pcc": "PCC", "mae": "MAE", "mse": "MSE", "f1": "F1", "auc": "AUC"}
#: Metrics whose interval a table on a terminal has room for.
_WITH_INTERVAL = ("icc", "mae")


def to_dict(found: Evaluation) -> dict[str, Any]:
    """Everything as plain types; a metric that is not defined is None."""
    request, first, common = found.request, found.ran[0], found.pooled.common
    return {
        "schema": SCHEMA,
        "model": str(first.subject.path) if len(found.ran) == 1 else [str(one.subject.path) for one in found.ran],
        "runtime": first.runtime,
        "precision": first.precision,
        "models": [
            {
                "path": str(one.subject.path), "runtime": one.runtime, "precision": one.precision,
                "protocol": one.protocol, "held_out": one.subject.split["held_out"], "samples": one.samples,
            }
            for one in found.ran
        ],
        "data": [{"folder": str(folder), **{name: source[name] for name in ("kind", "samples", "identities")}}
                 for folder, source in zip(request.folders, found.pooled.data.sources, strict=True)],
        "split": request.split,
        "samples": found.per_au.samples,
        "identities": found.per_au.identities,
        "presence_threshold": PRESENCE_THRESHOLD,
        "bootstrap": {"resamples": request.bootstrap, "of": "identities", "level": LEVEL, "seed": request.seed},
        "left_out": {"not_predicted": list(common.not_predicted), "not_labelled": list(common.not_labelled)},
        "warnings": list(found.warnings),
        "mean": found.per_au.to_dict()["mean"],
        "per_au": found.per_au.to_dict()["per_au"],
        "per_site": found.per_site.to_dict()["per_au"],
        "groups": {grouping.key: _grouping(grouping) for grouping in found.groups},
        "nuisances": {one.name: _effect(one) for one in found.effects},
    }  # fmt: skip


def _grouping(grouping: Grouping) -> dict[str, Any]:
    groups = {
        group.name: group.scores.to_dict()
        if group.scores
        else {"samples": group.samples, "identities": group.identities, "mean": None, "too_few": True}
        for group in grouping.groups
    }
    return {"groups": groups, "unknown": grouping.unknown, "minimum": MIN_SAMPLES}


def _effect(one: Effect) -> dict[str, Any]:
    sizes = {"about": one.about, "samples": one.samples, "others": one.others}
    if one.scores is None or one.change is None:
        return {**sizes, "mean": None, "too_few": True}
    with_it, change = one.scores.to_dict(), one.change.to_dict()
    return {
        **sizes,
        "mean": with_it["mean"],
        "change": change["mean"],
        "per_au": {au: {**row, "change": {name: change["per_au"][au][name] for name in one.change.mean}}
                   for au, row in with_it["per_au"].items()},
    }  # fmt: skip


def headline(found: Evaluation) -> str:
    """What was evaluated on what, in one line or one a model."""
    about = f"{found.per_au.samples} crops of {found.per_au.identities} identities, split {found.request.split}"
    if len(found.ran) == 1:
        one = found.ran[0]
        return f"{one.subject.path} ({one.precision}) on {one.runtime}: {about}, protocol {one.protocol}"
    lines = [
        f"{one.subject.path} ({one.precision}) on {one.runtime}: {one.samples} crops, protocol {one.protocol}"
        for one in found.ran
    ]
    return "\n".join([*lines, f"pooled: {about}"])


def table(scores: Scores, *, intervals: Sequence[str] = _WITH_INTERVAL, titles: bool = False, of: str = "AU") -> str:
    """Scores as a Markdown table, the mean last.

    Args:
        scores: to show.
        intervals: metrics to show with their intervals.
        titles: say in words what each AU is.
        of: head of the names.
    """
    rows = [_table_row(name, row.metrics, intervals, f"{row.positives}/{row.count}", titles)
            for name, row in scores.rows.items()]  # fmt: skip
    rows.append(_table_row("**mean**", scores.mean, intervals, "", titles))
    heads = [of, *([""] if titles else []), *(_HEADS[name] for name in scores.mean), "present/labelled"]
    return markdown(heads, rows)


def _table_row(
    name: str,
    metrics: Mapping[str, Estimate],
    intervals: Sequence[str],
    counts: str,
    titles: bool,  # noqa: FBT001
) -> list[str]:
    title = [CATALOGUE[name].title if name in CATALOGUE else ""] if titles else []
    cells = [one.text(interval=metric in intervals) for metric, one in metrics.items()]
    return [name, *title, *cells, counts]


def group_table(grouping: Grouping) -> str:
    """Samples and mean scores of each group; `–` where there are too few."""
    rows = []
    for group in grouping.groups:
        if group.scores:
            cells = [group.scores.mean[name].text() for name in ("icc", "pcc", "mae")]
        else:
            cells = ["too few", "–", "–"]
        rows.append([group.name, str(group.samples), str(group.identities), *cells])
    if grouping.unknown:
        rows.append(["(not known)", str(grouping.unknown), "", "", "", ""])
    return markdown([grouping.key, "samples", "identities", "ICC(3,1)", "PCC", "MAE"], rows)


def effect_table(effects: Sequence[Effect]) -> str:
    """Mean scores under each nuisance and what they are more or less than without it."""
    rows = []
    for one in effects:
        if one.scores and one.change:
            cells = [one.scores.mean["icc"].text(), signed(one.change.mean["icc"]), signed(one.change.mean["mae"])]
        else:
            cells = ["too few", "–", "–"]
        rows.append([one.name, one.about, str(one.samples), *cells])
    return markdown(["nuisance", "", "samples", "ICC(3,1)", "change of ICC", "change of MAE"], rows)


def effect_per_au(effects: Sequence[Effect]) -> str:
    """Change of each AU's ICC under each nuisance."""
    shown = [one for one in effects if one.change]
    aus = list(shown[0].change.rows) if shown and shown[0].change else []
    rows = [[au, *(signed(one.change.rows[au].metrics["icc"]) for one in shown if one.change)] for au in aus]
    return markdown(["AU", *(one.name for one in shown)], rows)


def signed(one: Estimate) -> str:
    """A difference with its sign and interval: `−0.031 (−0.040 to −0.022)`."""
    if one.value is None:
        return "–"
    words = f"{one.value:+.3f}"
    if one.low is not None and one.high is not None:
        words += f" ({one.low:+.3f} to {one.high:+.3f})"
    return words.replace("-", "−")


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up as text, too."""
    cells = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in cells]
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(lines)


def summary(found: Evaluation, *, sides: bool = False) -> str:
    """What a terminal shows: every table without the per-AU ones of groups and nuisances."""
    parts = [headline(found), table(found.per_au)]
    if found.request.bootstrap and found.per_au.identities > 1:
        drawn = f"In brackets: 95 % intervals, {found.request.bootstrap} resamples of identities."
        parts.append(f"{drawn} F1, AUC: present from {PRESENCE_THRESHOLD:g} on.")
    if sides:
        parts.append(table(found.per_site, of="side"))
    parts += [group_table(grouping) for grouping in found.groups]
    if found.effects:
        parts.append(effect_table(found.effects))
    return "\n\n".join(parts)


def document(found: Evaluation, pictures: Mapping[str, str]) -> str:
    """The whole report as Markdown.

    Args:
        found: the evaluation.
        pictures: captions by file name.
    """
    every = tuple(_HEADS)
    request = found.request
    data = ", ".join(
        f"`{folder}` ({source['kind']})"
        for folder, source in zip(request.folders, found.pooled.data.sources, strict=True)
    )
    drawn = (
        f"In brackets: 95 % percentile intervals over {request.bootstrap} resamples of whole identities (seed "
        f"{request.seed})."
        if request.bootstrap and found.per_au.identities > 1
        else "No intervals."
    )
    parts = ["# Evaluation", headline(found), f"Data: {data}. {drawn} Labels and predictions are clipped to 0–5; an "
             f"AU counts as present from {PRESENCE_THRESHOLD:g} on; `–` is not defined."]  # fmt: skip
    if found.warnings:
        parts.append("\n".join(f"- {warning}" for warning in found.warnings))
    parts += ["## Action units", table(found.per_au, intervals=every, titles=True)]
    parts += ["## Sides", table(found.per_site, intervals=every, of="side")]
    for grouping in found.groups:
        parts += [f"## By {grouping.key}", group_table(grouping), _group_per_au(grouping)]
    if found.effects:
        parts += ["## Nuisances", effect_table(found.effects), "Change of ICC(3,1) per AU:"]
        parts.append(effect_per_au(found.effects))
    for name, caption in pictures.items():
        parts += [f"## {caption}", f"![{caption}]({name})"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _group_per_au(grouping: Grouping) -> str:
    shown = [(group.name, group.scores) for group in grouping.groups if group.scores]
    if not shown:
        return ""
    rows = [[au, *(scores.rows[au].metrics["icc"].text() for _, scores in shown)] for au in shown[0][1].rows]
    return "ICC(3,1) per AU:\n\n" + markdown(["AU", *(name for name, _ in shown)], rows)
