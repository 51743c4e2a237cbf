"""Models, their parts of the data, and what is scored of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dsrfau_edge.errors import BundleError, DataError, InputError, UsageError
from dsrfau_edge.train.data.prepared import load_prepared
from dsrfau_edge.train.evaluation.evaluation import Request, evaluate_models
from dsrfau_edge.train.evaluation.nuisances import alterations
from dsrfau_edge.train.evaluation.pooling import common_units, predict_views
from dsrfau_edge.train.evaluation.report import to_dict
from dsrfau_edge.train.evaluation.subjects import open_session, open_subject


def request(*models, data, **options):
    return Request(models=models, folders=(data,), bootstrap=options.pop("bootstrap", 20), **options)


def test_folds_are_pooled_and_every_sample_is_scored_once(tmp_path, write_faces, bundle_of):
    subjects = (1, 2, 3, 4, 5, 6, 7, 8)  # of all three folds
    data = write_faces(tmp_path / "disfa", 40, people=8, kind="disfa", name=lambda n: f"disfa-SN{subjects[n]:03d}")
    models = [bundle_of(tmp_path / f"fold{n}.dsrfau", protocol=f"disfa-{n}") for n in range(3)]
    found = evaluate_models(request(*models, data=data))
    assert found.per_au.samples == 40
    assert sorted(found.pooled.positions.tolist()) == list(range(40))
    assert [one.protocol for one in found.ran] == ["disfa-0", "disfa-1", "disfa-2"]
    alone = evaluate_models(request(models[0], data=data, split="all"))
    # The same network three times: pooled in another order, scored as one.
    assert found.per_au.rows["AU12"].metrics["icc"].value == pytest.approx(
        alone.per_au.rows["AU12"].metrics["icc"].value
    )
    fold1 = {1, 6, 7, 8}
    mine = {name for name, model in zip(found.pooled.identities, found.pooled.model, strict=True) if model == 0}
    assert mine == {f"disfa-SN{number:03d}" for number in fold1}


def test_overlapping_parts_are_refused(tmp_path, faces, bundle_of):
    models = [bundle_of(tmp_path / f"{n}.dsrfau") for n in "ab"]
    with pytest.raises(DataError, match=r"share \d+ samples of this split"):
        evaluate_models(request(*models, data=faces))
    with pytest.raises(UsageError, match="named twice"):
        request(models[0], models[0], data=faces)


def test_a_protocol_replaces_the_recorded_one(faces, recorded):
    found = evaluate_models(request(recorded, data=faces, protocols=("rig=ict",)))
    assert {meta["rig"] for meta in found.pooled.meta} == {"ict"}
    assert to_dict(found)["models"][0]["protocol"] == "rig=ict"
    own = evaluate_models(request(recorded, data=faces))
    assert {meta["rig"] for meta in own.pooled.meta} == {"ict", "makehuman"}
    with pytest.raises(UsageError, match="2 protocols for 1 models"):
        evaluate_models(request(recorded, data=faces, protocols=("rig=ict", "identities")))
    with pytest.raises(UsageError, match="Unknown protocol"):
        evaluate_models(request(recorded, data=faces, protocols=("fold",)))


def test_one_protocol_for_each_model_keeps_their_parts_apart(tmp_path, faces, bundle_of):
    models = [bundle_of(tmp_path / f"{n}.dsrfau") for n in "ab"]
    found = evaluate_models(request(*models, data=faces, protocols=("rig=ict", "rig=makehuman")))
    assert found.per_au.samples == 80
    assert to_dict(found)["model"] == [str(path) for path in models]


def test_aus_that_only_one_side_knows_are_left_out_and_named(tmp_path, write_faces, recorded):
    data = write_faces(tmp_path / "other", 40, aus=("AU01", "AU12", "AU25"))
    found = evaluate_models(request(recorded, data=data))
    assert found.pooled.common.aus == ("AU12", "AU25")
    assert to_dict(found)["left_out"] == {"not_predicted": ["AU01"], "not_labelled": ["AU04"]}
    assert any("AU01" in warning for warning in found.warnings)
    # Columns are matched by name: the model's second AU is the data's second, its first is not.
    whole = write_faces(tmp_path / "whole", 40, aus=("AU04", "AU12", "AU25"))
    assert list(found.per_site.rows) == ["AU12_left", "AU12_right", "AU25"]
    assert list(evaluate_models(request(recorded, data=whole)).per_au.rows) == ["AU04", "AU12", "AU25"]


def test_columns_are_matched_by_name(tmp_path, write_faces, recorded):
    data = load_prepared([write_faces(tmp_path / "other", 12, aus=("AU25", "AU12"))])
    subject = open_subject(recorded)
    common = common_units([subject], data)
    with_all = open_session(subject, "onnxruntime")
    every = predict_views(with_all.session, data, np.arange(12), {})[""]
    with_all.session.close()
    found = evaluate_models(request(recorded, data=tmp_path / "other", split="all", runtime="onnxruntime"))
    for column, site in enumerate(common.sites):
        np.testing.assert_array_equal(found.pooled.views[""][:, column], every[:, subject.sites.index(site)])


def test_nothing_in_common_is_an_error(tmp_path, write_faces, recorded):
    data = write_faces(tmp_path / "other", 20, aus=("AU01", "AU09"))
    with pytest.raises(DataError, match="Nothing to score.*AU04, AU12, AU25.*AU01, AU09"):
        evaluate_models(request(recorded, data=data))


def test_an_au_without_a_single_label_counts_as_unlabelled(tmp_path, write_faces, recorded):
    def unlabelled(sample):
        values = sample.intensities.copy()
        values[:2] = np.nan  # both sides of AU04
        values[2] = np.nan if sample.key.endswith("3") else values[2]
        return replace(sample, intensities=values)

    found = evaluate_models(request(recorded, data=write_faces(tmp_path / "d", change=unlabelled), split="all"))
    assert found.pooled.common.not_labelled == ("AU04",)
    assert found.per_site.rows["AU12_left"].count < found.per_site.rows["AU12_right"].count == 80


def test_a_part_without_labels_is_an_error(tmp_path, write_faces, recorded):
    def only_in_training(sample):
        held = sample.meta["rig"] == "ict"
        return replace(sample, intensities=np.full_like(sample.intensities, np.nan)) if held else sample

    data = write_faces(tmp_path / "d", change=only_in_training)
    with pytest.raises(DataError, match="None of these 40 samples is labelled"):
        evaluate_models(request(recorded, data=data, protocols=("rig=ict",)))


def test_constant_labels_are_told_and_not_scored(tmp_path, write_faces, recorded):
    def constant(sample):
        values = sample.intensities.copy()
        values[-1] = 2.0
        return replace(sample, intensities=values)

    found = evaluate_models(request(recorded, data=write_faces(tmp_path / "d", change=constant)))
    assert found.per_au.rows["AU25"].metrics["icc"].value is None
    assert any("does not vary" in warning and "AU25" in warning for warning in found.warnings)


def test_wrong_size_empty_split_and_missing_models(tmp_path, write_faces, faces, recorded, bundle_of, broken):
    with pytest.raises(DataError, match="takes crops of 32 px, the data holds 64 px"):
        evaluate_models(request(recorded, data=write_faces(tmp_path / "big", 8, size=64)))
    none = bundle_of(tmp_path / "none.dsrfau", held_out=1e-9)
    with pytest.raises(DataError, match=r"none\.dsrfau: The split 'held-out' of this data is empty"):
        evaluate_models(request(none, data=faces))
    with pytest.raises(InputError, match="does not exist"):
        evaluate_models(request(tmp_path / "nothing", data=faces))
    with pytest.raises(BundleError):
        evaluate_models(request(broken, data=faces))
    with pytest.raises(UsageError, match="No model"):
        request(data=faces)


def test_a_model_that_does_not_record_its_split_is_warned_of(faces, tiny_bundle, recorded):
    assert any("does not record" in text for text in evaluate_models(request(tiny_bundle, data=faces)).warnings)
    assert not evaluate_models(request(recorded, data=faces)).warnings


def test_another_alignment_is_warned_of(tmp_path, faces, recorded):
    import json
    import shutil

    other = shutil.copytree(faces, tmp_path / "other")
    index = json.loads((other / "index.json").read_text())
    index["template"]["points"][0][0] += 0.1
    (other / "index.json").write_text(json.dumps(index))
    assert any("another alignment" in text for text in evaluate_models(request(recorded, data=other)).warnings)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_runtimes_agree_on_the_same_crops(runtime, faces, recorded):
    pytest.importorskip(runtime)
    found = evaluate_models(request(recorded, data=faces, split="all", runtime=runtime, threads=1))
    other = evaluate_models(request(recorded, data=faces, split="all", runtime="onnxruntime", threads=1))
    assert found.ran[0].runtime == runtime
    np.testing.assert_allclose(found.pooled.views[""], other.pooled.views[""], atol=1e-4)


def test_torch_is_for_checkpoints(faces, recorded):
    with pytest.raises(UsageError, match="runs a checkpoint's own network"):
        evaluate_models(request(recorded, data=faces, runtime="torch"))


def test_views_are_of_the_same_samples(faces, recorded):
    data = load_prepared([faces])
    opened = open_session(open_subject(recorded), "onnxruntime", threads=1)
    positions, done = np.arange(70), []
    views = predict_views(opened.session, data, positions, alterations(["grey", "occlusion"]), done.append)
    crops = np.stack([alterations(["occlusion"])["occlusion"](data.frame(n)[0], n) for n in range(70)])
    expected = opened.session.infer(crops).intensities
    opened.session.close()
    assert list(views) == ["", "grey", "occlusion"]
    np.testing.assert_allclose(views["occlusion"], expected, atol=1e-5)
    assert sum(done) == 70
    assert not np.allclose(views[""], views["occlusion"], atol=1e-2)
