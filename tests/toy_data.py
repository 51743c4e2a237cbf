"""Toy faces whose intensities are drawn into the picture, as prepared data."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dsrfau_edge.shards import Sample, ShardIndex, write_index, write_shard

AUS = ("AU12", "AU25")
SITES = ("AU12_left", "AU12_right", "AU25")
INPUT, CROP = 64, 80
_CENTRES = np.array([[56.0, 50.0], [24.0, 50.0], [40.0, 26.0]], np.float32)


def toy_sample(number: int, *, identities: int = 8) -> Sample:
    """A grey disc with one spot per site, the brighter the higher its intensity."""
    rng = np.random.default_rng(number)
    intensities = rng.uniform(0, 5, len(SITES)).astype(np.float32) * (rng.random(len(SITES)) < 0.7)
    centres = _CENTRES + rng.uniform(-2, 2, _CENTRES.shape).astype(np.float32)
    picture = np.full((CROP, CROP, 3), 60, np.uint8)
    cv2.circle(picture, (CROP // 2, CROP // 2), 34, (110, 120, 130), -1)
    for (x, y), value in zip(centres, intensities, strict=True):
        level = int(40 + 42 * value)
        cv2.circle(picture, (round(float(x)), round(float(y))), 6, (level, level, level), -1)
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    identity = f"toy-{number % identities:06d}"
    meta = {"look": {"skin": f"skin{number % 5}", "hair": f"hair{number % 3}"}}
    return Sample(f"{number:08d}", encoded, intensities, centres, identity, meta)


def write_toy(folder: Path, count: int = 32, *, identities: int = 8, template: dict[str, object] | None = None) -> Path:
    """Prepared data of `count` toy faces in two shards."""
    folder.mkdir(parents=True, exist_ok=True)
    half = count // 2
    shards = tuple(
        write_shard(folder, f"shard-{shard:06d}.tar", (toy_sample(number, identities=identities) for number in numbers))
        for shard, numbers in enumerate((range(half), range(half, count)))
    )
    index = ShardIndex(
        kind="toy", aus=AUS, sites=SITES, crop_size=CROP, input_size=INPUT,
        template=template or {"landmarks": [0], "points": [[0.5, 0.5]]}, licence="CC0-1.0", shards=shards,
    )  # fmt: skip
    write_index(folder, index)
    return folder
