"""Do the confidences mean what they say? Fitted on half of the rendered persons, judged on the others.

    python benchmarks/confidence.py MODEL... --data DIR... -o DIR    # tables, MODEL-confidence.json, reliability.png
    python benchmarks/confidence.py evidence MODEL --data DIR...         # what heatmaps and skin colour would add
    python benchmarks/confidence.py predictor MODEL --data DIR...        # what is stored, through Predictor as it is

See README.md beside it. Needs the extras `synth` and `viz` (matplotlib).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dsrfau_edge import Predictor
from dsrfau_edge.action_units import sites_of
from dsrfau_edge.face.reliability import WITHIN
from dsrfau_edge.metrics import sites_to_aus
from dsrfau_edge.train.confidence.degradation import degrade, draw_circumstances
from dsrfau_edge.train.confidence.fitting import confidences, half_and_half, halves, logistic, right
from dsrfau_edge.train.confidence.observing import Floats, Observations, observe
from dsrfau_edge.train.confidence.scoring import Calibration, calibration
from dsrfau_edge.train.confidence.study import Study, study
from dsrfau_edge.train.data.prepared import PreparedData, load_prepared
from dsrfau_edge.train.evaluation.subjects import Subject, open_session, open_subject

#: What `evidence` takes down of every site, besides the intensity.
EVIDENCE = ("distance", "spread", "entropy", "colour")
_OTHER_SEED = 99  # of pictures that `observe` does not make
_BINS: Mapping[str, tuple[float, ...]] = {
    "eye distance, px": (0, 8, 11, 14, 17, 20, 25, 32, 60),
    "sharpness": (0, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4, 1),
    "brightness": (0, 15, 30, 45, 60, 110, 170, 200, 230, 256),
    "noise, grey levels": (0, 1.5, 3, 5, 8, 40),
    "inside the picture": (0, 0.6, 0.75, 0.85, 0.95, 0.9999, 1.01),
    "yaw as measured, degrees": (0, 10, 20, 30, 35, 40, 45, 50, 60, 90),
    "pitch as measured, degrees": (-90, -35, -25, -20, -10, 10, 20, 25, 35, 90),
}
_CLEAR = {"eye distance, px": (25, 999), "sharpness": (0.25, 1), "brightness": (60, 220), "noise, grey levels": (0, 3),
          "inside the picture": (0.95, 2), "yaw as measured, degrees": (0, 25),
          "pitch as measured, degrees": (-15, 15)}  # fmt: skip


def measures(observed: Observations) -> dict[str, Floats]:
    """What can be measured of each face, by name."""
    parts = {
        "eye distance, px": [one.eye_distance for one in observed.qualities],
        "sharpness": [one.sharpness for one in observed.qualities],
        "brightness": [one.brightness for one in observed.qualities],
        "noise, grey levels": [one.noise for one in observed.qualities],
        "inside the picture": [one.inside for one in observed.qualities],
        "yaw as measured, degrees": [abs(one.yaw) for one in observed.qualities],
        "pitch as measured, degrees": [one.pitch for one in observed.qualities],
    }
    return {name: np.asarray(values) for name, values in parts.items()}


def errors_by(observed: Observations) -> Iterator[tuple[str, float, float, int, float, float]]:
    """Name, bin, faces, and mean absolute error and share right where only this measure is out of the ordinary.

    Half of the faces of each bin show each AU, by weight.
    """
    values = measures(observed)
    covered = np.array([one.occluder is not None for one in observed.circumstances])
    for name, edges in _BINS.items():
        clear = ~covered
        for other, (low, high) in _CLEAR.items():
            related = {name, other} == {"sharpness", "eye distance, px"} or {name, other} == {"sharpness", "noise"}
            if other != name and not related:
                clear = clear & (values[other] >= low) & (values[other] <= high)
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            inside = clear & (values[name] >= low) & (values[name] < high)
            if inside.sum() >= 15:
                yield (name, low, high, int(inside.sum()), *mean_error(observed.take(inside)))


def mean_error(observed: Observations) -> tuple[float, float]:
    """Mean absolute error, and share of right readings, where half of the faces show each AU."""
    weights = half_and_half(observed)
    error = np.abs(observed.readings - observed.truths)
    known = np.isfinite(error)
    total = weights[known].sum()
    return float((weights * error)[known].sum() / total), float((weights * right(observed))[known].sum() / total)


def table(found: Study) -> str:
    """The scores before and after, overall and by AU, as Markdown."""
    lines = [
        "| AU | right | ECE before | after | Brier before | after | AUC before | after |",
        "|---" * 8 + "|",
    ]
    for name, after in found.after.items():
        before = found.before[name]
        cells = (after.right, before.ece, after.ece, before.brier, after.brier, before.auc, after.auc)
        lines.append(f"| {name or '**all**'} | " + " | ".join(f"{value:.3f}" for value in cells) + " |")
    lines += [f"\nfitted without {name}, judged on it: {_said(one)}" for name, one in found.rigs.items()]
    return "\n".join([*lines, f"\nreadings as they come: {_said(found.plain)}"])


def covered(found: Study) -> str:
    """What the confidences know of readings of which a site lies behind something."""
    test, values, weights = found.test, confidences(found.model, found.test), half_and_half(found.test)
    parts = []
    for name, chosen in (("behind something", test.hidden & test.seen), ("all others", ~test.hidden & test.seen)):
        share = weights[chosen] / weights[chosen].sum()
        parts.append(f"{name}: right {share @ right(test)[chosen]:.3f}, mean confidence {share @ values[chosen]:.3f}")
    return "; ".join(parts)


def _said(one: Calibration) -> str:
    return f"right {one.right:.3f}, ECE {one.ece:.3f}, Brier {one.brier:.3f}, AUC {one.auc:.3f}"


def evidence_of(subject: Subject) -> Any:
    """Of each site: distance of the heatmap's peak, spread and entropy of the map; colour against the skin's."""
    from dsrfau_edge.action_units import site_centres

    sites = sites_of(subject.aus)

    def take(face: Any, outputs: Any) -> Floats:
        maps = np.clip(outputs.heatmaps[0], 0, None).astype(np.float64)
        side = maps.shape[-1]
        y, x = np.mgrid[:side, :side]
        flat = maps.reshape(len(maps), -1)
        mass = flat.sum(1) + 1e-6
        share = flat / mass[:, None]
        at_y, at_x = np.divmod(flat.argmax(1), side)
        upright = face.landmarks.points[:, :2] @ face.matrix[:, :2].T + face.matrix[:, 2]
        centres = (site_centres(upright.astype(np.float32), sites) + 0.5) * side / len(face.crop) - 0.5
        distance = np.hypot(at_x - centres[:, 0], at_y - centres[:, 1])
        middle = share @ x.ravel(), share @ y.ravel()
        away = (x.ravel() - middle[0][:, None]) ** 2 + (y.ravel() - middle[1][:, None]) ** 2
        spread = np.sqrt((share * away).sum(1))
        entropy = -(share * np.log(share + 1e-12)).sum(1)
        lab = cv2.cvtColor(cv2.resize(face.crop, (side, side), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2LAB)
        tone = lab.astype(np.float64)[..., 1:]
        low, high = side * 6 // 32, side * 26 // 32
        skin = np.median(tone[low:high, low:high].reshape(-1, 2), axis=0)
        cells = np.clip(centres.round().astype(int), 0, side - 1)
        colour = np.linalg.norm(tone[cells[:, 1], cells[:, 0]] - skin, axis=1)
        stacked = np.stack([distance, spread, entropy, colour])
        return np.asarray(sites_to_aus(stacked.astype(np.float32), subject.sites, subject.aus), np.float64)

    return take


def evidence_table(observed: Observations) -> str:
    """What each kind of evidence adds to the AUC of "wrong", and how well it tells what stands before a site."""
    base = _auc_with(observed, [])
    lines = ["| evidence | AUC of wrong, mean of the AUs | AUC of a site behind something |", "|---|---|---|",
             f"| none besides quality and intensity | {base:.3f} | |"]  # fmt: skip
    for number, name in enumerate(EVIDENCE):
        hidden = calibration(
            -_ranks(observed.evidence[:, number]), ~observed.hidden.ravel(), np.ones(observed.hidden.size)
        )
        lines.append(f"| + {name} | {_auc_with(observed, [number]):.3f} | {hidden.auc:.3f} |")
    lines.append(f"| + all | {_auc_with(observed, range(len(EVIDENCE))):.3f} | |")
    return "\n".join(lines)


def _ranks(values: Floats) -> Floats:
    """Each AU's values `[n, A]` as ranks 0 to 1 within it, flat."""
    return np.asarray((values.argsort(0).argsort(0) / len(values)).ravel(), np.float64)


