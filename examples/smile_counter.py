"""Counts smiles before a camera or in a video, per face, and tells which reached the eyes.

    python smile_counter.py 0                # a camera; Ctrl-C ends it and prints the count
    python smile_counter.py talk.mp4

A smile is one rise and fall of AU12 (lip corner puller). With AU06 (cheek raiser) at its height it reaches the eyes.
The stream follows each face and smooths its intensities, and an AU that has risen must fall clearly before it can rise
again: nodding or a flicker around the threshold makes no second smile.
"""

import argparse
import contextlib
from collections import Counter
from pathlib import Path

from dsrfau_edge import Baseline, Predictor, StreamOptions
from dsrfau_edge.errors import DsrfauError


class SmileCounter:
    """Feed it one result after another; `smiles` and `with_eyes` count by face id."""

    def __init__(self, strength: float = 1.5) -> None:
        self.strength = strength  # weaker smiles are not counted; AU intensities run from 0 to 5
        self.smiles: Counter[int] = Counter()
        self.with_eyes: Counter[int] = Counter()
        self._heights: dict[int, float] = {}  # of the smiles that go on
        self._eyes: set[int] = set()

    def update(self, result) -> list[int]:
        """Take a frame in; the faces whose smile has just ended."""
        for event in result.events:
            if event.au == "AU12" and event.kind == "onset":
                self._heights[event.face] = event.intensity
        for face in result.faces:
            if face.id in self._heights:
                self._heights[face.id] = max(self._heights[face.id], face["AU12"])
                if face.presence["AU06"]:
                    self._eyes.add(face.id)
        ended = [event.face for event in result.events if event.au == "AU12" and event.kind == "offset"]
        return [face for face in ended if self._end(face)]

    def finish(self) -> None:
        """The stream is over: smiles that go on count too."""
        for face in list(self._heights):
            self._end(face)

    def _end(self, face: int) -> bool:
        counts = self._heights.pop(face, 0.0) >= self.strength
        self.smiles[face] += counts
        self.with_eyes[face] += counts and face in self._eyes
        self._eyes.discard(face)
        return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", default="0", help="camera number, video, address (default: 0)")
    parser.add_argument("--strength", type=float, default=1.5, help="least height of a smile, 0 to 5 (default: 1.5)")
    parser.add_argument("--baseline", action="store_true", help="learn how each face rests, and count from there")
    options = parser.parse_args()
    counter = SmileCounter(options.strength)
    follow = StreamOptions(baseline=Baseline() if options.baseline else None)
    with Predictor() as predictor:
        read = predictor.video if Path(options.source).is_file() else predictor.live  # every frame, or the newest
        with contextlib.suppress(KeyboardInterrupt):
            for result in read(options.source, follow):
                for face in counter.update(result):
                    print(f"{result.timestamp:8.2f} s  face {face} smiled, {counter.smiles[face]} times so far")
    counter.finish()
    for face, count in sorted(counter.smiles.items()):
        print(f"face {face}: {count} smiles, {counter.with_eyes[face]} of them with the eyes")


if __name__ == "__main__":
    try:
        main()
    except DsrfauError as error:
        raise SystemExit(f"error: {error}") from None
