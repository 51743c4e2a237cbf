"""Finds FaceMesh's points on a rig's neutral head: render it from the front, look, and take the vertices seen there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import DataError
from dsrfau_edge.face.landmarks import FaceMesh, Roi

from .looks import Wardrobe
from .meshes import FloatArray, IntArray, vertex_normals
from .renderer import Renderer
from .rigs.base import Identity, Rig, eye_centres
from .scene import draw_scene

_ROI_SIDE = 3.9  # of the region given to the mesh, in distances between the eyes
_PICTURES = 12  # looks and lights whose points are averaged


def find_landmarks(rig: Rig, neutral: FloatArray) -> IntArray:
    """Skin vertex of each of the 468 points `[468]` on a neutral head `[V, 3]`.

    Raises:
        DataError: no face is seen on the renders.
    """
    left, right = eye_centres(rig, neutral)
    ruler = float(np.linalg.norm(left - right))
    person = Identity(f"{rig.name}-neutral", neutral, ruler, female=False, age=0.3, race="caucasian")
    renderer = Renderer(rig)
    found = [points for seed in range(_PICTURES) if (points := _look(rig, renderer, person, seed)) is not None]
    if not found:
        raise DataError(f"No face is seen on the neutral head of the rig {rig.name}: look at its picture.")
    return _vertices(rig, person, np.median(found, axis=0))


def _look(rig: Rig, renderer: Renderer, person: Identity, seed: int) -> npt.NDArray[np.float64] | None:
    """Points `[468, 2]` on one picture, in eye distances from between the eyes, y up."""
    rng = np.random.default_rng(seed)
    scene = replace(draw_scene(rng), yaw=0.0, pitch=0.0, roll=0.0, distance=60.0, gaze=(0.0, 0.0), occluder=None)
    picture = renderer.render(
        person, person.neutral, replace(Wardrobe(None).draw(person, rng), glasses=None), scene, {}
    )
    eyes = renderer.project(person, eye_centres(rig, person.neutral), scene)
    ruler, middle = float(np.linalg.norm(eyes[0] - eyes[1])), eyes.mean(0)
    roi = Roi(float(middle[0]), float(middle[1] + 0.55 * ruler), _ROI_SIDE * ruler, 0.0)
    seen = FaceMesh().place(picture, roi)
    return None if seen is None else (seen.points[:, :2] - middle) / (ruler, -ruler)


def _vertices(rig: Rig, person: Identity, points: npt.NDArray[np.float64]) -> IntArray:
    """The skin vertices seen at these points, orthographically; hidden ones are passed over."""
    skin = rig.surfaces["skin"]
    middle = eye_centres(rig, person.neutral).mean(0)
    places = (person.neutral[skin.source] - middle) / person.eye_distance
    facing = np.flatnonzero(vertex_normals(person.neutral[skin.source], skin.triangles)[:, 2] > 0)
    chosen = []
    for point in points:
        away = np.linalg.norm(places[facing, :2] - point, axis=1)
        near = facing[away < max(0.05, float(away.min()) + 0.01)]
        seen = near[places[near, 2] > places[near, 2].max() - 0.2]
        chosen.append(seen[np.linalg.norm(places[seen, :2] - point, axis=1).argmin()])
    vertices: IntArray = skin.source[np.asarray(chosen)]
    return vertices
