"""The catalogue is consistent, and letters agree with presence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge.action_units import (
    ALL_AUS,
    CATALOGUE,
    PRESENCE_THRESHOLD,
    canonical_au,
    letter,
    site_centres,
    sites_of,
)
from dsrfau_edge.errors import UsageError

#: FaceMesh points that mirror each other across the face's midline, of those the catalogue uses.
MIRRORED = {
    336: 107, 285: 55, 293: 63, 283: 53, 296: 66, 295: 65, 386: 159, 374: 145, 346: 117, 280: 50, 358: 129, 269: 39,
    291: 61, 361: 132,
}  # fmt: skip


def test_twenty_units_and_thirty_three_sites():
    numbers = [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 18, 20, 23, 24, 25, 26, 28, 45]
    assert [unit.number for unit in CATALOGUE.values()] == numbers
    assert len(ALL_AUS) == 20
    names = [site.name for site in sites_of()]
    assert len(names) == len(set(names)) == 33
    assert names[:2] == ["AU01_left", "AU01_right"]
    assert "AU25" in names


def test_left_sites_mirror_right_sites():
    for unit in CATALOGUE.values():
        if len(unit.sites) == 2:
            left, right = unit.sites
            assert (left.side, right.side) == ("left", "right")
            assert tuple(MIRRORED[index] for index in left.landmarks) == right.landmarks
            assert (left.outward, left.up) == (right.outward, right.up)


@pytest.mark.parametrize("name", [4, "4", "04", "AU4", "au04", " AU04 "])
def test_an_au_has_many_spellings(name):
    assert canonical_au(name) == "AU04"
    assert [site.name for site in sites_of([name])] == ["AU04_left", "AU04_right"]


@pytest.mark.parametrize("name", [3, "AU99", "", "smile", "-4", "4.0", "²"])
def test_an_unknown_au_is_refused_with_the_known_ones(name):
    with pytest.raises(UsageError, match="AU12"):
        canonical_au(name)


def test_sites_move_by_the_inner_eye_distance_up_and_outward():
    mesh = np.zeros((468, 3), np.float32)
    mesh[133], mesh[362] = (-20, 0, 0), (20, 0, 0)  # inner corners, 40 px apart
    mesh[[291, 61]] = [(30, 50, 0), (-30, 50, 0)]
    mesh[[336, 285]], mesh[[107, 55]] = (15, -20, 0), (-15, -20, 0)
    centres = dict(zip([site.name for site in sites_of()], site_centres(mesh, sites_of()).tolist(), strict=True))
    assert centres["AU12_left"] == [30, 50]
    assert centres["AU20_left"] == [42, 50]
    assert centres["AU20_right"] == [-42, 50]
    assert centres["AU01_left"] == [15, -40]


def test_sites_lie_in_the_crop_on_a_real_face():
    from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
    from dsrfau_edge.face.frontend import FaceFrontEnd
    from dsrfau_edge.face.images import read_image
    from dsrfau_edge.face.network import ASSETS

    (face,) = FaceFrontEnd(DEFAULT_TEMPLATE, 128)(read_image(ASSETS.parent / "portrait.jpg"))
    points = face.landmarks.points[:, :2] @ face.matrix[:, :2].T + face.matrix[:, 2]
    where = dict(zip([s.name for s in sites_of()], site_centres(points.astype(np.float32), sites_of()), strict=True))
    assert all(10 < value < 118 for centre in where.values() for value in centre)
    for name, (x, _) in where.items():  # the person's left is on the picture's right
        if name.endswith("_left"):
            assert x > where[name.replace("_left", "_right")][0] + 15
    assert where["AU01_left"][1] < where["AU05_left"][1] < where["AU06_left"][1] < where["AU12_left"][1]
    assert where["AU12_left"][1] < where["AU17"][1]


@given(st.floats(-1, 6))
def test_letters_begin_where_presence_does_and_never_fall(intensity):
    assert (letter(intensity) != "") == (intensity >= PRESENCE_THRESHOLD)
    assert letter(intensity) <= letter(intensity + 0.5)


@pytest.mark.parametrize(
    ("intensity", "expected"),
    [(0, ""), (0.99, ""), (1, "A"), (1.49, "A"), (1.5, "B"), (2.5, "C"), (3.5, "D"), (4.5, "E"), (float("nan"), "")],
)
def test_letters(intensity, expected):
    assert letter(intensity) == expected
