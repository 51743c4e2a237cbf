"""Read rendered intensities back with an independent tracker, MediaPipe's Face Landmarker.

Ladders of single AUs, rendered on several identities of each rig, are shown to the tracker, which never saw this
project. What is reported is, per AU it has a blendshape for, the correlation of intensity and blendshape *within* an
identity: whether the picture moves with the number, apart from how the person looks.

`mediapipe` installs an OpenCV of its own over this project's, so it lives in an environment of its own; this script
runs in both. See README.md beside it for the commands.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

#: Blendshapes that answer to an AU; the mean of those named is its score.
WATCHED: Mapping[str, tuple[str, ...]] = {
    "AU01": ("browInnerUp",),
    "AU02": ("browOuterUpLeft", "browOuterUpRight"),
    "AU04": ("browDownLeft", "browDownRight"),
    "AU05": ("eyeWideLeft", "eyeWideRight"),
    "AU06": ("cheekSquintLeft", "cheekSquintRight"),
    "AU07": ("eyeSquintLeft", "eyeSquintRight"),
    "AU09": ("noseSneerLeft", "noseSneerRight"),
    "AU10": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "AU12": ("mouthSmileLeft", "mouthSmileRight"),
    "AU14": ("mouthDimpleLeft", "mouthDimpleRight"),
    "AU15": ("mouthFrownLeft", "mouthFrownRight"),
    "AU17": ("mouthShrugLower",),
    "AU18": ("mouthPucker",),
    "AU20": ("mouthStretchLeft", "mouthStretchRight"),
    "AU24": ("mouthPressLeft", "mouthPressRight"),
    "AU25": ("jawOpen", "mouthLowerDownLeft", "mouthLowerDownRight"),
    "AU26": ("jawOpen",),
    "AU28": ("mouthRollLower", "mouthRollUpper"),
    "AU45": ("eyeBlinkLeft", "eyeBlinkRight"),
}
#: Blendshapes that stay near zero on photographs too: their row says nothing about the pictures.
BLIND = ("AU06", "AU09")
#: Of an AU on a rig: mean and lowest of the identities' correlations; correlation over all identities, each centred;
#: mean rank correlation (a blendshape saturates: it can rise with every step and still not be linear); how far the
#: score goes from the lowest intensity to the highest.
MEASURES = ("mean", "lowest", "pooled", "rank", "span")
LISTING = "pictures.json"
_MILD = (6.0, 4.0, 3.0)  # standard deviations of an identity's yaw, pitch and roll, in degrees
_JITTER = (3.0, 2.0, 2.0)  # of each picture's own turn in the variant "jitter"
Scores = Mapping[str, float]
Picture = dict[str, Any]


def render(options: argparse.Namespace, folder: Path) -> None:
    """Write the ladders' pictures and their listing; needs this project with its extra `synth`."""
    from dsrfau_edge.train.synthesis.faces import FaceFactory
    from dsrfau_edge.train.synthesis.rigs import RigSpec

    revision = _revision()  # before anything is loaded: the tree may go on while pictures are made
    rigs = [RigSpec.parse(text) for text in options.rig or ["makehuman"]]
    factory = FaceFactory(seed=options.seed, input_size=options.size, assets=options.assets, rigs=rigs)
    folder.mkdir(parents=True, exist_ok=True)
    listing: list[Picture] = []
    for number in range(options.identities * len(rigs)):
        listing += _ladders(factory, number, options, folder)
        print(f"rendered {len(listing)} pictures of {number + 1} identities", file=sys.stderr)
    about = {"rigs": [rig.name for rig in rigs], "identities": options.identities, "steps": options.steps,
             "seed": options.seed, "size": options.size, "assets": options.assets is not None,
             "revision": revision, "versions": _versions("numpy", "opencv-python", "moderngl", "anny")}  # fmt: skip
    (folder / LISTING).write_text(json.dumps({"about": about, "pictures": listing}), encoding="utf-8")


