"""The report: a document for machines, and tables for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .. import __version__
from . import vendor
from .campaign import Campaign
from .environment import summary
from .job import Row
from .timing import DEFINITIONS

SCHEMA = 1
TOOL = "dsrfau-bench"
_NONE = "–"
#: Columns of the table on a terminal and their widths; the other numbers stand in the line below each row.
_COLUMNS = (
    ("what", 6),
    ("runtime", 12),
    ("model", 21),
    ("computes", 8),
    ("thr", 4),
    ("p50 ms", 8),
    ("p90 ms", 8),
    ("p99 ms", 8),
    ("max ms", 8),
    ("a second", 9),
    ("peak MB", 8),
    ("mean |ΔAU|", 11),
    ("max |ΔAU|", 10),
)
#: Columns of the Markdown table, which has room.
_WIDE = (
    *("bundle", "what", "runtime", "model", "computes", "thr", "p50 ms", "p90 ms", "p99 ms", "max ms", "std ms"),
    *("cpu ms", "a second", "load ms", "first ms", "peak MB", "size MB", "mean |ΔAU|", "max |ΔAU|", "PCC"),
)
_TEXTS = ("bundle", "what", "runtime", "model", "computes")


def document(
    campaign: Campaign, environment: Mapping[str, Any], *, interrupted: bool, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything, ready for JSON."""
    return {
        "schema": SCHEMA,
        "tool": TOOL,
        "version": __version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "interrupted": interrupted,
        "settings": settings(campaign),
        "definitions": DEFINITIONS,
        "environment": dict(environment),
        "rows": [row.to_dict() for row in campaign.rows],
        "not_measured": not_measured(campaign),
        **extra,
    }


def settings(campaign: Campaign) -> dict[str, Any]:
    """What was measured in which way."""
    job = campaign.template
    return {
        "batch": job.batch,
        "device": campaign.wanted.device,
        "threads": [threads or "the runtime's own choice" for threads in campaign.wanted.threads],
        "warm_up": str(job.rule),
        "calls": job.span.calls,
        "seconds": job.span.seconds,
        "sources": [Path(source).name for source in campaign.modes.sources],
        "frames": job.frames if campaign.modes.sources else None,
    }


def cells(row: Row) -> dict[str, str]:
    """A row as text by column."""
    found, parity = row.figures, row.parity
    return {
        "bundle": row.bundle.removesuffix(".dsrfau"),
        "what": "stream" if row.frames.get("stream") else row.kind,
        "runtime": row.runtime,
        "model": row.model,
        "computes": row.computed or _NONE,
        "thr": str(row.threads or "auto"),
        **{f"{name} ms": _number(found.get(name)) for name in ("p50", "p90", "p99", "max", "std", "cpu")},
        "a second": _number(found.get("throughput"), 1),
        "load ms": _number(row.load_ms, 0),
        "first ms": _number(row.first_ms, 1),
        "peak MB": _megabytes(row.memory.get("peak_bytes"), 0),
        "size MB": _megabytes(row.model_bytes, 1),
        "mean |ΔAU|": _number(parity.get("mean"), 4),
        "max |ΔAU|": _number(parity.get("max"), 3),
        "PCC": _number(parity.get("pcc"), 4),
    }


def header() -> str:
    """The first line of the table on a terminal."""
    return _aligned({title: title for title, _ in _COLUMNS})


def lines(row: Row) -> list[str]:
    """A row on a terminal, with what belongs to it below."""
    if not row.measured:
        return [f"{row.kind:<6} {row.runtime} {row.model}, not measured: {row.reason}"]
    return [_aligned(cells(row)), *(f"       {text}" for text in (*_more(row), *details(row)))]


def _more(row: Row) -> list[str]:
    """The numbers that have no column on a terminal, in a line."""
    text = cells(row)
    told = [f"load {text['load ms']} ms, first call {text['first ms']} ms"] if row.load_ms is not None else []
    if row.figures.get("std") is not None:
        told.append(f"std {text['std ms']}, p99-p50 {_number(row.figures['spread'])}")
    if row.figures.get("cpu") is not None:
        told.append(f"cpu {text['cpu ms']} ms")
    told.append(f"{row.figures.get('calls', '?')} calls, {text['size MB']} MB on disk")
    if row.parity.get("pcc") is not None:
        told.append(f"PCC at least {text['PCC']} ({row.parity['lowest_pcc_au']})")
    return ["; ".join(told)]


def details(row: Row) -> list[str]:
    """What a row has to say beyond its numbers."""
    told = []
    if row.device and row.runs_on:
        told.append(f"runs on {row.runs_on}")
    if len(row.layers) > 1:
        told.append("layers computed: " + ", ".join(f"{count} in {name or '?'}" for name, count in row.layers.items()))
    if row.overhead:
        told.append(_overhead(row.overhead))
    if row.stages:
        taken = ", ".join(f"{name} {one['mean']:.2f}" for name, one in row.stages.items())
        told.append(f"mean ms of a frame: {taken}; {_frames(row.frames)}")
    if row.power.get("watts") is not None:
        told.append(f"{row.power['watts']:.1f} W, {row.power['millijoules']:.1f} mJ each ({row.power['source']})")
    if row.parity.get("finite") is False:
        told.append("Its intensities are not all numbers.")
    return [*told, *row.notes]


def _overhead(told: Mapping[str, Any]) -> str:
    (low, high), p50 = told["interval"], told["predict_crops"]["p50"]
    wall = f"{told['percent']:+.1f} % [{low:+.1f}, {high:+.1f}] ({told['microseconds']:+.0f} µs)"
    return (
        f"Predictor.predict_crops, in turn with it: p50 {p50:.3f} ms, {wall}, p90 {told['p90_percent']:+.1f} %; "
        f"processor time {told['cpu_percent']:+.1f} %; {told['pairs']} pairs"
    )


