"""Wavefront meshes, MakeHuman's target files, and meshes bound to another mesh (`.mhclo`)."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import DataError

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Obj:
    """A parsed OBJ file; a corner of a face is a pair (position, texture coordinate)."""

    positions: FloatArray  # [V, 3]
    texture: FloatArray  # [T, 2]
    groups: dict[str, IntArray]  # name → corners [F, 4, 2], a triangle repeats its last corner


@dataclass(frozen=True, slots=True)
class Surface:
    """A part that is drawn: which positions its vertices take, their texture coordinates, and its triangles."""

    source: IntArray  # [K] index into the positions it is drawn from
    texture: FloatArray  # [K, 2]
    triangles: IntArray  # [M, 3] into the K vertices


def read_obj(path: Path) -> Obj:
    """Read positions, texture coordinates and faces by group."""
    positions: list[list[float]] = []
    texture: list[list[float]] = []
    groups: dict[str, list[list[tuple[int, int]]]] = {}
    faces = groups.setdefault("", [])
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            kind, _, rest = line.partition(" ")
            if kind == "v":
                positions.append([float(number) for number in rest.split()[:3]])
            elif kind == "vt":
                texture.append([float(number) for number in rest.split()[:2]])
            elif kind == "g":
                faces = groups.setdefault(rest.strip(), [])
            elif kind == "f":
                corners = [_corner(corner) for corner in rest.split()]
                faces.append((corners + corners[-1:])[:4])
    arrays = {name: np.asarray(found, np.int32).reshape(-1, 4, 2) for name, found in groups.items() if found}
    return Obj(np.asarray(positions, np.float32), np.asarray(texture, np.float32).reshape(-1, 2), arrays)


def _corner(corner: str) -> tuple[int, int]:
    position, _, texture = corner.partition("/")
    return int(position) - 1, int(texture.partition("/")[0] or 1) - 1


def surface(corners: IntArray, texture: FloatArray) -> Surface:
    """Make a drawable part of faces `[F, 4, 2]`."""
    pairs, inverse = np.unique(corners.reshape(-1, 2), axis=0, return_inverse=True)
    quads = inverse.reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    proper = (triangles[:, 0] != triangles[:, 2]) & (triangles[:, 1] != triangles[:, 2])
    coordinates = texture[pairs[:, 1]] if len(texture) else np.zeros((len(pairs), 2), np.float32)
    return Surface(pairs[:, 0].astype(np.int32), coordinates.astype(np.float32), triangles[proper].astype(np.int32))


def vertex_normals(positions: FloatArray, triangles: npt.NDArray[np.integer[Any]]) -> FloatArray:
    """Area-weighted unit normals `[V, 3]` of positions `[V, 3]`."""
    a, b, c = (positions[triangles[:, corner]] for corner in range(3))
    across = np.cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(triangles.T.ravel(), np.tile(across[:, axis], 3), minlength=len(positions)) for axis in range(3)],
        axis=1,
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    unit: FloatArray = (normals / np.maximum(length, 1e-9)).astype(np.float32)
    return unit


def read_target(path: Path) -> tuple[IntArray, FloatArray]:
    """Read a MakeHuman morph target: indices `[K]` and displacements `[K, 3]`."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = [line.split() for line in raw.decode("utf-8").splitlines() if line.strip() and not line.startswith("#")]
    table = np.asarray(lines, np.float64).reshape(-1, 4)
    return table[:, 0].astype(np.int32), table[:, 1:].astype(np.float32)


@dataclass(frozen=True, slots=True)
class Binding:
    """A mesh that follows the base mesh: every vertex is a weighted mean of three base vertices and an offset."""

    indices: IntArray  # [V, 3]
    weights: FloatArray  # [V, 3]
    offsets: FloatArray  # [V, 3]
    scales: tuple[tuple[int, int, float], ...]  # per axis: two base vertices and the distance that means 1

    @property
    def highest(self) -> int:
        """The last base vertex it needs."""
        return max(int(self.indices.max()), *(max(a, b) for a, b, _ in self.scales))

    def fit(self, base: FloatArray) -> FloatArray:
        """Positions `[V, 3]` of the bound mesh on base positions."""
        size = [abs(float(base[a, axis] - base[b, axis])) / unit for axis, (a, b, unit) in enumerate(self.scales)]
        held: FloatArray = np.einsum("vk,vkc->vc", self.weights, base[self.indices])
        return held + self.offsets * np.asarray(size, np.float32)


def read_binding(path: Path) -> Binding:
    """Read an `.mhclo` file.

    Raises:
        DataError: it has no vertex table or scales.
    """
    scales: dict[str, tuple[int, int, float]] = {}
    rows: list[list[float]] = []
    reading = False
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in {"x_scale", "y_scale", "z_scale"}:
            scales[words[0]] = (int(words[1]), int(words[2]), float(words[3]))
        elif words[0] == "verts":
            reading = True
        elif reading and len(words) in {1, 9} and words[0].isdigit():
            numbers = [float(word) for word in words]
            rows.append(numbers if len(numbers) == 9 else [numbers[0]] * 3 + [1.0, 0, 0, 0, 0, 0])
    if not rows or len(scales) != 3:
        raise DataError(f"{path} is not a MakeHuman clothes file: vertex table or scales are missing.")
    table = np.asarray(rows)
    return Binding(
        table[:, :3].astype(np.int32),
        table[:, 3:6].astype(np.float32),
        table[:, 6:].astype(np.float32),
        (scales["x_scale"], scales["y_scale"], scales["z_scale"]),
    )
