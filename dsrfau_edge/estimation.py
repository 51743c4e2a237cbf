"""From aligned faces to `Face` results: the model's session, its sites, and what is made of its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .action_units import MAX_INTENSITY, Site, sites_of
from .errors import BundleError, UsageError
from .face.confidence import Judge, clarity
from .face.frontend import AlignedFace
from .face.images import Image
from .results import Assembler, Face, Intensities
from .stages import Stage

if TYPE_CHECKING:
    from .bundle import Bundle
    from .runtimes.base import Outputs, Session
    from .signals.face_signals import Signals

_AVERTED = {"turned_away", "tilted"}
_CLOSED = "The predictor is closed. Make a new one, or call it inside its `with` block."


class Estimator:
    """A loaded model and the meaning of its outputs. Threads may share one."""

    def __init__(self, bundle: Bundle, stage: Stage) -> None:
        """Take the sites of a bundle; `session` is set once it is loaded.

        Raises:
            BundleError: its sites are not those of its AUs, or its confidences cannot be used.
        """
        self.bundle = bundle
        self.sites = _sites(bundle)
        self.assemble = Assembler(bundle.manifest.aus, [(site.au, site.side) for site in self.sites])
        self.judge = Judge(self.sites, bundle.manifest.confidence, str(bundle.path))
        self.stage = stage
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The model.

        Raises:
            UsageError: it is closed.
        """
        if self._session is None:
            raise UsageError(_CLOSED)
        return self._session

    @session.setter
    def session(self, session: Session) -> None:
        self._session = session

    def close(self) -> None:
        """Free the model. Calling it again does nothing."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def infer(self, crops: Any) -> tuple[Outputs, list[list[float]]]:
        """Outputs of the model, and the site intensities of each crop as plain numbers 0..5.

        Raises:
            BundleError: the model gave no intensities; a wrong number is worse than none.
        """
        outputs = self.session.infer(crops)
        return outputs, self._rows(outputs, len(crops))

    def faces(self, faces: Sequence[AlignedFace], image: Image) -> Iterator[Estimate]:
        """The model's word on the faces of one picture; the model has run, the rest is done as they are asked for."""
        if not faces:
            return iter(())
        with self.stage("infer"):
            outputs, rows = self.infer(np.stack([face.crop for face in faces]))
        return (Estimate(self, face, image, outputs, index, rows[index]) for index, face in enumerate(faces))

    def _rows(self, outputs: Outputs, count: int) -> list[list[float]]:
        """Plain numbers; see `Assembler` for why."""
        shape = outputs.intensities.shape
        rows: list[list[float]] = outputs.intensities.tolist() if shape == (count, len(self.sites)) else []
        # A sum is finite where all of its parts are.
        if not rows or not all(math.isfinite(sum(row)) for row in rows):
            raise BundleError(
                f"The model of {self.bundle.path} gave {list(shape)} values, not all of them numbers, for {count} "
                f"faces of {len(self.sites)} sites. Export the bundle again, or try another --runtime."
            )
        return [
            row if min(row) >= 0 and max(row) <= MAX_INTENSITY else [min(max(v, 0.0), MAX_INTENSITY) for v in row]
            for row in rows
        ]

    def intensities(self, crops: Any) -> list[Intensities]:
        """AU intensities of crops."""
        return [Intensities(*self.assemble(row)) for row in self.infer(crops)[1]]


class Estimate:
    """What the model says of one face, and how well that face could be seen.

    Attributes:
        row: site intensities.
        quality: what limits the reading of the face.
        confidences: by AU.
    """

    __slots__ = ("_estimator", "_face", "_index", "_outputs", "confidences", "quality", "row")

    def __init__(
        self, estimator: Estimator, face: AlignedFace, image: Image, outputs: Outputs, index: int, row: list[float]
    ) -> None:
        self._estimator, self._face, self._outputs, self._index = estimator, face, outputs, index
        self.row = row
        self.quality, self.confidences = estimator.judge(face, image, row)

    @property
    def trust(self) -> float:
        """How well the face as a whole can be seen, 0 to 1; 0 where it does not look this way.

        A turned or tilted face reads differently at rest, so that no baseline is to learn from it.
        """
        return 0.0 if _AVERTED & set(self.quality.flags) else clarity(self._face, self.quality)

    def face(self, number: int, signals: Signals | None = None) -> Face:
        """The result; `signals` is what a stream made of the row."""
        face, estimator = self._face, self._estimator
        aus, left, right = estimator.assemble(self.row if signals is None else signals.row)
        result = Face(
            box=face.box,
            confidence=face.score * face.landmarks.presence,
            id=number,
            aus=aus,
            left=left,
            right=right,
            confidences=self.confidences,
            quality=self.quality,
            landmarks=face.landmarks.points.copy(),  # the next frame is followed from the tracker's own
            matrix=face.matrix,
            crop_size=len(face.crop),
            heatmaps=self._heatmaps(),
        )
        return result if signals is None else replace(result, **self._streamed(signals))

    def _streamed(self, signals: Signals) -> dict[str, Any]:
        neutral = None if signals.neutral is None else self._estimator.assemble(signals.neutral)[0]
        return {"raw": self._estimator.assemble(self.row)[0], "neutral": neutral, "present": signals.present}

    def _heatmaps(self) -> dict[str, Any] | None:
        maps = self._outputs.heatmaps
        if maps is None:
            return None
        return {site.name: maps[self._index, channel] for channel, site in enumerate(self._estimator.sites)}


def _sites(bundle: Bundle) -> tuple[Site, ...]:
    sites = sites_of(bundle.manifest.aus)
    if tuple(site.name for site in sites) != tuple(bundle.manifest.sites):
        raise BundleError(
            f"The sites in the manifest of {bundle.path} are not those of its AUs in this version. Export the bundle "
            "again from its checkpoint, or use the version of dsrfau-edge that made it."
        )
    return sites
