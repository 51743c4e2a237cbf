"""The distillation benchmark: pairs and intervals by hand, and a whole run on toy faces of two rigs."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from toy_data import toy_sample, write_toy

pytest.importorskip("lightning", reason="training needs the train extra")
pytest.importorskip("scipy", reason="intervals need the synth extra")
pytest.importorskip("matplotlib", reason="the picture needs the synth extra")

from dsrfau_edge.checkpoint import WEIGHTS  # noqa: E402
from dsrfau_edge.shards import read_index, write_index, write_shard  # noqa: E402
from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402
from dsrfau_edge.train.recipes import load_recipe  # noqa: E402
from dsrfau_edge.train.run import RunOptions, train_role  # noqa: E402

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "distillation.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("distillation", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["distillation"] = module
    spec.loader.exec_module(module)
    return module


def row(arm, seed, value):
    metrics = {"icc": value, "pcc": value, "mae": 1 - value}
    return {"arm": arm, "seed": seed, "new identities": metrics, "new rig": metrics}


def test_gains_are_paired_by_seed(bench):
    """Seeds differ far more than arms do: only the pairing shows that every seed gained."""
    rows = [row("alone", seed, value) for seed, value in enumerate((0.1, 0.5, 0.9))]
    rows += [row("all", seed, value) for seed, value in enumerate((0.13, 0.52, 0.94))]
    alone, everything = bench.summarise(rows)
    assert alone["new rig"]["icc"]["gain"] is None
    icc = everything["new rig"]["icc"]
    assert icc["gain"] == pytest.approx(0.03)
    # mean 0.03, standard deviation 0.01, t(2) = 4.303: 0.03 ± 4.303 · 0.01 / √3
    assert icc["gain_interval"] == pytest.approx([0.00516, 0.05484], abs=1e-4)
    assert icc["interval"][0] < 0 < icc["interval"][1]
    assert everything["new identities"]["mae"]["gain"] == pytest.approx(-0.03)


def test_one_seed_has_no_interval(bench, tmp_path):
    assert bench.interval([0.5]) is None
    (only,) = bench.summarise([row("all", 0, 0.5)])
    assert only["new rig"]["icc"]["gain"] is None
    bench.plot({"arms": [only]}, tmp_path / "nothing.png")
    assert not (tmp_path / "nothing.png").exists()
    pair = bench.summarise([row("alone", 0, 0.5), row("all", 0, 0.6)])
    bench.plot({"arms": pair}, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 5000


def test_a_whole_run_and_what_is_kept(bench, tmp_path, capsys):
    folder = write_toy(tmp_path / "toy", 40, identities=20)
    samples = [
        replace(sample, meta={**sample.meta, "rig": "ict" if number % 2 else "makehuman"})
        for number, sample in enumerate(toy_sample(number, identities=20) for number in range(40))
    ]
    write_index(folder, replace(read_index(folder), shards=(write_shard(folder, "shard-000000.tar", samples),)))
    command = ["--data", str(folder), "-o", str(tmp_path / "out"), "--recipe", "tiny", "--seeds", "2",
               "--held-out", "0.3", "--arm", "alone", "--arm", "all"]  # fmt: skip
    run = subprocess.run([sys.executable, SCRIPT, *command, "--jobs", "2"], capture_output=True, text=True, check=True)
    report = json.loads((tmp_path / "out" / "distillation.json").read_text())
    assert [(arm["arm"], arm["seeds"]) for arm in report["arms"]] == [("alone", 2), ("all", 2)]
    assert report["samples"]["new rig"] == 20
    assert "| all | 2 |" in run.stdout
    assert (tmp_path / "out" / "distillation.png").stat().st_size > 5000
    weights = tmp_path / "out" / "all-1" / "student" / WEIGHTS
    before = weights.stat().st_mtime_ns
    bench.main(command)
    assert capsys.readouterr().out == run.stdout
    assert weights.stat().st_mtime_ns == before

    # The same teacher for students of few persons; no rig is left out, so that there is nothing to say of a new one.
    command = [*command[:2], "-o", str(tmp_path / "few"), *command[4:], "--teacher", str(tmp_path / "out" / "teacher"),
               "--rig", "none", "--set", "data.held_out=0.6", "--spread", "3"]  # fmt: skip
    bench.main([*command, "--spread", "1"])
    few = json.loads((tmp_path / "few" / "distillation.json").read_text())
    splits = {"new identities", "new identities, spread to 1", "new identities, spread to 3"}
    assert set(few["arms"][0]) == {"arm", "seeds", *splits}
    mean = {split: few["arms"][0][split]["mae"]["mean"] for split in splits}
    assert mean["new identities, spread to 1"] == pytest.approx(mean["new identities"]), "the recipe does not spread"
    assert mean["new identities, spread to 3"] != pytest.approx(mean["new identities"])
    assert "new rig" not in capsys.readouterr().out
    data = load_prepared([folder])
    assert few["samples"]["train"] == len(data.split("train", held_out=0.6))
    assert few["samples"]["new identities"] == len(data.split("held-out", held_out=0.3))
    assert not (tmp_path / "few" / "teacher").exists()
    assert few["teacher"]["cpu_latency"] == report["teacher"]["cpu_latency"], "another network"

    # Scores that were kept may be of more spreads than are asked for now.
    bench.main(command)
    fewer = json.loads((tmp_path / "few" / "distillation.json").read_text())
    assert set(fewer["arms"][0]) == {"arm", "seeds", "new identities", "new identities, spread to 3"}


@pytest.mark.parametrize("limit", ["0.9", "nan", "inf", "wide"])
def test_no_spread_that_shrinks(bench, tmp_path, capsys, limit):
    with pytest.raises(SystemExit):
        bench.main(["--data", str(tmp_path), "-o", str(tmp_path / "out"), "--spread", limit])
    assert f"{limit} is no limit from 1 on" in capsys.readouterr().err


def test_persons_are_scored_that_were_not_trained_on(bench, tmp_path):
    folder, out = write_toy(tmp_path / "toy", 40, identities=20), tmp_path / "from elsewhere"
    data = load_prepared([folder])
    recipe = load_recipe("tiny", ["data.workers=0", "data.held_out=0.3", "teacher.epochs=1"])
    train_role("teacher", data, recipe, RunOptions(out, report=lambda text: None))
    command = ["--data", str(folder), "-o", str(tmp_path / "out"), "--recipe", "tiny", "--seeds", "1", "--rig", "none",
               "--arm", "alone", "--arm", "alone"]  # fmt: skip
    with pytest.raises(SystemExit, match="student of this recipe is trained on"):
        bench.main([*command, "--held-out", "0.6", "--set", "data.held_out=0.3"])
    with pytest.raises(SystemExit, match="teacher is trained on"):
        bench.main([*command, "--held-out", "0.6", "--teacher", str(out / "teacher")])
    with pytest.raises(SystemExit, match="error: .*nothing is not a checkpoint"):
        bench.main([*command, "--held-out", "0.3", "--teacher", str(tmp_path / "nothing")])
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="error: .*file"):
        bench.main([*command, "-o", str(tmp_path / "file")])
    assert not list((tmp_path / "out").iterdir())
    # One arm asked for twice is one; scores of other persons are not taken for those asked for.
    for held_out in (0.3, 0.2):
        bench.main([*command, "--held-out", f"{held_out}", "--set", "data.held_out=0.3",
                    "--teacher", str(out / "teacher")])  # fmt: skip
        report = json.loads((tmp_path / "out" / "distillation.json").read_text())
        assert report["arms"][0]["seeds"] == 1
        assert report["samples"]["new identities"] == len(data.split("held-out", held_out=held_out))
