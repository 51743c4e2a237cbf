"""Nuisances: what they do to a crop, and what their cost is measured against."""

from __future__ import annotations

import numpy as np
import pytest

from dsrfau_edge.errors import UsageError
from dsrfau_edge.train.evaluation.evaluation import Request, evaluate_models
from dsrfau_edge.train.evaluation.nuisances import NUISANCES, alterations, grey, jpeg, occluded, small
from dsrfau_edge.train.evaluation.report import effect_table, to_dict


@pytest.fixture(scope="module")
def crop():
    return np.random.default_rng(0).integers(0, 255, (128, 128, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def found(faces, recorded):
    options = {"split": "all", "bootstrap": 30, "nuisances": tuple(NUISANCES), "runtime": "onnxruntime", "threads": 1}
    return evaluate_models(Request(models=(recorded,), folders=(faces,), **options))


def test_grey_has_three_equal_channels(crop):
    altered = grey(crop, 0)
    assert (altered[..., 0] == altered[..., 1]).all()
    assert (altered[..., 1] == altered[..., 2]).all()


def test_small_holds_no_more_than_48_pixels_a_side(crop):
    altered = small(crop, 0)
    assert altered.shape == crop.shape
    spectrum = np.abs(np.fft.fft2(altered[..., 0].astype(float) - altered[..., 0].mean())) ** 2
    fine = np.abs(np.fft.fftfreq(128)) > 0.75 * 48 / 128
    assert spectrum[fine][:, fine].sum() < 0.01 * spectrum.sum()


def test_jpeg_loses_detail_and_keeps_the_picture(crop):
    altered = jpeg(crop, 0)
    assert altered.shape == crop.shape
    difference = np.abs(altered.astype(int) - crop)
    assert difference.max() > 20
    assert abs(altered.mean() - crop.mean()) < 5


@pytest.mark.parametrize(
    ("number", "covered"), [(0, np.s_[:, :64]), (1, np.s_[:, 64:]), (2, np.s_[64:, :]), (3, np.s_[:, :64])]
)
def test_the_patch_covers_left_right_and_lower_half_in_turn(crop, number, covered):
    altered = occluded(crop, number)
    changed = (altered != crop).any(-1)
    assert changed[covered].mean() > 0.95
    assert changed.sum() == changed[covered].sum()
    assert altered[covered].std() > 3, "textured, not flat"


def test_the_patch_is_the_same_for_the_same_number_and_seed(crop):
    patches = [alterations(["occlusion"], seed)["occlusion"](crop, 4) for seed in (0, 0, 1)]
    assert (patches[0] == patches[1]).all()
    assert (patches[0] != patches[2]).any()


def test_the_crop_itself_is_left_alone(crop):
    before = crop.copy()
    for alter in alterations(tuple(NUISANCES)).values():
        alter(crop, 0)
    assert (crop == before).all()


def test_an_altered_crop_is_compared_with_itself(found):
    effects = {one.name: one for one in found.effects}
    for name in ("grey", "face48", "jpeg30", "occlusion"):
        one = effects[name]
        error = np.abs(found.pooled.labels - found.pooled.predictions(name)).mean(0).mean()
        assert one.scores.mean["mae"].value == pytest.approx(error)
        change = one.scores.mean["icc"].value - found.per_au.mean["icc"].value
        assert one.change.mean["icc"].value == pytest.approx(change)
        assert one.samples == 80
    assert set(found.pooled.views) == {"", "grey", "face48", "jpeg30", "occlusion"}


def test_a_part_is_compared_with_the_rest(found):
    effects = {one.name: one for one in found.effects}
    turned = np.array([abs(meta["pose"][0]) >= 20 for meta in found.pooled.meta])
    assert (effects["yaw30"].samples, effects["yaw30"].others) == (turned.sum(), (~turned).sum())
    labels, predictions = found.pooled.labels, found.pooled.predictions()
    inside, outside = (np.abs(labels[mask] - predictions[mask]).mean() for mask in (turned, ~turned))
    assert effects["yaw30"].change.mean["mae"].value == pytest.approx(inside - outside)
    assert effects["glasses"].samples == 40


def test_a_part_of_too_few_is_said_to_be(tmp_path, write_faces, recorded):
    data = write_faces(tmp_path / "few", 40)
    options = {"split": "all", "bootstrap": 0, "nuisances": ("glasses",)}
    few = evaluate_models(Request(models=(recorded,), folders=(data,), **options))
    assert few.effects[0].scores is None
    assert "too few" in effect_table(few.effects)
    assert to_dict(few)["nuisances"]["glasses"]["too_few"] is True


def test_plain_types(found):
    plain = to_dict(found)["nuisances"]["occlusion"]
    assert set(plain["per_au"]) == {"AU04", "AU12", "AU25"}
    assert plain["change"]["icc"] == pytest.approx(plain["mean"]["icc"] - to_dict(found)["mean"]["icc"], abs=2e-4)
    assert "icc" in plain["per_au"]["AU12"]["change"]


def test_unknown_ones_are_refused(recorded, faces):
    with pytest.raises(UsageError, match=r"no nuisance 'fog'.*grey, face48"):
        Request(models=(recorded,), folders=(faces,), nuisances=("fog",))
