"""One labelled face from a seed: identity, intensities, look, scene, picture, aligned crop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import ALL_AUS, site_centres, sites_of
from dsrfau_edge.errors import DataError, InputError
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE, warp
from dsrfau_edge.face.landmarks import FaceMesh, Roi

from ..data.shards import MARGIN, Sample, crop_side
from .intensity import SITES, distractors, draw, lip_part_weights, measured, shape_weights
from .looks import Look, Wardrobe
from .renderer import EYE_DISTANCE_PX, Renderer
from .rigs.base import Identity, eye_centres, pose
from .rigs.makehuman import MakeHumanRig
from .scene import Scene, draw_scene

_QUALITY = 95
_TRIES = 8
_ROI_SIDE = 3.9  # of the region given to the mesh, in distances between the eyes on the picture


@dataclass(frozen=True, slots=True)
class Face:
    """A rendered picture with everything known about it."""

    picture: npt.NDArray[np.uint8]
    intensities: npt.NDArray[np.float32]
    identity: Identity
    look: Look
    scene: Scene


class FaceFactory:
    """Makes faces; every one depends on its own seed alone, so that any worker makes the same."""

    def __init__(self, *, seed: int, input_size: int, assets: Path | None = None, per_identity: int = 6) -> None:
        """Load the rig and make the renderer.

        Args:
            seed: seed of the whole set.
            input_size: side of the network's input; crops are stored with a margin around it.
            assets: MakeHuman asset folder, or None for procedural looks.
            per_identity: faces of each identity.
        """
        self._seed, self._size, self._per_identity = seed, input_size, per_identity
        self._rig = MakeHumanRig()
        self._wardrobe = Wardrobe(assets)
        self._renderer = Renderer(self._rig)
        self._mesh = FaceMesh()
        self._known: tuple[int, Identity, Look] | None = None

    def sample(self, number: int) -> Sample:
        """The labelled crop of this number; a face the landmarks miss is drawn anew (rarely needed)."""
        for attempt in range(_TRIES):
            rng = np.random.default_rng([self._seed, 1, number, attempt])
            face = self.face(number // self._per_identity, rng)
            found = self._align(face, rng)
            if found is not None:
                return self._pack(number, face, *found)
        raise DataError(
            f"The landmarks missed face {number} of seed {self._seed} in {_TRIES} tries: its look hides the face. "
            "Leave that asset out of --assets, or give another --seed."
        )

    def person(self, number: int) -> tuple[Identity, Look]:
        """Identity and look of this number."""
        if self._known is None or self._known[0] != number:
            rng = np.random.default_rng([self._seed, 0, number])
            identity = self._rig.identity(f"mh-{self._seed}-{number:06d}", rng)
            self._known = (number, identity, self._wardrobe.draw(identity, rng))
        return self._known[1:]

    def face(self, person: int, rng: np.random.Generator, intensities: Mapping[str, float] | None = None) -> Face:
        """Draw a picture of a person, with the given site intensities or drawn ones."""
        identity, look = self.person(person)
        drawn = dict(draw(rng) if intensities is None else intensities)
        weights = shape_weights(self._rig, identity, drawn)
        extra = [lip_part_weights(rng, drawn.get("AU25", 0.0)), distractors(rng) if intensities is None else {}]
        for more in extra:
            for name, weight in more.items():
                weights[name] = weights.get(name, 0.0) + weight
        positions = pose(self._rig, identity, weights)
        labels = measured(self._rig, identity, positions, drawn, weights)
        scene = draw_scene(rng)
        shown = dict(zip(SITES, map(float, labels), strict=True))
        picture = self._renderer.render(identity, positions, look, scene, shown)
        return Face(picture, labels, identity, look, scene)

    def _align(
        self, face: Face, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]] | None:
        """Aligned crop and site centres, through the same landmarks as on the device; None if they miss the face."""
        eyes = eye_centres(self._rig, face.identity.neutral)
        left, right = self._renderer.project(face.identity, eyes, face.scene)
        angle = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
        middle = (left + right) / 2 + 0.55 * EYE_DISTANCE_PX * np.array([-np.sin(angle), np.cos(angle)])
        middle += rng.normal(0, 0.04 * EYE_DISTANCE_PX, 2)
        roi = Roi(float(middle[0]), float(middle[1]), _ROI_SIDE * EYE_DISTANCE_PX, angle)
        found = self._mesh.place(face.picture, roi)
        if found is None:
            return None
        try:
            matrix = DEFAULT_TEMPLATE.matrix(found.points, self._size, MARGIN)
        except InputError:
            return None
        crop = warp(face.picture, matrix, crop_side(self._size), border=cv2.BORDER_REPLICATE)
        points = found.points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return crop, site_centres(points.astype(np.float32), sites_of(ALL_AUS))

    def _pack(self, number: int, face: Face, crop: npt.NDArray[np.uint8], centres: npt.NDArray[np.float32]) -> Sample:
        encoded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        turned = [round(angle, 1) for angle in (face.scene.yaw, face.scene.pitch, face.scene.roll)]
        meta: dict[str, Any] = {
            "rig": self._rig.name,
            "pose": turned,
            "look": face.look.summary(),
            "distance": round(face.scene.distance, 2),
            "age": None if face.identity.age is None else round(face.identity.age, 2),
            "ancestry": face.identity.race,
            "sex": "female" if face.identity.female else "male",
            "seed": [self._seed, number],
        }
        return Sample(f"{number:08d}", encoded, face.intensities, centres, face.identity.name, meta)
