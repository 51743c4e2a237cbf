"""Who is trained on and who is tested on: every split leaves whole persons out.

A protocol says how the held-out persons are chosen. `identities` does so by a hash of the name, so that a person keeps
his side whatever else is in the data. The published ones concern the set they were published for; samples of any other
kind are trained on as a whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import DataError, UsageError

Mask = npt.NDArray[np.bool_]

#: Test subjects of DISFA's subject-exclusive folds, as published with Ntinou et al., IEEE TAC 14(1).
DISFA_FOLDS = (
    (1, 6, 7, 8, 9, 26, 27, 28, 29),
    (2, 5, 10, 11, 12, 16, 17, 21, 25),
    (3, 4, 13, 18, 23, 24, 30, 31, 32),
)
PROTOCOLS = ("identities", "fera2015", *(f"disfa-{fold}" for fold in range(len(DISFA_FOLDS))), "rig=NAME")
_RIG = "rig="


def require_protocol(name: str) -> str:
    """The name, if there is such a protocol.

    Raises:
        UsageError: there is none.
    """
    if name in PROTOCOLS[:-1] or (name.startswith(_RIG) and len(name) > len(_RIG)):
        return name
    raise UsageError(f"Unknown protocol {name!r}. Known: {', '.join(PROTOCOLS)}.")


def held_out(
    protocol: str, share: float, *, kinds: Sequence[str], identities: Sequence[str], meta: Sequence[Mapping[str, Any]]
) -> tuple[Mask, Mask]:
    """Masks of the samples to train on and of those held out, `[n]` each; some may be neither.

    With `rig=NAME` the renders of that rig are held out as a whole, and of all else the share of identities that
    `identities` would hold out is left alone, so that the trained network has known persons of neither kind.

    Args:
        protocol: one of `PROTOCOLS`.
        share: share of the identities to hold out, for `identities` and `rig=NAME`.
        kinds: kind of the set that each sample is from.
        identities: each sample's person.
        meta: each sample's own record.

    Raises:
        UsageError: there is no such protocol.
        DataError: no sample is of the protocol's kind, or a person's number cannot be read.
    """
    require_protocol(protocol)
    if protocol == "identities":
        chosen = hashed("identity", identities, share)
        return ~chosen, chosen
    if protocol.startswith(_RIG):
        rig = protocol.removeprefix(_RIG)
        chosen = np.array([record.get("rig") == rig for record in meta], bool)
        _require_some(chosen, f"rendered on the rig {rig!r}", {str(r["rig"]) for r in meta if r.get("rig")})
        return ~chosen & ~hashed("identity", identities, share), chosen
    kind, is_test = _published(protocol)
    of_kind = np.array([one == kind for one in kinds], bool)
    _require_some(of_kind, f"of the kind {kind!r}", set(kinds))
    chosen = of_kind.copy()
    chosen[of_kind] = [is_test(_number(person)) for person in np.asarray(identities)[of_kind]]
    return ~chosen, chosen


def hashed(what: str, names: Sequence[str], share: float) -> Mask:
    """Whether a hash puts each name into the given share; depends on the name alone."""
    unique, inverse = np.unique(np.asarray(names), return_inverse=True)
    below = np.array([_hash_share(f"{what} {name}") < share for name in unique], bool)
    mask: Mask = np.asarray(below[inverse], bool)
    return mask


def _hash_share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def _published(protocol: str) -> tuple[str, Callable[[int], bool]]:
    """The kind of set that a published protocol is for, and whether a subject's number is of its test part."""
    if protocol == "fera2015":
        return "bp4d", lambda number: number % 2 == 0
    fold = DISFA_FOLDS[int(protocol.removeprefix("disfa-"))]
    return "disfa", fold.__contains__


def _number(person: str) -> int:
    """Subject number at the end of a person's name, such as 9 of `disfa-SN009` and 23 of `bp4d-F023`."""
    found = re.search(r"(\d+)$", person)
    if found is None:
        raise DataError(f"The subject {person!r} has no number: a published protocol cannot place it.")
    return int(found[1])


def _require_some(chosen: Mask, what: str, there: set[str]) -> None:
    if not chosen.any():
        raise DataError(f"No sample of this data is {what}; there is: {', '.join(sorted(there)) or 'nothing named'}.")
