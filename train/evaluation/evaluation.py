"""One evaluation from beginning to end: open the models, predict their parts of the data, score them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import UsageError
from dsrfau_edge.metrics import varies

from ..data.prepared import Indices, PreparedData, load_prepared
from .bootstrap import Resampling, measure, resample
from .groups import Grouping, group_scores, require_keys
from .nuisances import Effect, alterations, effect, require_nuisances
from .pooling import Pooled, common_units, held_apart, pool, predict_views, protocols_for
from .scores import Scores, scores_of
from .subjects import Subject, open_session, open_subject

#: Told the number of samples in all at first, then how many more are done.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to evaluate, on what, and how; `protocols` are none, one for all models or one for each."""

    models: tuple[Path, ...]
    folders: tuple[Path, ...]
    split: str = "held-out"
    protocols: tuple[str, ...] = ()
    runtime: str | None = None
    device: str | None = None
    precision: str | None = None
    threads: int | None = None
    limit: int | None = None
    bootstrap: int = 1000
    seed: int = 0
    by: tuple[str, ...] = ()
    nuisances: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check what can be checked before anything is read.

        Raises:
            UsageError: no model, a model twice, or an unknown key or nuisance.
        """
        if not self.models:
            raise UsageError("No model given. Name the folder of a bundle or of a checkpoint.")
        if len({path.resolve() for path in self.models}) < len(self.models):
            raise UsageError("A model is named twice. Name each fold's model once.")
        require_keys(self.by)
        require_nuisances(self.nuisances)


@dataclass(frozen=True, slots=True)
class Ran:
    """One model as it was run: its part of the data, and what computed."""

    subject: Subject
    samples: int
    protocol: str
    runtime: str
    precision: str


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All that was found."""

    request: Request
    ran: tuple[Ran, ...]
    pooled: Pooled
    per_au: Scores
    per_site: Scores
    groups: tuple[Grouping, ...]
    effects: tuple[Effect, ...]
    warnings: tuple[str, ...]


def evaluate_models(request: Request, progress: Callable[[int], Progress] | None = None) -> Evaluation:
    """Evaluate models on their parts of prepared data, pooled.

    Args:
        request: what and how.
        progress: given the number of samples in all, returns what is told how many more are done.

    Raises:
        DsrfauError: a model or the data cannot be used, or the two do not fit together.
    """
    subjects = [open_subject(path) for path in request.models]
    protocols = protocols_for(subjects, request.protocols)
    data = load_prepared(request.folders, limit=request.limit)
    common = common_units(subjects, data)
    parts = [one.positions(data, request.split, protocol) for one, protocol in zip(subjects, protocols, strict=True)]
    held_apart(parts, [str(path) for path in request.models])
    step = progress(sum(map(len, parts))) if progress else (lambda _: None)
    ran, views = [], []
    for subject, positions, protocol in zip(subjects, parts, protocols, strict=True):
        one, view = _run(request, subject, data, positions, protocol, step)
        ran.append(one)
        views.append(view)
    pooled = pool(data, common, subjects, parts, views)
    return _scored(request, tuple(ran), pooled)


def _run(
    request: Request, subject: Subject, data: PreparedData, positions: Indices, protocol: str | None, step: Progress
) -> tuple[Ran, Mapping[str, npt.NDArray[np.float32]]]:
    opened = open_session(
        subject, request.runtime, request.device, precision=request.precision, threads=request.threads
    )
    try:
        view = predict_views(opened.session, data, positions, alterations(request.nuisances, request.seed), step)
    finally:
        opened.session.close()
    used = protocol or str(subject.split["protocol"])
    return Ran(subject, len(positions), used, opened.runtime, opened.precision), view


def _scored(request: Request, ran: tuple[Ran, ...], pooled: Pooled) -> Evaluation:
    resampling = resample(pooled.identities, count=request.bootstrap, seed=request.seed)
    labels, predictions = pooled.labels, pooled.predictions()
    wanted = request.bootstrap > 0
    per_au = scores_of(measure(labels, predictions, resampling), pooled.common.aus, wanted=wanted)
    per_site = scores_of(measure(pooled.site_labels, pooled.views[""], resampling), pooled.common.sites, wanted=False)
    return Evaluation(
        request=request,
        ran=ran,
        pooled=pooled,
        per_au=per_au,
        per_site=per_site,
        groups=tuple(group_scores(pooled, key, resampling) for key in request.by),
        effects=_effects(request.nuisances, pooled, resampling),
        warnings=(*_about_models(ran, pooled), *_about_labels(pooled), *per_au.notes),
    )


def _effects(names: Sequence[str], pooled: Pooled, resampling: Resampling) -> tuple[Effect, ...]:
    return tuple(effect(pooled, name, resampling) for name in names)


def _about_models(ran: Sequence[Ran], pooled: Pooled) -> list[str]:
    """What makes the numbers doubtful on the models' side."""
    notes = []
    for one in ran:
        subject = one.subject
        if dict(subject.template) != dict(pooled.data.index.template):
            notes.append(
                f"{subject.path} was made for another alignment than the data's: its numbers here are lower than on "
                "crops aligned for it"
            )
        if not subject.recorded:
            notes.append(
                f"{subject.path} does not record how its training split the data: the default split may hold persons "
                "that it has seen"
            )
    return notes


def _about_labels(pooled: Pooled) -> list[str]:
    """What cannot be scored, or is not."""
    notes, common = list[str](), pooled.common
    if common.not_predicted:
        notes.append(f"labelled but not predicted, left out: {', '.join(common.not_predicted)}")
    if common.not_labelled:
        notes.append(f"predicted but not labelled, left out: {', '.join(common.not_labelled)}")
    constant = [
        au for au, column in zip(common.aus, pooled.labels.T, strict=True) if not varies(column[~np.isnan(column)])
    ]
    if constant:
        notes.append(f"the label does not vary, no ICC or PCC and not in their means: {', '.join(constant)}")
    return notes
