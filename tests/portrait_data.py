"""The sample portrait as prepared data: one face under many names, with labels drawn at random."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dsrfau_edge.action_units import ALL_AUS, site_centres, sites_of
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE, warp
from dsrfau_edge.face.frontend import FaceFrontEnd
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.network import ASSETS
from dsrfau_edge.shards import MARGIN, Sample, ShardIndex, crop_side, write_index, write_shard

INPUT = 128


def write_portraits(
    folder: Path, count: int = 160, *, identities: int = 24, rigs: tuple[str, ...] = (), blank: bool = False
) -> Path:
    """Prepared data of `count` samples in one shard; every AU is 0 (more often), 1.5, 3 or 4.5 on both sides.

    With `blank` there is no face on them.
    """
    image = read_image(ASSETS.parent / "portrait.jpg")
    points = FaceFrontEnd(DEFAULT_TEMPLATE, INPUT)(image)[0].landmarks.points
    matrix = DEFAULT_TEMPLATE.matrix(points, INPUT, MARGIN)
    crop = warp(image, matrix, crop_side(INPUT), border=cv2.BORDER_REPLICATE)
    crop = np.full_like(crop, 127) if blank else crop
    encoded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    sites = sites_of(ALL_AUS)
    centres = site_centres((points[:, :2] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32), sites)

    def sample(number: int) -> Sample:
        rng = np.random.default_rng(number)
        drawn = dict(zip(ALL_AUS, rng.choice([0.0, 0.0, 1.5, 3.0, 4.5], len(ALL_AUS)), strict=True))
        intensities = np.array([drawn[site.au] for site in sites], np.float32)
        meta = {"rig": rigs[number % identities % len(rigs)]} if rigs else {}
        return Sample(f"{number:08d}", encoded, intensities, centres, f"p-{number % identities:03d}", meta)

    folder.mkdir(parents=True, exist_ok=True)
    shard = write_shard(folder, "shard-000000.tar", map(sample, range(count)))
    write_index(
        folder,
        ShardIndex(
            kind="toy", aus=ALL_AUS, sites=tuple(site.name for site in sites), crop_size=crop_side(INPUT),
            input_size=INPUT, template=DEFAULT_TEMPLATE.to_dict(), licence="CC0-1.0", shards=(shard,),
        ),
    )  # fmt: skip
    return folder
