"""What an estimate says of its face as a whole."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dsrfau_edge.estimation import Estimate
from dsrfau_edge.face.quality import Quality


def trust(*flags, **quality):
    """Of a face that is found with certainty, large and sharp unless `quality` says otherwise."""
    made = Estimate.__new__(Estimate)
    made._face = SimpleNamespace(score=1.0, landmarks=SimpleNamespace(presence=1.0))
    made.quality = Quality(
        **{"eye_distance": 60.0, "inside": 1.0, "sharpness": 0.5, "yaw": 0.0, "flags": flags, **quality}
    )
    return made.trust


def test_a_clear_frontal_face_is_trusted():
    assert trust() == pytest.approx(1.0)
    assert trust(eye_distance=15.0) < 0.5


@pytest.mark.parametrize("flag", ["turned_away", "tilted"])
def test_a_face_that_looks_elsewhere_teaches_nothing(flag):
    assert trust(flag) == 0.0
    assert trust("dark", flag) == 0.0


def test_a_dark_room_is_no_obstacle():
    assert trust("dark") == trust()
