"""What blendshape scores of MediaPipe's Face Landmarker say of AU intensities, measured where both are known.

`fit` runs the tracker on rendered faces of known intensities and writes the map of each AU, which `dsrfau-train prepare
photos` labels photographs with. `scores` and `agree` compare this project's way of running the tracker (OpenVINO, the
project's own face finder) with MediaPipe's own on the same photographs. See README.md beside it for the commands.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BINS = 24
FOLDS = 5
PICTURES = (".jpg", ".jpeg", ".png")


def monotone(values: Any, weights: Any) -> Any:
    """The nearest rising sequence (weighted least squares): neighbours that fall are pooled until none does."""
    pools: list[list[float]] = []  # value, weight, length
    for value, weight in zip(values, weights, strict=True):
        pools.append([float(value), float(weight), 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            last, before = pools.pop(), pools.pop()
            total = last[1] + before[1]
            pools.append([(last[0] * last[1] + before[0] * before[1]) / total, total, last[2] + before[2]])
    return np.concatenate([np.full(int(length), value) for value, _, length in pools])


def fitted(scores: Any, intensities: Any) -> tuple[Any, Any]:
    """Knots of a monotone map: means in bins of equal number of samples, made monotone; level beyond the ends."""
    order = np.argsort(scores, kind="stable")
    parts = np.array_split(order, min(BINS, len(order)))
    x = np.array([scores[part].mean() for part in parts])
    y = monotone([intensities[part].mean() for part in parts], [len(part) for part in parts])
    kept = [0]
    kept += [i for i in range(1, len(x)) if x[i] - x[kept[-1]] > 1e-4]
    x, y = x[kept], y[kept]
    bends = [i for i in range(len(x)) if i in (0, len(x) - 1) or not y[i - 1] == y[i] == y[i + 1]]
    return x[bends], y[bends]


def cross_validated(scores: Any, intensities: Any, folds: Any) -> Any:
    """What maps fitted without a fold's identities say of it."""
    told = np.zeros_like(intensities, float)
    for fold in np.unique(folds):
        told[folds == fold] = np.interp(
            scores[folds == fold], *fitted(scores[folds != fold], intensities[folds != fold])
        )
    return told


def fold_of(identity: str) -> int:
    """An identity's fold, by a hash of its name."""
    return hashlib.sha256(identity.encode()).digest()[0] % FOLDS


def rendered_scores(data: Path, tracker: Path, count: int) -> Iterator[tuple[Mapping[str, float], Any, str]]:
    """Blendshapes, intensities and identity of `count` faces, spread evenly over a rendered set."""
    import cv2

    from dsrfau_edge.face.landmarks import Landmarks
    from dsrfau_edge.shards import iter_samples, read_index
    from dsrfau_edge.train.data.preparation.tracker import FaceLandmarker

    index, landmarker = read_index(data), FaceLandmarker(tracker)
    wanted = {int(place) for place in np.linspace(0, index.count - 1, min(count, index.count)).round()}
    for place, sample in enumerate(iter_samples(data, index, landmarks=True)):
        if place in wanted and sample.landmarks is not None:
            crop = np.asarray(cv2.imdecode(np.frombuffer(sample.image, np.uint8), cv2.IMREAD_COLOR), np.uint8)
            points = np.pad(sample.landmarks.astype(np.float32), ((0, 0), (0, 1)))
            scores = landmarker(crop, Landmarks(points, 1.0))
            if scores is not None:
                yield scores, dict(zip(index.sites, sample.intensities, strict=True)), sample.identity


