"""Baselines over a restart: for whom they are taken over, and what a damaged file does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from faces import SITES, make_face, make_result
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge.errors import DataError, UsageError
from dsrfau_edge.service.memory import WITHIN, BaselineMemory, Remembered, overlap
from dsrfau_edge.service.state import NAME, StateFile
from dsrfau_edge.signals.baseline import Baseline, NeutralBaseline

NAMES = tuple(site.name for site in SITES)
REST = [0.5, 0.25, 1.0, 0.75, 2.0]
BOX = (20.0, 30.0, 120.0, 140.0)  # of faces.make_face, in 200 x 160 pixels
PLACE = (0.1, 30 / 160, 0.6, 140 / 160)
KNOWN = Remembered(PLACE, 1000.06, 30.0, dict(zip(NAMES, REST, strict=True)))
boxes = st.tuples(*[st.floats(0, 1, width=32)] * 4)


def baseline(seconds=0.0):
    """An online baseline that has seen the resting face for so long."""
    found = NeutralBaseline(Baseline(ready_after=2.0), NAMES)
    for step in range(round(seconds / 0.1)):
        found.update(REST, 0.1 * step)
    return found


def seen(memory, baselines, *faces):
    memory.look(make_result(*faces), lambda: baselines)


def test_a_level_goes_from_one_run_to_the_next():
    now = [1000.0]
    before = BaselineMemory(clock=lambda: now[0])
    seen(before, {3: baseline(10)}, make_face(3))
    (stored,) = before.faces
    assert stored.box == pytest.approx(PLACE)
    assert list(stored.levels.values()) == pytest.approx(REST)
    now[0] += 10
    after = BaselineMemory(before.faces, clock=lambda: now[0])
    fresh = baseline()
    seen(after, {0: fresh}, make_face(0))
    assert fresh.ready
    assert fresh.level == pytest.approx(REST)
    assert after.restored == 1


def test_a_resumed_level_goes_on_being_learned():
    found = baseline()
    found.resume(dict(zip(NAMES, [3.0] * 5, strict=True)), 5.0)
    assert found.level == [3.0] * 5
    for step in range(1200):
        found.update(REST, 0.1 * step)
    assert found.level == pytest.approx(REST)


def test_a_level_learned_for_long_does_not_weigh_for_ever():
    found = baseline()
    found.resume(dict(zip(NAMES, [3.0] * 5, strict=True)), 1e6)
    assert found.learned == found.settings.half_life


def test_a_level_of_other_sites_is_refused_and_changes_nothing():
    found = baseline()
    with pytest.raises(DataError, match="of another network"):
        found.resume({"AU99": 1.0}, 5.0)
    assert not found.ready
    memory = BaselineMemory((replace(KNOWN, levels={"AU99": 1.0}),), clock=lambda: 1000.0)
    seen(memory, {0: found}, make_face(0))
    assert (found.ready, memory.restored) == (False, 0)


@pytest.mark.parametrize(
    ("box", "now", "taken"),
    [
        (BOX, 1000.0 + WITHIN, True),
        ((30.0, 40.0, 130.0, 150.0), 1001.0, True),
        (BOX, 1000.2 + WITHIN, False),  # too late
        (BOX, 999.0, False),  # a clock that was set back
        ((100.0, 30.0, 200.0, 140.0), 1001.0, False),  # elsewhere
        ((20.0, 30.0, 60.0, 70.0), 1001.0, False),  # further away
    ],
)
def test_only_a_face_in_the_same_place_soon_gets_it(box, now, taken):
    memory = BaselineMemory((KNOWN,), clock=lambda: now)
    found = baseline()
    seen(memory, {0: found}, make_face(0, box=box))
    assert found.ready is taken


def test_one_level_is_for_one_face():
    memory = BaselineMemory((KNOWN,), clock=lambda: 1001.0)
    first, second = baseline(), baseline()
    seen(memory, {0: first, 1: second}, make_face(0), make_face(1))
    assert (first.ready, second.ready) == (True, False)


def test_a_face_that_was_here_already_is_not_given_another_level():
    now = [1000.0]
    memory = BaselineMemory((), clock=lambda: now[0])
    found = baseline()
    seen(memory, {0: found}, make_face(0))
    memory._earlier = [KNOWN]
    now[0] += 5
    seen(memory, {0: found}, make_face(0))
    assert not found.ready


def test_faces_of_before_the_restart_stay_known_until_their_time_is_over():
    now = [1001.0]
    memory = BaselineMemory((KNOWN,), clock=lambda: now[0])
    seen(memory, {})
    assert memory.faces == (KNOWN,)
    now[0] = 1001.0 + WITHIN
    seen(memory, {})
    assert memory.faces == ()


@given(boxes, boxes)
def test_overlap_is_a_share(first, second):
    assert 0 <= overlap(first, second) <= 1 + 1e-9
    assert overlap(first, second) == overlap(second, first)


def test_the_file_gives_back_what_was_stored(tmp_path):
    state = StateFile(tmp_path / "state")
    assert state.read() == {}
    state.write({"front": (KNOWN,), "rear": ()})
    read = StateFile(tmp_path / "state").read()
    assert read["rear"] == ()
    assert read["front"][0].levels == KNOWN.levels
    assert read["front"][0].box == pytest.approx(PLACE, abs=1e-4)
    assert read["front"][0].seen == KNOWN.seen  # not rounded into the future, where it would not count
    assert [path.name for path in (tmp_path / "state").iterdir()] == [NAME]


def test_an_unchanged_state_is_not_written_again(tmp_path):
    state = StateFile(tmp_path)
    state.write({"front": (KNOWN,)})
    state.path.unlink()
    state.write({"front": (KNOWN,)})
    assert not state.path.exists()


GOOD = {"schema": 1, "kind": "dsrfau-serve state", "cameras": {"front": [KNOWN.to_dict()]}}


def changed(**face):
    return {**GOOD, "cameras": {"front": [{**KNOWN.to_dict(), **face}]}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b" " * (5 << 20),
        {},
        [],
        {**GOOD, "schema": 0},
        {**GOOD, "kind": "neutral baseline"},
        {**GOOD, "cameras": []},
        {**GOOD, "cameras": {"front": {}}},
        {**GOOD, "cameras": {"front": [1]}},
        changed(box=[0, 0, 1]),
        changed(box="0011"),
        changed(box=[0, 0, 1, "x"]),
        changed(seen=None),
        changed(seen=True),
        changed(seconds=float("nan")),
        changed(levels={}),
        changed(levels={"AU12_left": 7}),
    ],
    ids=range(19),
)
def test_a_damaged_or_old_file_is_passed_over(tmp_path, caplog, content):
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    (tmp_path / NAME).write_bytes(raw)
    assert StateFile(tmp_path).read() == {}
    assert "is not used" in caplog.text


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda one: st.lists(one) | st.dictionaries(
    st.sampled_from(["box", "seen", "seconds", "levels", "AU12"]), one)))  # fmt: skip
def test_a_remembered_face_of_any_content_is_read_or_refused(raw):
    try:
        found = Remembered.from_dict(raw)
    except DataError:
        return
    assert Remembered.from_dict(json.loads(json.dumps(found.to_dict()))).levels.keys() == found.levels.keys()


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--state"):
        StateFile(tmp_path / "file")


def test_a_full_disk_is_said_once_and_stops_nothing(tmp_path, caplog, monkeypatch):
    def full(path, content):
        raise DataError(f"{path} cannot be written: No space left on device.")

    monkeypatch.setattr("dsrfau_edge.service.state.store", full)
    state = StateFile(tmp_path)
    for second in range(3):
        state.write({"front": (replace(KNOWN, seen=second),)})
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
