"""The script that asks for wheels: what it asks, and what it makes of the answers. No network."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheels():
    spec = importlib.util.spec_from_file_location("wheels_script", ROOT / "scripts" / "wheels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_reads_the_projects_own_requirements(wheels):
    found = wheels.requirements((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert any(one.startswith("onnxruntime") for one in found[""])
    assert any(one.startswith("openvino") for one in found["openvino"])
    assert "dev" not in found
    assert not [one for needed in found.values() for one in needed if ";" in one]


def test_tags_are_those_of_the_system_and_older(wheels):
    found = wheels.tags("aarch64", "2.28")
    assert found[0] == "manylinux_2_28_aarch64"
    assert "manylinux_2_17_aarch64" in found
    assert "manylinux_2_31_aarch64" not in found
    assert found[-1] == "any"


def test_the_table_says_what_is_missing(wheels):
    have = {("a>=1", "3.10"): "1.2", ("a>=1", "3.11"): "1.3"}
    told = wheels.table(
        {"": ["a>=1"], "x": ["b", "a>=1"]}, lambda one, python: have.get((one, python)), ("3.10", "3.11")
    )
    assert told.splitlines()[2:] == ["| `a>=1` | always, x | 1.2 | 1.3 |", "| `b` | x | **none** | **none** |"]


@pytest.mark.parametrize(
    ("message", "there"),
    [("", "2.5"), ("ERROR: No matching distribution found for b", None), ("ERROR: Connection refused", SystemExit)],
)
def test_no_answer_is_not_no_wheel(wheels, monkeypatch, message, there):
    def run(line, **named):
        if not message:
            (Path(line[line.index("-d") + 1]) / "b-2.5-cp310-cp310-linux_aarch64.whl").touch()
        return subprocess.CompletedProcess(line, bool(message), "", message)

    monkeypatch.setattr(wheels.subprocess, "run", run)
    ask = wheels.ask_index(["any"])
    if there is SystemExit:
        with pytest.raises(SystemExit, match="refused"):
            ask("b", "3.10")
    else:
        assert ask("b", "3.10") == there


@pytest.mark.parametrize("wrong", [["--glibc", "new"], ["--extra", "none"]])
def test_wrong_options(wheels, wrong):
    with pytest.raises(SystemExit) as ended:
        wheels.main(wrong)
    assert ended.value.code == 2
