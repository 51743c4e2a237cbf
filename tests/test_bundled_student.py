"""What the bundled student promises, on a photograph and on every runtime here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dsrfau_edge import Predictor
from dsrfau_edge.bundle import Bundle, default_bundle
from dsrfau_edge.runtimes.base import SessionOptions
from dsrfau_edge.runtimes.registry import choose, runtimes

PORTRAIT = Path(__file__).resolve().parents[1] / "dsrfau_edge" / "assets" / "portrait.jpg"


def test_a_smile_is_a_smile() -> None:
    with Predictor() as predictor:
        faces = predictor(cv2.imread(str(PORTRAIT)))
    assert len(faces) == 1
    aus = faces[0].aus
    assert set(sorted(aus, key=aus.__getitem__)[-2:]) == {"AU12", "AU25"}
    assert aus["AU04"] < 1
    assert aus["AU15"] < 1


def test_runtimes_agree_in_fp32() -> None:
    bundle = Bundle.open(default_bundle())
    crops = bundle.read_calibration()[:16]
    found = {}
    for name, runtime in runtimes().items():
        if runtime.availability(None).ok:
            session = choose(bundle.model_files(), name).load(None, SessionOptions())
            found[name] = session.infer(crops).intensities
            session.close()
    if len(found) < 2:
        pytest.skip(f"only {', '.join(found)} is installed")
    reference = found["onnxruntime"]
    assert reference.std() > 0.3
    for name, intensities in found.items():
        assert np.abs(intensities - reference).max() <= 1e-3, name


def test_the_card_is_there_and_its_numbers_are_the_manifests() -> None:
    card = (PORTRAIT.parent / "MODEL_CARD.md").read_text(encoding="utf-8")
    metrics = Bundle.open(default_bundle()).manifest.metrics
    assert f"{metrics['held_out']['mean']['pcc']:.2f}" in card
    assert "not a lie detector" in card