def _auc_with(observed: Observations, extra: Sequence[int]) -> float:
    from dsrfau_edge.face.reliability import READING, reading_terms

    chosen, correct, weights, found = halves(observed.identities), right(observed), half_and_half(observed), []
    for column in range(len(observed.aus)):
        terms = np.array([reading_terms(value) for value in observed.readings[:, column].tolist()])
        added = [observed.evidence[:, number, column] for number in extra]
        inputs = np.column_stack([terms, observed.hardships, *added])
        falling = (np.arange(inputs.shape[1]) >= READING) & (np.arange(inputs.shape[1]) < READING + 13)
        used = np.isfinite(observed.truths[:, column]) & observed.seen[:, column]
        train, test = used & chosen, used & ~chosen
        factors = logistic(inputs[train], correct[train, column], weights[train, column], falling)
        values = 1 / (1 + np.exp(-(factors[0] + inputs[test] @ factors[1:])))
        found.append(calibration(values, correct[test, column], weights[test, column]).auc)
    return float(np.mean(found))


def through_predictor(predict: Any, data: PreparedData, positions: Sequence[int], aus: Sequence[str]) -> str:
    """The calibration of the confidences that `predict`, a `Predictor`, gives on degraded pictures as a user sees them.

    Detector and all: the largest face of each picture counts, readings of confidence 0 do not.
    """
    labels = sites_to_aus(data.intensities, data.index.sites, aus)
    values, readings, truths = [], [], []
    for position in positions:
        rng = np.random.default_rng([_OTHER_SEED, position])
        made = degrade(data.image(position), data.index.input_size, draw_circumstances(rng), rng)
        for face in predict(made.picture)[:1]:
            values.append([face.confidences[au] for au in aus])
            readings.append([face.aus[au] for au in aus])
            truths.append(labels[position])
    if not values:
        return f"no face found in {len(positions)} pictures"
    sure, correct, present = np.array(values), np.abs(np.array(readings) - truths) <= WITHIN, np.array(truths) >= 1
    weights = np.where(present, 0.5 / np.maximum(present.sum(0), 1), 0.5 / np.maximum((~present).sum(0), 1))
    told = sure > 0
    found = f"{len(values)} faces in {len(positions)} pictures, {told.mean():.1%} of the AUs with a confidence above 0"
    return f"{found}: {_said(calibration(sure[told], correct[told], weights[told]))}"


