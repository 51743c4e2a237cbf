"""From observations to a fitted model and what is known of it: fitted on half of the persons, judged on the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsrfau_edge.errors import DataError
from dsrfau_edge.face.reliability import WITHIN, Reliability

from .fitting import Floats, confidences, fit, half_and_half, halves, right
from .observing import Observations
from .scoring import Calibration, calibration


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """A model and how good it is on persons it was not fitted on.

    Attributes:
        model: the model to store.
        test: the other half of the persons.
        before: the heuristic's calibration, overall under "" and by unit.
        after: the model's, likewise.
        plain: the model's over readings as they come, not weighted to half of the faces showing each unit.
        rigs: by rig: calibration on it of the model fitted on all other rigs, overall.
    """

    model: Reliability
    test: Observations
    before: Mapping[str, Calibration]
    after: Mapping[str, Calibration]
    plain: Calibration
    rigs: Mapping[str, Calibration]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "before": {name or "all": one.to_dict() for name, one in self.before.items()},
            "after": {name or "all": one.to_dict() for name, one in self.after.items()},
            "as_they_come": self.plain.to_dict(),
            "other_rig": {name: one.to_dict() for name, one in self.rigs.items()},
        }


def study(observed: Observations, about: Mapping[str, Any] | None = None) -> Study:
    """Fit on half of the persons, score on the other half, and across rigs where there are several.

    Raises:
        DataError: there are too few persons or faces.
    """
    chosen = halves(observed.identities)
    if not chosen.any() or chosen.all():
        raise DataError("One person is not enough: half of the persons are fitted on, the others judge the fit.")
    train, test = observed.take(chosen), observed.take(~chosen)
    model = fit(train, {**(about or {}), **_counted(train)})
    after, before = confidences(model, test), test.before
    scored = _by_unit(test, after)
    names = sorted(set(observed.rigs.tolist()) - {""})
    rigs = {
        name: _overall(test.take(test.rigs == name), fit(train.take(train.rigs != name)))
        for name in (names if len(names) > 1 else [])
    }
    plain = calibration(*_flat(test, after, weighted=False))
    stored = {**model.about, **{key: scored[""].to_dict()[key] for key in ("ece", "brier", "auc")}}
    return Study(Reliability(model.aus, stored), test, _by_unit(test, before), scored, plain, rigs)


def _counted(train: Observations) -> dict[str, Any]:
    return {"faces": len(train), "identities": len(set(train.identities.tolist())), "within": WITHIN}


def _overall(observed: Observations, model: Reliability) -> Calibration:
    return calibration(*_flat(observed, confidences(model, observed)))


def _by_unit(observed: Observations, values: Floats) -> dict[str, Calibration]:
    """Calibration overall, and of each unit."""
    found = {"": calibration(*_flat(observed, values))}
    correct, weights = right(observed), half_and_half(observed)
    for column, au in enumerate(observed.aus):
        labelled = np.isfinite(observed.truths[:, column]) & observed.seen[:, column]
        found[au] = calibration(values[labelled, column], correct[labelled, column], weights[labelled, column])
    return found


def _flat(observed: Observations, values: Floats, *, weighted: bool = True) -> tuple[Floats, Any, Floats]:
    """Confidences, outcomes and weights of all readings of units that can be seen."""
    labelled = np.isfinite(observed.truths) & observed.seen
    weights = half_and_half(observed) if weighted else np.ones(labelled.shape)
    return values[labelled], right(observed)[labelled], weights[labelled]
