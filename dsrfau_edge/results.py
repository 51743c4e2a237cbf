"""What prediction gives: faces with their AU intensities, and the rows they become in JSON and CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .action_units import PRESENCE_THRESHOLD, canonical_au, letter
from .errors import UsageError

if TYPE_CHECKING:
    from .face.images import Image
    from .face.quality import Quality
    from .signals.events import AuEvent

SCHEMA = 1
Heatmaps = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face of a frame; `face["AU12"]` is an intensity.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the frame.
        confidence: that this is a face, 0 to 1.
        id: number of the face: in its stream, the same from frame to frame; of a single picture, in the order of size
            from 0.
        aus: intensity 0 to 5 by AU: the mean over its sites; of a stream smoothed, and corrected where that was asked.
        left: intensity on the person's left, of the AUs that have sides.
        right: intensity on the person's right, likewise.
        confidences: how far to trust each AU, 0 to 1: the probability that its intensity is within 1.0 of the truth
            where `Predictor.confidence_calibrated`, see `face.reliability`; else a heuristic, see `face.confidence`.
        quality: what limits the reading of this face.
        landmarks: FaceMesh points `[468, 3]` in pixels of the frame.
        matrix: affine map `[2, 3]` from the frame to the aligned crop.
        crop_size: side of that crop in pixels.
        heatmaps: by site, where they were asked for.
        raw: of a stream, the intensities of this frame alone, before smoothing and correction.
        neutral: of a stream whose neutral baseline was asked for, the level by AU at which this face rests.
        present: of a stream, which AUs are present, with hysteresis, so that one at the threshold does not flicker.
    """

    box: tuple[float, float, float, float]
    confidence: float
    id: int
    aus: Mapping[str, float]
    left: Mapping[str, float]
    right: Mapping[str, float]
    confidences: Mapping[str, float]
    quality: Quality
    landmarks: npt.NDArray[np.float32] = field(repr=False)
    matrix: npt.NDArray[np.float64] = field(repr=False)
    crop_size: int
    heatmaps: Heatmaps | None = field(default=None, repr=False)
    raw: Mapping[str, float] | None = None
    neutral: Mapping[str, float] | None = None
    present: Mapping[str, bool] | None = None

    def __getitem__(self, au: str | int) -> float:
        """Intensity of an AU; `"AU4"`, `"AU04"` and `4` are the same.

        Raises:
            UsageError: there is no such AU, or the network does not estimate it.
        """
        name = canonical_au(au)
        if name not in self.aus:
            raise UsageError(f"This network does not estimate {name}. It estimates {', '.join(self.aus)}.")
        return self.aus[name]

    @property
    def letters(self) -> dict[str, str]:
        """FACS letter by AU, A (trace) to E (maximum), "" where the AU is absent."""
        if self.present is None:
            return {au: letter(intensity) for au, intensity in self.aus.items()}
        return {au: (letter(intensity) or "A") if self.present[au] else "" for au, intensity in self.aus.items()}

    @property
    def presence(self) -> dict[str, bool]:
        """Whether each AU is present, as the letters say too: its intensity has reached the one threshold.

        In a stream an AU that is present stays so until it falls clearly below, see `signals.presence`.
        """
        if self.present is not None:
            return dict(self.present)
        return {au: intensity >= PRESENCE_THRESHOLD for au, intensity in self.aus.items()}

    def only(self, aus: Sequence[str]) -> Face:
        """The same face with these AUs alone, in this order."""
        return replace(
            self,
            aus={au: self[au] for au in aus},
            left={au: self.left[au] for au in aus if au in self.left},
            right={au: self.right[au] for au in aus if au in self.right},
            confidences={au: self.confidences[au] for au in aus},
            raw=None if self.raw is None else {au: self.raw[au] for au in aus},
            neutral=None if self.neutral is None else {au: self.neutral[au] for au in aus},
            present=None if self.present is None else {au: self.present[au] for au in aus},
            heatmaps=None
            if self.heatmaps is None
            else {site: values for site, values in self.heatmaps.items() if site.split("_")[0] in aus},
        )

    def to_dict(self) -> dict[str, Any]:
        """As in the JSON output: numbers, strings, lists; without landmarks and heatmaps."""
        letters, presence = self.letters, self.presence
        return {
            "id": self.id,
            "box": [round(float(value), 1) for value in self.box],
            "confidence": round(self.confidence, 4),
            "quality": self.quality.to_dict(),
            "aus": {
                au: {
                    "intensity": round(intensity, 4),
                    "letter": letters[au],
                    "present": presence[au],
                    "confidence": round(self.confidences[au], 4),
                    **({"left": round(self.left[au], 4)} if au in self.left else {}),
                    **({"right": round(self.right[au], 4)} if au in self.right else {}),
                    **({} if self.raw is None else {"raw": round(self.raw[au], 4)}),
                    **({} if self.neutral is None else {"neutral": round(self.neutral[au], 4)}),
                }
                for au, intensity in self.aus.items()
            },
        }


