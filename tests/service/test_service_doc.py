"""What `docs/service.md` shows is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dsrfau_edge.service import memory, outlet, service
from dsrfau_edge.service.config import PORT, read_config
from dsrfau_edge.service.health import STALE_AFTER, Snapshot
from dsrfau_edge.service.metrics import metrics_page
from dsrfau_edge.service.outputs import KINDS

DOCUMENT = Path(__file__).parents[2] / "docs/service.md"
pytestmark = pytest.mark.skipif(not DOCUMENT.is_file(), reason="no docs beside the tests")


def text():
    return DOCUMENT.read_text(encoding="utf-8")


def test_the_configuration_is_one(tmp_path):
    pytest.importorskip("mcap", reason="of the mcap extra")
    pytest.importorskip("rosbags", reason="of the mcap extra")
    (block,) = re.findall(r"```toml\n(.*?)```", text(), re.DOTALL)
    (tmp_path / "serve.toml").write_text(block, encoding="utf-8")
    found = read_config(tmp_path / "serve.toml")
    assert [camera.name for camera in found.cameras] == ["front", "left"]
    assert [output.name for output in found.outputs] == ["controller", "mcap"]
    assert found.listen == ("127.0.0.1", PORT)


def test_every_kind_of_output_is_told():
    assert set(re.findall(r"^\| `(\w+)` \| `--", text(), re.MULTILINE)) == set(KINDS)


def test_every_metric_is_told():
    pytest.importorskip("prometheus_client", reason="of the serve extra")
    page = metrics_page(lambda: Snapshot(0.0, {}, {}), dict)[0]().decode()
    there = set(re.findall(r"^# TYPE (\S+) (?!untyped)", page, re.MULTILINE))
    told = set(re.findall(r"`(dsrfau_[a-z_]+)`", text()))
    assert there == told


def test_the_times_are_those_of_the_code():
    for words in (
        f"no older than {STALE_AFTER:.0f} s",
        f"every {service.SAVE_EVERY:.0f} s and at the end",
        f"{memory.WITHIN:.0f} s after that was last seen",
        f"`blocked` after {outlet.BLOCKED_AFTER:.0f} s",
        f"outputs write what waits ({service.END_OUTPUTS:.0f} s)",
        f"a single prediction for {service.PATIENCE:.0f} s",
    ):
        assert words in text(), words
