"""Shares of the losses' gradients, on toy faces."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from toy_data import write_toy

pytest.importorskip("lightning", reason="training needs the train extra")

from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402
from dsrfau_edge.train.recipes import load_recipe  # noqa: E402
from dsrfau_edge.train.run import RunOptions, train_role  # noqa: E402

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gradient_shares.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("gradient_shares", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["gradient_shares"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shares")
    data = write_toy(folder / "toy", 40, identities=20)
    recipe = load_recipe("tiny", ["teacher.epochs=1", "data.workers=0"])
    train_role("teacher", load_prepared([data]), recipe, RunOptions(folder, report=lambda text: None))
    return folder, data


def test_shares_are_of_the_heatmaps_gradient(bench, runs, capsys):
    folder, data = runs
    command = [
        "--data",
        str(data),
        "--recipe",
        "tiny",
        "--teacher",
        str(folder / "teacher"),
        "--batches",
        "1",
        "--json",
    ]

    def table(*more):
        bench.main([*command, *more])
        return json.loads(capsys.readouterr().out)

    weighted, plain = table(), table("--set", "student.foreground=0.0")
    assert len(weighted) == 1 + 3 * 3
    assert weighted["heatmap"]["share"] == plain["heatmap"]["share"] == 1
    assert weighted["heatmap"]["gradient"] > 2 * plain["heatmap"]["gradient"], "an even mean is mostly of empty pixels"
    for name in set(weighted) - {"heatmap"}:
        assert weighted[name]["gradient"] == pytest.approx(plain[name]["gradient"], rel=1e-4), (
            "what others pull is the same"
        )
        share = plain[name]["gradient"] / plain["heatmap"]["gradient"]
        assert plain[name]["share"] == pytest.approx(share)


def test_the_table_of_a_checkpoint(bench, runs, capsys):
    folder, data = runs
    teacher = str(folder / "teacher")
    bench.main(["--data", str(data), "--recipe", "tiny", "--teacher", teacher, "--student", teacher, "--batches", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| heatmap |")
    assert lines[2].endswith("| 1.00 |")
    assert len(lines) == 12


def test_a_student_is_looked_at_as_the_losses_left_it(bench, runs, tmp_path, capsys):
    folder, data = runs
    command = [
        "--data",
        str(data),
        "--recipe",
        "tiny",
        "--teacher",
        str(folder / "teacher"),
        "--batches",
        "1",
        "--json",
    ]
    tables = []
    for spread in (1.0, 3.0):  # the same network, its intensities spread in the end or not
        recipe = load_recipe("tiny", ["student.epochs=1", "data.workers=0", f"student.spread={spread}"])
        out = tmp_path / f"spread-{spread:g}"
        train_role("student", load_prepared([data]), recipe, RunOptions(out, report=lambda text: None))
        bench.main([*command, "--student", str(out / "student")])
        tables.append(json.loads(capsys.readouterr().out))
    assert tables[0]["heatmap"]["gradient"] == pytest.approx(tables[1]["heatmap"]["gradient"], rel=1e-3)


def test_wrong_input_is_told(bench, runs, tmp_path, capsys):
    folder, data = runs
    command = ["--data", str(data), "--recipe", "tiny", "--teacher", str(folder / "teacher")]
    with pytest.raises(SystemExit, match="error: .*not a checkpoint"):
        bench.main([*command, "--student", str(tmp_path)])
    with pytest.raises(SystemExit):
        bench.main([*command, "--batches", "0"])
    assert "0 is no number from 1 on" in capsys.readouterr().err
