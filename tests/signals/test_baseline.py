"""The neutral baseline: what it learns, holds, corrects, saves and refuses."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrfau_edge.errors import DataError, InputError, UsageError
from dsrfau_edge.signals.baseline import Baseline, NeutralBaseline

SITES = ("AU12_left", "AU12_right", "AU25")
QUICK = Baseline(ready_after=0.5)

intensity = st.floats(0, 5)
row = st.lists(intensity, min_size=3, max_size=3)
frame = st.tuples(row, st.floats(-1, 2), st.floats(0, 1))  # values, seconds since the last, trust
film = st.lists(frame, max_size=60)


def shown(baseline, frames):
    """The baseline after these frames."""
    time = 0.0
    for values, step, trust in frames:
        time += step
        baseline.update(values, time, trust)
    return baseline


def seen(seconds, values, *, rate=30, trust=1.0):
    """Frames that all show the same."""
    return [(list(values), 1 / rate, trust)] * round(seconds * rate)


@given(film, row)
def test_the_level_lies_in_what_was_trusted_and_correcting_never_raises(frames, values):
    baseline = shown(NeutralBaseline(QUICK, SITES), frames)
    trusted = [row for row, _, trust in frames if trust >= QUICK.min_trust]
    if baseline.ready:
        assert (np.array(baseline.level) >= np.min(trusted, 0) - 1e-9).all()
        assert (np.array(baseline.level) <= np.max(trusted, 0) + 1e-9).all()
    out = np.array(baseline.correct(values))
    assert (out >= 0).all()
    assert (out <= values).all()
    if not baseline.ready:
        assert out.tolist() == values


@given(film, st.lists(row, min_size=2, max_size=2))
def test_correcting_keeps_the_order(frames, pair):
    baseline = shown(NeutralBaseline(QUICK, SITES), frames)
    low, high = np.min(pair, 0).tolist(), np.max(pair, 0).tolist()
    assert (np.array(baseline.correct(low)) <= np.array(baseline.correct(high)) + 1e-9).all()


@given(film, film)
def test_after_a_reset_it_is_new(before, after):
    used = shown(NeutralBaseline(QUICK, SITES), before)
    used.reset()
    assert not used.ready
    assert used.level == [0.0] * 3
    fresh = shown(NeutralBaseline(QUICK, SITES), after)
    shown(used, after)
    assert (used.ready, used.level) == (fresh.ready, fresh.level)


@given(film)
@settings(max_examples=40)
def test_what_is_saved_is_read_again(tmp_path_factory, frames):
    baseline = shown(NeutralBaseline(QUICK, SITES), [*frames, ([0.5, 1.0, 1.5], 0.03, 1.0)])
    baseline.hold()
    path = tmp_path_factory.mktemp("saved") / "anna.json"
    baseline.save(path)
    again = NeutralBaseline(Baseline.from_file(path), SITES)
    assert again.ready
    assert again.level == pytest.approx(baseline.level, abs=1e-6)
    assert [each.name for each in path.parent.iterdir()] == ["anna.json"]
    again.reset()
    assert again.level == pytest.approx(baseline.level, abs=1e-6), "a level that was given is where it starts"
    shuffled = NeutralBaseline(Baseline.from_file(path), SITES[::-1])
    assert shuffled.level == again.level[::-1], "by name, not by place"


def test_the_rest_is_found_between_expressions():
    baseline = NeutralBaseline(Baseline(), SITES)
    random, time = np.random.default_rng(3), 0.0
    for second in range(60):
        smiling = second % 10 >= 5
        for _ in range(30):
            time += 1 / 30
            values = np.array([3.5, 3.5, 0.2]) if smiling else np.array([0.8, 1.2, 0.2])
            baseline.update((values + random.normal(0, 0.04, 3)).clip(0, 5).tolist(), time)
    assert baseline.level == pytest.approx([0.8, 1.2, 0.2], abs=0.05)
    assert baseline.correct([0.8, 1.2, 0.2]) == pytest.approx([0, 0, 0], abs=0.06)
    assert baseline.correct([5.0, 5.0, 5.0]) == pytest.approx([5, 5, 5])
    assert baseline.correct([2.9, 3.1, 2.6]) == pytest.approx([2.5, 2.5, 2.5], abs=0.05)


def test_noise_of_a_face_that_rests_near_the_top_stays_noise():
    level = dict.fromkeys(SITES, 4.95)
    baseline = NeutralBaseline(Baseline(mode="held", level=level), SITES)
    assert baseline.correct([4.95, 4.98, 5.0]) == pytest.approx([0, 0.06, 0.1])
    assert NeutralBaseline(Baseline(mode="held", level=dict.fromkeys(SITES, 5.0)), SITES).correct([5.0] * 3) == [0] * 3


@pytest.mark.parametrize("rate", [5, 10, 30, 120])
def test_ready_after_so_many_seconds_at_any_rate(rate):
    baseline = NeutralBaseline(Baseline(ready_after=5), SITES)
    shown(baseline, seen(4.7, [1, 1, 1], rate=rate))
    assert not baseline.ready
    assert baseline.correct([2, 2, 2]) == [2, 2, 2]
    time = 4.7
    while not baseline.ready:
        time += 1 / rate
        baseline.update([1, 1, 1], time)
        assert time < 5.7
    assert baseline.level == [1, 1, 1]


def test_frames_that_cannot_be_trusted_teach_nothing():
    baseline = NeutralBaseline(QUICK, SITES)
    shown(baseline, seen(60, [4, 4, 4], trust=0.49))
    assert not baseline.ready
    for trust in (math.nan, -1.0):
        baseline.update([4, 4, 4], 100.0, trust)
    with pytest.raises(UsageError, match="min_trust"):
        baseline.hold()
    shown(baseline, seen(1, [1, 1, 1]))
    shown(baseline, seen(60, [4, 4, 4], trust=0.2))
    assert baseline.level == [1, 1, 1]


def test_a_gap_counts_for_a_frame_and_a_clock_that_goes_back_for_nothing():
    baseline = NeutralBaseline(Baseline(ready_after=1), SITES)
    for time in (0.0, 3600.0, 7200.0, 5.0, 5.1):
        baseline.update([1, 1, 1], time)
    assert not baseline.ready


def test_a_new_rest_is_learned_in_time():
    baseline = NeutralBaseline(Baseline(half_life=20), SITES)
    shown(baseline, seen(100, [2, 2, 2]))
    shown(baseline, seen(5, [1, 1, 1]))
    assert baseline.level == [2, 2, 2]
    shown(baseline, seen(20, [1, 1, 1]))
    assert baseline.level == [1, 1, 1]


def test_the_pose_that_is_held_is_that_of_the_last_moments():
    baseline = NeutralBaseline(Baseline(mode="held"), SITES)
    shown(baseline, seen(60, [3, 3, 3]))
    assert not baseline.ready, "a baseline that is to be held learns nothing by itself"
    assert baseline.correct([1, 1, 1]) == [1, 1, 1]
    shown(baseline, seen(5, [1, 0.5, 0]))
    baseline.hold()
    assert baseline.ready
    assert baseline.level == pytest.approx([1, 0.5, 0], abs=0.03)
    held = baseline.level
    shown(baseline, seen(60, [3, 3, 3]))
    assert baseline.level == held
    baseline.hold()
    assert baseline.level == pytest.approx([3, 3, 3], abs=0.01), "it can be held anew"


def test_holding_stops_learning_until_reset():
    baseline = shown(NeutralBaseline(QUICK, SITES), seen(10, [1, 1, 1]))
    baseline.hold()
    shown(baseline, seen(100, [3, 3, 3]))
    assert baseline.level == [1, 1, 1]
    baseline.reset()
    shown(baseline, seen(1, [3, 3, 3]))
    assert baseline.level == [3, 3, 3]


def test_the_mean_of_the_last_moments_calms_noise():
    baseline, random = NeutralBaseline(Baseline(mode="held"), SITES), np.random.default_rng(2)
    for index in range(300):
        baseline.update((1 + random.normal(0, 0.2, 3)).clip(0, 5).tolist(), index / 30)
    baseline.hold()
    assert baseline.level == pytest.approx([1, 1, 1], abs=0.2)


def test_it_needs_no_more_memory_after_hours():
    baseline = NeutralBaseline(Baseline(), SITES)
    random, sizes = np.random.default_rng(0), []
    for _ in range(2):
        for _ in range(3000):
            baseline._learn(random.uniform(0, 5, 3).tolist(), 1.0)
        sizes.append(len(pickle.dumps(baseline)))
    assert sizes[1] <= sizes[0] * 1.05
    assert all(math.isfinite(value) for value in baseline.level)


@pytest.mark.parametrize(
    ("values", "time"),
    [([1, 1], 1.0), ([1, 1, math.nan], 1.0), ([1, 1, math.inf], 1.0), ([1, 1, 1], math.nan), ([1, 1, 1], math.inf)],
)
def test_what_is_refused_changes_nothing(values, time):
    baseline = shown(NeutralBaseline(QUICK, SITES), seen(2, [1, 1, 1]))
    with pytest.raises(InputError):
        baseline.update(values, time)
    baseline.hold()
    assert baseline.level == [1, 1, 1]


def test_nothing_to_save_yet(tmp_path):
    with pytest.raises(UsageError, match=r"hold\(\)"):
        NeutralBaseline(Baseline(), SITES).save(tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


def saved(path, **changes):
    content = {"schema": 1, "kind": "neutral baseline", "levels": dict.fromkeys(SITES, 0.5), **changes}
    path.write_text(json.dumps(content))
    return path


def test_files_that_are_none(tmp_path):
    path = tmp_path / "anna.json"
    with pytest.raises(DataError, match="no file"):
        Baseline.from_file(path)
    whole = saved(path).read_text()
    Baseline.from_file(path)
    for text, message in {
        "": "cannot be read",
        whole[: len(whole) // 2]: "cannot be read",
        "[1, 2]": "not a neutral baseline",
        '{"schema": 1}': "not a neutral baseline",
    }.items():
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            Baseline.from_file(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        Baseline.from_file(path)
    with pytest.raises(DataError, match="cannot be read"):
        Baseline.from_file(tmp_path)


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_another_version(tmp_path, schema):
    with pytest.raises(DataError, match=r"schema .*\(1\)"):
        Baseline.from_file(saved(tmp_path / "a.json", schema=schema))


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, 5.1, "1", None, True, [1]])
def test_levels_that_are_none(tmp_path, value):
    with pytest.raises(DataError, match="intensity from 0 to 5"):
        Baseline.from_file(saved(tmp_path / "a.json", levels={"AU12_left": value}))
    with pytest.raises(UsageError, match="AU12_left"):
        Baseline(mode="held", level={"AU12_left": value})


@pytest.mark.parametrize("levels", [{}, [], None, 3])
def test_no_levels(tmp_path, levels):
    with pytest.raises(DataError, match="intensity from 0 to 5"):
        Baseline.from_file(saved(tmp_path / "a.json", levels=levels))


def test_levels_of_another_network(tmp_path):
    settings = Baseline.from_file(saved(tmp_path / "a.json", levels={"AU12_left": 1.0, "AU12_right": 1.0, "AU04": 0.5}))
    for refuses in (lambda: NeutralBaseline(settings, SITES), lambda: settings.check_sites(SITES)):
        with pytest.raises(DataError, match=r"lacks AU25 and has AU04"):
            refuses()
    settings.check_sites(("AU04", "AU12_left", "AU12_right"))
    Baseline().check_sites(SITES)


def test_a_folder_that_is_not_there(tmp_path):
    baseline = shown(NeutralBaseline(QUICK, SITES), seen(1, [1, 1, 1]))
    with pytest.raises(DataError, match="cannot be written"):
        baseline.save(tmp_path / "no" / "a.json")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = saved(tmp_path / "anna.json")
    before = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match="No space left"):
        shown(NeutralBaseline(QUICK, SITES), seen(1, [1, 1, 1])).save(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["anna.json"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("mode", "auto"), ("quantile", 1.1), ("quantile", -0.1), ("half_life", 0), ("half_life", math.inf)),
        *(("ready_after", -1), ("min_trust", 2), ("hold_over", 0)),
        *((name, None) for name in ("mode", "quantile", "half_life", "ready_after", "min_trust", "hold_over")),
        *((name, math.nan) for name in ("quantile", "half_life", "ready_after", "min_trust", "hold_over")),
    ],
)
def test_wrong_settings(name, value):
    with pytest.raises(UsageError, match=name):
        Baseline(**{name: value})


def test_wrong_levels():
    with pytest.raises(UsageError, match="mode='held'"):
        Baseline(level={"AU25": 1.0})
    for level in ("AU25", [1.0], {}):
        with pytest.raises(UsageError, match="by site"):
            Baseline(mode="held", level=level)


def test_settings_travel_to_other_processes(tmp_path):
    settings = Baseline.from_file(saved(tmp_path / "a.json"))
    assert pickle.loads(pickle.dumps(settings)) == settings
