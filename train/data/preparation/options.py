"""Options that all kinds with pictures share, and the part of a plan that follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dsrfau_edge.action_units import sites_of
from dsrfau_edge.errors import UsageError
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
from dsrfau_edge.shards import ShardIndex, crop_side

from .crops import CropMaker
from .files import require_size
from .plan import Item, Loss, Plan, limited, require_some, tasks_of


@dataclass(frozen=True, slots=True)
class Options:
    """How to prepare.

    Attributes:
        size: side of the network's input; crops are stored with a margin around it.
        subsample: use every so many frames of a sequence, the first one included.
        limit: no more than the first so many pictures.
        quality: of the crops' JPEG.
    """

    size: int = 128
    subsample: int = 1
    limit: int | None = None
    quality: int = 95

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: one makes no sense.
        """
        require_size(self.size)
        if self.subsample < 1 or (self.limit is not None and self.limit < 1) or not 1 <= self.quality <= 100:
            raise UsageError("--subsample and --limit are 1 or more, --quality is 1 to 100.")

    def chosen(self, numbers: Sequence[int]) -> list[int]:
        """Every `subsample`-th frame, by its number and not by its place: a missing frame moves no other."""
        return [number for number in numbers if (number - numbers[0]) % self.subsample == 0]

    def chosen_of(self, names: Sequence[str]) -> list[str]:
        """Every `subsample`-th name."""
        return list(names[:: self.subsample])


def plan_of(
    kind: str,
    source: Path,
    items: Sequence[Item],
    options: Options,
    *,
    aus: Sequence[str],
    licence: str,
    lost: Iterable[Loss],
    labels: Mapping[str, int],
    own: Mapping[str, Any] | None = None,
    allow_short: int = 0,
    maker: CropMaker | None = None,
) -> Plan:
    """The plan of pictures that are cut by the device's front end.

    Args:
        kind: of the set.
        source: folder that the items' paths start from.
        items: what there is.
        options: of all kinds.
        aus: that the set labels.
        licence: of pictures and labels, in a line.
        lost: what could not be planned for.
        labels: defects of labels.
        own: options of this kind, as plain types.
        allow_short: frames that a video may end early.
        maker: another than the usual one.

    Raises:
        DataError: there is nothing to make.
    """
    gone = tuple(lost)
    require_some(items, source, gone)
    sites = tuple(site.name for site in sites_of(aus))
    said = {"subsample": options.subsample, "limit": options.limit, "quality": options.quality, **(own or {})}
    index = ShardIndex(
        kind=kind,
        aus=tuple(aus),
        sites=sites,
        crop_size=crop_side(options.size),
        input_size=options.size,
        template=DEFAULT_TEMPLATE.to_dict(),
        licence=licence,
        generator={"prepared": kind, **said, "made_with": {"numpy": np.__version__, "opencv": cv2.__version__}},
    )
    maker = maker or CropMaker(str(source.resolve()), tuple(aus), options.size, options.quality, allow_short)
    return Plan(index, maker, tasks_of(limited(items, options.limit)), gone, labels, said)
