"""What a neutral baseline takes off the error, on films of people who do not exist.

`render` films them, mostly at rest, and writes down what the predictor says of each frame; `baseline` scores the
neutral baseline on that, `plot` draws one film. See README.md beside it for the commands.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float64]

RATE = 10.0  # frames per second of the films
_SWAY = (4.0, 3.0, 2.0)  # yaw, pitch and roll of the head to either side, in degrees
_RAMP = 0.4  # seconds from rest to an expression
_BLINK = 0.2


@dataclasses.dataclass(frozen=True)
class Film:
    """One person's film.

    Attributes:
        person: name of the identity, which begins with its rig.
        truth: labels `[T, S]`.
        rest: frames in which nothing was asked to move, `[T]`.
        raw: what the predictor says, `[T, S]`; NaN where it found no face.
        trust: mean confidence of the sites, `[T]`.
    """

    person: str
    truth: Rows
    rest: npt.NDArray[np.bool_]
    raw: Rows
    trust: Rows

    @property
    def times(self) -> Rows:
        """Seconds `[T]`."""
        return np.arange(len(self.rest)) / RATE


def play(rng: np.random.Generator, frames: int) -> list[dict[str, float]]:
    """What a person does: intensities by site of each frame, {} at rest. More than half of it is rest, with blinks."""
    from dsrfau_edge.train.synthesis.combinations import draw

    asked: list[dict[str, float]] = []
    while len(asked) < frames:
        still = int(rng.uniform(1.5, 3.5) * RATE)
        blink = int(rng.integers(still))
        for index in range(still):
            shut = 0 <= index - blink < _BLINK * RATE
            asked.append({"AU45_left": 5.0, "AU45_right": 5.0} if shut else {})
        levels: dict[str, float] = {}
        while not levels:
            levels = {site: level for site, level in draw(rng).items() if level > 0}
        ramp = np.arange(1, round(_RAMP * RATE)) / round(_RAMP * RATE)
        course = [*ramp, *np.ones(int(rng.uniform(0.8, 1.5) * RATE)), *ramp[::-1]]
        asked += [{site: level * float(share) for site, level in levels.items()} for share in course]
    return asked[:frames]


def film(factory: Any, predictor: Any, number: int, *, seed: int, frames: int) -> Film:
    """Render a person's film and show it to the predictor, without smoothing."""
    from dsrfau_edge.following import StreamOptions
    from dsrfau_edge.train.synthesis.gallery import calm

    rng = np.random.default_rng([seed, 4, number])
    person, scene, asked = factory.person(number), calm(rng), play(rng, frames)
    phase, period = rng.uniform(0, 2 * np.pi, (3, 2)), rng.uniform(2, 9, (3, 2))
    stream = predictor.stream(StreamOptions(smoothing=None))
    truth, raw, trust = [], [], []
    for index, intensities in enumerate(asked):
        turn = np.asarray(_SWAY) * np.sin(2 * np.pi * index / RATE / period + phase).mean(1)
        shown = dataclasses.replace(scene, yaw=float(turn[0]), pitch=float(turn[1]), roll=float(turn[2]))
        own = np.random.default_rng([seed, 5, number])  # the same side effects in every frame
        face = factory.face(person, own, intensities=intensities, scene=shown)
        faces = stream(face.picture, index / RATE).faces
        truth.append(face.intensities)
        raw.append(site_row(faces[0], predictor.bundle.manifest.sites) if faces else np.full(len(truth[0]), np.nan))
        trust.append(np.mean(list(faces[0].confidences.values())) if faces else 0.0)
    rest = np.array([not intensities for intensities in asked])
    return Film(person.identity.name, np.array(truth, float), rest, np.array(raw, float), np.array(trust, float))


def site_row(face: Any, sites: Sequence[str]) -> list[float]:
    """A face's values by site."""
    sides = {"left": face.left, "right": face.right, "": face.aus}
    return [sides[site.partition("_")[2]][site.partition("_")[0]] for site in sites]


def render(options: argparse.Namespace) -> None:
    """Write the films of the identities that are not there yet, one file each."""
    from dsrfau_edge import Predictor
    from dsrfau_edge.train.synthesis.faces import FaceFactory
    from dsrfau_edge.train.synthesis.rigs import RigSpec

    options.films.mkdir(parents=True, exist_ok=True)
    rigs = [RigSpec.parse(text) for text in options.rig or ["makehuman"]]
    factory = FaceFactory(seed=options.seed, input_size=128, assets=options.assets, rigs=rigs, per_identity=1)
    with Predictor(options.bundle, max_faces=1) as predictor:
        for number in range(options.first, options.first + options.identities):
            path = options.films / f"{number:04d}.npz"
            if not path.exists():
                made = film(factory, predictor, number, seed=options.seed, frames=options.frames)
                np.savez_compressed(path, **dataclasses.asdict(made))
            print(path, file=sys.stderr)


