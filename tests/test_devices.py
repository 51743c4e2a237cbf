"""docs/devices.md and docs/ros2.md: what they say of our commands and parameters is so, and every command is marked."""

from __future__ import annotations

import os
import re
import shlex
import stat
from dataclasses import fields
from pathlib import Path

import click
import cv2
import pytest

from dsrfau_edge.cli.main import VERBS, _load
from dsrfau_edge.robotics.node_images import ENCODINGS
from dsrfau_edge.robotics.node_settings import NodeSettings
from dsrfau_edge.robotics.node_status import Counts

ROOT = Path(__file__).resolve().parents[1]
PAGES = {name: (ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("devices", "ros2")}
PORTRAIT = cv2.imread(str(ROOT / "dsrfau_edge/assets/portrait.jpg"))


def commands(name):
    """Indented lines that are no Python, each with its mark."""
    without = re.sub(r"```python\n.*?```", "", PAGES[name], flags=re.DOTALL)
    lines = [line.strip() for line in without.splitlines() if line.startswith("    ") and line.strip()]
    return [line.rpartition("# ")[::2] for line in lines]


@pytest.mark.parametrize("name", PAGES)
def test_every_command_says_whether_it_was_run(name):
    found = commands(name)
    assert len(found) > 8
    for line, mark in found:
        assert line, mark
        assert mark in ("checked here", "not run by us", "checked here against the stand-in"), line


@pytest.mark.parametrize(
    "words",
    [shlex.split(line) for name in PAGES for line, _ in commands(name) if line.startswith("dsrfau-")],
    ids=lambda words: " ".join(words)[:60],
)
def test_our_commands_have_these_options(words):
    verb = words[0].removeprefix("dsrfau-")
    if verb == "ros":
        names = {item.name for item in fields(NodeSettings)}
        assert {word.partition(":=")[0] for word in words if ":=" in word} <= names | {"image"}
        return
    assert verb in VERBS
    known = {name for parameter in _load(verb).params if isinstance(parameter, click.Option) for name in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_the_wheels_are_those_of_our_requirements():
    import importlib.util
    import sys

    spec = importlib.util.spec_from_file_location("wheels_of_the_guide", ROOT / "benchmarks/wheels.py")
    wheels = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = wheels
    spec.loader.exec_module(wheels)
    pyproject = wheels.tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    told = dict(re.findall(r"^\| `([^`]+)` \| (\w+) \|", PAGES["devices"], re.MULTILINE))
    assert told == {name: extra or "base" for name, extra in wheels.requirements(pyproject).items()}


def test_a_camera_read_by_gstreamers_own_program(tmp_path, monkeypatch, capsys):
    """The guide's Python, with a program of that name that writes two pictures and ends."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGES["devices"], re.DOTALL)
    picture = cv2.resize(PORTRAIT, (1280, 720))
    (tmp_path / "pictures").write_bytes(picture.tobytes() * 2)
    program = tmp_path / "gst-launch-1.0"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/arguments\ncat {tmp_path}/pictures\n', encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    ended = block.replace("Predictor()", 'Predictor("dsrfau-nano", runtime="onnxruntime")')
    ended = ended.replace("live(pictures)", "live(pictures, live=LiveOptions(attempts=0))")
    ended = ended.replace("import Predictor", "import LiveOptions, Predictor")
    assert ended.count("LiveOptions") == 2
    exec(compile(ended, "devices.md", "exec"), {})
    assert "[" in capsys.readouterr().out
    (arguments,) = (tmp_path / "arguments").read_text(encoding="utf-8").splitlines()
    assert arguments.startswith("-q nvarguscamerasrc ! video/x-raw(memory:NVMM)")
    assert arguments.endswith("! fdsink")


def test_every_parameter_encoding_and_count_of_the_node_is_told():
    page = PAGES["ros2"]
    live, fixed = re.search(r"\|---\|---\|\n\| (`intensity_scale`.*?) \| (.*?) \|\n", page).groups()
    for told, wanted in ((live, True), (fixed, False)):
        assert re.findall(r"`(\w+)`", told) == [
            item.name for item in fields(NodeSettings) if item.metadata["live"] is wanted
        ]
    (encodings,) = re.findall(r"\*\*Encodings\*\*: (.*?)Padded rows", page, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", encodings)) == set(ENCODINGS)
    (counts,) = re.findall(r"`fps`.*$", page, re.DOTALL)
    assert set(Counts.__slots__) <= set(re.findall(r"`(\w+)`", counts))