def _ladders(factory: Any, number: int, options: argparse.Namespace, folder: Path) -> Iterator[Picture]:
    """Every AU's ladder on one person, who keeps pose, light and look; the variant "jitter" turns every picture."""
    import cv2

    from dsrfau_edge.action_units import ALL_AUS, MAX_INTENSITY, sites_of
    from dsrfau_edge.train.synthesis.gallery import calm

    rng = np.random.default_rng([options.seed, 2, number])
    person = factory.person(number)
    turn = rng.normal(0, _MILD)
    scene = calm(rng, yaw=turn[0], pitch=turn[1], roll=turn[2])
    for au in [au for au in WATCHED if au in ALL_AUS and (not options.au or au in options.au)]:
        for variant in ("still", "jitter") if options.jitter else ("still",):
            for step, level in enumerate(np.linspace(0, MAX_INTENSITY, options.steps)):
                shown = scene if variant == "still" else _turned(scene, turn + rng.normal(0, _JITTER))
                asked = {site.name: float(level) for site in sites_of([au])}
                own = np.random.default_rng([options.seed, 3, number])  # the same side effects on every step
                face = factory.face(person, own, intensities=asked, scene=shown)
                name = f"{number:03d}_{au}_{variant}_{step}.png"
                cv2.imwrite(str(folder / name), face.picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
                yield {"file": name, "rig": person.rig.name, "identity": person.identity.name, "au": au,
                       "variant": variant, "intensity": _labelled(face.intensities, au)}  # fmt: skip


def _labelled(intensities: Any, au: str) -> float:
    from dsrfau_edge.action_units import ALL_AUS, sites_of

    columns = [column for column, site in enumerate(sites_of(ALL_AUS)) if site.au == au]
    return float(np.mean([intensities[column] for column in columns]))


def _turned(scene: Any, turn: Any) -> Any:
    import dataclasses

    return dataclasses.replace(scene, yaw=float(turn[0]), pitch=float(turn[1]), roll=float(turn[2]))


@contextlib.contextmanager
def mediapipe_tracker(model: Path) -> Iterator[Callable[[Path], Scores | None]]:
    """MediaPipe's Face Landmarker on single pictures; needs `mediapipe`."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)),
        running_mode=vision.RunningMode.IMAGE,
        output_face_blendshapes=True,
        num_faces=1,
    )
    with vision.FaceLandmarker.create_from_options(options) as landmarker:

        def scores(path: Path) -> Scores | None:
            found = landmarker.detect(mediapipe.Image.create_from_file(str(path))).face_blendshapes
            return {shape.category_name: float(shape.score) for shape in found[0]} if found else None

        yield scores


def read_back(folder: Path, pictures: Iterable[Picture], tracker: Callable[[Path], Scores | None]) -> list[Picture]:
    """The pictures with what the tracker says of them: `score` of their AU (None: no face found) and all `scores`."""
    told = []
    for picture in pictures:
        scores = tracker(folder / picture["file"])
        watched = WATCHED[picture["au"]]
        score = None if scores is None else float(np.mean([scores[name] for name in watched]))
        told.append({**picture, "score": score, "scores": scores})
    return told


def summarise(told: Sequence[Picture]) -> list[dict[str, Any]]:
    """A row per rig, variant and AU: its `MEASURES`, and the pictures in which the tracker found no face."""
    keys = sorted({(picture["rig"], picture["variant"], picture["au"]) for picture in told})
    rows = []
    for rig, variant, au in keys:
        key = (rig, variant, au)
        chosen = [picture for picture in told if (picture["rig"], picture["variant"], picture["au"]) == key]
        ladders: dict[str, list[tuple[float, float]]] = {}
        for picture in chosen:
            if picture["score"] is not None:
                ladders.setdefault(picture["identity"], []).append((picture["intensity"], picture["score"]))
        seen = [np.transpose(ladder) for ladder in ladders.values() if len(ladder) > 2]
        missed = sum(picture["score"] is None for picture in chosen)
        rows.append({"rig": rig, "variant": variant, "au": au, "blendshapes": list(WATCHED[au]),
                     "identities": len(seen), "missed": missed, **_measures(seen)})  # fmt: skip
    return rows


def _measures(ladders: Sequence[Any]) -> dict[str, float | None]:
    """Measures of one AU from the ladders `[2, steps]` (intensity, score) of the identities, rounded."""
    if not ladders:
        return dict.fromkeys(MEASURES)
    each = [correlation(*ladder) for ladder in ladders]
    values = {
        "mean": np.mean(each),
        "lowest": np.min(each),
        "pooled": correlation(*np.concatenate([ladder - ladder.mean(1, keepdims=True) for ladder in ladders], 1)),
        "rank": np.mean([correlation(*map(_ranks, ladder)) for ladder in ladders]),
        "span": np.mean([score[level.argmax()] - score[level.argmin()] for level, score in ladders]),
    }
    return {name: round(float(value), 3) for name, value in values.items()}


def correlation(one: Any, other: Any) -> float:
    """Pearson's r; 0 where one of them is constant, for a tracker that does not move has seen nothing."""
    a, b = np.asarray(one, float) - np.mean(one), np.asarray(other, float) - np.mean(other)
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 1e-12 else 0.0


def _ranks(values: Any) -> Any:
    """Ranks from 0, ties sharing their mean."""
    return np.asarray([np.mean(np.flatnonzero(np.sort(values) == value)) for value in values])


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a line per AU, and for each rig and variant its `MEASURES`."""
    columns = sorted({(row["rig"], row["variant"]) for row in rows})
    cells = {(row["rig"], row["variant"], row["au"]): row for row in rows}
    head = [f"{rig} {variant}: {' | '.join(MEASURES)}" for rig, variant in columns]
    lines = [f"| AU | {' | '.join(head)} |", "|---" * (1 + len(MEASURES) * len(columns)) + "|"]
    for au in [au for au in WATCHED if any(row["au"] == au for row in rows)]:
        line = [f"{au}{' (blind)' if au in BLIND else ''}"]
        for column in columns:
            row = cells.get((*column, au), {})
            line += [_cell(row.get(name)) for name in MEASURES]
        lines.append(f"| {' | '.join(line)} |")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def score(options: argparse.Namespace, folder: Path) -> None:
    """Read a folder of pictures back and report; needs numpy and `mediapipe`, not this project."""
    listing = json.loads((folder / LISTING).read_text(encoding="utf-8"))
    with mediapipe_tracker(options.landmarker) as tracker:
        told = read_back(folder, listing["pictures"], tracker)
    (folder / "scores.json").write_text(json.dumps(told), encoding="utf-8")
    rows = summarise(told)
    about = {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "command": options.command or _command(sys.argv[1:]),
        "landmarker": {"file": options.landmarker.name, "sha256": _digest(options.landmarker)},
        "tracker": _versions("mediapipe", "numpy"),
        "python": platform.python_version(),
        "rendered": listing["about"],
        "pictures": len(told),
        "missed": sum(picture["score"] is None for picture in told),
    }
    text = table(rows)
    print(f"{len(told)} pictures, {about['missed']} without a face for the tracker\n\n{text}")
    if options.json:
        options.json.write_text(json.dumps({"about": about, "results": rows}, indent=1) + "\n", encoding="utf-8")


def _command(arguments: Sequence[str]) -> str:
    """The command for the record, without the folders of whoever ran it."""
    parts = [argument.rpartition("=") for argument in arguments]
    return " ".join(
        ["python benchmarks/readback.py", *(f"{key}{sign}{Path(value).name}" for key, sign, value in parts)]
    )


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _revision() -> str:
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("step", nargs="?", choices=("all", "render", "score"), default="all")
    parser.add_argument("--landmarker", type=Path, metavar="FILE.task", help="MediaPipe's Face Landmarker")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has mediapipe (default: this one)")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="where the pictures go (default: thrown away)")
    parser.add_argument("--rig", action="append", help="makehuman, or ict=FILE; again for another (default: makehuman)")
    parser.add_argument("--assets", type=Path, help="MakeHuman asset folder")
    parser.add_argument("--au", action="append", help="only this AU (AU04); again for another")
    parser.add_argument("--identities", type=int, default=12, help="of each rig (default: 12)")
    parser.add_argument("--steps", type=int, default=6, help="of a ladder (default: 6)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, choices=(128, 256), default=256, help="input size (default: 256)")
    parser.add_argument("--jitter", action="store_true", help="a second ladder in which every picture is turned anew")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    parser.add_argument("--command", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.step != "render" and (options.landmarker is None or not options.landmarker.is_file()):
        parser.error("--landmarker names no file. Download face_landmarker.task from MediaPipe's model page.")
    if options.step != "all" and options.pictures is None:
        parser.error(f"`{options.step}` needs --pictures, the folder between the two steps.")
    if options.steps < 3 or options.identities < 1:
        parser.error("a correlation needs 3 --steps or more, and 1 of --identities.")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Render, score, or both; the scoring in the interpreter that has mediapipe."""
    options = parse(arguments)
    if options.step == "score":
        score(options, options.pictures)
        return 0
    with tempfile.TemporaryDirectory() as throwaway:
        folder = options.pictures or Path(throwaway)
        render(options, folder)
        if options.step == "render":
            return 0
        call = [
            options.python,
            __file__,
            "score",
            "--pictures",
            str(folder),
            "--landmarker",
            str(options.landmarker),
            "--command",
            _command(sys.argv[1:] if arguments is None else arguments),
            *(["--json", str(options.json)] if options.json else []),
        ]
        return subprocess.run(call, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