def load(folder: Path) -> list[Film]:
    """The films of a folder."""
    films = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as kept:
            films.append(Film(**{**{name: kept[name] for name in kept.files}, "person": str(kept["person"])}))
    return films


def smooth(rows: Rows, times: Sequence[float] | Rows) -> Rows:
    """Rows `[T, S]` through the filter with its defaults; those of NaN are passed over."""
    from dsrfau_edge.signals.one_euro import OneEuro, OneEuroFilter

    one = OneEuroFilter(OneEuro())
    return np.array([
        one(row.tolist(), float(time)) if np.isfinite(row).all() else row for row, time in zip(rows, times, strict=True)
    ])  # fmt: skip


def corrected(
    film: Film, smoothed: Rows, settings: Any, sites: Sequence[str], *, stretched: bool = True
) -> tuple[Rows, int]:
    """Rows corrected as the stream goes on, and the first frame of which that is so.

    In the mode `held` a pose is held at the end of the first second of rest. Without `stretched` the level is
    subtracted and no more.
    """
    from dsrfau_edge.signals.baseline import NeutralBaseline

    baseline = NeutralBaseline(settings, sites)
    rows, first, still = [], len(smoothed), 0
    for index, (row, time, trust) in enumerate(zip(smoothed, film.times, film.trust, strict=True)):
        if not np.isfinite(row).all():
            rows.append(row)
            continue
        baseline.update(row.tolist(), float(time), float(trust))
        still = still + 1 if film.rest[index] else 0
        if settings.mode == "held" and not baseline.ready and still >= RATE:
            baseline.hold()
        first = min(first, index) if baseline.ready else first
        plain = np.maximum(row - baseline.level, 0) if baseline.ready else row
        rows.append(np.array(baseline.correct(row.tolist())) if stretched else plain)
    return np.array(rows), first


def by_au(sites: Sequence[str]) -> tuple[list[str], Rows]:
    """AUs, and the matrix `[S, A]` that takes the mean of their sites."""
    owners = [site.partition("_")[0] for site in sites]
    aus = list(dict.fromkeys(owners))
    chosen = np.array([[owner == au for au in aus] for owner in owners], float)
    return aus, chosen / chosen.sum(0)


SCORED_FROM = 60  # frames: what lies before says which AUs read non-zero at rest, and is not scored
NON_ZERO, STRONG = 0.5, 2.5


def score(
    films: Sequence[Film], sites: Sequence[str], *, stretched: bool = True, **settings: Any
) -> dict[str, dict[str, float]]:
    """Mean absolute error before and after, of the persons at least one AU of whom reads non-zero at rest.

    Returns:
        By the values counted: all AUs of these persons, in all frames and at rest; those AUs alone, likewise; and those
        where the truth is strong. Each with `count` (persons, or AUs of persons), `before`, `after` and `change`.
    """
    from dsrfau_edge.signals.baseline import Baseline

    mean = by_au(sites)[1]
    found: dict[str, list[tuple[float, float]]] = {}
    for film in films:
        smoothed = smooth(film.raw, film.times)
        after, first = corrected(film, smoothed, Baseline(**settings), sites, stretched=stretched)
        seen = np.isfinite(film.raw).all(1)
        early, late = (np.arange(len(seen)) < SCORED_FROM) & seen, (np.arange(len(seen)) >= SCORED_FROM) & seen
        if first > SCORED_FROM:
            raise ValueError(f"{film.person} was not corrected from frame {SCORED_FROM} on, but from {first}")
        wrong = (smoothed[early & film.rest] @ mean).mean(0) >= NON_ZERO
        if not wrong.any():
            continue
        truth = film.truth[late] @ mean
        errors = [np.abs(rows[late] @ mean - truth) for rows in (smoothed, after)]
        rest = film.rest[late]
        _note(found, "all AUs, all frames", [[error.mean()] for error in errors])
        _note(found, "all AUs, at rest", [[error[rest].mean()] for error in errors])
        _note(found, "non-zero AUs, all frames", [error[:, wrong].mean(0) for error in errors])
        _note(found, "non-zero AUs, at rest", [error[rest][:, wrong].mean(0) for error in errors])
        strong = truth[:, wrong] >= STRONG
        columns = [column for column in range(strong.shape[1]) if strong[:, column].any()]
        _note(found, "non-zero AUs, strong", [
            [error[:, wrong][strong[:, column], column].mean() for column in columns] for error in errors
        ])  # fmt: skip
    return {name: _summary(pairs) for name, pairs in found.items()}


