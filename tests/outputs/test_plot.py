"""Plots over time: peaks survive, memory does not grow, files can be read."""

from __future__ import annotations

import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from faces import AUS, make_face, make_result
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.outputs.series import Series
from dsrfau_edge.signals.events import AuEvent


def values_at(level):
    return {au: level for au in AUS}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 5, width=32), min_size=1, max_size=300))
def test_extremes_survive_any_course(levels):
    series = Series(AUS, stretches=8)
    for index, level in enumerate(levels):
        series.add(index / 30, values_at(level))
    low, high = series.bounds("AU12")
    assert len(series.times) <= 8
    assert low.min() == np.float32(min(levels))
    assert high.max() == np.float32(max(levels))
    assert series.times[0, 0] == 0
    assert series.times[-1, 1] == (len(levels) - 1) / 30
    assert (np.diff(series.times.reshape(-1)) >= 0).all()
    assert series.frames == len(levels)


def test_a_peak_is_where_it_was():
    series = Series(AUS, stretches=64)
    for index in range(100_000):
        series.add(index, values_at(5.0 if index == 70_000 else 1.0))
    _, high = series.bounds("AU25")
    (at,) = np.flatnonzero(high == 5)
    first, last = series.times[at]
    assert first <= 70_000 <= last
    assert last - first < 100_000 / 32


def plot(path, frames=60, faces=2, source="clip.mp4"):
    from dsrfau_edge.outputs.plot import Plot

    output = Plot(path, AUS)
    for index in range(frames):
        level = 2 + 2 * np.sin(index / 10)
        found = [make_face(number, (0.2, 0.6, level, level, 1.0)) for number in range(faces)]
        result = make_result(*found, index=index, timestamp=index / 30, source=source)
        output.write(replace(result, events=(AuEvent("onset", 0, "AU12", index / 30, level),) * (index == 20)))
    output.close()


@pytest.fixture(autouse=True)
def _needs_matplotlib():
    pytest.importorskip("matplotlib", reason="needs the extra viz")


def test_a_png(tmp_path):
    plot(tmp_path / "one.png", faces=1)
    plot(tmp_path / "two.png")
    one, two = (cv2.imread(str(tmp_path / name)) for name in ("one.png", "two.png"))
    assert one[:, -8:].min() == 255, "nothing stands over the edge"
    assert two.shape[1] > one.shape[1], "a column a face"
    assert two.std() > 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_an_svg_has_its_words_and_is_the_same_again(tmp_path):
    plot(tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert "<svg" in text
    assert "<!-- AU12 -->" in text
    assert "<!-- face 1 -->" in text
    assert "<dc:date>" not in text


def test_many_faces_come_and_go(tmp_path):
    from dsrfau_edge.outputs.plot import Plot

    output = Plot(tmp_path / "many.svg", AUS)
    for index in range(200):
        known = make_face(0)
        output.write(make_result(known, make_face(1 + index), index=index, timestamp=index / 30, source="c.mp4"))
    assert len(output._series) == 32
    assert output._series[0].frames == 200
    output.close()
    assert "197 more faces" in (tmp_path / "many.svg").read_text()


def test_no_face_and_no_frame(tmp_path):
    plot(tmp_path / "none.svg", faces=0)
    assert "no face" in (tmp_path / "none.svg").read_text()
    plot(tmp_path / "nothing.png", frames=0)
    assert not (tmp_path / "nothing.png").exists()


def test_frames_without_a_source_are_drawn(tmp_path):
    plot(tmp_path / "unnamed.png", source="")
    assert cv2.imread(str(tmp_path / "unnamed.png")).std() > 5


def test_names_that_are_no_plots(tmp_path):
    for name in ("plot.jpg", "plot", "plot.pdf"):
        with pytest.raises(UsageError, match=r"\.svg"):
            plot(tmp_path / name)


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RuntimeUnavailable, match=r"dsrfau-edge\[viz\]"):
        plot(tmp_path / "x.png")
