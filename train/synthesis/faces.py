"""One labelled face from a seed: identity, intensities, look, scene, picture, aligned crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import ALL_AUS, site_centres, sites_of
from dsrfau_edge.errors import DataError, InputError
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE, warp
from dsrfau_edge.face.landmarks import FaceMesh, Roi
from dsrfau_edge.shards import MARGIN, Sample, crop_side

from .calibration import Ruler, weights_for
from .combinations import distractors, draw
from .graphics import Device
from .intensity import SITES, gaze_weights, lip_part_weights, measured
from .looks import Look, Wardrobe
from .renderer import Renderer
from .rigs import RigSpec, open_rig
from .rigs.base import Identity, Rig, eye_centres, pose
from .scene import Scene, draw_scene, turned_anyhow

_QUALITY = 95
_TRIES = 8
_SIDES = {128: 320, 256: 512}  # input → side of the picture that its crop is cut from
_ROI_SIDE = 3.9  # of the region given to the mesh, in distances between the eyes on the picture


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to draw again and again."""

    rig: Rig
    identity: Identity
    look: Look


@dataclass(frozen=True, slots=True)
class Face:
    """A rendered picture with everything known about it."""

    picture: npt.NDArray[np.uint8]
    intensities: npt.NDArray[np.float32]
    person: Person
    scene: Scene


class FaceFactory:
    """Makes faces; every one depends on its own seed alone, so that any worker makes the same."""

    def __init__(
        self,
        *,
        seed: int,
        input_size: int,
        assets: Path | None = None,
        per_identity: int = 6,
        rigs: Sequence[RigSpec] = (RigSpec("makehuman"),),
        wide_poses: bool = False,
    ) -> None:
        """Load the rigs and make their renderers.

        Args:
            seed: seed of the whole set.
            input_size: side of the network's input; crops are stored with a margin around it.
            assets: MakeHuman asset folder, or None for procedural looks.
            per_identity: faces of each identity.
            rigs: identities take them in turn.
            wide_poses: draw turns that are hard to read as often as others, see `turned_anyhow`.
        """
        self._seed, self._size, self._per_identity = seed, input_size, per_identity
        self._wide_poses = wide_poses
        self._rigs = [open_rig(spec) for spec in rigs]
        self._wardrobe = Wardrobe(assets)
        side, device = _SIDES[input_size], Device()
        self._renderers = {rig.name: Renderer(rig, side, device=device) for rig in self._rigs}
        self._rulers = {rig.name: Ruler(rig) for rig in self._rigs}
        self._mesh = FaceMesh()
        self._known: tuple[int, Person] | None = None

    def sample(self, number: int) -> Sample:
        """The labelled crop of this number; a face the landmarks miss is drawn anew, at last with nothing over it."""
        for attempt in range(_TRIES):
            rng = np.random.default_rng([self._seed, 1, number, attempt])
            person, scene = self.person(number // self._per_identity), draw_scene(rng)
            if self._wide_poses:
                scene = turned_anyhow(scene, rng)
            if attempt >= _TRIES // 2:
                bare = replace(person.look, hair=None, cap_density=1.0, glasses=None)
                person, scene = replace(person, look=bare), replace(scene, occluder=None)
            face = self.face(person, rng, scene=scene)
            found = self.align(face, rng)
            if found is not None:
                return self._pack(number, face, *found)
        raise DataError(
            f"The landmarks missed face {number} of seed {self._seed} in {_TRIES} tries, at last bare of hair and "
            "glasses: a skin of --assets does not look like one. Leave that out, or give another --seed."
        )

    def person(self, number: int) -> Person:
        """Identity and look of this number."""
        if self._known is None or self._known[0] != number:
            rng = np.random.default_rng([self._seed, 0, number])
            rig = self._rigs[number % len(self._rigs)]
            identity = rig.identity(f"{rig.name}-{self._seed}-{number:06d}", rng)
            self._known = (number, Person(rig, identity, self._wardrobe.draw(identity, rng)))
        return self._known[1]

    def face(
        self,
        person: Person,
        rng: np.random.Generator,
        *,
        intensities: Mapping[str, float] | None = None,
        scene: Scene | None = None,
    ) -> Face:
        """Draw a picture of a person.

        Args:
            person: who.
            rng: source of all that is not given.
            intensities: by site, nothing else then moves; drawn by default.
            scene: camera, pose and light; drawn by default.
        """
        rig, identity = person.rig, person.identity
        drawn = dict(draw(rng) if intensities is None else intensities)
        weights = weights_for(self._rulers[rig.name], identity, drawn)
        parted = lip_part_weights(rng, drawn.get("AU25", 0.0))
        others = distractors(rng) if intensities is None else {}
        scene = scene or draw_scene(rng)
        for more in (parted, others, gaze_weights(*scene.gaze)):
            for name, weight in more.items():
                weights[name] = weights.get(name, 0.0) + weight
        positions = pose(rig, identity, weights)
        labels = measured(self._rulers[rig.name], identity, positions, drawn, weights)
        shown = dict(zip(SITES, map(float, labels), strict=True))
        picture = self._renderers[rig.name].render(identity, positions, person.look, scene, shown)
        return Face(picture, labels, person, scene)

    def align(
        self, face: Face, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]] | None:
        """Aligned crop and FaceMesh's points `[468, 2]` in it, placed as on the device; None if they miss the face."""
        rig, renderer = face.person.rig, self._renderers[face.person.rig.name]
        eyes = eye_centres(rig, face.person.identity.neutral)
        left, right = renderer.project(face.person.identity, eyes, face.scene)
        angle = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
        ruler = renderer.eye_distance_px
        middle = (left + right) / 2 + 0.55 * ruler * np.array([-np.sin(angle), np.cos(angle)])
        middle += rng.normal(0, 0.04 * ruler, 2)
        roi = Roi(float(middle[0]), float(middle[1]), _ROI_SIDE * ruler, angle)
        found = self._mesh.place(face.picture, roi)
        if found is None:
            return None
        try:
            matrix = DEFAULT_TEMPLATE.matrix(found.points, self._size, MARGIN)
        except InputError:
            return None
        crop = warp(face.picture, matrix, crop_side(self._size), border=cv2.BORDER_REPLICATE)
        points = found.points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return crop, points.astype(np.float32)

    def _pack(self, number: int, face: Face, crop: npt.NDArray[np.uint8], points: npt.NDArray[np.float32]) -> Sample:
        encoded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        identity, scene = face.person.identity, face.scene
        low, high = points.min(0), points.max(0)
        meta: dict[str, Any] = {
            "rig": face.person.rig.name,
            "pose": [round(angle, 1) for angle in (scene.yaw, scene.pitch, scene.roll)],
            "camera": {
                "distance": round(scene.distance, 2),
                "focal": round(self._renderers[face.person.rig.name].focal(identity, scene), 1),
            },
            "box": [round(float(value), 1) for value in (*low, *(high - low))],
            "look": face.person.look.summary(),
            "age": None if identity.age is None else round(identity.age, 2),
            "ancestry": identity.race,
            "sex": None if identity.female is None else "female" if identity.female else "male",
            "seed": [self._seed, number],
            "licence": face.person.rig.licence,
        }
        centres = site_centres(points, sites_of(ALL_AUS))
        return Sample(
            f"{number:08d}", encoded, face.intensities, centres, identity.name, meta, points.astype(np.float16)
        )
