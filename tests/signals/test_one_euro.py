"""The One-Euro filter: what it keeps, what it follows, what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge.errors import InputError, UsageError
from dsrfau_edge.signals.one_euro import OneEuro, OneEuroFilter

intensity = st.floats(0, 5)
gap = st.one_of(st.floats(1e-6, 0.5), st.sampled_from([0.0, 5e-324, 1e-300, 1e4, 1e300]))
settings = st.builds(
    OneEuro,
    min_cutoff=st.floats(1e-6, 100),
    beta=st.floats(0, 100),
    derivative_cutoff=st.floats(1e-6, 100),
)


def run(one, rows, gaps):
    time, out = 0.0, []
    for row, step in zip(rows, gaps, strict=True):
        time += step
        out.append(one(row, time))
    return out


def series(minimum=1, size=None):
    return st.integers(minimum, 30).flatmap(
        lambda count: st.tuples(
            st.lists(st.lists(intensity, min_size=size or 2, max_size=size or 2), min_size=count, max_size=count),
            st.lists(gap, min_size=count, max_size=count),
        )
    )


@given(settings, series())
def test_stays_in_the_range_of_what_came_in(chosen, given_series):
    rows, gaps = given_series
    for index, out in enumerate(run(OneEuroFilter(chosen), rows, gaps)):
        seen = np.array(rows[: index + 1])
        assert (np.array(out) >= seen.min(0) - 1e-9).all()
        assert (np.array(out) <= seen.max(0) + 1e-9).all()


@given(settings, intensity, st.lists(gap, min_size=1, max_size=30))
def test_a_constant_stays(chosen, value, gaps):
    assert run(OneEuroFilter(chosen), [[value]] * len(gaps), gaps) == [[value]] * len(gaps)


@given(settings, intensity, intensity, st.lists(gap, min_size=2, max_size=40))
def test_a_step_is_followed_without_turning_back_or_overshooting(chosen, low, high, gaps):
    out = [row[0] for row in run(OneEuroFilter(chosen), [[low]] + [[high]] * (len(gaps) - 1), gaps)]
    left = np.abs(np.array(out) - high)
    assert (np.diff(left) <= 1e-9).all()
    assert (np.sign(np.array(out) - high) * np.sign(low - high) >= 0).all() or left.min() < 1e-9


@given(settings, series(size=3))
def test_values_do_not_mix(chosen, given_series):
    rows, gaps = given_series
    together = run(OneEuroFilter(chosen), rows, gaps)
    for place in range(3):
        alone = run(OneEuroFilter(chosen), [[row[place]] for row in rows], gaps)
        assert [row[place] for row in together] == [row[0] for row in alone]


@given(settings, series(), series())
def test_after_a_reset_it_is_new(chosen, before, after):
    used = OneEuroFilter(chosen)
    run(used, *before)
    used.reset()
    assert run(used, *after) == run(OneEuroFilter(chosen), *after)


def test_the_papers_formulas_at_even_and_uneven_times():
    chosen = OneEuro(min_cutoff=1.0, beta=0.3, derivative_cutoff=2.0)
    random = np.random.default_rng(4)
    values, times = random.uniform(0, 5, 50), np.cumsum(random.uniform(0.005, 0.2, 50))
    one, estimate, speed = OneEuroFilter(chosen), values[0], 0.0

    def alpha(interval, cutoff):
        return 1 / (1 + 1 / (2 * math.pi * cutoff) / interval)

    assert one([values[0]], times[0]) == [values[0]]
    for index in range(1, 50):
        interval = times[index] - times[index - 1]
        share = alpha(interval, 2.0)
        speed = share * (values[index] - estimate) / interval + (1 - share) * speed
        share = alpha(interval, 1.0 + 0.3 * abs(speed))
        estimate = share * values[index] + (1 - share) * estimate
        assert one([values[index]], times[index]) == pytest.approx([estimate], abs=1e-9)


@pytest.mark.parametrize("rate", [15, 30, 60])
def test_the_defaults_follow_a_step_from_0_to_4_and_calm_noise(rate):
    one, out = OneEuroFilter(OneEuro()), []
    for index in range(2 * rate):
        out.append(one([0.0 if index < rate else 4.0], index / rate)[0])
    limit = 0.12 if rate >= 30 else 0.201  # seconds from the last frame before the step
    assert out[rate - 1 + math.floor(limit * rate)] >= 0.9 * 4
    noise = np.random.default_rng(0).normal(2, 0.137, 3000)  # the noisiest AU of a face in good light
    one = OneEuroFilter(OneEuro())
    calm = [one([value], index / rate)[0] for index, value in enumerate(noise)]
    assert np.std(calm[rate:]) <= 0.05


def test_no_time_no_change():
    one = OneEuroFilter(OneEuro())
    one([1.0], 0.0)
    before = one([2.0], 0.1)
    assert one([5.0], 0.1) == before


@pytest.mark.parametrize(
    ("row", "time"),
    [([math.nan, 1.0], 0.2), ([math.inf, 1.0], 0.2), ([1.0], 0.2), ([1.0, 1.0], math.nan), ([1.0, 1.0], 0.05)],
)
def test_what_is_refused_changes_nothing(row, time):
    one, twin = OneEuroFilter(OneEuro()), OneEuroFilter(OneEuro())
    for each in (one, twin):
        each([1.0, 2.0], 0.0)
        each([1.5, 2.5], 0.1)
    with pytest.raises(InputError):
        one(row, time)
    assert one([3.0, 4.0], 0.3) == twin([3.0, 4.0], 0.3)


def test_the_row_that_was_given_back_is_the_callers_own():
    one = OneEuroFilter(OneEuro())
    first = one([1.0], 0.0)
    first[0] = 9.0
    assert one([1.0], 0.1) == [1.0]


@pytest.mark.parametrize("name", ["min_cutoff", "beta", "derivative_cutoff"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1", None, True])
def test_wrong_settings(name, value):
    with pytest.raises(UsageError, match=name):
        OneEuro(**{name: value})


@pytest.mark.parametrize("name", ["min_cutoff", "derivative_cutoff"])
def test_a_cutoff_of_zero_would_never_move(name):
    with pytest.raises(UsageError, match=name):
        OneEuro(**{name: 0.0})
    OneEuro(beta=0.0)
