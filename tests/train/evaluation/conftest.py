"""Tiny prepared data that tells of its faces what rendered data tells, for the tiny bundle and its graph."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from dsrfau_edge.action_units import sites_of
from dsrfau_edge.bundle import Bundle, write_bundle
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
from dsrfau_edge.shards import Sample, ShardIndex, crop_side, write_index, write_shard

SIZE = 32


def face(number: int, sites: int, identity: str, meta: dict) -> Sample:
    rng = np.random.default_rng(number)
    side = crop_side(SIZE)
    coarse = rng.integers(0, 255, (5, 5, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    values = (rng.uniform(0, 5, sites) * (rng.random(sites) < 0.7)).astype(np.float32)
    centres = rng.uniform(8, side - 8, (sites, 2)).astype(np.float32)
    return Sample(f"{number:08d}", cv2.imencode(".png", picture)[1].tobytes(), values, centres, identity, meta)


@pytest.fixture(scope="session")
def write_faces():
    """Writes prepared data of `count` faces; `change` may replace each sample."""

    def write(
        folder: Path,
        count: int = 80,
        *,
        aus=("AU04", "AU12", "AU25"),
        people: int = 10,
        size: int = SIZE,
        kind: str = "rendered",
        name=lambda person: f"p{person:03d}",
        change=lambda sample: sample,
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        sites = tuple(site.name for site in sites_of(aus))
        samples = []
        for number in range(count):
            person = number % people
            meta = {
                "rig": "makehuman" if person % 2 else "ict",
                "pose": [(-1) ** number * float(number % 40), 0.0, 0.0],
                "age": person / people if person % 2 else None,
                "sex": "female" if person % 4 < 2 else "male",
                "look": {"glasses": "yes" if number % 2 else "no"},
            }
            samples.append(change(face(number, len(sites), name(person), meta)))
        shard = write_shard(folder, "shard-000000.tar", samples)
        index = ShardIndex(kind, tuple(aus), sites, crop_side(size), size, DEFAULT_TEMPLATE.to_dict(), "CC0", (shard,))
        write_index(folder, index)
        return folder

    return write


@pytest.fixture(scope="session")
def faces(tmp_path_factory, write_faces):
    """80 faces of ten persons with the tiny bundle's AUs."""
    return write_faces(tmp_path_factory.mktemp("faces") / "data")


@pytest.fixture(scope="session")
def bundle_of(tiny_bundle):
    """Copies the tiny bundle with another record of its training."""

    def copy(folder: Path, *, protocol: str = "identities", held_out: float = 0.5) -> Path:
        data = {"protocol": protocol, "held_out": held_out, "held_out_looks": False}
        bundle = Bundle.open(tiny_bundle)
        files = {path.name: path for path in tiny_bundle.iterdir() if path.name != "manifest.json"}
        manifest = dataclasses.replace(bundle.manifest, training={"recipe": {"data": data}})
        return write_bundle(folder, manifest, files).path

    return copy


@pytest.fixture(scope="session")
def recorded(tmp_path_factory, bundle_of):
    """The tiny bundle with a recorded split: half of the identities are held out."""
    return bundle_of(tmp_path_factory.mktemp("recorded") / "tiny.dsrfau")


@pytest.fixture
def broken(tmp_path, tiny_bundle):
    """The tiny bundle with a damaged model."""
    folder = tmp_path / "broken.dsrfau"
    shutil.copytree(tiny_bundle, folder)
    model = json.loads((folder / "manifest.json").read_text())["model"]
    (folder / model).write_bytes((folder / model).read_bytes()[:-10])
    return folder
