"""The ICT-FaceKit rig (MIT): a checkout of its OBJ files, or the packed `.npz` that `pack` makes of one."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import DataError

from ..meshes import FloatArray, IntArray, Surface, surface
from .base import Field, Identity, eye_centres
from .makehuman import MakeHumanRig
from .registration import landmark_vertices, register

NAME = "ict"
_SCALE = 0.1  # centimetres to decimetres
_MOVES = 1e-5  # decimetres; a vertex that moves less stands still
_SEAM = 0.025  # a face of the head spans less of the canonical texture
_SPREAD = 0.8  # standard deviations of the identity modes: a little tamer than the scans
_MATERIALS = {
    "skin": ("M_Face", "M_BackHead"),
    "eyes": ("M_ScleraLeft", "M_IrisLeft", "M_ScleraRight", "M_IrisRight"),
    "teeth": ("M_Teeth",),
    "tongue": ("M_GumsTongue",),
}
_KEYS = ("neutral", "identity", "expr", "names", "faces", "ft", "vt", "mats", "matnames")
_SIDES = {"_L": "Left", "_R": "Right"}

Arrays = dict[str, npt.NDArray[Any]]


class IctRig:
    """A second, independent rig: 100 modes of identity from scans, 55 expression shapes, no albedo of its own."""

    name = NAME
    licence = "ICT-FaceKit light (USC Institute for Creative Technologies): MIT"

    def __init__(self, source: Path, *, rough: bool = False) -> None:
        """Read a checkout or a packed file and register it on the canonical head.

        Args:
            source: folder or `.npz`.
            rough: by the eyes alone, not by landmarks (what is needed to find those).

        Raises:
            DataError: it is neither, or it is damaged.
            RuntimeUnavailable: the canonical head's data are not installed.
        """
        arrays = read_checkout(source) if source.is_dir() else _read_packed(source)
        self.neutral: FloatArray = arrays["neutral"].astype(np.float32) * _SCALE
        self._modes: FloatArray = arrays["identity"].astype(np.float32).reshape(len(arrays["identity"]), -1) * _SCALE
        self.shapes: Mapping[str, Field] = {
            _shape_name(str(name)): _sparse(deltas.astype(np.float32) * _SCALE)
            for name, deltas in zip(arrays["names"], arrays["expr"], strict=True)
        }
        corners = {name: _corners(arrays, materials) for name, materials in _MATERIALS.items()}
        eyes = np.unique(corners["eyes"][:, :, 0]).astype(np.int32)
        self.eyes = (eyes[self.neutral[eyes, 0] > 0], eyes[self.neutral[eyes, 0] < 0])
        head = MakeHumanRig()
        # The heads then have one origin, and assets fit both.
        self.neutral += eye_centres(head, head.rest).mean(0) - eye_centres(self, self.neutral).mean(0)
        found = landmark_vertices()
        self._registration = register(
            self.neutral,
            np.unique(corners["skin"][:, :, 0]).astype(np.int32),
            None if rough else found[NAME],
            canonical=head.rest,
            canonical_skin=head.surfaces["skin"],
            canonical_landmarks=found[head.name],
        )
        self.rest = self._registration.rest
        self.surfaces: Mapping[str, Surface] = {
            name: surface(_without_seams(part[:, :, 0], self._registration.texture), self._registration.texture)
            for name, part in corners.items()
        }

    def identity(self, name: str, rng: np.random.Generator) -> Identity:
        """Draw a person from the modes; the rig does not say of what sex, age or ancestry."""
        amounts = np.clip(rng.normal(0, _SPREAD, len(self._modes)), -2, 2).astype(np.float32)
        neutral = self.neutral + (amounts @ self._modes).reshape(-1, 3)
        left, right = (neutral[eye].mean(0) for eye in self.eyes)
        return Identity(name, neutral, float(np.linalg.norm(left - right)))

    def canonical(self, positions: FloatArray) -> FloatArray:
        """Positions of the canonical mesh's vertices when they follow this skin."""
        return self._registration.canonical(positions)


def pack(checkout: Path, output: Path) -> dict[str, int]:
    """Write a checkout as one compressed file, deltas as float16; returns what it holds.

    Raises:
        DataError: the checkout is incomplete, or the file cannot be written.
    """
    arrays = read_checkout(checkout)
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        part.replace(output)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DataError(
            f"{output} cannot be written ({error.strerror or error}). Name another place with -o."
        ) from error
    return {"vertices": len(arrays["neutral"]), "identities": len(arrays["identity"]), "shapes": len(arrays["names"])}