def _note(found: dict[str, list[tuple[float, float]]], name: str, values: Sequence[Any]) -> None:
    found.setdefault(name, []).extend((float(a), float(b)) for a, b in zip(*values, strict=True))


def _summary(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    if not pairs:
        return {"count": 0}
    before, after = np.mean(pairs, axis=0)
    return {"count": len(pairs), "before": before, "after": after, "change": after / before - 1}


def baseline(options: argparse.Namespace) -> None:
    """Score online, held, and other quantiles."""
    from dsrfau_edge.action_units import sites_of

    films = load(options.films)
    sites = [site.name for site in sites_of()]
    rest = np.mean([film.rest.mean() for film in films])
    print(f"{len(films)} films of {len(films[0].rest)} frames, {rest:.0%} at rest\n")
    print("| baseline | error of | count | before | after | change |\n|---|---|---|---|---|---|")
    arms: list[tuple[str, str, dict[str, Any]]] = [
        ("online", "", {}),
        ("held", "", {"mode": "held"}),
        ("online, subtracted alone", "", {"stretched": False}),
    ]
    arms += [(f"online, quantile {share:g}", "", {"quantile": share}) for share in (0.1, 0.2, 0.4, 0.5)]
    rigs = dict.fromkeys(film.person.partition("-")[0] for film in films)
    arms += [(f"online, {rig} alone", rig, {}) for rig in rigs]
    for name, rig, settings in arms:
        chosen = [film for film in films if film.person.startswith(rig)]
        for what, row in score(chosen, sites, **settings).items():
            if row["count"]:
                numbers = f"{row['count']} | {row['before']:.3f} | {row['after']:.3f} | {row['change']:+.0%}"
                print(f"| {name} | {what} | {numbers} |")


def plot(options: argparse.Namespace) -> None:
    """Raw, smoothed and corrected values of one AU of one film, and the truth."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    from dsrfau_edge.action_units import sites_of
    from dsrfau_edge.signals.baseline import Baseline

    sites = [site.name for site in sites_of()]
    aus, mean = by_au(sites)
    film, column = load(options.films)[options.first], aus.index(options.au)
    smoothed = smooth(film.raw, film.times)
    after, first = corrected(film, smoothed, Baseline(), sites)
    figure, axes = plt.subplots(figsize=(8, 3), dpi=100, layout="constrained")
    for rows, name, style in (
        (film.truth, "truth", {"color": "0.8", "linewidth": 5}),
        (film.raw, "raw", {"color": "tab:orange", "linewidth": 0.8}),
        (smoothed, "smoothed", {"color": "tab:orange", "linewidth": 1.8}),
        (after, "smoothed and corrected", {"color": "tab:blue", "linewidth": 1.8}),
    ):
        axes.plot(film.times, (rows @ mean)[:, column], label=name, **style)
    axes.axvline(film.times[first], color="0.5", linestyle=":", linewidth=1)
    axes.set(xlabel="seconds", ylabel=options.au, ylim=(-0.1, 5.1), xlim=(0, film.times[-1]))
    figure.legend(frameon=False, ncols=4, loc="outside upper center", fontsize=8)
    figure.savefig(options.output)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("step", choices=("render", "baseline", "plot"))
    parser.add_argument("--films", type=Path, metavar="FOLDER", required=True)
    parser.add_argument("--bundle", help="the student (default: the bundled one)")
    parser.add_argument("--rig", action="append", help="makehuman, or ict=FILE; again for another (default: makehuman)")
    parser.add_argument("--assets", type=Path, help="MakeHuman asset folder")
    parser.add_argument("--identities", type=int, default=30, help="persons to film (default: 30)")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them; of `plot`, the film")
    parser.add_argument("--frames", type=int, default=200, help="of each film (default: 200)")
    parser.add_argument("--seed", type=int, default=777)
    parser.add_argument("--au", default="AU12", help="to plot (default: AU12)")
    parser.add_argument("--output", type=Path, default=Path("signals.png"), help="of `plot`")
    options = parser.parse_args(arguments)
    if options.frames <= SCORED_FROM:
        parser.error(f"give more than {SCORED_FROM} --frames: so many are not scored.")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step."""
    options = parse(arguments)
    {"render": render, "baseline": baseline, "plot": plot}[options.step](options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