def picture(studies: Mapping[str, Study], path: Path) -> None:
    """Reliability curves: overall before and after, and of every AU."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(studies), figsize=(5 * len(studies), 5), squeeze=False)
    for axis, (name, found) in zip(axes[0], studies.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for au, one in found.after.items():
            curve = [(bin_.confidence, bin_.right) for bin_ in one.bins if bin_.weight > 0.01]
            style = (
                {"color": "C0", "linewidth": 2.5, "label": "fitted, all"} if not au else {"color": "C0", "alpha": 0.2}
            )
            axis.plot(*zip(*curve, strict=True), **style)
        before = [(bin_.confidence, bin_.right) for bin_ in found.before[""].bins]
        axis.plot(*zip(*before, strict=True), color="C3", linewidth=2.5, label="heuristic, all")
        axis.set(title=name, xlabel="confidence", ylabel="share of readings within 1.0", xlim=(0, 1), ylim=(0, 1))
        axis.legend(loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main() -> None:
    """See the top."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", action="append", required=True, type=Path)
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--limit", type=int)
    parser.add_argument("-o", "--output", type=Path, default=Path())
    options = parser.parse_args()
    asked = options.models[0] == "evidence"
    data = load_prepared(options.data, limit=options.limit)
    if options.models[0] == "predictor":
        others = np.flatnonzero(~halves(data.identities)).tolist()
        for name in options.models[1:]:
            with Predictor(name, threads=1) as predictor:
                print(f"{name}, {predictor.info.runtime}: {through_predictor(predictor, data, others, predictor.aus)}")
        return
    studies = {}
    for name in options.models[asked:]:
        subject = open_subject(Path(name))
        opened = open_session(subject, "onnxruntime", threads=1, heatmaps=asked)
        positions = subject.positions(data, "all")
        take = {"evidence": evidence_of(subject)} if asked else {}
        observed = observe(opened.session, data, positions, subject, views=options.views, **take)
        if asked:
            print(evidence_table(observed))
            continue
        found = studies[subject.path.stem] = study(observed)
        print(f"\n{name}: {len(observed)} faces, {observed.missed} not found\n\n{table(found)}\n")
        print("| measure | from | to | faces | mean absolute error | right |\n|---|---|---|---|---|---|")
        for row in errors_by(observed):
            print("| {} | {:g} | {:g} | {} | {:.2f} | {:.2f} |".format(*row))
        print(f"\n{covered(found)}")
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / f"{subject.path.stem}-confidence.json").write_text(json.dumps(found.to_dict(), indent=1))
    if studies:
        picture(studies, options.output / "reliability.png")


if __name__ == "__main__":
    sys.exit(main())
