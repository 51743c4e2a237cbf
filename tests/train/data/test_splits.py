"""Protocols: who is held out, and that published ones concern their own set only."""

from __future__ import annotations

import numpy as np
import pytest

from dsrfau_edge.errors import DataError, UsageError
from dsrfau_edge.train.data.splits import DISFA_FOLDS, held_out


def _split(protocol, kinds, identities, meta=None, share=0.3):
    return held_out(protocol, share, kinds=kinds, identities=identities, meta=meta or [{}] * len(kinds))


def test_fera_2015_trains_on_odd_and_tests_on_even_subjects():
    people = [f"bp4d-{letter}{number:03d}" for letter in "FM" for number in range(1, 24)]
    train, test = _split("fera2015", ["bp4d"] * len(people), people)
    assert {people[position][-3:] for position in np.flatnonzero(test)} == {f"{n:03d}" for n in range(2, 24, 2)}
    assert (train == ~test).all()


def test_disfas_folds_hold_every_subject_once():
    subjects = sorted(number for fold in DISFA_FOLDS for number in fold)
    assert len(subjects) == len(set(subjects)) == 27
    assert not {14, 15, 19, 20, 22} & set(subjects)  # numbers that the set does not have
    people = [f"disfa-SN{number:03d}" for number in subjects]
    tests = np.stack([_split(f"disfa-{fold}", ["disfa"] * 27, people)[1] for fold in range(3)])
    assert (tests.sum(0) == 1).all()
    assert tests.sum(1).tolist() == [9, 9, 9]


def test_sets_of_another_kind_are_trained_on():
    train, test = _split(
        "disfa-0", ["rendered", "disfa", "disfa"], ["makehuman-0-000006", "disfa-SN006", "disfa-SN002"]
    )
    assert train.tolist() == [True, False, True]
    assert test.tolist() == [False, True, False]


def test_a_held_out_rig_is_held_out_whole_and_no_known_person_is_left_over():
    people = [f"person-{number}" for number in range(40)]
    rigs = [{"rig": "ict" if number % 2 else "makehuman"} for number in range(40)]
    train, test = _split("rig=ict", ["rendered"] * 40, people, rigs)
    _, by_hash = _split("identities", ["rendered"] * 40, people, rigs)
    assert test.tolist() == [bool(number % 2) for number in range(40)]
    assert not (train & test).any()
    assert not (train & by_hash).any()
    assert (~train & ~test & by_hash).any()


@pytest.mark.parametrize("protocol", ["folds", "rig=", "disfa-3", ""])
def test_unknown_protocols(protocol):
    with pytest.raises(UsageError, match="fera2015"):
        _split(protocol, ["bp4d"], ["bp4d-F001"])


def test_a_protocol_needs_its_set_and_its_numbers():
    with pytest.raises(DataError, match="there is: rendered"):
        _split("fera2015", ["rendered"], ["a"])
    with pytest.raises(DataError, match="there is: makehuman"):
        _split("rig=ict", ["rendered"], ["a"], [{"rig": "makehuman"}])
    with pytest.raises(DataError, match="no number"):
        _split("fera2015", ["bp4d"], ["bp4d-Anna"])
