"""Torch's side of the prepared data: dataset, sampler, batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from dsrfau_edge.errors import UsageError

from .augment import Augmentation, augment, mirror_order
from .prepared import Indices, PreparedData


class Batch(NamedTuple):
    """Crops uint8 `[N, side, side, 3]`, intensities `[N, S]` (NaN = unlabelled), centres `[N, S, 2]` in crop pixels."""

    crops: torch.Tensor
    intensities: torch.Tensor
    centres: torch.Tensor


class Draw(NamedTuple):
    """One draw of a sampler: which sample, in which epoch."""

    epoch: int
    position: int


class CropDataset(Dataset[Batch]):
    """Samples of one split, augmented or as they are.

    A view is a function of (seed, epoch, position), not of the worker that makes it.
    """

    def __init__(self, data: PreparedData, *, augmentation: Augmentation | None, seed: int) -> None:
        self.data = data
        self.augmentation = augmentation
        self.seed = seed
        self._mirrored = mirror_order(data.index.sites)

    def __getitem__(self, draw: Draw) -> Batch:
        data, position = self.data, draw.position
        intensities = data.intensities[position]
        if self.augmentation is None:
            crop, centres = data.frame(position)
        else:
            crop, intensities, centres = augment(
                data.image(position),
                intensities,
                data.centres[position],
                side=data.index.input_size,
                mirrored=self._mirrored,
                config=self.augmentation,
                rng=np.random.default_rng((self.seed, draw.epoch, position)),
            )
        return Batch(torch.from_numpy(crop), torch.from_numpy(intensities), torch.from_numpy(centres))


def rarity_weights(intensities: npt.NDArray[np.float32], *, strength: float) -> npt.NDArray[np.float64]:
    """How often to draw each sample, against the rarity of strong and asymmetric movements.

    Each site's intensities fall into four bands (below 0.5, 2, 3.5, and above); a sample's weight is the mean over its
    labelled sites of (share of its band) ** -strength, with the shares floored at 1 %.

    Args:
        intensities: `[n, S]`, NaN = unlabelled.
        strength: 0 draws evenly, 1 fully against the imbalance.

    Returns:
        Weights `[n]` that sum to one.
    """
    bands = np.digitize(np.nan_to_num(intensities), (0.5, 2.0, 3.5))
    labelled = ~np.isnan(intensities)
    weights = np.zeros(intensities.shape)
    for band in range(4):
        inside = (bands == band) & labelled
        share = inside.sum(0) / np.maximum(labelled.sum(0), 1)
        weights += inside * np.maximum(share, 0.01) ** -strength
    per_sample = weights.sum(1) / np.maximum(labelled.sum(1), 1)
    per_sample = np.maximum(per_sample, per_sample[per_sample > 0].min() if (per_sample > 0).any() else 1.0)
    return np.asarray(per_sample / per_sample.sum())


class BalancedSampler(Sampler[Draw]):
    """Draws an epoch from a split: without replacement, or in proportion to weights where there are any.

    Every process of a distributed run draws its own share of the same order.

    Args:
        data: where the positions are from.
        positions: the split's positions.
        balance: strength of `rarity_weights`; 0 draws evenly.
        shares: each data folder's share of the draws; by size where empty.
        seed: of the order.
        rank: number of this process.
        world: number of processes.

    Raises:
        UsageError: there are not as many shares as data folders, or none of the split's sets has one.
    """

    def __init__(
        self,
        data: PreparedData,
        positions: Indices,
        *,
        balance: float,
        shares: Sequence[float] = (),
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.positions = positions
        self.weights = rarity_weights(data.intensities[positions], strength=balance) if balance > 0 else None
        if shares:
            self.weights = _by_set(self.weights, data, positions, shares)
        self.seed = seed
        self.epoch = 0
        self.rank, self.world = rank, world

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.positions) // self.world

    def __iter__(self) -> Iterator[Draw]:
        rng = np.random.default_rng((self.seed, self.epoch))
        if self.weights is None:
            order = rng.permutation(self.positions)
        else:
            order = rng.choice(self.positions, len(self.positions), p=self.weights)
        share = order[self.rank : len(self) * self.world : self.world]
        return iter([Draw(self.epoch, int(position)) for position in share])


def _by_set(
    weights: npt.NDArray[np.float64] | None, data: PreparedData, positions: Indices, shares: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Weights scaled so that each set's sum to its share; `[n]`, summing to one."""
    if len(shares) != len(data.sources):
        raise UsageError(
            f"data.weights names {len(shares)} shares for {len(data.sources)} data folders: give one each."
        )
    sets = data.sets[positions]
    scaled = np.ones(len(positions)) if weights is None else weights.copy()
    for number, share in enumerate(shares):
        scaled[sets == number] *= share / max(scaled[sets == number].sum(), np.finfo(float).tiny)
    if not scaled.any():
        raise UsageError("data.weights leaves nothing to train on: the sets with a share have no training samples.")
    return np.asarray(scaled / scaled.sum())


class FixedSampler(Sampler[Draw]):
    """The positions as they stand."""

    def __init__(self, positions: Sequence[int] | Indices) -> None:
        self.positions = positions

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Draw]:
        return iter([Draw(0, int(position)) for position in self.positions])


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)


def make_loader(
    dataset: CropDataset, sampler: Sampler[Draw], *, batch: int, workers: int, drop_last: bool = False
) -> DataLoader[Batch]:
    """Loader of batches; `workers=0` loads in the training process."""
    return DataLoader(
        dataset,
        batch_size=batch,
        sampler=sampler,
        num_workers=workers,
        drop_last=drop_last,
        worker_init_fn=_one_thread,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
    )
