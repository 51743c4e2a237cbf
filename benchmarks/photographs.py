"""Does a student trained on renders say on photographs what an independent tracker says of them?

Every photograph is shown to a bundle and to MediaPipe's Face Landmarker (run by OpenVINO), which has blendshapes for
some of the action units; reported is Pearson's r over the photographs, with its 95 % interval (Fisher's z). The tracker
is no truth: it is another opinion, formed on other data. See README.md beside it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def opinions(photos: Sequence[Path], bundle: str | None, landmarker: Path) -> Iterator[tuple[dict[str, float], Any]]:
    """Per photograph with a face: the AU intensities of the bundle, and the tracker's blendshapes.

    A photograph that cannot be read is named and passed over.
    """
    from dsrfau_edge import Predictor
    from dsrfau_edge.errors import InputError
    from dsrfau_edge.face.images import read_image
    from dsrfau_edge.face.landmarks import Landmarks
    from dsrfau_edge.train.data.preparation.tracker import FaceLandmarker

    tracker = FaceLandmarker(landmarker)
    with Predictor(bundle, max_faces=1) as predictor:
        for path in photos:
            try:
                image = read_image(path)
            except InputError as error:
                print(error, file=sys.stderr)
                continue
            for face in predictor(image):
                scores = tracker(image, Landmarks(face.landmarks, 1.0))
                if scores is not None:
                    yield dict(face.aus), scores


def compare(pairs: Iterable[tuple[dict[str, float], Any]]) -> list[dict[str, Any]]:
    """A row per AU that both have: r, its interval, and the share of photographs in which the student sees it."""
    from dsrfau_edge.metrics import pcc
    from dsrfau_edge.train.data.preparation.pseudo import SHAPES, score_of

    seen = list(pairs)
    rows = []
    for au in SHAPES:
        if seen and au in seen[0][0]:
            told = np.array([aus[au] for aus, _ in seen])
            scores = np.array([np.mean([score_of(au, side, one) for side in ("left", "right")]) for _, one in seen])
            r = pcc(told, scores)
            rows.append(
                {"au": au, "photographs": len(seen), "r": r, "interval": fisher(r, len(seen)),
                 "present": float((told >= 1).mean()), "largest_score": float(scores.max())}
            )  # fmt: skip
    return rows


def fisher(r: float, count: int) -> list[float] | None:
    """95 % interval of a correlation over `count` pairs; None where it has none."""
    if count < 4 or not abs(r) < 1:
        return None
    reach = 1.959964 / math.sqrt(count - 3)
    return [math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach)]


def part(photos: Sequence[Path], text: str) -> Sequence[Path]:
    """Every N-th photograph from the I-th on, for the text `I/N`.

    Raises:
        SystemExit: the text is none such.
    """
    found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if found is None or int(found[1]) > int(found[2]):
        raise SystemExit(f"--part {text}: write I/N, such as 2/2, with I from 1 to N")
    return photos[int(found[1]) - 1 :: int(found[2])]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table."""
    lines = ["| AU | r | 95 % | student sees it in | tracker's largest score |", "|---|---|---|---|---|"]
    for row in rows:
        low, high = row["interval"] or (math.nan, math.nan)
        lines.append(
            f"| {row['au']} | {row['r']:.2f} | {low:.2f} to {high:.2f} | {row['present']:.0%} | "
            f"{row['largest_score']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Compare and report."""
    from dsrfau_edge.train.data.preparation.files import files_under, is_picture

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--landmarker", type=Path, required=True, help="MediaPipe's face_landmarker.task")
    parser.add_argument("--bundle", help="folder or name of a bundle; the bundled student by default")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="only every N-th photograph, from the I-th on")
    parser.add_argument("--json", type=Path, help="write the rows there")
    options = parser.parse_args()
    photos = part([path for path in files_under(options.photos) if is_picture(path)], options.part)
    if not photos:
        parser.error(f"{options.photos} holds no photographs (of part {options.part})")
    rows = compare(opinions(photos, options.bundle, options.landmarker))
    if options.json:
        report = {"date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(), "rows": rows}
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(f"{rows[0]['photographs'] if rows else 0} of {len(photos)} photographs have a face\n\n{markdown(rows)}")


if __name__ == "__main__":
    main()
