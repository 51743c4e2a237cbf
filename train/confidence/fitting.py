"""The logistic model of how often a reading is right, fitted to observations."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import PRESENCE_THRESHOLD
from dsrfau_edge.errors import DataError
from dsrfau_edge.face.reliability import READING, WITHIN, AuReliability, Reliability, reading_terms

from .observing import Observations

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_RIDGE = 1e-3
_STEPS, _ENOUGH = 4000, 1e-7
_FEWEST = 20  # right and wrong readings each


def right(observed: Observations) -> Mask:
    """Which readings are right `[n, A]`."""
    return np.abs(observed.readings - observed.truths) <= WITHIN


def half_and_half(observed: Observations) -> Floats:
    """Weights `[n, A]` under which half of the faces show each unit; 0 where unlabelled."""
    with np.errstate(invalid="ignore"):
        labelled, present = np.isfinite(observed.truths), observed.truths >= PRESENCE_THRESHOLD
    weights = np.zeros(observed.truths.shape)
    for part in (labelled & present, labelled & ~present):
        weights += part * 0.5 / np.maximum(part.sum(0), 1)
    found: Floats = weights * labelled.sum(0)
    return found


def halves(identities: Sequence[str] | npt.NDArray[np.str_]) -> Mask:
    """Whether a person is of the half to fit on `[n]`; by a hash of the name alone."""
    return np.array([hashlib.sha256(f"confidence {name}".encode()).digest()[0] < 128 for name in identities], bool)


def fit(observed: Observations, about: dict[str, Any] | None = None) -> Reliability:
    """Fit the model of every unit.

    Raises:
        DataError: a unit has too few right or wrong readings, present or absent, to fit anything to.
    """
    correct, weights = right(observed), half_and_half(observed)
    models = {}
    for column, au in enumerate(observed.aus):
        used = observed.seen[:, column] & np.isfinite(observed.truths[:, column])
        known = correct[used, column]
        present = observed.truths[used, column] >= PRESENCE_THRESHOLD
        if min(known.sum(), (~known).sum(), present.sum(), (~present).sum()) < _FEWEST:
            raise DataError(
                f"{au}: {known.sum()} right and {(~known).sum()} wrong readings, on {present.sum()} faces that show it "
                f"and {(~present).sum()} that do not, are too few (of each at least {_FEWEST}). Give data that labels "
                "it, and more of it: --data, --views."
            )
        terms = np.array([reading_terms(value) for value in observed.readings[used, column].tolist()])
        inputs = np.column_stack([terms, observed.hardships[used]])
        factors = logistic(inputs, known, weights[used, column], np.arange(inputs.shape[1]) >= READING)
        values = [float(value) for value in factors]
        models[au] = AuReliability(values[0], tuple(values[1 : 1 + READING]), tuple(values[1 + READING :]))
    return Reliability(models, about or {})


def logistic(inputs: Floats, known: Mask, weights: Floats, falling: Mask) -> Floats:
    """Weighted logistic regression with a small ridge, some factors held at 0 or below.

    Nesterov's accelerated gradient with projection and restart (O'Donoghue and Candès, 2015).

    Args:
        inputs: `[n, K]`.
        known: what to predict `[n]`.
        weights: of the samples `[n]`.
        falling: `[K]`, factors that may not be above 0.

    Returns:
        Intercept and factors `[1 + K]`.
    """
    scale = np.maximum(inputs.std(0), 1e-9)
    matrix = np.column_stack([np.ones(len(inputs)), inputs / scale])
    share = weights / weights.sum()
    ridge = np.concatenate([[0.0], np.full(inputs.shape[1], _RIDGE)])
    steepness = 0.25 * np.linalg.eigvalsh((matrix * share[:, None]).T @ matrix)[-1] + _RIDGE
    held = np.concatenate([[False], falling])
    factors = ahead = np.zeros(matrix.shape[1])
    momentum = 1.0
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(matrix @ ahead, -50, 50)))
        slope = matrix.T @ (share * (chance - known)) + ridge * ahead
        new = ahead - slope / steepness
        new[held] = np.minimum(new[held], 0)
        moved = new - factors
        if slope @ moved > 0:  # going the wrong way: lose the momentum
            momentum = 1.0
        longer = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / longer * moved
        factors, momentum = new, longer
        if np.abs(moved).max() < _ENOUGH:
            break
    found: Floats = factors / np.concatenate([[1.0], scale])
    return found


def confidences(model: Reliability, observed: Observations) -> Floats:
    """The model's confidences `[n, A]`, 0 where a unit cannot be seen."""
    values: Floats = np.zeros(observed.readings.shape)
    for column, au in enumerate(observed.aus):
        one = model.aus[au]
        for row, (reading, hard) in enumerate(
            zip(observed.readings[:, column].tolist(), observed.hardships.tolist(), strict=True)
        ):
            values[row, column] = one.confidence(reading, hard)
    values[~observed.seen] = 0
    return values
