"""`dsrfau-synth sheet`, `ladder` and `stats`, through exit codes and files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from calling import call
from toy_data import write_toy


def test_stats_tells_and_draws(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "set")
    called = call("synth", "stats", folder, "--json", "-o", tmp_path / "stats.png")
    assert called.code == 0, called.err
    assert json.loads(called.out)["faces"] == 32
    assert cv2.imread(str(tmp_path / "stats.png")) is not None
    shown = call("synth", "stats", folder)
    assert shown.code == 0
    assert "32 faces of 8 identities" in shown.out


def test_a_sheet_of_a_set(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "set")
    assert call("synth", "sheet", folder, "-o", tmp_path / "sheet.jpg", "--count", 6, "--columns", 3).code == 0
    assert cv2.imread(str(tmp_path / "sheet.jpg")) is not None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("stats", "{absent}"), 5, "dsrfau-synth"),
        (("stats", "{set}", "-o", "{folder}/stats.gif"), 2, ".png"),
        (("stats", "{set}", "-o", "{folder}/no/stats.png"), 2, "no folder"),
        (("sheet", "{set}", "-o", "{folder}"), 2, "picture"),
        (("sheet", "{set}", "-o", "{folder}/a.jpg", "--rig", "makehuman"), 2, "--rig"),
        (("ladder", "AU99", "-o", "{folder}/a.jpg"), 2, "Unknown action unit"),
        (("ladder", "AU12", "-o", "{folder}/a.jpg", "--rig", "clay"), 2, "Known: makehuman"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    places = {"absent": tmp_path / "absent", "set": write_toy(tmp_path / "set"), "folder": tmp_path}
    called = call("synth", *(argument.format(**places) for argument in arguments))
    assert (called.code, message in called.err) == (code, True), called.err
    assert not list(tmp_path.glob("*.part"))
