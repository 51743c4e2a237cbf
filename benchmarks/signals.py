"""How calm and how quick the smoothing of a stream is, and what its signals cost.

`noise` shows the bundled portrait with sensor noise to the predictor, and steps the values that come out; `cost` takes
the time of one face's signals right after a network ran. See README.md beside it for the commands.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from neutral_baseline import Rows, by_au, site_row, smooth


def sensor(picture: npt.NDArray[np.uint8], rng: np.random.Generator, *, full: float, read: float) -> Any:
    """A BGR picture with shot and read noise, each pixel and channel on its own.

    Args:
        picture: uint8, taken to be linear light to the power of 1 / 2.2.
        rng: source of the noise.
        full: electrons of a white pixel.
        read: standard deviation of the read noise in electrons.
    """
    light = (picture / 255.0) ** 2.2 * full
    seen = (rng.poisson(light) + rng.normal(0, read, picture.shape)) / full
    return (np.clip(seen, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


#: Electrons of white and of read noise: some 2, 3 and 5 grey levels on the portrait's face.
CAMERAS = ((8000.0, 5.0), (4000.0, 6.0), (2000.0, 8.0))


def still(predictor: Any, camera: tuple[float, float], frames: int) -> tuple[Rows, float]:
    """What the predictor says of a still face, `[T, S]`, unsmoothed; and the noise of its pixels in grey levels."""
    import cv2

    from dsrfau_edge.following import StreamOptions

    path = Path(__file__).parents[1] / "dsrfau_edge/assets/portrait.jpg"
    picture = cv2.resize(cv2.imread(str(path)), (640, 640), interpolation=cv2.INTER_AREA)[80:560]
    rng, stream, rows, pixels = np.random.default_rng(1), predictor.stream(StreamOptions(smoothing=None)), [], []
    for index in range(frames):
        shot = sensor(picture, rng, full=camera[0], read=camera[1])
        pixels.append(shot[100:400:7, 200:440:7].astype(np.float32))
        (face,) = stream(shot, index / 30).faces
        rows.append(site_row(face, predictor.bundle.manifest.sites))
    return np.array(rows), float(np.std(pixels, axis=0).mean())


def followed(rate: float, size: float, noise: Rows | None = None) -> float:
    """Seconds from the last frame before a step from 0 to `size` to the first that is smoothed to 90 % of it."""
    before, after = round(2 * rate), round(6 * rate)
    values = np.r_[np.zeros(before), np.full(after, size)]
    values = values if noise is None else values + noise[: len(values)]
    rows = smooth(values[:, None], np.arange(len(values)) / rate)
    return float((np.argmax(rows[before:, 0] >= 0.9 * size) + 1) / rate)


def onsets(values: Rows, off: float) -> float:
    """Onsets per minute of an AU at 30 fps whose intensity `[T]` trembles about the threshold."""
    from dsrfau_edge.signals.presence import Hysteresis, PresenceTracker

    tracker, count = PresenceTracker(["AU05"], Hysteresis(off=off)), 0
    for index, value in enumerate(values - values.mean() + 1):
        count += sum(event.kind == "onset" for event in tracker({"AU05": float(value)}, index / 30, 0)[1])
    return count / len(values) * 30 * 60


RATES = (10, 15, 30, 60)


def noise(options: argparse.Namespace) -> None:
    """Noise of a still face before and after smoothing, at several frame rates; and how steps are followed."""
    from dsrfau_edge import Predictor

    heads = (
        *("noise of a pixel", "noisiest AU", "raw", *(f"{rate} fps" for rate in RATES), "second AU, 30 fps"),
        *("90 % of a step to 4 within 120 ms", "onsets a minute at the threshold, raw", "smoothed", "with hysteresis"),
    )
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    with Predictor(options.bundle, max_faces=1) as predictor:
        aus, mean = by_au(predictor.bundle.manifest.sites)
        for camera in CAMERAS:
            rows, pixel = still(predictor, camera, options.frames)
            raw = (rows @ mean).std(0)
            worst = int(raw.argmax())
            calm = {rate: smooth(rows, np.arange(len(rows)) / rate)[60:] @ mean for rate in RATES}
            trace = (rows @ mean)[:, worst] - (rows @ mean)[:, worst].mean()
            quick = np.mean([followed(30, 4.0, np.roll(trace, shift)) <= 0.12 for shift in range(0, len(trace), 3)])
            tremble = [onsets((rows @ mean)[:, worst], 1.0), *(onsets(calm[30][:, worst], off) for off in (1.0, 0.75))]
            deviations = {rate: each.std(0) for rate, each in calm.items()}
            cells = [f"{pixel:.1f}", aus[worst], f"{raw[worst]:.3f}"]
            cells += [f"{each.max():.3f}" for each in deviations.values()]
            cells += [f"{np.sort(deviations[30])[-2]:.3f}", f"{quick:.0%}", *(f"{count:.0f}" for count in tremble)]
            print(f"| {' | '.join(cells)} |", flush=True)
    print("\n| step from 0 to | " + " | ".join(f"{rate} fps" for rate in RATES) + " |\n" + "|---" * 5 + "|")
    for size in (0.5, 1.0, 2.0, 4.0):
        print(f"| {size:g} | " + " | ".join(f"{1000 * followed(rate, size):.0f} ms" for rate in RATES) + " |")


def cost(options: argparse.Namespace) -> None:
    """Time of one face's signals right after a network ran, and of the same filter written with numpy."""
    import time

    from dsrfau_edge import Predictor
    from dsrfau_edge.following import StreamOptions
    from dsrfau_edge.results import Assembler
    from dsrfau_edge.signals.baseline import Baseline
    from dsrfau_edge.signals.face_signals import FaceSignals
    from dsrfau_edge.signals.one_euro import OneEuro, OneEuroFilter

    rng = np.random.default_rng(0)
    with Predictor(options.bundle, threads=1) as predictor:
        manifest = predictor.bundle.manifest
        pairs = [(site.partition("_")[0], site.partition("_")[2] or "centre") for site in manifest.sites]
        assemble = Assembler(manifest.aus, pairs)
        signals = FaceSignals(assemble, 0, StreamOptions(baseline=Baseline()))
        without = FaceSignals(assemble, 0, StreamOptions())
        plain, arrays = OneEuroFilter(OneEuro()), numpy_filter(OneEuro())
        crops = rng.integers(0, 255, (1, manifest.input_size, manifest.input_size, 3), np.uint8)
        calls = {
            "smoothing, presence, events": lambda row, at: without(row, at, 0.9),
            "with a baseline": lambda row, at: signals(row, at, 0.9),
            "the filter": plain,
            "the filter with numpy": lambda row, at: arrays(np.array(row), at).tolist(),
        }
        spent: dict[str, list[float]] = {name: [] for name in calls}
        rest = rng.uniform(0.1, 0.6, len(pairs))
        for index in range(options.frames):
            moved = 3.0 * (index % 100 > 70) * (np.arange(len(pairs)) // 6 == 2)  # some AUs come and go
            row = np.clip(rest + moved + rng.normal(0, 0.05, len(pairs)), 0, 5).tolist()
            for name, call in calls.items():
                predictor.infer(crops)
                started = time.perf_counter()
                call(row, index / 30)
                spent[name].append((time.perf_counter() - started) * 1e6)
    print(f"| {len(pairs)} sites | median | p99 |\n|---|---|---|")
    for name, values in spent.items():
        late = values[len(values) // 2 :]
        print(f"| {name} | {np.median(late):.0f} µs | {np.percentile(late, 99):.0f} µs |")


def numpy_filter(settings: Any) -> Any:
    """The One-Euro filter with numpy, to compare with."""
    state: dict[str, Any] = {}

    def step(values: Rows, timestamp: float) -> Rows:
        if state:
            turn = 2 * np.pi * (timestamp - state["time"])
            kept = 1 / (1 + turn * settings.derivative_cutoff)
            change = values - state["values"]
            state["speeds"] = state["speeds"] * kept + 2 * np.pi * settings.derivative_cutoff * kept * change
            cutoff = settings.min_cutoff + settings.beta * np.abs(state["speeds"])
            values = state["values"] + change * (1 - 1 / (1 + turn * cutoff))
        state.update(values=values, time=timestamp, speeds=state.get("speeds", np.zeros_like(values)))
        return values

    return step


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("step", choices=("noise", "cost"))
    parser.add_argument("--bundle", help="the student (default: the bundled one)")
    parser.add_argument("--frames", type=int, default=600, help="how many to look at (default: 600)")
    options = parser.parse_args(arguments)
    if options.frames < 300:
        parser.error("give 300 --frames or more: the first 60 are not counted, and a step needs 240.")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step."""
    options = parse(arguments)
    {"noise": noise, "cost": cost}[options.step](options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
