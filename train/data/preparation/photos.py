"""Photographs that nobody has coded, with pseudo-labels of MediaPipe's Face Landmarker."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from dsrfau_edge.action_units import sites_of
from dsrfau_edge.face.frontend import AlignedFace
from dsrfau_edge.face.images import Image

from . import pseudo
from .crops import CropMaker
from .files import files_under, is_picture, relative, require_folder
from .options import Options, plan_of
from .plan import Item, Plan
from .tracker import FaceLandmarker, digest, read_task

UNTRACKED = "the tracker sees no face"
#: Maps below this correlation with the truth hardly tell faces apart: their labels would be the mean of all faces.
MIN_CORRELATION = 0.35
LICENCE = "the photographs' owner says under what terms they may be used"
_PSEUDO = "labels are pseudo-labels of MediaPipe Face Landmarker (Apache-2.0), coded by nobody"


@lru_cache(maxsize=1)
def _tracker(task: str) -> FaceLandmarker:
    """A process's tracker."""
    return FaceLandmarker(Path(task))


@dataclass(frozen=True, slots=True)
class PhotoMaker(CropMaker):
    """Makes shards of photographs.

    Attributes:
        task: the tracker's file.
    """

    task: str = ""

    def label(self, item: Item, image: Image, face: AlignedFace) -> tuple[tuple[float, ...], dict[str, Any]] | str:
        """Pseudo-labels of the face."""
        del item
        scores = _tracker(self.task)(image, face.landmarks)
        return UNTRACKED if scores is None else (pseudo.intensities(scores, self.aus), {})


def plan(
    source: Path,
    options: Options,
    *,
    tracker: Path,
    min_correlation: float = MIN_CORRELATION,
    licence: str | None = None,
) -> Plan:
    """What a folder of photographs gives: every picture is a person of its own.

    Args:
        source: the folder; those below count too.
        options: of all kinds.
        tracker: MediaPipe's `face_landmarker.task`.
        min_correlation: AUs whose map does worse on faces of known intensities stay unlabelled.
        licence: of the photographs, in a line.

    Raises:
        DataError: there are no photographs, or the tracker's file is another.
        RuntimeUnavailable: OpenVINO is not installed.
        UsageError: no AU is left to label.
    """
    root = require_folder(source).absolute()
    read_task(tracker)
    aus = pseudo.labelled_aus(min_correlation)
    _tracker(str(tracker.absolute()))  # what stands in its way is said before anything is made
    unknown = (float("nan"),) * len(sites_of(aus))
    paths = [relative(path, root) for path in files_under(root) if is_picture(path)]
    items = [
        Item(number, path, None, f"photos-{root.name}:{_stem(path)}", unknown, {"labels": "pseudo"})
        for number, path in enumerate(options.chosen_of(paths))
    ]
    maker = PhotoMaker(str(root), aus, options.size, options.quality, task=str(tracker.absolute()))
    return plan_of(
        "photos", root, items, options, aus=aus, licence=f"{licence or LICENCE}; {_PSEUDO}", lost=(), labels={},
        own=_record(tracker, min_correlation), maker=maker,
    )  # fmt: skip


def _stem(path: str) -> str:
    """The path without its ending."""
    return Path(path).with_suffix("").as_posix()


def _record(tracker: Path, min_correlation: float) -> dict[str, Any]:
    """What a set says of where its labels are from."""
    return {
        "labels": "pseudo",
        "tracker": {
            "name": "MediaPipe Face Landmarker",
            "licence": "Apache-2.0",
            "sha256": digest(tracker),
            "run_by": f"openvino {metadata.version('openvino')}",
        },
        "maps": pseudo.about()["measured"],
        "min_correlation": min_correlation,
    }
