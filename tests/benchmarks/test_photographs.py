"""The photograph benchmark: its interval, its parts, its table."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "photographs.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("photographs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fishers_interval(bench):
    """r = .5 of 103 pairs: z = .5493 ± 1.96 / 10."""
    assert bench.fisher(0.5, 103) == pytest.approx([0.3393, 0.6323], abs=1e-3)
    assert bench.fisher(1.0, 103) is None
    assert bench.fisher(float("nan"), 103) is None
    assert bench.fisher(0.5, 3) is None


def test_parts_are_disjoint_and_the_whole(bench):
    photos = [Path(str(number)) for number in range(7)]
    one, other = bench.part(photos, "1/2"), bench.part(photos, "2/2")
    assert sorted([*one, *other]) == photos
    assert not set(one) & set(other)
    for text in ("0/2", "3/2", "1/0", "half", "1/2/3", ""):
        with pytest.raises(SystemExit, match="write I/N"):
            bench.part(photos, text)


def test_aus_are_compared_with_their_own_blendshapes(bench):
    """A student that follows the smile and is blind to the jaw, on three faces."""
    pytest.importorskip("torch", reason="training needs the train extra")
    names = ("mouthSmileLeft", "mouthSmileRight", "jawOpen")
    faces = [({"AU12": au, "AU26": 0.0}, dict(zip(names, (au / 5, au / 5, jaw), strict=True)))
             for au, jaw in ((0.0, 0.1), (2.0, 0.5), (4.0, 0.3))]  # fmt: skip
    rows = {row["au"]: row for row in bench.compare(faces)}
    assert set(rows) == {"AU12", "AU26"}
    assert rows["AU12"]["r"] == pytest.approx(1.0)
    assert rows["AU12"]["present"] == pytest.approx(2 / 3)
    assert rows["AU26"]["largest_score"] == 0.5
    assert "| AU12 | 1.00 |" in bench.markdown(list(rows.values()))
    assert bench.compare([]) == []


def test_a_folder_without_photographs_is_refused(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["photographs.py", "--photos", str(tmp_path), "--landmarker", "none.task"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "holds no photographs" in capsys.readouterr().err
