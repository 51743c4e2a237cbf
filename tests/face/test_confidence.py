"""Confidences fall with every defect, are 0 for what is not seen, and are numbers for any face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge import Predictor
from dsrfau_edge.action_units import ALL_AUS, sites_of
from dsrfau_edge.errors import BundleError
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
from dsrfau_edge.face.confidence import Judge, clarity, heuristic
from dsrfau_edge.face.frontend import AlignedFace, FaceFrontEnd
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.landmarks import Landmarks
from dsrfau_edge.face.network import ASSETS
from dsrfau_edge.face.quality import Quality, assess
from dsrfau_edge.face.reliability import HARDSHIPS, AuReliability, Reliability, hardships, reading_terms

PORTRAIT = read_image(ASSETS.parent / "portrait.jpg")
FRONT = FaceFrontEnd(DEFAULT_TEMPLATE, 128)
SITES = sites_of()
FITTED = Reliability({au: AuReliability(2.0, (-1.0, 0.5, 0.2), (-0.2,) * len(HARDSHIPS)) for au in ALL_AUS})
CLEAR = Quality(60.0, 1.0, 0.45, 0.0, ())


def every(intercept, hardship):
    """Models of all AUs alike."""
    return {au: {"intercept": intercept, "reading": [0] * 3, "hardships": [hardship] * 13} for au in ALL_AUS}


def judge(stored=True):
    return Judge(SITES, FITTED.to_dict() if stored else None)


def found(image, **changes):
    face = FRONT(image)[0]
    values = {name: getattr(face, name) for name in ("box", "score", "landmarks", "matrix", "crop")} | changes
    return AlignedFace(**values)


def turned(face, degrees, axis=0):
    """The face with its mesh turned about the vertical (0) or the line between the eyes (1)."""
    points = face.landmarks.points.astype(np.float64)
    angle = np.radians(degrees)
    flat, depth = points[:, axis] - points[168, axis], points[:, 2].copy()
    points[:, axis] = flat * np.cos(angle) - depth * np.sin(angle) + points[168, axis]
    points[:, 2] = flat * np.sin(angle) + depth * np.cos(angle)
    return AlignedFace(face.box, face.score, Landmarks(points.astype(np.float32), 1.0), face.matrix, face.crop)


DEFECTS = [
    lambda image: cv2.GaussianBlur(image, (0, 0), 4),
    lambda image: cv2.resize(image, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA),
    lambda image: np.ascontiguousarray(image[:150]),
    lambda image: (image * 0.12).astype(np.uint8),
]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("change", DEFECTS)
def test_each_defect_costs_confidence(change, stored):
    row = [0.5] * len(SITES)
    good = judge(stored)(found(PORTRAIT), PORTRAIT, row)[1]
    image = change(PORTRAIT)
    face = found(image)
    bad = judge(stored)(face, image, row)[1]
    assert set(good) == set(ALL_AUS)
    if stored or clarity(face, assess(face, image)) < 0.9:  # the heuristic knows nothing of light
        assert np.mean(list(bad.values())) < np.mean(list(good.values())) - 0.03


@given(
    st.floats(0, 500), st.floats(0, 1), st.floats(0, 1), st.floats(-90, 90), st.floats(-90, 90), st.floats(0, 255),
    st.floats(0, 300), st.floats(0, 1), st.floats(0, 5),
)  # fmt: skip
def test_no_hardship_is_negative_and_none_adds_confidence(eyes, inside, sharp, yaw, pitch, light, noise, presence, row):
    hard = hardships(Quality(eyes, inside, sharp, yaw, (), pitch, 0.0, light, noise), presence)
    assert len(hard) == len(HARDSHIPS)
    assert min(hard) >= 0
    one = FITTED.aus["AU12"]
    assert 0 <= one.confidence(row, hard) <= one.confidence(row, (0.0,) * len(HARDSHIPS)) <= 1


@pytest.mark.parametrize(
    ("name", "worse"),
    [
        ("eye_distance", [60, 30, 18, 9]), ("inside", [1, 0.9, 0.5]), ("sharpness", [0.5, 0.3, 0.15, 0.05]),
        ("yaw", [0, 12, 25, 44]), ("yaw", [0, -12, -25, -44]), ("pitch", [0, 10, 30]), ("pitch", [0, -10, -30]),
        ("brightness", [130, 60, 10]), ("brightness", [130, 210, 250]), ("noise", [1, 4, 20]),
    ],
)  # fmt: skip
def test_the_worse_the_less(name, worse):
    from dataclasses import replace

    values = [FITTED.aus["AU12"].confidence(2.0, hardships(replace(CLEAR, **{name: one}), 0.999)) for one in worse]
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0]


def test_a_clear_frontal_face_has_no_hardship():
    assert sum(hardships(CLEAR, 0.9999)) == 0


def test_sites_outside_the_picture_have_no_confidence():
    face = found(PORTRAIT)
    halfway = round(float(face.landmarks.points[168, 0]))
    confidences = judge()(face, PORTRAIT[:, :halfway], [0.0] * len(SITES))[1]
    assert confidences["AU12"] == 0  # the person's left half is on the right of the picture
    sites = Judge(SITES).seen(face, assess(face, PORTRAIT[:, :halfway]), PORTRAIT[:, :halfway])
    assert not any(sites[au] for au in ("AU01", "AU06", "AU12", "AU45"))


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("yaw", [52, -52])
def test_aus_of_a_side_that_is_turned_away_have_no_confidence(yaw, stored):
    face = turned(found(PORTRAIT), yaw)
    confidences = judge(stored)(face, PORTRAIT, [1.0] * len(SITES))[1]
    assert confidences["AU12"] == confidences["AU45"] == 0 or not stored
    assert confidences["AU25"] > 0
    quality = assess(face, PORTRAIT)
    assert "turned_away" in quality.flags
    sided = heuristic(face, quality, SITES, [True] * len(SITES))
    names = [site.name for site in SITES]
    near, far = ("right", "left") if yaw > 0 else ("left", "right")
    assert sided[names.index(f"AU06_{far}")] < 0.7 * sided[names.index(f"AU06_{near}")]


@pytest.mark.parametrize(
    ("degrees", "axis", "flag"), [(75, 0, "turned_away"), (-75, 0, "turned_away"), (50, 1, "tilted")]
)
def test_a_face_out_of_plane_is_flagged_and_not_guessed(degrees, axis, flag):
    quality, confidences = judge()(turned(found(PORTRAIT), degrees, axis), PORTRAIT, [1.0] * len(SITES))
    assert flag in quality.flags
    assert set(confidences.values()) == {0.0}


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("points", [np.zeros((468, 3)), np.full((468, 3), np.nan), np.full((468, 3), 1e30)])
@pytest.mark.parametrize("image", [np.zeros((1, 1, 3), np.uint8), PORTRAIT])
def test_degenerate_faces_have_confidences_too(points, image, stored):
    crop = np.zeros((128, 128, 3), np.uint8)
    face = AlignedFace((0, 0, 1, 1), 0.5, Landmarks(points.astype(np.float32), 0.5), np.eye(2, 3), crop)
    confidences = judge(stored)(face, image, [5.0] * len(SITES))[1]
    assert all(0 <= value <= 1 for value in confidences.values())


def test_a_reliability_survives_its_storage():
    again = Reliability.from_dict(FITTED.to_dict(), ALL_AUS)
    assert again == FITTED
    assert reading_terms(0.0) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2}, {"within": 0.5}, {"hardships": ["small"]}, {"aus": {}}, {"aus": None},
        {"aus": every("x", 0)}, {"aus": every(0, 0.1)}, {"aus": every(float("nan"), 0)},
    ],
)  # fmt: skip
def test_what_cannot_be_used_says_so(change):
    with pytest.raises(BundleError, match="dsrfau-train confidence"):
        Judge(SITES, FITTED.to_dict() | change)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=14) | st.dictionaries(st.sampled_from(["AU12", "intercept", "x"]), inner),
    max_leaves=20,
)


@given(st.sampled_from(["schema", "aus", "hardships", "within", "about", "model", "intercept", "reading"]), ANYTHING)
def test_whatever_is_stored_is_used_or_refused(part, value):
    raw = FITTED.to_dict()
    if part == "model":
        raw["aus"]["AU12"] = value
    elif part in ("intercept", "reading"):
        raw["aus"]["AU12"][part] = value
    else:
        raw[part] = value
    try:
        found = Reliability.from_dict(raw, ALL_AUS)
    except BundleError:
        return
    assert 0 <= found.aus["AU12"].confidence(2.0, (0.5,) * len(HARDSHIPS)) <= 1


def test_a_predictor_says_whether_its_confidences_are_probabilities(tmp_path):
    import shutil

    from dsrfau_edge.bundle import find_bundle, store_confidence

    folder = tmp_path / "mine.dsrfau"
    shutil.copytree(find_bundle("dsrfau-nano"), folder)
    store_confidence(folder, {})
    with Predictor(folder, runtime="onnxruntime") as predictor:
        assert not predictor.confidence_calibrated
        before = predictor(PORTRAIT)[0]
    store_confidence(folder, FITTED.to_dict())
    with Predictor(folder, runtime="onnxruntime") as predictor:
        assert predictor.confidence_calibrated
        after = predictor(PORTRAIT)[0]
    assert after.aus == before.aus
    assert after.confidences != before.confidences
    assert list(after.confidences) == list(after.aus)
