"""A small ICT-FaceKit checkout made of the canonical head: its skin, eyes and teeth under that project's names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dsrfau_edge.train.synthesis.meshes import FloatArray, IntArray
from dsrfau_edge.train.synthesis.rigs.base import Rig

_MATERIALS = {"skin": "M_Face", "teeth": "M_Teeth", "tongue": "M_GumsTongue"}
_EMPTY = ("M_BackHead",)
_SIDES = {"Left": "_L", "Right": "_R"}


def write_checkout(folder: Path, head: Rig, *, modes: int = 3) -> IntArray:
    """Write the OBJ files, centimetres; returns the canonical vertex of each of theirs."""
    root = folder / "FaceXModel"
    root.mkdir(parents=True)
    kept = np.unique(np.concatenate([part.source for part in head.surfaces.values()])).astype(np.int32)
    place = np.full(len(head.rest), -1)
    place[kept] = np.arange(len(kept))
    neutral = head.rest[kept] * 10
    (root / "generic_neutral_mesh.obj").write_text(_obj(neutral, _faces(head, place)), "utf-8")
    rng = np.random.default_rng(0)
    for mode in range(modes):
        moved = neutral * (1 + 0.02 * rng.normal(size=3)).astype(np.float32)
        (root / f"identity{mode:03d}.obj").write_text(_obj(moved, ""), "utf-8")
    for name, (indices, deltas) in head.shapes.items():
        whole = np.zeros_like(head.rest)
        whole[indices] = deltas
        side = next((side for side in _SIDES if name.endswith(side) and name not in {"jawLeft", "jawRight"}), "")
        stem = (
            name.removesuffix(side) + _SIDES[side]
            if side and not name.startswith(("mouthLeft", "mouthRight"))
            else name
        )
        (root / f"{stem}.obj").write_text(_obj(neutral + 10 * whole[kept], ""), "utf-8")
        if name.startswith("cheekSquint"):
            (root / f"cheekRaiser{_SIDES[side]}.obj").write_text(_obj(neutral + 10 * whole[kept], ""), "utf-8")
    return kept


def _faces(head: Rig, place: IntArray) -> str:
    lines = ["vt 0.5 0.5"]
    for part, material in _MATERIALS.items():
        surface = head.surfaces[part]
        lines.append(f"usemtl {material}")
        lines += [_face(place[surface.source[triangle]]) for triangle in surface.triangles]
    eyes = head.surfaces["eyes"]
    for side, eye in zip(("Left", "Right"), head.eyes, strict=True):
        mine = np.isin(eyes.source, eye)
        for kind, triangles in zip(
            ("Sclera", "Iris"), np.array_split(eyes.triangles[mine[eyes.triangles].all(1)], 2), strict=True
        ):
            lines.append(f"usemtl M_{kind}{side}")
            lines += [_face(place[eyes.source[triangle]]) for triangle in triangles]
    first = head.surfaces["skin"]
    lines += [f"usemtl {_EMPTY[0]}", _face(place[first.source[first.triangles[0]]])]
    return "\n".join(lines) + "\n"


def _face(corners: IntArray) -> str:
    return "f " + " ".join(f"{int(corner) + 1}/1" for corner in corners)


def _obj(positions: FloatArray, rest: str) -> str:
    return "".join(f"v {x:.5f} {y:.5f} {z:.5f}\n" for x, y, z in positions) + rest
