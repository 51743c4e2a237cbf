"""Prepared data in memory: splits, sampler, batches, and folders that cannot be used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_data import INPUT, SITES, toy_sample, write_toy

torch = pytest.importorskip("torch", reason="training needs the train extra")

from dsrfau_edge.errors import DataError, UsageError  # noqa: E402
from dsrfau_edge.shards import read_index, write_index, write_shard  # noqa: E402
from dsrfau_edge.train.data.augment import Augmentation  # noqa: E402
from dsrfau_edge.train.data.dataset import (  # noqa: E402
    BalancedSampler,
    CropDataset,
    Draw,
    FixedSampler,
    make_loader,
    rarity_weights,
)
from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return load_prepared([write_toy(tmp_path_factory.mktemp("toy"), 60, identities=20)])


def test_what_was_written_is_read(data):
    sample = toy_sample(7, identities=20)
    assert len(data) == 60
    assert bytes(data.encoded(7)) == sample.image
    np.testing.assert_allclose(data.intensities[7], sample.intensities, atol=1e-3)
    crop, centres = data.frame(7)
    assert crop.shape == (INPUT, INPUT, 3)
    np.testing.assert_allclose(centres, sample.centres - 8, atol=0.01)
    assert data.sources[0]["samples"] == 60


def test_splits_share_no_identity(data):
    train, held = (data.split(name, held_out=0.3) for name in ("train", "held-out"))
    assert len(train) + len(held) == 60
    assert not set(data.identities[train]) & set(data.identities[held])


def test_an_identity_keeps_its_side_when_data_is_added(data, tmp_path):
    more = load_prepared([write_toy(tmp_path, 80, identities=40)])
    before = set(data.identities[data.split("held-out", held_out=0.3)])
    after = set(more.identities[more.split("held-out", held_out=0.3)])
    assert before == after & set(data.identities)


def test_looks_can_be_held_out_as_well(data):
    share = 0.5
    train = data.split("train", held_out=share, looks=True)
    seen = {look for position in train for look in data.looks[position]}
    harder = data.split("held-out-looks", held_out=share, looks=True)
    assert len(harder)
    assert all(set(data.looks[position]) - seen for position in harder)
    assert not set(data.identities[train]) & set(data.identities[harder])


def test_parts_drawn_by_rule_are_no_look_to_hold_out(tmp_path):
    folder = write_toy(tmp_path)
    drawn = {"look": {"skin": "procedural", "brow": "procedural", "lashes": "procedural", "hair": "procedural"}}
    samples = [replace(toy_sample(number), meta=drawn) for number in range(32)]
    entry = write_shard(folder, "shard-000009.tar", samples)
    write_index(folder, replace(read_index(folder), shards=(entry,)))
    data = load_prepared([folder])
    # The hashes of "brow procedural" and "hair procedural" lie below this share: every sample would be left out.
    strict, plain = (data.split("train", held_out=0.8, looks=looks) for looks in (True, False))
    np.testing.assert_array_equal(strict, plain)


def test_an_empty_split_and_an_unknown_one(data):
    with pytest.raises(DataError, match="empty"):
        data.split("held-out", held_out=1e-9)
    with pytest.raises(UsageError, match="Unknown split"):
        data.split("validation", held_out=0.2)


def test_limit_and_several_folders(tmp_path):
    first, second = write_toy(tmp_path / "a"), write_toy(tmp_path / "b")
    assert len(load_prepared([first, second], limit=5)) == 10


def test_folders_must_fit_together(tmp_path):
    first, second = write_toy(tmp_path / "a"), write_toy(tmp_path / "b")
    write_index(second, replace(read_index(second), input_size=96))
    with pytest.raises(DataError, match="differ in their input_size"):
        load_prepared([first, second])


def test_sets_with_other_aus_are_read_together(data, tmp_path):
    """The union of the AUs; what a set does not label is NaN in its samples, and the masked loss passes it over."""
    whole = write_toy(tmp_path / "whole", 20)
    part, columns = tmp_path / "part", [0, 1]
    part.mkdir()
    samples = [
        replace(sample, key=f"p{sample.key}", intensities=sample.intensities[columns], centres=sample.centres[columns])
        for sample in map(toy_sample, range(6))
    ]
    entry = write_shard(part, "shard-000000.tar", samples)
    index = replace(read_index(whole), aus=("AU12",), sites=SITES[:2], shards=(entry,), kind="table")
    write_index(part, index)
    for folders, first in (((part, whole), 0), ((whole, part), 20)):
        both = load_prepared(folders)
        assert both.index.sites == SITES
        assert both.index.aus == ("AU12", "AU25")
        own = both.intensities[first : first + 6]
        assert np.isnan(own[:, 2]).all()
        np.testing.assert_allclose(own[:, :2], [sample.intensities for sample in samples], atol=1e-3)
        assert not np.isnan(np.delete(both.intensities, range(first, first + 6), 0)).any()
        assert {both.sources[number]["kind"] for number in both.sets[first : first + 6]} == {"table"}


def test_sets_take_their_share_of_the_draws(tmp_path):
    data = load_prepared([write_toy(tmp_path / "one", 60), write_toy(tmp_path / "other", 20)])
    everything = data.split("all", held_out=0.1)
    for balance in (0.0, 0.5):
        sampler = BalancedSampler(data, everything, balance=balance, shares=(1.0, 3.0), seed=0)
        assert sampler.weights[data.sets == 1].sum() == pytest.approx(0.75)
    assert {draw.position for draw in BalancedSampler(data, everything, balance=0.0, shares=(0.0, 1.0), seed=0)} <= set(
        np.flatnonzero(data.sets == 1)
    )
    with pytest.raises(UsageError, match="1 shares for 2 data folders"):
        BalancedSampler(data, everything, balance=0.0, shares=(1.0,), seed=0)
    with pytest.raises(UsageError, match="nothing to train on"):
        BalancedSampler(data, np.flatnonzero(data.sets == 0), balance=0.0, shares=(0.0, 1.0), seed=0)


def test_no_folder_no_samples_no_picture(tmp_path):
    with pytest.raises(UsageError, match="--data"):
        load_prepared([])
    folder = write_toy(tmp_path)
    index = read_index(folder)
    broken = replace(toy_sample(0), image=b"\xff\xd8 no picture")
    write_index(folder, replace(index, shards=(write_shard(folder, "shard-000009.tar", [broken]),)))
    with pytest.raises(DataError, match="cannot be decoded"):
        load_prepared([folder]).image(0)
    write_index(folder, replace(index, shards=()))
    with pytest.raises(DataError, match="no samples"):
        load_prepared([folder])


def test_a_view_depends_on_seed_epoch_and_position_alone(data):
    dataset = CropDataset(data, augmentation=Augmentation(), seed=1)
    first, again, later = dataset[Draw(0, 5)], dataset[Draw(0, 5)], dataset[Draw(1, 5)]
    assert torch.equal(first.crops, again.crops)
    assert not torch.equal(first.crops, later.crops)


def test_batches_are_the_same_with_and_without_workers(data):
    dataset = CropDataset(data, augmentation=Augmentation(), seed=1)
    batches = [list(make_loader(dataset, FixedSampler(range(8)), batch=4, workers=workers)) for workers in (0, 1)]
    for mine, theirs in zip(*batches, strict=True):
        assert torch.equal(mine.crops, theirs.crops)
        assert torch.equal(mine.centres, theirs.centres)
        assert mine.intensities.shape == (4, len(SITES))


def test_rare_intensities_are_drawn_more_often():
    intensities = np.zeros((100, 2), np.float32)
    intensities[:5, 0] = 4.5
    intensities[5:, 1] = np.nan
    weights = rarity_weights(intensities, strength=1.0)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 3 * weights[50]
    np.testing.assert_allclose(rarity_weights(intensities, strength=0.0), 0.01)


def test_fully_unlabelled_samples_can_still_be_drawn():
    weights = rarity_weights(np.array([[1.0], [np.nan]], np.float32), strength=1.0)
    assert (weights > 0).all()


def test_sampler_without_balance_draws_everything_once(data):
    positions = data.split("train", held_out=0.3)
    sampler = BalancedSampler(data, positions, balance=0.0, seed=0)
    first = [draw.position for draw in sampler]
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == positions.tolist()
    assert first != [draw.position for draw in second]
    assert {draw.epoch for draw in second} == {1}


def test_processes_draw_disjoint_shares(data):
    positions = data.split("all", held_out=0.3)
    shares = [
        {draw.position for draw in BalancedSampler(data, positions, balance=0.0, seed=0, rank=rank, world=3)}
        for rank in range(3)
    ]
    assert [len(share) for share in shares] == [20, 20, 20]
    assert len(set.union(*shares)) == 60
