"""What the bundled students promise, on a photograph and on every runtime here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dsrfau_edge import Predictor
from dsrfau_edge.action_units import ALL_AUS
from dsrfau_edge.bundle import Bundle, bundled_names, default_bundle
from dsrfau_edge.errors import BundleError
from dsrfau_edge.runtimes.base import SessionOptions
from dsrfau_edge.runtimes.registry import choose, runtimes

ASSETS = Path(__file__).resolve().parents[1] / "dsrfau_edge" / "assets"
PORTRAIT = ASSETS / "portrait.jpg"
STUDENTS = ("dsrfau-nano", "dsrfau-s")


def test_both_come_with_the_package_and_are_small():
    assert bundled_names() == STUDENTS
    size = sum(path.stat().st_size for name in STUDENTS for path in (ASSETS / f"{name}.dsrfau").iterdir())
    assert size <= 25e6
    assert Bundle.open("dsrfau-nano").manifest.metrics["parameters"] <= 1_000_000
    assert Bundle.open("dsrfau-s").path == default_bundle()


def test_a_folder_of_that_name_goes_first_and_other_names_say_what_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dsrfau-s").mkdir()
    with pytest.raises(BundleError, match="not a complete bundle"):
        Bundle.open("dsrfau-s")
    with pytest.raises(BundleError, match="dsrfau-nano, dsrfau-s"):
        Bundle.open("dsrfau-xl")


@pytest.mark.parametrize("name", STUDENTS)
def test_a_smile_is_a_smile(name):
    with Predictor(name) as predictor:
        faces = predictor(cv2.imread(str(PORTRAIT)))
    assert len(faces) == 1
    aus = faces[0].aus
    assert tuple(aus) == ALL_AUS
    assert set(sorted(aus, key=aus.__getitem__)[-2:]) == {"AU12", "AU25"}
    assert aus["AU04"] < 1
    assert aus["AU15"] < 1


@pytest.mark.parametrize("student", STUDENTS)
def test_runtimes_agree_in_fp32(student):
    bundle = Bundle.open(student)
    crops = bundle.read_calibration()[:16]
    found = {}
    for name, runtime in runtimes().items():
        if runtime.availability(None).ok and getattr(runtime, "portable", True):
            session = choose(bundle.model_files(), name, precision="fp32").load(None, SessionOptions())
            found[name] = session.infer(crops).intensities
            session.close()
    if len(found) < 2:
        pytest.skip(f"only {', '.join(found)} is installed")
    reference = found["onnxruntime"]
    assert reference.std() > 0.3
    for name, intensities in found.items():
        assert np.abs(intensities - reference).max() <= 1e-3, name


@pytest.mark.parametrize("student", STUDENTS)
def test_int8_is_the_default_and_costs_what_the_manifest_says(student):
    bundle = Bundle.open(student)
    manifest = bundle.manifest
    assert (manifest.target, manifest.precision, manifest.batch) == ("onnx", "int8", "dynamic")
    assert all(au["fp32"] - au["converted"] <= 0.02 for au in manifest.gate["aus"].values())
    assert set(manifest.gate["aus"]) == set(ALL_AUS)
    crops = bundle.read_calibration()[4::5]
    with Predictor(student) as default, Predictor(student, precision="fp32") as exact:
        assert exact.selection.portable
        assert not default.selection.portable
        found, expected = (
            np.array([list(one.aus.values()) for one in predictor.predict_crops(crops)])
            for predictor in (default, exact)
        )
    difference = np.abs(found - expected)
    assert 0 < difference.mean() < 0.05
    assert difference.mean() == pytest.approx(manifest.parity["mean"], abs=0.01)


@pytest.mark.parametrize("name", STUDENTS)
def test_the_card_is_there_and_its_numbers_are_the_manifests(name):
    card = (ASSETS / "MODEL_CARD.md").read_text(encoding="utf-8")
    metrics = Bundle.open(name).manifest.metrics
    for au, scores in metrics["held_out"]["per_au"].items():
        assert f"{scores['icc']:.2f}" in card, au
    assert f"{metrics['held_out']['mean']['icc']:.3f}" in card
    assert "not a lie detector" in card
