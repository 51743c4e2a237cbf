"""Predictions to be scored: each model's own part of the data, through its session, pooled over models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import canonical_au
from dsrfau_edge.errors import DataError, UsageError
from dsrfau_edge.metrics import sites_to_aus
from dsrfau_edge.runtimes.base import Session

from ..data.prepared import Indices, PreparedData
from .subjects import Subject

Image = npt.NDArray[np.uint8]
Values = npt.NDArray[np.floating[Any]]
#: A crop, and a number of its own that is the same in every run, to a crop of the same size.
Alter = Callable[[Image, int], Image]
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Common:
    """What all models predict and the data labels: AUs and sites, and which AUs are left out for whose sake."""

    aus: tuple[str, ...]
    sites: tuple[str, ...]
    not_predicted: tuple[str, ...]
    not_labelled: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """Predictions of the samples at `positions`, each made once.

    Attributes:
        data: the data.
        common: the AUs and sites that are scored.
        positions: `[n]` in the data.
        model: `[n]` number of the model that predicted it.
        views: site intensities `[n, S]` by view; `""` is the crop as it is.
    """

    data: PreparedData
    common: Common
    positions: Indices
    model: Indices
    views: Mapping[str, npt.NDArray[np.float32]]

    @property
    def identities(self) -> npt.NDArray[np.str_]:
        """Whose each sample is, `[n]`."""
        return self.data.identities[self.positions]

    @property
    def meta(self) -> list[Mapping[str, Any]]:
        """Each sample's own record, `[n]`."""
        return [self.data.meta[position] for position in self.positions]

    @property
    def site_labels(self) -> Values:
        """`[n, S]`, NaN = unlabelled."""
        columns = [self.data.index.sites.index(site) for site in self.common.sites]
        return self.data.intensities[self.positions][:, columns]

    @property
    def labels(self) -> Values:
        """`[n, A]`: means over each unit's labelled sites."""
        return sites_to_aus(self.site_labels, self.common.sites, self.common.aus)

    def predictions(self, view: str = "") -> Values:
        """`[n, A]`: means over each unit's sites."""
        return sites_to_aus(self.views[view], self.common.sites, self.common.aus)

    def crop(self, number: int) -> Image:
        """The network's view of one of the samples."""
        return self.data.frame(int(self.positions[number]))[0]


def common_units(subjects: Sequence[Subject], data: PreparedData) -> Common:
    """What can be scored.

    Raises:
        DataError: a model takes crops of another size, or nothing is both predicted and labelled.
    """
    for subject in subjects:
        if subject.model.input_size != data.index.input_size:
            raise DataError(
                f"{subject.path} takes crops of {subject.model.input_size} px, the data holds "
                f"{data.index.input_size} px. Prepare the data for that size."
            )
    predicted = [site for site in subjects[0].sites if all(site in other.sites for other in subjects[1:])]
    labelled = [site for site, values in zip(data.index.sites, data.intensities.T, strict=True)
                if not np.isnan(values).all()]  # fmt: skip
    sites = tuple(site for site in data.index.sites if site in predicted and site in labelled)
    aus = _units(sites)
    if not aus:
        raise DataError(
            f"Nothing to score: the model predicts {', '.join(_units(predicted)) or 'nothing'}, the data labels "
            f"{', '.join(_units(labelled)) or 'nothing'}. Evaluate it on data with its own AUs."
        )
    every = _units([site for subject in subjects for site in subject.sites])
    return Common(
        aus, sites, tuple(au for au in _units(labelled) if au not in aus), tuple(au for au in every if au not in aus)
    )


def _units(sites: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(canonical_au(site.split("_")[0]) for site in sites))


def held_apart(parts: Sequence[Indices], names: Sequence[str]) -> None:
    """Make sure that no sample is in two models' parts: it would count twice.

    Raises:
        DataError: one is.
    """
    for second, positions in enumerate(parts):
        for first in range(second):
            shared = len(np.intersect1d(parts[first], positions))
            if shared:
                raise DataError(
                    f"{names[first]} and {names[second]} share {shared} samples of this split: pooled, they would "
                    "count twice. Give the models of different folds (their recipes' data.protocol), one --protocol "
                    "for each, or evaluate them one by one."
                )


def protocols_for(subjects: Sequence[Subject], given: Sequence[str]) -> list[str | None]:
    """The protocol that replaces each model's own: none, one for all, or one for each.

    Raises:
        UsageError: the numbers do not fit.
    """
    if len(given) > 1 and len(given) != len(subjects):
        raise UsageError(f"{len(given)} protocols for {len(subjects)} models. Give none, one, or one for each.")
    if not given:
        return [None] * len(subjects)
    return list(given) if len(given) > 1 else [given[0]] * len(subjects)


def predict_views(
    session: Session,
    data: PreparedData,
    positions: Indices,
    alterations: Mapping[str, Alter],
    step: Callable[[int], None] = lambda _: None,
) -> dict[str, npt.NDArray[np.float32]]:
    """Site intensities `[n, S]` of the samples at `positions`, of the crops as they are (`""`) and of altered ones.

    Args:
        session: the loaded model.
        data: the data.
        positions: `[n]`, at least one.
        alterations: what to make of a crop, by the view's name; the number that it is given is the sample's position.
        step: told how many samples are done, batch by batch.
    """
    parts: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in ("", *alterations)}
    for start in range(0, len(positions), _BATCH):
        chosen = [int(position) for position in positions[start : start + _BATCH]]
        crops = np.stack([data.frame(position)[0] for position in chosen])
        parts[""].append(session.infer(crops).intensities)
        for name, alter in alterations.items():
            altered = np.stack([alter(crop, number) for crop, number in zip(crops, chosen, strict=True)])
            parts[name].append(session.infer(altered).intensities)
        step(len(chosen))
    return {name: np.asarray(np.concatenate(part), np.float32) for name, part in parts.items()}


def pool(
    data: PreparedData,
    common: Common,
    subjects: Sequence[Subject],
    parts: Sequence[Indices],
    views: Sequence[Mapping[str, npt.NDArray[np.float32]]],
) -> Pooled:
    """All models' predictions together, columns in the order of the common sites.

    Raises:
        DataError: nothing that is scored is labelled in these samples.
    """
    aligned = [
        {name: values[:, [subject.sites.index(site) for site in common.sites]] for name, values in view.items()}
        for subject, view in zip(subjects, views, strict=True)
    ]
    pooled = Pooled(
        data=data,
        common=common,
        positions=np.concatenate(parts),
        model=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        views={name: np.concatenate([view[name] for view in aligned]) for name in aligned[0]},
    )
    if np.isnan(pooled.site_labels).all():
        raise DataError(
            f"None of these {len(pooled.positions)} samples is labelled for {', '.join(common.aus)}. Choose another "
            "--split, or label the data."
        )
    return pooled
