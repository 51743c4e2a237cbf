"""The code in `docs/signals.md` runs, and its defaults are the defaults."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from dsrfau_edge.signals.baseline import Baseline
from dsrfau_edge.signals.one_euro import OneEuro
from dsrfau_edge.signals.presence import Hysteresis

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/signals.md"
pytestmark = pytest.mark.skipif(not DOCUMENT.is_file(), reason="no docs beside the tests")


def test_the_code_runs(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    shutil.copy(ROOT / "dsrfau_edge/assets/portrait.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks:
        exec(compile(block, DOCUMENT.name, "exec"), names)
    shown = capsys.readouterr().out
    assert "onset 0 AU12" in shown
    assert "offset 0 AU12" in shown, "the smile that stays is taken for rest"
    assert (tmp_path / "anna.json").is_file()
    assert names["face"]["AU12"] < 0.3 < 3 < names["face"].raw["AU12"]
    assert not names["baseline"].ready
    names["predictor"].close()


def test_the_defaults():
    text = DOCUMENT.read_text(encoding="utf-8")
    smooth, baseline, presence = OneEuro(), Baseline(), Hysteresis()
    for words in (
        f"min_cutoff={smooth.min_cutoff}, beta={smooth.beta}, derivative_cutoff={smooth.derivative_cutoff}",
        f"for {baseline.quantile:.0%} of the time (`quantile`)".replace("%", " %"),
        f"before {baseline.ready_after:g} s of them (`ready_after`)",
        f"on from intensity {presence.on:g}, off below {presence.off:g}",
        f"fallen by `apex_fall` ({presence.apex_fall:g})",
    ):
        assert words in text
    assert baseline.half_life == 120, "two trusted minutes"
    assert baseline.hold_over == 1, "the last second"


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", DOCUMENT.read_text(encoding="utf-8")):
        assert "://" in target or (DOCUMENT.parent / target).is_file(), target
