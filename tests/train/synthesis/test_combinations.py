"""How combinations of AUs are drawn."""

from __future__ import annotations

import numpy as np

from dsrfau_edge.train.synthesis.combinations import draw
from dsrfau_edge.train.synthesis.intensity import SITES


def test_every_band_of_every_au_is_drawn_and_no_pair_is_always_together() -> None:
    rng = np.random.default_rng(0)
    faces = [draw(rng) for _ in range(4000)]
    table = np.array([[face.get(name, 0.0) for name in SITES] for face in faces])
    assert ((table >= 0) & (table <= 5)).all()
    for place, name in enumerate(SITES):
        if name == "AU25":  # measured on the mesh
            continue
        bands = np.histogram(table[:, place], bins=[1e-6, 1, 2, 3, 4, 5.01])[0]
        assert (bands > 15).all(), (name, bands)
    present = table > 0.5
    for one in range(len(SITES)):
        for other in range(len(SITES)):
            if SITES[one][:4] != SITES[other][:4]:
                assert (present[:, one] & ~present[:, other]).any(), (SITES[one], SITES[other])


def test_a_closed_eye_is_not_widened() -> None:
    rng = np.random.default_rng(3)
    for _ in range(2000):
        face = draw(rng)
        assert not (face.get("AU45_left", 0) > 0 and face.get("AU05_left", 0) > 0)


def test_lips_close_one_way_at_a_time() -> None:
    rng = np.random.default_rng(5)
    for _ in range(2000):
        face = draw(rng)
        assert sum(face.get(au, 0) > 0 for au in ("AU23", "AU24", "AU28")) <= 1
        if any(face.get(au, 0) > 0 for au in ("AU23", "AU24", "AU28")):
            assert face.get("AU25", 0) == 0