def read_checkout(folder: Path) -> Arrays:
    """Read the OBJ files of a checkout.

    Raises:
        DataError: a file is missing or broken.
    """
    root = folder / "FaceXModel" if (folder / "FaceXModel").is_dir() else folder
    neutral_path = root / "generic_neutral_mesh.obj"
    paths = sorted(root.glob("*.obj"))
    modes = [path for path in paths if path.stem.startswith("identity")]
    shapes = [path for path in paths if path not in modes and path != neutral_path]
    if neutral_path not in paths or not modes or not shapes:
        raise DataError(
            f"{folder} is not a checkout of ICT-FaceKit: FaceXModel/ with generic_neutral_mesh.obj, identity*.obj and "
            "the expression shapes is missing. Name the folder that `git clone` made, with its large files."
        )
    neutral, texture, faces, places, materials, names = _read_mesh(neutral_path)
    _check_materials(neutral_path, names)
    return {
        "neutral": neutral,
        "identity": np.stack([(_positions(path, len(neutral)) - neutral).astype(np.float16) for path in modes]),
        "expr": np.stack([(_positions(path, len(neutral)) - neutral).astype(np.float16) for path in shapes]),
        "names": np.asarray([path.stem for path in shapes]),
        "faces": faces,
        "ft": places,
        "vt": texture,
        "mats": materials,
        "matnames": np.asarray(names),
    }


def _check_materials(path: Path, names: Iterable[object]) -> None:
    missing = {material for part in _MATERIALS.values() for material in part} - {str(name) for name in names}
    if missing:
        raise DataError(f"{path} lacks the parts {', '.join(sorted(missing))}: it is not ICT-FaceKit, or cut short.")


def _read_packed(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in _KEYS}
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist. Give `ict=PATH` a checkout or a packed .npz.") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is not a packed ICT-FaceKit ({error}). Make one: `dsrfau-synth pack-ict CHECKOUT -o FILE`."
        ) from error
    _check_materials(path, arrays["matnames"])
    count = len(arrays["neutral"])
    fits = all(arrays[key].ndim == 3 and arrays[key].shape[1:] == (count, 3) for key in ("identity", "expr"))
    if not fits or len(arrays["names"]) != len(arrays["expr"]) or arrays["faces"].max() >= count:
        raise DataError(f"{path}: its arrays do not fit each other. Pack the checkout again.")
    return arrays


def _read_mesh(path: Path) -> tuple[Any, ...]:
    texture: list[list[float]] = []
    faces: list[list[tuple[int, ...]]] = []
    materials: list[int] = []
    names: list[str] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "vt":
                texture.append([float(number) for number in rest.split()[:2]])
            elif kind == "usemtl":
                if rest.strip() not in names:
                    names.append(rest.strip())
                material = names.index(rest.strip())
            elif kind == "f":
                corners = [tuple(int(number) - 1 for number in corner.split("/")[:2]) for corner in rest.split()]
                faces.append([*corners, (-1, -1)][:4])
                materials.append(material)
        pairs = np.asarray(faces, np.int32).reshape(-1, 4, 2)
    except (ValueError, UnicodeDecodeError, UnboundLocalError) as error:
        raise DataError(f"{path} is not an OBJ file as ICT-FaceKit has them ({error}). Check it out again.") from error
    vertices = _positions(path, None)
    if not len(pairs) or pairs[:, :, 0].max() >= len(vertices):
        raise DataError(f"{path} is cut short: its faces name vertices it does not have. Check it out again.")
    return (
        vertices,
        np.asarray(texture, np.float32),
        pairs[:, :, 0],
        pairs[:, :, 1],
        np.asarray(materials, np.int16),
        names,
    )


def _positions(path: Path, count: int | None) -> FloatArray:
    try:
        lines = [line[2:].split()[:3] for line in path.read_text(encoding="utf-8").splitlines() if line[:2] == "v "]
        positions = np.asarray(lines, np.float32).reshape(-1, 3)
    except (ValueError, OSError) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(f"{path} cannot be read as an OBJ file ({error}). Check it out again.") from error
    if not len(positions) or (count is not None and len(positions) != count):
        raise DataError(
            f"{path} has {len(positions)} vertices{'' if count is None else f', the neutral mesh {count}'}: it is cut "
            "short or only a large-file pointer. Check it out again."
        )
    return positions


def _corners(arrays: Arrays, materials: tuple[str, ...]) -> IntArray:
    """Corners `[F, 4, 2]` of the faces of some materials; a triangle repeats its last corner."""
    wanted = np.isin(arrays["mats"], [list(arrays["matnames"]).index(name) for name in materials])
    faces = np.stack([arrays["faces"], arrays["ft"]], axis=-1)[wanted].astype(np.int32)
    short = faces[:, 3, 0] < 0
    faces[short, 3] = faces[short, 2]
    return faces


def _without_seams(faces: IntArray, texture: FloatArray) -> IntArray:
    """Corners `[F, 4, 2]` of faces `[F, 4]`; one across a seam of the canonical texture takes a single place of it."""
    places = faces.copy()
    torn = np.ptp(texture[faces], axis=1).max(1) > _SEAM
    places[torn] = places[torn, :1]
    return np.stack([faces, places], axis=2)


def _shape_name(name: str) -> str:
    return name[:-2] + _SIDES[name[-2:]] if name[-2:] in _SIDES else name


def _sparse(deltas: FloatArray) -> Field:
    indices = np.flatnonzero(np.abs(deltas).max(1) > _MOVES).astype(np.int32)
    return indices, deltas[indices]
