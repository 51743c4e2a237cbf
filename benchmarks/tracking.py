"""How fast a face may move before tracking loses it: the sample portrait shifted, scaled and rolled frame by frame.

    python benchmarks/tracking.py [--bundle dsrfau-nano] [--frames 40]

Where the landmarks should be is known, since each frame is a similarity of the first one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge import Predictor

PORTRAIT = Path(__file__).resolve().parents[1] / "dsrfau_edge" / "assets" / "portrait.jpg"
SIDE = 1024
Matrix = npt.NDArray[np.float64]


class Outcome(NamedTuple):
    """Of one movement: frames with the first face's id, and how far its landmarks are off, in face widths."""

    kept: int
    frames: int
    median: float
    worst: float


def similarity(x: float, y: float, scale: float, degrees: float) -> Matrix:
    """Of the first frame into a later one, about the middle: `[2, 3]`."""
    matrix: Matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), degrees, scale)
    matrix[:, 2] += x, y
    return matrix


def there_and_back(number: int, step: float, reach: float) -> float:
    """A place after so many steps of one size, turning round at `reach` on either side."""
    phase = (number * step + reach) % (4 * reach)
    return (phase if phase < 2 * reach else 4 * reach - phase) - reach


#: By movement: a similarity from frame number, step a frame and width of the face.
MOVES: dict[str, Callable[[int, float, float], Matrix]] = {
    "shift, widths": lambda n, step, width: similarity(there_and_back(n, step * width, SIDE * 0.3), 0, 1, 0),
    "growth, %": lambda n, step, width: similarity(
        0, 0, float(np.exp(there_and_back(n, np.log1p(step / 100), 0.7))), 0
    ),
    "roll, degrees": lambda n, step, width: similarity(0, 0, 1, n * step),
}
STEPS = {
    "shift, widths": (0.25, 0.5, 0.75, 1.0, 1.5),
    "growth, %": (5, 10, 15, 20),
    "roll, degrees": (5, 10, 15, 20),
}


def first_frame(face: int = 93) -> npt.NDArray[np.uint8]:
    """The portrait in the middle of a grey picture, its face about so many pixels wide."""
    portrait = cv2.imread(str(PORTRAIT))
    scale = face / 93
    matrix = np.array([[scale, 0, SIDE / 2 - 223 * scale], [0, scale, SIDE / 2 - 125 * scale]])
    return cv2.warpAffine(portrait, matrix, (SIDE, SIDE), borderValue=(110, 110, 110))


def run(predictor: Predictor, picture: npt.NDArray[np.uint8], move: Callable[[int], Matrix], frames: int) -> Outcome:
    """Follow one movement."""
    stream = predictor.stream()
    (face,) = stream(picture, 0.0).faces
    points, width, number = face.landmarks[:, :2], face.box[2] - face.box[0], face.id
    errors = []
    for index in range(1, frames + 1):
        matrix = move(index)
        frame = cv2.warpAffine(picture, matrix, (SIDE, SIDE), borderValue=(110, 110, 110))
        found = [one for one in stream(frame, index / 30).faces if one.id == number]
        if found:
            wanted = points @ matrix[:, :2].T + matrix[:, 2]
            scale = float(np.hypot(*matrix[:, 0]))
            errors.append(float(np.abs(found[0].landmarks[:, :2] - wanted).mean()) / (width * scale))
    return Outcome(len(errors), frames, float(np.median(errors or [np.nan])), max(errors, default=np.nan))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="dsrfau-nano")
    parser.add_argument("--frames", type=int, default=40)
    options = parser.parse_args(arguments)
    picture = first_frame()
    print("| a frame | | id kept | landmarks off, median | worst |\n|---|---|---|---|---|")
    with Predictor(options.bundle) as predictor:
        (face,) = predictor(picture)
        width = face.box[2] - face.box[0]
        for name, move in MOVES.items():
            for step in STEPS[name]:
                found = run(predictor, picture, lambda n, m=move, s=step: m(n, s, width), options.frames)
                print(
                    f"| {name} | {step:g} | {found.kept} of {found.frames} | {found.median:.3f} | {found.worst:.3f} |"
                )


if __name__ == "__main__":
    main()
