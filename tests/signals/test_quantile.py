"""The running quantile against one over everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge.signals.quantile import RunningQuantile

rows = st.lists(st.lists(st.floats(0, 5), min_size=2, max_size=2), min_size=1, max_size=60)


@given(rows, st.floats(0, 1), st.floats(1, 1e4))
def test_within_the_range_of_what_came_in(values, share, half_life):
    quantile = RunningQuantile(2, half_life)
    for row in values:
        quantile.add(row, 0.1)
    level = np.array(quantile.level(share))
    assert (level >= np.min(values, 0) - 1e-9).all()
    assert (level <= np.max(values, 0) + 1e-9).all()


@given(rows, st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_a_larger_share_is_no_lower(values, shares):
    quantile = RunningQuantile(2, 60)
    for row in values:
        quantile.add(row, 0.1)
    levels = np.array([quantile.level(share) for share in sorted(shares)])
    assert (np.diff(levels, axis=0) >= -1e-9).all()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_near_the_exact_quantile(share):
    values = np.random.default_rng(1).gamma(2, 0.4, (4000, 3)).clip(0, 5)
    quantile = RunningQuantile(3, 1e9)
    for row in values.tolist():
        quantile.add(row, 0.1)
    assert quantile.level(share) == pytest.approx(np.quantile(values, share, axis=0), abs=0.03)


def test_what_lies_long_back_is_forgotten_at_the_half_life():
    quantile = RunningQuantile(1, 10)
    for _ in range(1000):
        quantile.add([4.0], 0.1)
    for _ in range(100):  # one half-life: half of all weight is new now
        quantile.add([1.0], 0.1)
    assert quantile.level(0.48) == [1.0]
    assert quantile.level(0.52) == [4.0]
    for _ in range(20000):  # scaled back several times on the way
        quantile.add([2.0], 0.1)
    assert quantile.level(0.0) == [pytest.approx(2.0)]
    assert quantile.level(1.0) == [pytest.approx(2.0)]


def test_nothing_counted():
    assert RunningQuantile(2, 10).level(0.3) == [0.0, 0.0]
