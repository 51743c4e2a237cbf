"""What a model reads on faces made worse on purpose, beside the truth and what the device could see of each face."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.action_units import MAX_INTENSITY, sites_of
from dsrfau_edge.errors import DataError, InputError
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
from dsrfau_edge.face.confidence import Judge
from dsrfau_edge.face.frontend import AlignedFace, FaceFrontEnd
from dsrfau_edge.face.landmarks import MIN_PRESENCE, Roi, roi_from_landmarks
from dsrfau_edge.face.quality import Quality
from dsrfau_edge.face.reliability import hardships
from dsrfau_edge.metrics import sites_to_aus
from dsrfau_edge.runtimes.base import Outputs, Session

from ..data.prepared import Indices, PreparedData
from ..evaluation.subjects import Subject
from .degradation import Circumstances, Degraded, degrade, draw_circumstances

Floats = npt.NDArray[np.float64]
_ROI_SIDE = 1.24  # of the region around a face, in sides of the template's frame, as landmarks of clear faces give it
_JITTER, _JITTER_SIDE, _JITTER_ANGLE = 0.03, 0.06, 4.0  # how far a tracker's or detector's region is off


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """n faces that were found, A action units.

    Attributes:
        aus: the units.
        hardships: `[n, F]`, see `face.reliability.hardships`.
        readings: intensities read `[n, A]`, 0 to 5.
        truths: `[n, A]`, NaN where unlabelled.
        before: confidences of the heuristic `[n, A]`.
        seen: whether every site of the unit could be seen `[n, A]`; the others have confidence 0.
        hidden: whether something stands before one of the unit's sites `[n, A]`.
        evidence: what `observe` was asked to take down besides, `[n, ...]`.
        identities: whose face, `[n]`.
        rigs: what it was rendered on, `[n]`, "" where that is unknown.
        qualities: of each face.
        circumstances: what was done to each.
        poses: yaw, pitch and roll of the head that was rendered, degrees `[n, 3]`, NaN where unknown.
        missed: faces that the landmarks did not find; they get no reading and no confidence.
    """

    aus: tuple[str, ...]
    hardships: Floats
    readings: Floats
    truths: Floats
    before: Floats
    seen: npt.NDArray[np.bool_]
    hidden: npt.NDArray[np.bool_]
    evidence: Floats
    identities: npt.NDArray[np.str_]
    rigs: npt.NDArray[np.str_]
    qualities: tuple[Quality, ...]
    circumstances: tuple[Circumstances, ...]
    poses: Floats
    missed: int

    def __len__(self) -> int:
        return len(self.hardships)

    def take(self, chosen: npt.NDArray[np.bool_]) -> Observations:
        """Some of the faces."""
        parts: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, np.ndarray):
                parts[one.name] = value[chosen]
            elif one.name in ("qualities", "circumstances"):
                parts[one.name] = tuple(item for item, kept in zip(value, chosen, strict=True) if kept)
        return replace(self, **parts)


def observe(
    session: Session,
    data: PreparedData,
    positions: Indices,
    subject: Subject,
    *,
    views: int = 2,
    seed: int = 0,
    step: Callable[[int], None] = lambda _: None,
    evidence: Callable[[AlignedFace, Outputs], Floats] = lambda *_: np.empty(0),
) -> Observations:
    """Read faces of prepared data, each under `views` drawn circumstances.

    The picture goes through landmarks and alignment as on the device; the region that they start from is off by as
    much as a detector's or tracker's.

    Args:
        session: the loaded model.
        data: prepared data in the default alignment.
        positions: `[n]` of the samples in it.
        subject: what the session runs.
        views: pictures of each sample.
        seed: of all that is drawn; a picture depends on it, its sample's position and its number alone.
        step: told how many samples are done.
        evidence: what else to take down of a face and the outputs for its crop.

    Raises:
        DataError: the data has another alignment, or no face was found.
    """
    if data.index.template != DEFAULT_TEMPLATE.to_dict():
        raise DataError(
            "Confidences are fitted on data in the default alignment, and this data has another. Render or prepare it "
            "with this version (dsrfau-synth render, dsrfau-train prepare)."
        )
    front = FaceFrontEnd(DEFAULT_TEMPLATE, data.index.input_size, threads=1)
    judge, sides = Judge(sites_of(subject.aus)), (data.index.crop_size, data.index.input_size)
    found: list[_Face] = []
    for position in positions.tolist():
        for view in range(views):
            rng = np.random.default_rng([seed, position, view])
            circumstances = draw_circumstances(rng)
            made = degrade(data.image(position), data.index.input_size, circumstances, rng)
            face = _find(front, made, sides, circumstances, rng)
            if face is not None:
                outputs = session.infer(face.crop[None])
                row = np.clip(outputs.intensities[0], 0, MAX_INTENSITY)
                judged = _judged(judge, face, made.picture, row)
                hidden = _hidden(made, data.centres[position])
                found.append(_Face(position, circumstances, row, hidden, evidence(face, outputs), *judged))
        step(1)
    if not found:
        raise DataError(
            f"No face was found on any of {views * len(positions)} degraded pictures of this data: it must hold crops "
            "of faces. Look at them with `dsrfau-synth sheet`."
        )
    return _together(subject, data, found, views * len(positions))


@dataclass(frozen=True, slots=True)
class _Face:
    """One face that was found."""

    position: int
    circumstances: Circumstances
    row: npt.NDArray[np.float32]
    hidden: npt.NDArray[np.bool_]
    evidence: Floats
    quality: Quality
    hardships: tuple[float, ...]
    before: list[float]
    seen: list[bool]


def _find(
    front: FaceFrontEnd, made: Degraded, sides: tuple[int, int], circumstances: Circumstances, rng: np.random.Generator
) -> AlignedFace | None:
    """The face, from a region about where it is; `sides` are those of the stored crop and of the template's frame."""
    side, size = sides
    scale = float(np.hypot(made.matrix[0, 0], made.matrix[1, 0]))
    middle = np.array([(side - 1) / 2, (side - 1) / 2]) + rng.normal(0, _JITTER * size, 2)
    x, y = made.matrix[:, :2] @ middle + made.matrix[:, 2]
    reach = _ROI_SIDE * size * scale * math.exp(rng.normal(0, _JITTER_SIDE))
    angle = math.radians(circumstances.roll + rng.normal(0, _JITTER_ANGLE))
    region = Roi(float(x), float(y), reach, angle)
    for _ in range(2):  # as `FaceMesh.place` does
        landmarks = front.landmarks(made.picture, region)
        if landmarks.presence < MIN_PRESENCE:
            return None
        region = roi_from_landmarks(landmarks.points)
    try:
        matrix, crop = front.cut(made.picture, landmarks.points)
    except InputError:
        return None
    x0, y0 = landmarks.points.min(0)[:2].tolist()
    x1, y1 = landmarks.points.max(0)[:2].tolist()
    return AlignedFace((x0, y0, x1, y1), 1.0, landmarks, matrix, crop)


