"""Presence with hysteresis and its events, for any course of intensities."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge.action_units import PRESENCE_THRESHOLD, letter
from dsrfau_edge.errors import InputError, UsageError
from dsrfau_edge.signals.presence import Hysteresis, PresenceTracker

AUS = ("AU04", "AU12")
level = st.one_of(st.floats(0, 5), st.sampled_from([0.0, 0.75, 1.0, 1.5, 2.0, 5.0]))
course = st.lists(st.tuples(level, level), max_size=60)
settings = st.tuples(st.floats(0.01, 5), st.floats(0, 1), st.floats(0.01, 5)).map(
    lambda drawn: Hysteresis(on=drawn[0], off=drawn[0] * drawn[1], apex_fall=drawn[2])
)


def run(tracker, rows, *, end=True, face=7):
    """Presence of each frame, and all events with the index of the frame that brought them."""
    present, events = [], []
    for index, row in enumerate(rows):
        now, found = tracker(dict(zip(AUS, row, strict=True)), index / 10, face)
        present.append(now)
        events += [(index, event) for event in found]
    if end:
        events += [(len(rows), event) for event in tracker.end(face)]
    return present, events


def single(values, chosen=None, **k):
    """Kind, time in frames, and intensity of the events of AU12."""
    _, events = run(PresenceTracker(AUS, chosen or Hysteresis()), [(0.0, value) for value in values], **k)
    return [(event.kind, round(event.timestamp * 10), event.intensity) for _, event in events]


@given(course, settings)
def test_events_nest(rows, chosen):
    _, events = run(PresenceTracker(AUS, chosen), rows)
    for place, au in enumerate(AUS):
        own = [event for _, event in events if event.au == au]
        kinds = "".join(event.kind[:2] for event in own)
        while kinds:
            assert kinds.startswith("onap"), "an onset comes first, and no offset without an apex"
            kinds = kinds.removeprefix("on")
            while kinds.startswith("ap"):
                kinds = kinds.removeprefix("ap")
            assert kinds.startswith("of")
            kinds = kinds.removeprefix("of")
        times = [event.timestamp for event in own]
        assert times == sorted(times)
        for event in own:
            assert event.face == 7
            assert event.intensity == rows[round(event.timestamp * 10)][place], "as it was at that time"


@given(course, settings)
def test_the_first_apices_are_the_highest_of_what_lies_between_onset_and_offset(rows, chosen):
    _, events = run(PresenceTracker(AUS, chosen), rows)
    for place, au in enumerate(AUS):
        own, start, peaks = [event for _, event in events if event.au == au], 0, []
        for event in own:
            if event.kind == "onset":
                start, peaks = round(event.timestamp * 10), []
            elif event.kind == "apex":
                peaks.append(event.intensity)
            else:
                stretch = [row[place] for row in rows[start : round(event.timestamp * 10) + 1]]
                assert max(peaks) >= max(stretch) - chosen.apex_fall
                assert peaks[0] == max(stretch) or len(peaks) > 1 or max(stretch) - peaks[0] < chosen.apex_fall


@given(course, settings)
def test_presence_is_what_the_events_say(rows, chosen):
    present, events = run(PresenceTracker(AUS, chosen), rows, end=False)
    for place, au in enumerate(AUS):
        now = False
        for index, row in enumerate(rows):
            kinds = [event.kind for at, event in events if at == index and event.au == au]
            now = "onset" in kinds or (now and "offset" not in kinds)
            assert present[index][au] == now
            assert now or row[place] < chosen.on
            assert not now or row[place] >= chosen.off


@given(course)
def test_letters_and_presence_agree(rows):
    present, _ = run(PresenceTracker(AUS, Hysteresis()), rows)
    for now, row in zip(present, rows, strict=True):
        for au, value in zip(AUS, row, strict=True):
            assert now[au] or letter(value) == ""
            assert now[au] or value < PRESENCE_THRESHOLD


@given(course, course)
def test_after_its_end_it_is_new(before, after):
    used = PresenceTracker(AUS, Hysteresis())
    run(used, before)
    assert used.end(7) == ()
    assert run(used, after) == run(PresenceTracker(AUS, Hysteresis()), after)


def test_a_smile():
    assert single([0, 0.9, 1.0, 3, 4, 3.6, 3.4, 1, 0.8, 0.74, 0]) == [
        ("onset", 2, 1.0),
        ("apex", 4, 4),
        ("offset", 9, 0.74),
    ]


def test_the_apex_is_told_once_it_is_clearly_over():
    tracker = PresenceTracker(AUS, Hysteresis(apex_fall=0.5))
    _, events = run(tracker, [(0, value) for value in (2, 4, 3.6, 3.5, 3.4)], end=False)
    assert [(at, event.kind, event.timestamp) for at, event in events] == [(0, "onset", 0.0), (3, "apex", 0.1)]


def test_a_second_rise_has_an_apex_of_its_own_and_a_tremble_has_none():
    assert single([2, 4, 3, 2.5, 2.9, 2.6, 5, 4.9, 0]) == [
        ("onset", 0, 2),
        ("apex", 1, 4),
        ("apex", 6, 5),
        ("offset", 8, 0),
    ]
    assert single([2, 4, 3, 3.4, 3, 3.4, 0]) == [("onset", 0, 2), ("apex", 1, 4), ("offset", 6, 0)]


def test_no_flicker_at_the_threshold():
    trembling = [1.0, 0.9, 1.1, 0.8, 1.0, 0.76, 1.2] * 5
    assert [kind for kind, _, _ in single(trembling, end=False)] == ["onset"]
    without = Hysteresis(off=PRESENCE_THRESHOLD)
    assert sum(kind == "onset" for kind, _, _ in single(trembling, without)) > 10


def test_a_face_that_is_gone_ends_at_its_last_frame():
    assert single([0, 2, 3]) == [("onset", 1, 2), ("apex", 2, 3), ("offset", 2, 3)]
    assert single([]) == []


def test_a_missing_au_is_told_and_changes_nothing():
    tracker = PresenceTracker(AUS, Hysteresis())
    with pytest.raises(InputError, match="AU12"):
        tracker({"AU04": 3.0}, 0.0, 1)
    assert tracker.end(1) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("on", 0), ("on", 6), ("on", math.nan), ("off", -1), ("off", 1.1), ("off", math.nan), ("off", None)]
    + [("apex_fall", 0), ("apex_fall", math.inf), ("apex_fall", "1")],
)
def test_wrong_settings(name, value):
    with pytest.raises(UsageError, match=name):
        Hysteresis(**{name: value})
