"""Plans made in this process, without workers, and what their samples say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from dsrfau_edge.action_units import sites_of
from dsrfau_edge.shards import Sample, iter_samples, write_index
from dsrfau_edge.train.data.preparation.plan import Plan


def made(plan: Plan, folder: Path) -> tuple[list[Sample], Mapping[str, int]]:
    """Samples of a plan, and its losses by reason; all that was planned is one or the other."""
    folder.mkdir(parents=True)
    planned = Counter({loss.why: 0 for loss in plan.lost})
    for loss in plan.lost:
        planned[loss.why] += loss.count
    entries, told, lost = [], list[int](), Counter[str]()
    for task in plan.tasks:
        for part in plan.maker(task, told.append):
            lost.update(loss.why for loss in part.lost)
            if part.shard is not None:
                (folder / part.shard.entry.file).write_bytes(part.shard.content)
                entries.append(part.shard.entry)
    index = replace(plan.index, shards=tuple(entries))
    write_index(folder, index)
    samples = list(iter_samples(folder, index, landmarks=True))
    assert sum(told) == plan.count == len(samples) + lost.total()
    return samples, dict(planned + lost)


def label(sample: Sample, au: str, aus: Sequence[str]) -> float:
    """The label of an AU, which all its sites must have."""
    values = [value for site, value in zip(sites_of(aus), sample.intensities, strict=True) if site.au == au]
    assert len(values) == sum(site.au == au for site in sites_of(aus)) > 0
    np.testing.assert_array_equal(values, values[0])
    return float(values[0])


def brightness(sample: Sample) -> float:
    """Mean of the crop: which of the `shaded` portraits it is."""
    return float(decoded(sample).mean())


def decoded(sample: Sample) -> np.ndarray:
    """The stored crop."""
    image = cv2.imdecode(np.frombuffer(sample.image, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image
