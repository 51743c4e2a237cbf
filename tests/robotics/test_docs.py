"""The Python of docs/robotics.md runs, and what it says of topics and options is so."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest
from calling import call

from dsrfau_edge.cli.robot_options import ROBOT_OPTIONS
from dsrfau_edge.robotics import messages

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/robotics.md").read_text(encoding="utf-8")


def film(path):
    portrait = cv2.imread(str(ROOT / "dsrfau_edge/assets/portrait.jpg"))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, portrait.shape[1::-1])
    for _ in range(4):
        writer.write(portrait)
    writer.release()


def test_the_python_runs(tmp_path, monkeypatch, capsys, tiny_bundle):
    for package in ("mcap", "rosbags"):
        pytest.importorskip(package, reason="of the mcap extra")
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    film(tmp_path / "talk.mp4")
    monkeypatch.chdir(tmp_path)
    recorded = call("predict", "talk.mp4", "--mcap", "talk.mcap", "--bundle", tiny_bundle, "--runtime", "onnxruntime")
    assert recorded.code == 0, recorded.err
    for block in blocks:
        exec(compile(block.replace("Predictor()", 'Predictor(runtime="onnxruntime")'), "robotics.md", "exec"), {})
    shown = capsys.readouterr().out.splitlines()
    assert sum(line.split()[0].endswith("/facs") for line in shown) == 8
    assert any("hri_msgs/msg/FacialLandmarks" in line for line in shown)


def test_every_option_and_type_is_told_and_no_other():
    def names(function):
        return {name for option in function.__click_params__ for name in option.opts}

    def probe():
        pass

    for option in ROBOT_OPTIONS:
        option(probe)
    known = names(probe)
    told = set(re.findall(r"--[a-z][a-z-]+", PAGE))
    assert known <= told
    assert told <= known | {"--connect", "--localhost", "--over", "--seconds"}
    for kind in re.findall(r"`(\w+_msgs/msg/\w+)`", PAGE):
        assert kind in {message.TYPE for message in messages.TYPES}