def _judged(
    judge: Judge, face: AlignedFace, picture: npt.NDArray[np.uint8], row: npt.NDArray[np.float32]
) -> tuple[Quality, tuple[float, ...], list[float], list[bool]]:
    quality, before = judge(face, picture, row.tolist())
    hard = hardships(quality, face.landmarks.presence)
    return quality, hard, list(before.values()), list(judge.seen(face, quality, picture).values())


def _hidden(made: Degraded, centres: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which of the sites `[S, 2]` in pixels of the crop lie behind something."""
    x, y = np.clip(centres.round().astype(int), 0, len(made.hidden) - 1).T
    return np.asarray(made.hidden[y, x])


def _together(subject: Subject, data: PreparedData, found: list[_Face], drawn: int) -> Observations:
    positions = [one.position for one in found]
    columns = [data.index.sites.index(site) if site in data.index.sites else -1 for site in subject.sites]
    labels = np.column_stack([data.intensities[positions], np.full(len(found), np.nan)])[:, columns]
    rows = np.stack([one.row for one in found])
    hidden = np.column_stack([np.stack([one.hidden for one in found]), np.zeros(len(found), bool)])[:, columns]
    return Observations(
        aus=subject.aus,
        hardships=np.array([one.hardships for one in found], np.float64),
        readings=np.asarray(sites_to_aus(rows, subject.sites, subject.aus), np.float64),
        truths=np.asarray(sites_to_aus(labels, subject.sites, subject.aus), np.float64),
        before=np.array([one.before for one in found], np.float64),
        seen=np.array([one.seen for one in found], bool),
        hidden=sites_to_aus(hidden.astype(np.float32), subject.sites, subject.aus) > 0,
        evidence=np.stack([one.evidence for one in found]),
        identities=data.identities[positions],
        rigs=np.array([str(data.meta[position].get("rig", "")) for position in positions]),
        qualities=tuple(one.quality for one in found),
        circumstances=tuple(one.circumstances for one in found),
        poses=np.array([data.meta[position].get("pose", [np.nan] * 3) for position in positions], np.float64),
        missed=drawn - len(found),
    )
