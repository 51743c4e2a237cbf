"""Groups of samples by what their records say, and by the tone of the cheeks."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from dsrfau_edge.errors import UsageError
from dsrfau_edge.train.evaluation.evaluation import Request, evaluate_models
from dsrfau_edge.train.evaluation.groups import KEYS, typology_angle
from dsrfau_edge.train.evaluation.report import group_table, to_dict


@pytest.fixture(scope="module")
def found(faces, recorded):
    request = Request(models=(recorded,), folders=(faces,), split="all", bootstrap=20, by=KEYS)
    return evaluate_models(request)


def groups(found, key):
    return {group.name: group for group in next(one for one in found.groups if one.key == key).groups}


def test_groups_are_told_from_the_records(found):
    meta = found.pooled.meta
    assert {name: group.samples for name, group in groups(found, "rig").items()} == {"ict": 40, "makehuman": 40}
    assert groups(found, "rig")["ict"].identities == 5
    turned = sum(10 <= abs(one["pose"][0]) < 20 for one in meta)
    assert groups(found, "yaw")["10° to 20°"].samples == turned
    assert list(groups(found, "yaw")) == ["below 10°", "10° to 20°", "20° to 30°", "30° and more"]
    assert set(groups(found, "glasses")) == {"yes", "no"}
    ages = next(one for one in found.groups if one.key == "age")
    assert [group.name.split()[0] for group in ages.groups] == ["young", "middle", "old"]
    assert ages.unknown == 40
    assert groups(found, "age")["young (below 0.33)"].samples == sum((one["age"] or 1) < 1 / 3 for one in meta)


def test_a_group_is_scored_like_its_samples_alone(found):
    mask = np.array([one["rig"] == "ict" for one in found.pooled.meta])
    labels, predictions = found.pooled.labels[mask, 1], found.pooled.predictions()[mask, 1]
    scores = groups(found, "rig")["ict"].scores
    assert scores.rows["AU12"].metrics["mae"].value == pytest.approx(np.abs(labels - predictions).mean())
    assert scores.rows["AU12"].metrics["mae"].interval is not None


def test_ancestry_is_unknown_throughout(found):
    ancestry = next(one for one in found.groups if one.key == "ancestry")
    assert ancestry.groups == ()
    assert ancestry.unknown == 80
    assert "(not known)" in group_table(ancestry)


def test_too_few_are_listed_as_such(found):
    small = [group for group in groups(found, "yaw").values() if group.samples < 30]
    assert small
    assert all(group.scores is None for group in small)
    assert f"| {small[0].name:12} | {small[0].samples}      |" in group_table(found.groups[KEYS.index("yaw")])
    assert "too few" in group_table(found.groups[KEYS.index("yaw")])
    plain = to_dict(found)["groups"]["yaw"]["groups"][small[0].name]
    assert plain["too_few"] is True
    assert plain["mean"] is None


def flat(light, blue, side=128):
    lab = np.full((side, side, 3), (light, 8.0, blue), np.float32)
    return np.rint(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR) * 255).astype(np.uint8)


@pytest.mark.parametrize(("light", "blue"), [(80, 12), (70, 20), (50, 25), (40, 15), (30, 10)])
def test_the_typology_angle_of_a_known_colour(light, blue):
    expected = math.degrees(math.atan2(light - 50, blue))
    assert typology_angle(flat(light, blue)) == pytest.approx(expected, abs=1.5)


def test_tone_is_that_of_the_cheeks_and_a_grey_picture_has_none():
    picture = flat(30, 10)
    picture[64:78, 34:46] = picture[64:78, 82:94] = flat(80, 12)[:1, :1]
    assert typology_angle(picture) == pytest.approx(math.degrees(math.atan2(30, 12)), abs=2)
    assert typology_angle(np.full((64, 64, 3), 120, np.uint8)) is None
    assert -90 <= typology_angle(flat(30, -10)) <= 90, "blue light does not turn the angle round"


def test_unknown_keys_are_refused(recorded, faces):
    with pytest.raises(UsageError, match=r"no groups by 'shoe'.*rig, sex"):
        Request(models=(recorded,), folders=(faces,), by=("shoe",))


def test_records_that_say_odd_things_are_unknown(tmp_path, write_faces, recorded):
    from dataclasses import replace

    odd = {"rig": None, "pose": "left", "age": float("nan"), "sex": "", "look": ["hat"], "ancestry": 3}
    data = write_faces(tmp_path / "odd", 20, change=lambda sample: replace(sample, meta=odd))
    found = evaluate_models(Request(models=(recorded,), folders=(data,), split="all", bootstrap=0, by=KEYS[:-1]))
    assert [grouping.unknown for grouping in found.groups] == [20] * 6
