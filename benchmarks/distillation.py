"""Does distillation help? The student alone, with each loss, and with all, over several seeds.

One teacher is trained (or taken from elsewhere), then the same student once per arm and seed. All see the same rendered
identities of the rigs that are trained on; they are scored on identities of these rigs that they have not seen, and on
a whole rig that none of them (nor the teacher) has seen, where one is held out. Arms of one seed share initial weights,
draws and augmentation, so that they are compared in pairs. A killed run goes on where it was; finished runs are kept.
See README.md beside it.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import itertools
import json
import multiprocessing
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

NONE = ("distillation.feature_map=0.0", "distillation.region_wise=0.0", "distillation.channel_wise=0.0")
#: Recipe settings of each arm; those called alone have no teacher.
ALONE = "alone"
ARMS: Mapping[str, tuple[str, ...]] = {
    ALONE: (),
    "feature map": NONE[1:],
    "region-wise": (NONE[0], NONE[2]),
    "channel-wise": NONE[:2],
    "all": (),
}
#: Asked for by name: other forms of the losses, and what the sampler and the loss do against imbalance.
MORE: Mapping[str, tuple[str, ...]] = {
    "all, centred": ("distillation.centred=true",),
    "all, softmax": ("distillation.temperature=1.0",),
    "all, stride 4 too": ("distillation.relation_stages=['stride8', 'stride4']",),
    "all, thrice": ("distillation.feature_map=0.3", "distillation.region_wise=3.0", "distillation.channel_wise=3.0"),
    "all, ten times": (
        "distillation.feature_map=1.0",
        "distillation.region_wise=10.0",
        "distillation.channel_wise=10.0",
    ),
    "feature map, ten times": ("distillation.feature_map=1.0", *NONE[1:]),
    "feature map, softmax": ("distillation.temperature=1.0", *NONE[1:]),
    "region-wise, ten times": ("distillation.region_wise=10.0", NONE[0], NONE[2]),
    "channel-wise, centred": ("distillation.centred=true", *NONE[:2]),
    "alone, even draws": ("data.balance=0.0",),
    "alone, even pixels": ("student.foreground=0.0",),
    "alone, even draws and pixels": ("data.balance=0.0", "student.foreground=0.0"),
}
METRICS = {"icc": "ICC(3,1)", "pcc": "PCC", "mae": "MAE"}
SPLITS = ("new identities", "new rig")
NO_RIG = "none"


class Job(NamedTuple):
    """One student to train: its arm and seed, and everything that the process needs which does it."""

    arm: str
    seed: int
    options: argparse.Namespace

    @property
    def folder(self) -> Path:
        """Where it is trained."""
        folder: Path = self.options.output / f"{self.arm.replace(', ', '-').replace(' ', '-')}-{self.seed}"
        return folder


def settings_of(options: argparse.Namespace) -> list[str]:
    """What all runs change in the recipe."""
    protocol = "identities" if options.rig == NO_RIG else f"rig={options.rig}"
    return [f"data.protocol={protocol}", f"data.held_out={options.held_out}", *options.settings]


def train_teacher(options: argparse.Namespace) -> dict[str, Any]:
    """Train the teacher, or keep it, or take the one that is named; returns its scores."""
    from dsrfau_edge.checkpoint import read_checkpoint
    from dsrfau_edge.errors import DataError
    from dsrfau_edge.train.data.prepared import load_prepared
    from dsrfau_edge.train.recipes import load_recipe, recipe_with
    from dsrfau_edge.train.run import RunOptions, train_role

    data = load_prepared(options.data, limit=options.limit)
    recipe = load_recipe(options.recipe, settings_of(options))
    _require_unseen(data, recipe, options, "A student of this recipe")
    folder: Path = options.teacher or options.output / "teacher"
    if options.teacher is not None:
        known = read_checkpoint(folder)
        if known.sites != data.index.sites:
            raise DataError(f"{folder} has other sites than this data, and cannot be scored on it.")
        _require_unseen(data, recipe_with(known.training["recipe"], []), options, str(folder))
    else:
        train_role("teacher", data, recipe, RunOptions(options.output, report=_say))
    return _scored(folder, data, options, kept=options.output / "teacher-scores.json")


def train_student(job: Job) -> dict[str, Any]:
    """Train and score one student; returns its row."""
    from dsrfau_edge.train.data.prepared import load_prepared
    from dsrfau_edge.train.recipes import load_recipe
    from dsrfau_edge.train.run import RunOptions, train_role

    options, settings = job.options, {**ARMS, **MORE}[job.arm]
    data = load_prepared(options.data, limit=options.limit)
    recipe = load_recipe(options.recipe, [*settings_of(options), *settings])
    teacher = None if job.arm.startswith(ALONE) else options.teacher or options.output / "teacher"
    train_role(
        "student", data, recipe, RunOptions(job.folder, seed=job.seed, report=lambda text: None), teacher=teacher
    )
    scores = _scored(job.folder / "student", data, options, kept=job.folder / "student-scores.json")
    told = [f"{name} icc {scores[name]['icc']:.3f}, pcc {scores[name]['pcc']:.3f}" for name in _splits(scores)]
    _say(f"{job.arm}, seed {job.seed}: " + "; ".join(told))
    return {"arm": job.arm, "seed": job.seed, **scores}


def _scored(folder: Path, data: Any, options: argparse.Namespace, *, kept: Path) -> dict[str, Any]:
    """Mean metrics of a checkpoint on the splits and its costs; kept in a file."""
    from dsrfau_edge.train.checkpoint import load_network
    from dsrfau_edge.train.inference import held_out_metrics

    network, checkpoint = load_network(folder)
    digest = _digest(checkpoint.files, data, options)
    wider = {f"{SPLITS[0]}, spread to {limit:g}": limit for limit in options.spread}
    if kept.is_file():
        scores: dict[str, Any] = json.loads(kept.read_text())
        if scores["fingerprint"] == digest and wider.keys() <= scores.keys():
            others = {name for name in _splits(scores) if "spread" in name} - wider.keys()
            return {name: value for name, value in scores.items() if name not in others}
    positions = _scored_positions(data, options)
    found = {name: held_out_metrics(network, data, own, split=name) for name, own in positions.items() if len(own)}
    for name, limit in wider.items():
        _spread_to(limit, network, folder, data)
        found[name] = held_out_metrics(network, data, positions[SPLITS[0]], split=name)
    scores = {
        "fingerprint": digest,
        **{
            name: {**score["mean"], "samples": score["samples"], "per_au": score["per_au"]}
            for name, score in found.items()
        },
        "seconds": checkpoint.training["seconds"],
        **{name: checkpoint.metrics[name] for name in ("parameters", "macs", "cpu_latency")},
    }
    kept.write_text(json.dumps(scores, indent=1))
    return scores


def _scored_positions(data: Any, options: argparse.Namespace) -> dict[str, Any]:
    on_rig = np.array([record.get("rig") == options.rig for record in data.meta])
    held = data.split("held-out", held_out=options.held_out)
    return {SPLITS[0]: held[~on_rig[held]], SPLITS[1]: np.flatnonzero(on_rig)}


def _require_unseen(data: Any, recipe: Any, options: argparse.Namespace, whose: str) -> None:
    """Refuse to score persons that a network is trained on."""
    from dsrfau_edge.errors import DataError

    trained = set(data.identities[data.split("train", **recipe.data.split_options())])
    for split, positions in _scored_positions(data, options).items():
        seen = trained & set(data.identities[positions])
        if seen:
            raise DataError(
                f"{whose} is trained on {len(seen)} of the persons that it would be scored on ({split}). Hold out as "
                "many in training (data.held_out, data.protocol) as --held-out and --rig say."
            )


def _digest(files: Mapping[str, str], data: Any, options: argparse.Namespace) -> str:
    """Of which network on which persons scores are."""
    sets = [(source["index_sha256"], source["samples"]) for source in data.sources]
    return hashlib.sha256(json.dumps([dict(files), sets, options.rig, options.held_out]).encode()).hexdigest()


def _spread_to(limit: float, network: Any, folder: Path, data: Any) -> None:
    """Spread a checkpoint's intensities to another limit than its recipe's, by the persons it was trained on."""
    from dsrfau_edge.train.checkpoint import load_network
    from dsrfau_edge.train.recipes import recipe_with
    from dsrfau_edge.train.spread import match_spread

    trained, checkpoint = load_network(folder, spread=False)
    training = checkpoint.training
    network.head.load_state_dict(trained.head.state_dict())
    positions = data.split("train", **recipe_with(training["recipe"], []).data.split_options())
    match_spread(network, data, positions, limit=limit, seed=training["seed"])


def _splits(scores: Mapping[str, Any]) -> list[str]:
    return [name for name, value in scores.items() if isinstance(value, Mapping) and "icc" in value]


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per arm: mean over the seeds of each metric and split, and the paired difference to `alone`.

    Args:
        rows: of each run its arm, seed and, per split, mean metrics over the AUs.

    Returns:
        `{arm, seeds, SPLIT: {METRIC: {mean, interval, gain, gain_interval}}}`; intervals are Student's 95 % over the
        seeds, None for fewer than two.
    """
    base = {row["seed"]: row for row in rows if row["arm"] == ALONE}
    table = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        runs = [row for row in rows if row["arm"] == arm]
        entry: dict[str, Any] = {"arm": arm, "seeds": len(runs)}
        for split in _splits(rows[0]):
            entry[split] = {}
            for metric in METRICS:
                values = [row[split][metric] for row in runs]
                gains = [row[split][metric] - base[row["seed"]][split][metric] for row in runs if row["seed"] in base]
                entry[split][metric] = {
                    "mean": float(np.mean(values)),
                    "interval": interval(values),
                    "gain": float(np.mean(gains)) if gains and arm != ALONE else None,
                    "gain_interval": interval(gains) if arm != ALONE else None,
                }
        table.append(entry)
    return table


