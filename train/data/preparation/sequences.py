"""Labels of a sequence and its pictures, matched by frame number; lengths that do not fit are refused or counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsrfau_edge.action_units import sites_of
from dsrfau_edge.errors import DataError

from .files import by_number, relative
from .labels import SequenceLabels, count_defects
from .options import Options
from .plan import MISSING, UNLABELLED, UNNUMBERED, Item, Loss, sided

#: A video and its labels may differ by so many frames, or by this share of them: as many as recordings are cut off by.
TOLERANCE, SHARE = 5, 0.01


@dataclass(slots=True)
class Gathered:
    """What sequences give, one after the other."""

    aus: Sequence[str]
    options: Options
    items: list[Item] = field(default_factory=list)
    lost: list[Loss] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)

    def numbered(self, files: Iterable[Path], root: Path, *, first: int | None = None) -> Pictures:
        """Pictures in files; those that cannot be numbered are lost.

        Args:
            files: of one sequence.
            root: folder that paths start from.
            first: the number in the name of the one that the labels call 1.

        Raises:
            DataError: two have the same number.
        """
        found, without = by_number(files)
        self.lost += [Loss(relative(path, root), UNNUMBERED) for path in without]
        shift = 1 - first if first is not None else 0
        return Pictures({number + shift: relative(path, root) for number, path in found.items()})

    def add(
        self, name: str, identity: str, labels: SequenceLabels, pictures: Pictures, meta: Mapping[str, Any]
    ) -> None:
        """Take the labelled frames of a sequence that have a picture, and count the others.

        Args:
            name: of the sequence, for the losses.
            identity: of the person.
            labels: by frame number.
            pictures: of the sequence.
            meta: what is known of all its frames.
        """
        sites = [site.name for site in sites_of(self.aus)]
        everything = sorted({*labels.numbers, *pictures.numbers})
        chosen, there, labelled = self.options.chosen(everything), set(pictures.numbers), set(labels.numbers)
        self.labels += count_defects(labels, [number for number in chosen if number in labelled], self.aus)
        for number in chosen:
            intensities = sided(labels.at(number), sites)
            if all(map(math.isnan, intensities)):
                self.lost.append(Loss(name, UNLABELLED, number))
            elif number not in there:
                self.lost.append(Loss(name, MISSING, number))
            else:
                path, position = pictures.place(number)
                self.items.append(
                    Item(len(self.items), path, position, identity, intensities, {**meta, "frame": number})
                )


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a sequence: files by frame number, or one video whose first frame has the number 1."""

    files: Mapping[int, str]
    video: str | None = None
    count: int = 0  # frames of the video

    @property
    def numbers(self) -> Sequence[int]:
        """Frame numbers there are."""
        return tuple(self.files) if self.video is None else range(1, self.count + 1)

    def place(self, number: int) -> tuple[str, int | None]:
        """File of a frame, and its position where that is a video."""
        return (self.files[number], None) if self.video is None else (self.video, number - 1)


def require_same_start(name: str, labels: SequenceLabels, pictures: Pictures) -> None:
    """Refuse pictures that are counted from 0 where labels are counted from 1, or the other way round.

    Raises:
        DataError: they are; matched by number they would all be off by one.
    """
    starts = (0 in pictures.numbers, 0 in labels.numbers)
    if starts[0] != starts[1] and pictures.video is None:
        who = ("pictures", "labels") if starts[0] else ("labels", "pictures")
        raise DataError(
            f"{name}: the {who[0]} have a frame 0 and the {who[1]} have none, so their numbers do not mean the same. "
            "Say with --first-frame which picture is the first label's: 0, 1, …"
        )


def require_same_length(name: str, labels: SequenceLabels, pictures: Pictures) -> None:
    """Refuse a video whose length is not that of its labels.

    Raises:
        DataError: they differ by more than `TOLERANCE` frames and `SHARE`, or labels count from 0.
    """
    if labels.numbers[0] == 0:
        raise DataError(f"{name}: the labels have a frame 0; those of a video count from 1. Number them anew.")
    last = labels.numbers[-1]
    if abs(last - pictures.count) > max(TOLERANCE, SHARE * last):
        raise DataError(
            f"{name}: the labels go to frame {last}, the video {pictures.video} has {pictures.count}. They are not of "
            "the same recording, or one is cut off. Copy them again, or leave the subject out with --subject."
        )
