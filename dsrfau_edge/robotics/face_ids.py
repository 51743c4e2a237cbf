"""Names of faces as REP-155 wants them: short, and not the same from run to run."""

from __future__ import annotations

import math
import random
from string import ascii_lowercase

_LENGTH = 5
_COUNT = len(ascii_lowercase) ** _LENGTH


class FaceIds:
    """A stream's face numbers as five letters each, such as `qkzra`.

    A permutation of all such names that is drawn anew for every run: one number has one name throughout the run, two
    numbers never share one (there are 11.9 million), and nothing has to be remembered however many faces come by. A
    face's id is not to be taken for a person's; names that mean nothing on the next run see to that.
    """

    def __init__(self, source: random.Random | None = None) -> None:
        draw = source or random.SystemRandom()
        self._step = draw.randrange(_COUNT // 3, _COUNT)
        while math.gcd(self._step, _COUNT) > 1:
            self._step -= 1
        self._offset = draw.randrange(_COUNT)
        self._base = 0
        self._highest = -1

    def __call__(self, number: int) -> str:
        """Name of a face by its number in the stream, from 0."""
        self._highest = max(self._highest, number)
        place = ((self._base + number) * self._step + self._offset) % _COUNT
        letters = []
        for _ in range(_LENGTH):
            place, letter = divmod(place, len(ascii_lowercase))
            letters.append(ascii_lowercase[letter])
        return "".join(letters)

    def restart(self) -> None:
        """Another stream begins and counts its faces from 0 again: they are others than those named so far."""
        self._base += self._highest + 1
        self._highest = -1