@dataclass(frozen=True, slots=True)
class FrameResult:
    """The faces of one picture or video frame.

    Attributes:
        source: path, address or camera that it comes from, in characters that can be written: bytes of a file's name
            that are no UTF-8 are U+FFFD.
        index: number of the frame in its source, from 0.
        timestamp: seconds since the source's beginning; None for pictures.
        size: width and height in pixels.
        faces: largest first.
        events: onsets, apices and offsets of AUs that this frame of a stream brought.
        latency_ms: of a live source, from the arrival of the frame to this result.
        dropped: of a live source, frames passed over since the last result because they had gone stale.
        image: the picture itself, where the stream was asked to keep it.
    """

    source: str
    index: int
    timestamp: float | None
    size: tuple[int, int]
    faces: tuple[Face, ...]
    events: tuple[AuEvent, ...] = ()
    latency_ms: float | None = None
    dropped: int = 0
    image: Image | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make the source printable, here once for all forms of output."""
        object.__setattr__(self, "source", _printable(self.source))

    def to_dict(self) -> dict[str, Any]:
        """One line of the JSON output."""
        return {
            "schema": SCHEMA,
            "source": self.source,
            "frame": self.index,
            "timestamp": None if self.timestamp is None else round(self.timestamp, 4),
            "width": self.size[0],
            "height": self.size[1],
            "faces": [face.to_dict() for face in self.faces],
            **({"events": [event.to_dict() for event in self.events]} if self.events else {}),
            **({} if self.latency_ms is None else {"latency_ms": round(self.latency_ms, 2), "dropped": self.dropped}),
        }


def _printable(name: str) -> str:
    """Python carries the bytes of a name that are no UTF-8 as surrogates, which no text file takes."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # other lone surrogates, which names on Windows may hold
        return name.encode("utf-8", "replace").decode("utf-8")


def csv_header(aus: Sequence[str], sided: Sequence[str]) -> list[str]:
    """Columns of our CSV; `sided` are the AUs with a left and a right value."""
    return [
        *("source", "frame", "timestamp", "face", "x0", "y0", "x1", "y1", "confidence", "flags"),
        *aus,
        *(f"{au}_{side}" for au in sided for side in ("left", "right")),
        *(f"{au}_confidence" for au in aus),
    ]


def csv_rows(result: FrameResult, aus: Sequence[str], sided: Sequence[str]) -> list[list[str]]:
    """One row a face; one row with empty cells where a frame has none, so that no frame is missing."""
    time = "" if result.timestamp is None else f"{result.timestamp:.4f}"
    start = [result.source, str(result.index), time]
    if not result.faces:
        return [start + [""] * (len(csv_header(aus, sided)) - len(start))]
    return [
        [
            *start,
            str(face.id),
            *(f"{value:.1f}" for value in face.box),
            f"{face.confidence:.4f}",
            " ".join(face.quality.flags),
            *(f"{face.aus[au]:.4f}" for au in aus),
            *(f"{values[au]:.4f}" for au in sided for values in (face.left, face.right)),
            *(f"{face.confidences[au]:.4f}" for au in aus),
        ]
        for face in result.faces
    ]


def openface_header(aus: Sequence[str]) -> list[str]:
    """Columns as OpenFace 2 names them: `_r` is an intensity 0 to 5, `_c` presence 0 or 1."""
    return [
        *("frame", "face_id", "timestamp", "confidence", "success"),
        *(f"{au}_r" for au in aus),
        *(f"{au}_c" for au in aus),
    ]


def openface_rows(result: FrameResult, number: int, aus: Sequence[str]) -> list[list[str]]:
    """Rows in OpenFace's columns; as there, frames count from 1 (`number`) and one without faces has success 0."""
    start, time = str(number), f"{result.timestamp or 0.0:.3f}"
    if not result.faces:
        return [[start, "0", time, "0.00", "0", *(["0.00"] * len(aus)), *(["0.00"] * len(aus))]]
    rows = []
    for face in result.faces:
        presence = face.presence
        levels = [f"{face.aus[au]:.2f}" for au in aus]
        flags = [f"{float(presence[au]):.2f}" for au in aus]
        rows.append([start, str(face.id), time, f"{face.confidence:.2f}", "1", *levels, *flags])
    return rows


@dataclass(frozen=True, slots=True)
class Intensities:
    """AU intensities 0..5 of one aligned crop; `left` and `right` hold the AUs that have sides."""

    aus: dict[str, float]
    left: dict[str, float]
    right: dict[str, float]

    def __getitem__(self, au: str) -> float:
        """Intensity of an AU by its name, such as `AU12`."""
        return self.aus[au]


class Assembler:
    """Site values to AUs and their sides, for one network; what can be worked out beforehand is.

    It works on plain numbers: right after a network has had the processor's caches, each call of numpy on an array this
    small takes tens of microseconds.
    """

    def __init__(self, aus: Sequence[str], sites: Sequence[tuple[str, str]]) -> None:
        """Take the AUs in the order of the results, and the sites as pairs of AU and side in that of the network."""
        self.aus = tuple(aus)
        self.sites = tuple(au if side == "centre" else f"{au}_{side}" for au, side in sites)  # as `Site.name`
        places = {au: [place for place, (owner, _) in enumerate(sites) if owner == au] for au in aus}
        # An AU has one site or two, so that the mean of the first and the last is the mean of all.
        self._ends = [(au, found[0], found[-1]) for au, found in places.items()]
        self._left, self._right = (
            [(au, place) for place, (au, at) in enumerate(sites) if at == side] for side in ("left", "right")
        )

    def __call__(self, values: Sequence[float]) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        """AUs, their left and their right values from site values `[S]`; an AU is the mean of its sites.

        Raises:
            ValueError: another number of sites.
        """
        if len(values) != len(self.sites):
            raise ValueError(f"{len(values)} values for {len(self.sites)} sites")
        return (
            {au: (values[first] + values[last]) / 2 for au, first, last in self._ends},
            {au: values[place] for au, place in self._left},
            {au: values[place] for au, place in self._right},
        )