def _frames(told: Mapping[str, Any]) -> str:
    names = ", ".join(f"{one['source']} ({one['frames']})" for one in told["sources"])
    return f"frames of {names}, {', '.join(told['sizes'])} pixels, {told['faces']:g} faces a frame on average"


def power_line(rows: Sequence[Row]) -> str:
    """One line on power where no row has any."""
    texts = dict.fromkeys(row.power["text"] for row in rows if row.power.get("text"))
    return f"Power: {'; '.join(texts)}" if texts else ""


def footer(campaign: Campaign, environment: Mapping[str, Any]) -> list[str]:
    """What stands below the table on a terminal."""
    missing = [f"not measured: {_missing(one)}" for one in not_measured(campaign)]
    origins = "; ".join(dict.fromkeys(row.parity["crops_from"] for row in campaign.rows if "crops_from" in row.parity))
    told = [f"|ΔAU| on the scale 0..5, to the portable fp32 graph in onnxruntime, on {origins}."] if origins else []
    if campaign.modes.vendor_seconds is None and any(row.runtime == vendor.RUNTIME for row in campaign.rows):
        path = vendor.tool()
        told += [f"OpenVINO's own tool: {path} (--vendor-tool runs it on the same files)."] if path else []
    power = power_line(campaign.rows)
    told += [f"Load average: {_load(campaign.rows)}."]
    percentiles = f"Percentiles: {DEFINITIONS['p50, p90, p99']}. No call is left out."
    return [*missing, "", *summary(environment), *told, percentiles, *([power] if power else [])]


def not_measured(campaign: Campaign) -> list[dict[str, str]]:
    """What cannot be measured here and why, ready for JSON."""
    return [
        {"bundle": one.bundle, "runtime": one.runtime, "reason": one.reason, "fix": one.fix}
        for one in campaign.impossible
    ]


def _missing(one: Mapping[str, str]) -> str:
    return f"{one['bundle']}, {one['runtime']}: {one['reason']} {one['fix']}".rstrip()


def markdown(document: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The whole report as Markdown."""
    text = [f"# {TOOL}, {document['date'][:10]}", ""]
    if document["interrupted"]:
        text += ["Interrupted: what follows is what was measured until then.", ""]
    text += [f"    {document['command']}", "", *(f"- {line}" for line in summary(document["environment"])), ""]
    text += [_pipes(_WIDE), _pipes(["---" if title in _TEXTS else "--:" for title in _WIDE])]
    text += [_pipes([cells(row)[title] for title in _WIDE]) for row in rows if row.measured]
    text += ["", *(line for row in rows if (told := _said(row)) for line in (f"- {_who(row)}", *told))]
    text += [*(f"- not measured: {_missing(one)}" for one in document["not_measured"]), "", *_stage_tables(rows)]
    text += ["## What the figures mean", "", *(f"- **{name}**: {meaning}" for name, meaning in DEFINITIONS.items())]
    text += [f"- **warm-up rule**: {document['settings']['warm_up']}"]
    text += [f"- **power**: {line.removeprefix('Power: ')}" for line in [power_line(rows)] if line]
    text += [f"- **load average**: {_load(rows)}"]
    text += [f"- **temperatures** (°C, before the first row and after the last): {_temperatures(rows)}", ""]
    return "\n".join(text)


def _said(row: Row) -> list[str]:
    told = details(row) if row.measured else [f"not measured. {row.reason}"]
    return [f"  - {line}" for line in told]


def _who(row: Row) -> str:
    return f"{row.bundle}, {row.kind}, {row.runtime} {row.model}, {threads_text(row.threads)}"


def threads_text(threads: int | None) -> str:
    """`1 thread`, `2 threads`, or that the runtime chose."""
    return "the runtime's threads" if threads is None else f"{threads} thread{'s' if threads != 1 else ''}"


def _stage_tables(rows: Sequence[Row]) -> list[str]:
    text = []
    for row in rows:
        if row.stages:
            text += [f"## A frame: {_who(row)}", ""]
            text += [_frames(row.frames), "", "| stage | p50 ms | p90 ms | p99 ms | max ms | mean ms |"]
            text += ["|---|--:|--:|--:|--:|--:|"]
            for name, one in {**row.stages, "whole frame": row.figures}.items():
                text.append(_pipes([name, *(_number(one.get(key)) for key in ("p50", "p90", "p99", "max", "mean"))]))
            text.append("")
    return text


def _load(rows: Sequence[Row]) -> str:
    """The load average before the first row and after the last."""
    if not rows or rows[0].before.get("load_average") is None:
        return "not readable"
    return f"{rows[0].before['load_average']:g} before the first row, {rows[-1].after['load_average']:g} after the last"


def _temperatures(rows: Sequence[Row]) -> str:
    if not rows:
        return "not measured: no row"
    before, after = (state.get("temperatures", {}) for state in (rows[0].before, rows[-1].after))
    told = [f"{name} {before[name]:g} → {after[name]:g}" for name in before if name in after]
    return ", ".join(told) or "not measured: no sensor can be read in /sys/class/thermal or /sys/class/hwmon"


def _aligned(texts: Mapping[str, str]) -> str:
    padded = [texts[title].ljust(width) if title in _TEXTS else texts[title].rjust(width) for title, width in _COLUMNS]
    return " ".join(padded)


def _pipes(texts: Sequence[str]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"


def _number(value: float | None, digits: int = 2) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _megabytes(value: int | None, digits: int) -> str:
    return _NONE if value is None else f"{value / 1e6:.{digits}f}"
