"""Comparing with an earlier report."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dsrfau_edge.bench.comparison import compare, percent_of, read_base, require_same_device
from dsrfau_edge.bench.job import Row
from dsrfau_edge.errors import InputError, UsageError

ROW = Row("s.dsrfau", "crops", "onnxruntime", "fp32", threads=1, sha256="a", load_ms=50.0,
          figures={"p50": 2.0, "p90": 2.5, "p99": 4.0}, memory={"peak_bytes": 1000})  # fmt: skip
AROUND = {
    "machine": "x86_64", "board": {"model": None, "jetson": None}, "cpu": "A", "cores": 2, "governor": None,
    "turbo": None, "gpus": [],
}  # fmt: skip
SETTINGS = {"warm_up": "rule", "calls": 1000, "seconds": 5.0}


def base(*rows):
    return {"tool": "dsrfau-bench", "schema": 1, "rows": [row.to_dict() for row in rows], "environment": AROUND,
            "settings": SETTINGS}  # fmt: skip


def against(before, now, limit=10.0, figures=("p90",)):
    return compare(base(*before), [row.to_dict() for row in now], limit, figures)


def slower(p90):
    return replace(ROW, figures={**ROW.figures, "p90": p90})


@pytest.mark.parametrize(("p90", "regressed"), [(2.5, False), (2.74, False), (2.76, True), (1.0, False), (9.0, True)])
def test_the_headline_decides(p90, regressed):
    found = against([ROW], [slower(p90)])
    assert bool(found.regressed) is regressed
    assert found.changes[0].percent == pytest.approx(100 * (p90 / 2.5 - 1))
    assert ("REGRESSED" in found.lines()[0]) is regressed


def test_other_figures_where_they_are_asked_for():
    now = replace(ROW, load_ms=80.0, memory={"peak_bytes": 1000}, sha256="b")
    assert not against([ROW], [now]).regressed
    found = against([ROW], [now], figures=("p90", "load", "memory", "first"))
    assert [one.figure for one in found.regressed] == ["load"]
    assert [one.figure for one in found.changes] == ["p90", "load", "memory"]  # no first call was measured
    assert "the model is another one" in found.lines()[0]


def test_rows_on_one_side_are_told():
    other = replace(ROW, runtime="openvino")
    found = against([ROW, other], [ROW, replace(ROW, threads=2)])
    assert found.only_before == ("s.dsrfau, crops, openvino fp32, 1 thread, batch 1",)
    assert found.only_now == ("s.dsrfau, crops, onnxruntime fp32, 2 threads, batch 1",)
    assert len(found.lines()) == 3


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"threads": 2}, "threads: 1 then, 2 now"),
        ({"batch": 8}, "batch: 1 then, 8 now"),
        ({"device": "cuda"}, "device: None then, cuda now"),
        ({"bundle": "other.dsrfau"}, "bundle: s.dsrfau then, other.dsrfau now"),
        ({"figures": {}}, "no row"),
    ],
)
def test_runs_without_a_common_row_are_refused_with_the_reason(changes, named):
    with pytest.raises(UsageError, match=named):
        against([ROW], [replace(ROW, **changes)])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"cpu": "B"}, "CPU: A then, B now"),
        ({"cores": 4}, "usable cores: 2 then, 4 now"),
        ({"governor": "powersave"}, "governor: not readable then, powersave now"),
        ({"gpus": [{"name": "Orin"}]}, "GPUs"),
        ({"board": {"model": None, "jetson": {"power_mode": "15W"}}}, "nvpmodel"),
    ],
)
def test_other_devices_are_refused(changes, named):
    with pytest.raises(UsageError, match=named):
        require_same_device(base(ROW), {**AROUND, **changes}, SETTINGS)
    require_same_device(base(ROW), AROUND, SETTINGS)


def test_another_way_of_measuring_is_refused():
    with pytest.raises(UsageError, match="warm-up rule: rule then, other now"):
        require_same_device(base(ROW), AROUND, {**SETTINGS, "warm_up": "other"})
    with pytest.raises(UsageError, match="--iterations: 1000 then, 5 now"):
        require_same_device(base(ROW), AROUND, {**SETTINGS, "calls": 5})


def test_versions_that_changed_are_told():
    now = {**AROUND, "python": "3.12", "packages": {"onnxruntime": "1.32", "openvino": "2026.4"}}
    before = {**base(ROW), "environment": {**AROUND, "python": "3.12", "packages": {"onnxruntime": "1.31"}}}
    found = compare(before, [ROW.to_dict()], 10.0, environment=now)
    assert found.versions == ("onnxruntime 1.31 → 1.32", "openvino absent → 2026.4")
    assert "changed since: onnxruntime 1.31 → 1.32" in found.lines()


@pytest.mark.parametrize(("text", "value"), [("10%", 10), ("10", 10), (" 2.5 %", 2.5), ("0%", 0)])
def test_per_cent(text, value):
    assert percent_of(text) == value


@pytest.mark.parametrize("text", ["", "%", "-1%", "ten", "nan", "inf%"])
def test_what_is_no_share(text):
    with pytest.raises(UsageError, match="--max-regression"):
        percent_of(text)


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", '{"tool": "other"}', '{"tool": "dsrfau-bench", "schema": 99}',
        '{"tool": "dsrfau-bench", "schema": 1, "rows": 3, "environment": {}, "settings": {}}',
        '{"tool": "dsrfau-bench", "schema": 1, "rows": [{"bundle": "x"}], "environment": {}, "settings": {}}',
        '{"tool": "dsrfau-bench", "schema": 1, "rows": []}', "\udcff",
    ],
)  # fmt: skip
def test_what_is_no_report(tmp_path, content):
    path = tmp_path / "base.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="base.json"):
        read_base(path)


def test_a_report_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="absent.json"):
        read_base(tmp_path / "absent.json")


def test_a_report_as_it_was_written(tmp_path):
    path = tmp_path / "base.json"
    path.write_text(json.dumps(base(ROW)))
    assert not compare(read_base(path), [ROW.to_dict()], 0.0).regressed