def interval(values: Sequence[float]) -> list[float] | None:
    """Student's 95 % interval of the mean; None for fewer than two values."""
    from scipy import stats

    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(stats.sem(values))
    reach = error * float(stats.t.ppf(0.975, len(values) - 1))
    return [mean - reach, mean + reach]


def markdown(report: Mapping[str, Any]) -> str:
    """The report as tables: one of every split, one of the costs."""
    lines: list[str] = []
    for split in _splits(report["teacher"]):
        lines += [f"**{split}**", "", "| arm | seeds | ICC | gain | PCC | gain | MAE | gain |", "|---" * 8 + "|"]
        teacher = [f"{report['teacher'][split][metric]:.3f} | " for metric in METRICS]
        lines.append(f"| *teacher* | 1 | {' | '.join(teacher)} |")
        for row in report["arms"]:
            cells = []
            for score in (row[split][metric] for metric in METRICS):
                reach = f" ± {(score['interval'][1] - score['interval'][0]) / 2:.3f}" if score["interval"] else ""
                cells += [f"{score['mean']:.3f}{reach}", _gain(score)]
            lines.append(f"| {row['arm']} | {row['seeds']} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["| network | parameters | MACs | ms a crop |", "|---|---|---|---|"]
    for name, cost in report["costs"].items():
        time = "" if cost["milliseconds"] is None else f"{cost['milliseconds']:.2f}"
        lines.append(f"| {name} | {cost['parameters'] / 1e6:.2f} M | {cost['macs'] / 1e6:.0f} M | {time} |")
    return "\n".join(lines) + "\n"


def _gain(score: Mapping[str, Any]) -> str:
    if score["gain"] is None:
        return ""
    return f"{score['gain']:+.3f}" + (
        " [{:+.3f}, {:+.3f}]".format(*score["gain_interval"]) if score["gain_interval"] else ""
    )


def plot(report: Mapping[str, Any], path: Path) -> None:
    """Gains over the student alone, a row of panels per split; nothing where no arm has a gain."""
    from matplotlib.figure import Figure

    rows = [row for row in report["arms"] if row["arm"] != ALONE and row[SPLITS[0]]["icc"]["gain"] is not None]
    if not rows:
        return
    splits = _splits(rows[0])
    figure = Figure(figsize=(9.5, (0.9 + 0.3 * len(rows)) * len(splits)), layout="constrained")
    panels = figure.subplots(len(splits), len(METRICS), sharex="col", sharey=True, squeeze=False)
    for (place, split), (column, metric) in itertools.product(enumerate(splits), enumerate(METRICS)):
        axes = panels[place, column]
        for height, row in enumerate(reversed(rows)):
            score = row[split][metric]
            low, high = score["gain_interval"] or (score["gain"], score["gain"])
            colour = "tab:blue" if low > 0 or high < 0 else "tab:gray"
            axes.plot([low, high], [height, height], color=colour, lw=2.5)
            axes.plot(score["gain"], height, "o", color=colour)
        axes.axvline(0, color="black", lw=0.8)
        axes.set_yticks(range(len(rows)), [row["arm"] for row in reversed(rows)])
        axes.spines[["top", "right"]].set_visible(False)
        if column == 1:
            axes.set_title(split)
        if split == splits[-1]:
            axes.set_xlabel(f"mean {METRICS[metric]} above the student alone")
    figure.savefig(path, dpi=130)


def costs(scored: Mapping[str, Mapping[str, Any]], sites: int, side: int) -> dict[str, Any]:
    """Parameters, MACs and time of teacher and student, and what the authors' pair has at the same input."""
    from dsrfau_edge.train.costs import count_macs, count_parameters
    from dsrfau_edge.train.networks.heatmap import HeatmapNetwork
    from dsrfau_edge.train.recipes import load_recipe

    table = {
        name: {**{key: row[key] for key in ("parameters", "macs")}, "milliseconds": row["cpu_latency"]["milliseconds"]}
        for name, row in scored.items()
    }
    for role in ("teacher", "student"):
        config = load_recipe("reference").role(role).network
        network = HeatmapNetwork(config, sites, pretrained=False)
        name = f"authors' {config.backbone} + deconvolutions (not trained here)"
        table[name] = {"parameters": count_parameters(network), "macs": count_macs(network, side), "milliseconds": None}
    return table


def main(arguments: Iterable[str] | None = None) -> None:
    """Train, score, report."""
    from dsrfau_edge.errors import DsrfauError

    try:
        run(_arguments(arguments))
    except (DsrfauError, FileExistsError) as error:
        sys.exit(f"error: {error}")


def run(options: argparse.Namespace) -> None:
    """All runs, and their report."""
    options.output.mkdir(parents=True, exist_ok=True)
    teacher = train_teacher(options)
    jobs = [Job(arm, seed, options) for seed in range(options.seeds) for arm in dict.fromkeys(options.arm or ARMS)]
    if options.jobs == 1:
        rows = [train_student(job) for job in jobs]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(options.jobs, context, initializer=_one_thread) as pool:
            rows = list(pool.map(train_student, jobs))
    report = _report(options, teacher, jobs, rows)
    (options.output / "distillation.json").write_text(json.dumps(report, indent=1))
    (options.output / "distillation.md").write_text(markdown(report))
    plot(report, options.output / "distillation.png")
    print(markdown(report))


def _report(
    options: argparse.Namespace, teacher: Mapping[str, Any], jobs: Sequence[Job], rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    from dsrfau_edge.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(options.teacher or options.output / "teacher")
    student = read_checkpoint(jobs[-1].folder / "student")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": f"{platform.machine()}, {multiprocessing.cpu_count()} cores",
        "command": " ".join(["python benchmarks/distillation.py", *sys.argv[1:]]),
        "held_out_rig": options.rig,
        "samples": {split: teacher[split]["samples"] for split in _splits(teacher)}
        | {"train": student.training["samples"], "teacher's": checkpoint.training["samples"]},
        "recipe": student.training["recipe"],
        "teacher": teacher,
        "arms": summarise(rows),
        "runs": rows,
        "costs": costs({"teacher": teacher, "student": rows[-1]}, len(checkpoint.sites), checkpoint.input_size),
    }


def _one_thread() -> None:
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return int(text)


def _limit(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 1 <= value < np.inf:
        raise argparse.ArgumentTypeError(f"{text} is no limit from 1 on")
    return value


def _arguments(arguments: Iterable[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True, help="prepared renders of several rigs")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs and the report")
    parser.add_argument("--recipe", default="dsrfau-nano", help="whose teacher and student; default dsrfau-nano")
    parser.add_argument("--rig", default="ict", help=f"the rig to hold out, or {NO_RIG}; default ict")
    parser.add_argument("--teacher", type=Path, help="its checkpoint, in place of training one; of the same protocol")
    parser.add_argument("--held-out", type=float, default=0.12, help="share of the other identities to hold out")
    parser.add_argument(
        "--spread", type=_limit, action="append", default=[], help="score with intensities spread to this limit, too"
    )
    parser.add_argument("--seeds", type=_count, default=3, help="students per arm")
    parser.add_argument("--arm", action="append", choices=[*ARMS, *MORE], help="only these; default the first five")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="change a value of the recipe")
    parser.add_argument("--limit", type=_count, help="use no more than so many crops of each folder")
    parser.add_argument(
        "--jobs", type=_count, default=1, help="students trained at once, each on one thread if several"
    )
    return parser.parse_args(None if arguments is None else list(arguments))


if __name__ == "__main__":
    main()