def fit(options: argparse.Namespace) -> None:
    """Write the maps."""
    from dsrfau_edge.action_units import sites_of
    from dsrfau_edge.metrics import icc_3_1, pcc
    from dsrfau_edge.train.data.preparation.pseudo import SHAPES, score_of

    faces = list(rendered_scores(options.data, options.landmarker, options.count))
    maps = {}
    for au, shapes in SHAPES.items():
        rows = [
            (score_of(au, site.side, scores), intensities[site.name], fold_of(identity))
            for scores, intensities, identity in faces
            for site in sites_of([au])
        ]
        scores, intensities, folds = map(np.asarray, zip(*rows, strict=True))
        told = cross_validated(scores, intensities, folds)
        measured = {
            "pcc": pcc(intensities, told),
            "icc": icc_3_1(intensities, told),
            "mae": float(np.abs(intensities - told).mean()),
        }
        x, y = fitted(scores, intensities)
        maps[au] = {
            "blendshapes": list(shapes),
            "scores": [round(float(value), 4) for value in x],
            "intensities": [round(float(value), 3) for value in y],
            "measured": {name: round(float(value), 3) for name, value in measured.items()},
        }
        print(f"{au}: {maps[au]['measured']}, up to {y[-1]:.2f}", file=sys.stderr)
    about = {
        "tracker": {"file": options.landmarker.name, "sha256": digest(options.landmarker), "licence": "Apache-2.0"},
        "map": "mean intensity over score in bins of equal number, pooled until it rises, linear between, level beyond",
        "measured": f"{len(faces)} rendered faces of known intensities, spread evenly over a set of both rigs; "
        f"pcc, icc and mae by {FOLDS} folds of identities, left and right pooled",
        "command": f"python benchmarks/pseudo_labels.py fit --landmarker {options.landmarker.name} --data FACES "
        f"--count {options.count}",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }
    options.output.write_text(json.dumps({"about": about, "maps": maps}, indent=1) + "\n", encoding="utf-8")


def score(options: argparse.Namespace) -> None:
    """MediaPipe's own scores of photographs; needs `mediapipe` and numpy, not this project."""
    sys.path.insert(0, str(Path(__file__).parent))
    from readback import mediapipe_tracker

    with mediapipe_tracker(options.landmarker) as tracker:
        told = {path.name: tracker(path) for path in photographs(options.photos)[: options.count]}
    options.output.write_text(json.dumps(told), encoding="utf-8")


def photographs(folder: Path) -> list[Path]:
    """Pictures of a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)


def agree(options: argparse.Namespace) -> None:
    """Compare with MediaPipe's own scores, blendshape by blendshape."""
    from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
    from dsrfau_edge.face.frontend import FaceFrontEnd
    from dsrfau_edge.face.images import read_image
    from dsrfau_edge.train.data.preparation.tracker import FaceLandmarker

    front, landmarker = FaceFrontEnd(DEFAULT_TEMPLATE, 128, max_faces=1), FaceLandmarker(options.landmarker)
    pairs = []
    for name, theirs in json.loads(options.scores.read_text(encoding="utf-8")).items():
        image = read_image(options.photos / name)
        ours = [scores for face in front(image) if (scores := landmarker(image, face.landmarks)) is not None]
        if theirs is not None and ours:
            pairs.append((theirs, ours[0]))
    print(f"{len(pairs)} photographs\n\n| blendshape | r | mean difference | largest score |\n|---|---|---|---|")
    for name, row in agreement(pairs).items():
        print(f"| {name} | {row['r']:.3f} | {row['difference']:.4f} | {row['largest']:.3f} |")


def agreement(pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Of each blendshape: correlation, mean absolute difference, and the largest score of the first."""
    rows = {}
    for name in pairs[0][0]:
        one, other = (np.array([pair[which][name] for pair in pairs]) for which in (0, 1))
        known = one.std() > 1e-9 and other.std() > 1e-9
        rows[name] = {
            "r": float(np.corrcoef(one, other)[0, 1]) if known else float("nan"),
            "difference": float(np.abs(one - other).mean()),
            "largest": float(one.max()),
        }
    return rows


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    steps = parser.add_subparsers(dest="step", required=True)
    for name, needed in (
        ("fit", ("data", "output")),
        ("scores", ("photos", "output")),
        ("agree", ("photos", "scores")),
    ):
        step = steps.add_parser(name)
        for option in ("landmarker", *needed):
            step.add_argument(f"--{option}", type=Path, required=True)
        step.add_argument("--count", type=int, default=1500, help="of faces or photographs (default: 1500)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step."""
    options = parse(arguments)
    {"fit": fit, "scores": score, "agree": agree}[options.step](options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
