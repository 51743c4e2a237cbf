"""One face's signals together, as a stream uses them."""

from __future__ import annotations

import numpy as np
import pytest
from faces import AUS, SITES
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge.errors import DataError, InputError
from dsrfau_edge.following import StreamOptions
from dsrfau_edge.results import Assembler
from dsrfau_edge.signals.baseline import Baseline
from dsrfau_edge.signals.face_signals import FaceSignals
from dsrfau_edge.signals.one_euro import OneEuro, OneEuroFilter

ASSEMBLE = Assembler(AUS, [(site.au, site.side) for site in SITES])
row = st.lists(st.floats(0, 5), min_size=5, max_size=5)


def make(**options):
    return FaceSignals(ASSEMBLE, 3, StreamOptions(**options))


def test_the_assembler_names_the_sites():
    assert ASSEMBLE.sites == tuple(site.name for site in SITES)


def test_without_smoothing_and_baseline_the_row_passes_through():
    signals = make(smoothing=None)
    out = signals([0.0, 0.2, 3.0, 2.0, 4.0], 0.0, 1.0)
    assert out.row == out.smoothed == [0.0, 0.2, 3.0, 2.0, 4.0]
    assert out.neutral is None
    assert signals.baseline is None
    assert out.present == {"AU04": False, "AU12": True, "AU25": True}
    assert {(event.kind, event.face, event.au) for event in out.events} == {("onset", 3, "AU12"), ("onset", 3, "AU25")}


def test_smoothed_then_corrected_then_present():
    """The rest reads above the threshold, so that only the corrected values tell the smile."""
    signals, alone = make(baseline=Baseline(ready_after=1)), OneEuroFilter(OneEuro())
    events = []
    for index in range(120):
        values = [0.1, 0.1, 4.0, 4.0, 0.1] if index >= 90 else [0.1, 0.1, 1.5, 1.3, 0.1]
        out = signals(values, index / 30, 0.9)
        assert out.smoothed == alone(values, index / 30)
        events += [(event.kind, event.au, round(event.timestamp, 2)) for event in out.events]
        if index < 30:
            assert out.neutral is None
            assert out.row == out.smoothed
        elif 35 < index < 90:
            assert out.neutral == pytest.approx([0.1, 0.1, 1.5, 1.3, 0.1])
            assert out.row == pytest.approx([0.0] * 5, abs=1e-9)
            assert not out.present["AU12"]
    assert out.row[2] == pytest.approx((4 - 1.5) * 5 / 3.5, abs=0.1)
    kinds = [kind for kind, au, _ in events if au == "AU12"]
    assert kinds == ["onset", "apex", "offset", "onset"], "what was taken for a smile ends once the rest is known"
    assert events[-1][2] == pytest.approx(3.0, abs=0.07)


@given(st.lists(st.tuples(row, st.floats(0.001, 0.5), st.floats(0, 1)), max_size=40))
def test_whatever_comes_the_intensities_stay_in_their_range(frames):
    signals, time, present = make(baseline=Baseline(ready_after=0)), 0.0, dict.fromkeys(AUS, False)
    for values, step, trust in frames:
        time += step
        out = signals(values, time, trust)
        assert (np.array(out.row) >= 0).all()
        assert (np.array(out.row) <= np.array(out.smoothed)).all()
        for event in out.events:
            assert present[event.au] == (event.kind != "onset")
            if event.kind != "apex":
                present[event.au] = event.kind == "onset"
        assert present == out.present
    for event in signals.end():
        assert present[event.au]
        present[event.au] = event.kind != "offset"
    assert not any(present.values())


def test_a_clock_that_starts_anew_closes_what_is_open_and_keeps_the_baseline():
    signals = make(baseline=Baseline(ready_after=0.5))
    for index in range(60):
        signals([0.5, 0.5, 0.5, 0.5, 0.5] if index < 50 else [0.5, 0.5, 4, 4, 0.5], 100 + index / 30, 1.0)
    level = signals.baseline.level
    signals.restart_time()
    out = signals([0.5, 0.5, 4, 4, 0.5], 0.0, 1.0)
    assert [(event.kind, event.timestamp < 1) for event in out.events] == [
        ("apex", False),
        ("offset", False),
        ("onset", True),
    ]
    assert out.neutral == level
    signals.restart_time()
    assert [event.kind for event in signals.end()] == ["apex", "offset"]
    assert signals.end() == ()


def test_a_value_that_is_none_is_refused_and_changes_nothing():
    signals, twin = make(baseline=Baseline()), make(baseline=Baseline())
    for each in (signals, twin):
        each([1.0] * 5, 0.0, 1.0)
    for values in ([float("nan")] * 5, [1.0] * 4):
        with pytest.raises(InputError):
            signals(values, 0.1, 1.0)
    assert signals([2.0] * 5, 0.2, 1.0) == twin([2.0] * 5, 0.2, 1.0)


def test_a_level_of_another_network_is_refused():
    with pytest.raises(DataError, match="another network"):
        make(baseline=Baseline(mode="held", level={"AU99": 1.0}))
