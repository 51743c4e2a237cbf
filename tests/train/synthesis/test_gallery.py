"""Sheets and ladders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_data import write_toy

from dsrfau_edge.action_units import sites_of
from dsrfau_edge.errors import UsageError
from dsrfau_edge.train.synthesis import gallery
from dsrfau_edge.train.synthesis.faces import FaceFactory

from .rendering import NEEDED


def test_labels_are_written_short() -> None:
    sites = sites_of(["AU04", "AU12", "AU25"])
    assert gallery.compact(sites, [2.0, 0.6, 3.1, 3.1, 0.2]) == "4 L2.0 R0.6 · 12 3.1"
    assert gallery.compact(sites, [0.0] * 5) == "neutral"
    assert gallery.compact(sites, [np.nan] * 5) == "neutral"


def test_a_sheet_picks_the_same_faces_from_every_shard(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "set", 32)
    first, again = (list(gallery.pick(folder, 12, seed=1)) for _ in range(2))
    assert [tile.about for tile in first] == [tile.about for tile in again]
    assert len(first) == 12
    other = list(gallery.pick(folder, 12, seed=2))
    assert any((one.picture != two.picture).any() for one, two in zip(first, other, strict=True))
    assert len(list(gallery.pick(folder, 500, seed=1))) == 32
    drawn = gallery.sheet(first, columns=4)
    assert drawn.shape[1] > drawn.shape[0]


def test_aus_are_read_as_people_write_them() -> None:
    assert gallery.parse_aus("4") == ("AU04",)
    assert len(gallery.parse_aus("all")) == 20
    with pytest.raises(UsageError, match="Known"):
        gallery.parse_aus("AU99")
    assert gallery.ladder_sites("AU12", "left") == ("AU12_left",)
    assert gallery.ladder_sites("AU12", "both") == ("AU12_left", "AU12_right")


@pytest.mark.rendering
@NEEDED[1]
def test_a_ladder_climbs() -> None:
    """Along a row only the AU's part of the face changes, and ever more."""
    factory = FaceFactory(seed=0, input_size=128)
    person = factory.person(0)
    scene = gallery.calm(np.random.default_rng(0))
    shots = [
        factory.face(person, np.random.default_rng(0), intensities={"AU26": float(level)}, scene=scene).picture.astype(
            int
        )
        for level in range(6)
    ]
    changes = [np.abs(shot - shots[0])[shot.shape[0] // 2 :].mean() for shot in shots]
    assert all(later > earlier for earlier, later in zip(changes[:-1], changes[1:], strict=True))
    drawn = gallery.ladder(factory, ("AU26",), faces=1, seed=0, side="both")
    assert drawn.shape[1] > 5 * drawn.shape[0] / 2
