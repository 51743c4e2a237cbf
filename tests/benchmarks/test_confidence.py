"""The measures of the confidence benchmark, on observations whose truth is known."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from portrait_data import write_portraits

from dsrfau_edge.action_units import ALL_AUS, site_centres, sites_of
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
from dsrfau_edge.face.frontend import FaceFrontEnd
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.network import ASSETS
from dsrfau_edge.face.quality import Quality
from dsrfau_edge.face.reliability import HARDSHIPS
from dsrfau_edge.train.confidence.degradation import Circumstances
from dsrfau_edge.train.confidence.observing import Observations
from dsrfau_edge.train.confidence.study import study
from dsrfau_edge.train.data.prepared import load_prepared

SITES = sites_of(ALL_AUS)


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks/confidence.py"
    spec = importlib.util.spec_from_file_location("confidence_benchmark", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["confidence_benchmark"] = module
    spec.loader.exec_module(module)
    return module


def observations(count: int = 1200, **changes: Any) -> Observations:
    """Faces of 10 to 40 px between the eyes, wrong below 20; what is hidden is wrong too."""
    rng = np.random.default_rng(0)
    eyes = rng.uniform(10, 40, count)
    truths = np.where(rng.random((count, 2)) < 0.5, 3.0, 0.0)
    hidden = rng.random((count, 2)) < 0.2
    wrong = (eyes < 20)[:, None] | hidden | (rng.random((count, 2)) < 0.05)
    hard = np.zeros((count, len(HARDSHIPS)))
    hard[:, 0] = np.log2(48 / eyes).clip(0)
    evidence = np.stack([rng.random((count, 2)) * 0.1 + hidden, *rng.random((3, count, 2))], 1)
    parts: dict[str, Any] = {
        "aus": ("AU12", "AU25"), "hardships": hard, "readings": np.where(wrong, 3 - truths, truths), "truths": truths,
        "before": rng.random((count, 2)), "seen": np.ones((count, 2), bool), "hidden": hidden, "evidence": evidence,
        "identities": np.array([f"p{k % 40}" for k in range(count)]), "rigs": np.array([""] * count),
        "qualities": tuple(Quality(float(one), 1.0, 0.4, 0.0, ()) for one in eyes),
        "circumstances": (Circumstances(40.0),) * count, "poses": np.zeros((count, 3)), "missed": 0,
    }  # fmt: skip
    return Observations(**{**parts, **changes})


def test_errors_are_told_by_what_made_them(benchmark: ModuleType) -> None:
    rows = [row for row in benchmark.errors_by(observations()) if row[0].startswith("eye distance")]
    small = [error for _, _, high, _, error, _ in rows if high <= 20]
    large = [error for _, low, _, _, error, _ in rows if low >= 20]
    assert len(small) >= 3
    assert len(large) >= 2
    assert min(small) > 2 * max(large)


def test_half_of_the_faces_show_each_unit_in_the_mean_error(benchmark: ModuleType) -> None:
    observed = observations(400)
    truths = np.where(np.arange(400)[:, None] < 40, 3.0, 0.0) * np.ones((1, 2))
    observed = replace(observed, truths=truths, readings=np.zeros((400, 2)))
    assert benchmark.mean_error(observed) == pytest.approx((1.5, 0.5))


def test_evidence_that_tells_what_is_hidden_says_so(benchmark: ModuleType) -> None:
    lines = benchmark.evidence_table(observations()).splitlines()
    cells = {line.split("|")[1].strip(): line.split("|")[2:4] for line in lines[2:]}
    base, distance, spread = (float(cells[name][0]) for name in list(cells)[:3])
    assert distance > base + 0.05
    assert abs(spread - base) < 0.03
    assert float(cells["+ distance"][1]) > 0.95
    assert abs(float(cells["+ spread"][1]) - 0.5) < 0.06


def test_tables_and_picture_are_made(benchmark: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = study(observations())
    text = benchmark.table(found)
    assert "| **all** |" in text
    assert "| AU25 |" in text
    assert "behind something: right" in benchmark.covered(found)
    benchmark.picture({"toy": found}, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_heatmap_whose_peak_is_at_its_site_is_at_distance_0(benchmark: ModuleType) -> None:
    image = read_image(ASSETS.parent / "portrait.jpg")
    (face,) = FaceFrontEnd(DEFAULT_TEMPLATE, 128)(image)
    flat = face.landmarks.points[:, :2] @ face.matrix[:, :2].T + face.matrix[:, 2]
    cells = ((site_centres(flat.astype(np.float32), SITES) + 0.5) / 4 - 0.5).round().astype(int)
    maps = np.zeros((1, len(SITES), 32, 32), np.float32)
    for number, (x, y) in enumerate(cells):
        maps[0, number, y, x] = 3
    subject = SimpleNamespace(aus=ALL_AUS, sites=[site.name for site in SITES])
    found = benchmark.evidence_of(subject)(face, SimpleNamespace(heatmaps=maps))
    assert found.shape == (len(benchmark.EVIDENCE), len(ALL_AUS))
    assert found[0].max() < 0.8
    assert found[1].max() < 1e-3  # one cell has no spread
    assert found[2].max() < 1e-2


def test_confidences_of_a_predictor_are_scored_where_it_finds_a_face(benchmark: ModuleType, tmp_path: Path) -> None:
    data = load_prepared([write_portraits(tmp_path, 40)])
    truths = {round(float(value), 1) for value in data.intensities.ravel()}
    assert truths == {0.0, 1.5, 3.0, 4.5}
    calls: list[int] = []

    def blind(picture: np.ndarray[Any, Any]) -> list[Any]:
        calls.append(len(picture))
        face = SimpleNamespace(confidences=dict.fromkeys(ALL_AUS, 0.5), aus=dict.fromkeys(ALL_AUS, 0.0))
        face.confidences["AU45"] = 0.0
        return [face] if len(calls) % 2 else []

    text = benchmark.through_predictor(blind, data, range(40), ALL_AUS)
    assert len(calls) == 40
    assert text.startswith("20 faces in 40 pictures, 95.0% of the AUs")
    assert "right 0.500, ECE 0.000, Brier 0.250, AUC 0.500" in text
    assert "no face" in benchmark.through_predictor(lambda _: [], data, range(2), ALL_AUS)
