"""The code in the README runs, and what the documents link to is there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md"), *ROOT.glob("ros2/**/*.md")]
)


def film(path: Path) -> None:
    """Two seconds of the sample portrait."""
    portrait = cv2.imread(str(ROOT / "dsrfau_edge/assets/portrait.jpg"))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, portrait.shape[1::-1])
    for _ in range(8):
        writer.write(portrait)
    writer.release()


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    shutil.copy(ROOT / "dsrfau_edge/assets/portrait.jpg", tmp_path)
    film(tmp_path / "clip.avi")
    monkeypatch.chdir(tmp_path)
    for block in blocks:  # there is no camera here
        exec(compile(block.replace("live(0,", 'live("clip.avi",'), "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "AU12" in shown
    assert "left and right corner" in shown
    assert "onset AU12 of face 0" in shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (page.parent / target).exists()] == []
