"""The measures of the read-back benchmark, with a tracker that is made up."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def readback() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks/readback.py"
    spec = importlib.util.spec_from_file_location("readback", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["readback"] = module
    spec.loader.exec_module(module)
    return module


def _pictures(au: str) -> list[dict[str, object]]:
    return [
        {"file": f"{who}{level}.png", "rig": "clay", "identity": who, "au": au, "variant": "still", "intensity": level}
        for who in ("a", "b")
        for level in (0.0, 1.0, 3.0, 5.0)
    ]


def test_a_tracker_that_follows_has_a_correlation_of_one(readback: ModuleType, tmp_path: Path) -> None:
    pictures = _pictures("AU12")
    level = {str(picture["file"]): float(picture["intensity"]) for picture in pictures}  # type: ignore[arg-type]

    def tracker(path: Path) -> dict[str, float]:
        offset = 0.3 if path.name.startswith("a") else 0.0  # people differ at rest
        return dict.fromkeys(readback.WATCHED["AU12"], offset + 0.1 * level[path.name])

    (row,) = readback.summarise(readback.read_back(tmp_path, pictures, tracker))
    assert row["mean"] == pytest.approx(1)
    assert row["pooled"] == pytest.approx(1)
    assert row["span"] == pytest.approx(0.5)
    assert "AU12" in readback.table([row])


def test_a_blind_tracker_and_a_lost_face_are_said(readback: ModuleType, tmp_path: Path) -> None:
    pictures = _pictures("AU04")
    told = readback.read_back(
        tmp_path,
        pictures,
        lambda path: None if path.name == "a0.0.png" else dict.fromkeys(readback.WATCHED["AU04"], 0.2),
    )
    (row,) = readback.summarise(told)
    assert (row["mean"], row["missed"], row["identities"]) == (0, 1, 2)


def test_correlation(readback: ModuleType) -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=20)
    other = one + rng.normal(size=20)
    assert readback.correlation(one, other) == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert readback.correlation(one, np.ones(20)) == 0


def test_the_recorded_command_names_no_folders_of_whoever_ran_it(readback: ModuleType) -> None:
    given = ["--landmarker", "/home/me/face.task", "--rig", "ict=/data/ict.npz", "--identities", "12"]
    expected = "python benchmarks/readback.py --landmarker face.task --rig ict=ict.npz --identities 12"
    assert readback._command(given) == expected
