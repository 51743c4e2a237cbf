"""`Predictor`: a frame in, the AU intensities of its faces out."""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from .action_units import MAX_INTENSITY, Site, sites_of
from .bundle import Bundle, default_bundle
from .errors import BundleError, UsageError
from .face.frontend import AlignedFace, DetectorRange, FaceFrontEnd
from .face.images import Image, as_bgr
from .face.quality import assess, site_confidences
from .results import Assembler, Face, Intensities
from .runtimes.base import SessionOptions
from .runtimes.registry import Selection, choose
from .stages import Stage, untimed

if TYPE_CHECKING:
    from .manifest import Precision
    from .runtimes.base import Outputs, Progress, Session, SessionInfo

_CLOSED = "The predictor is closed. Make a new one, or call it inside its `with` block."


class Predictor:
    """Estimates AU intensities on this device. Threads may share one.

    Example:
        >>> with Predictor() as predictor:            # the bundled student, the best runtime here
        ...     for face in predictor(frame):         # BGR uint8 [H, W, 3], as OpenCV gives it
        ...         print(face["AU12"], face.left["AU12"], face.box, face.confidence)
    """

    def __init__(
        self,
        bundle: str | Path | Bundle | None = None,
        *,
        runtime: str | None = None,
        device: str | None = None,
        max_faces: int | None = None,
        threads: int | None = None,
        heatmaps: bool = False,
        detector_range: DetectorRange = "auto",
        precision: Precision | None = None,
        native_precision: bool | None = None,
        progress: Progress | None = None,
        stage: Stage = untimed,
    ) -> None:
        """Load a bundle and the face models.

        Args:
            bundle: the folder `NAME.dsrfau` or of a checkpoint, or the name of a student that comes with the package:
                `dsrfau-s` (the default) or `dsrfau-nano`.
            runtime: name of the runtime; by default what `dsrfau-bench --remember` measured to be the fastest here,
                else the first that suits the bundle and is there. `selection` says which, and why not the others.
            device: what the runtime is to compute on, such as `cpu` or `cuda:0`.
            max_faces: predict only the largest so many faces of a frame.
            threads: CPU threads of one inference; the runtime's own choice by default.
            heatmaps: also give every face its heatmaps.
            detector_range: see `FaceFrontEnd`.
            precision: `fp32` runs the portable graph of a bundle of another precision; by default the bundle's own.
            native_precision: let the device compute in its own favourite precision (bf16, tf32) instead of the model's;
                by default only where that was measured and remembered.
            progress: told what and which share of it is done while an engine is built for this device.
            stage: entered around each stage of a frame, see `stages`.

        Raises:
            BundleError: the bundle is missing or damaged.
            RuntimeUnavailable: the runtime or device cannot be used here.
            UsageError: an option makes no sense.
        """
        if max_faces is not None and max_faces < 1:
            raise UsageError(f"max_faces is {max_faces}; give 1 or more, or leave it out for all faces.")
        if detector_range not in get_args(DetectorRange):
            raise UsageError(f"Unknown detector range {detector_range!r}. Known: {', '.join(get_args(DetectorRange))}.")
        self._bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle or default_bundle())
        manifest = self._bundle.manifest
        self._sites = _sites(self._bundle)
        self._assemble = Assembler(manifest.aus, [(site.au, site.side) for site in self._sites])
        self._front = FaceFrontEnd(
            manifest.alignment, manifest.input_size, detector_range=detector_range, max_faces=max_faces, stage=stage
        )
        self._stage = stage
        self._selection = choose(self._bundle.model_files(), runtime, device, precision=precision)
        native = self._selection.native if native_precision is None else native_precision
        options = SessionOptions(threads=threads, heatmaps=heatmaps, native_precision=native, progress=progress)
        self._session: Session | None = self._selection.load(device, options)

    @property
    def aus(self) -> tuple[str, ...]:
        """AUs that the network estimates, in the order of the results."""
        return self._bundle.manifest.aus

    @property
    def sided(self) -> tuple[str, ...]:
        """Those of them with a left and a right value."""
        return tuple(site.au for site in self._sites if site.side == "left")

    @property
    def bundle(self) -> Bundle:
        """The bundle in use."""
        return self._bundle

    @property
    def selection(self) -> Selection:
        """The runtime in use, and why the others are not; print it to read it."""
        return self._selection

    @property
    def info(self) -> SessionInfo:
        """What the model runs on and computes in, as far as the runtime tells.

        Raises:
            UsageError: the predictor is closed.
        """
        return self._open.info

    @property
    def _open(self) -> Session:
        if self._session is None:
            raise UsageError(_CLOSED)
        return self._session

    def __call__(self, frame: Any) -> list[Face]:
        """Predict the faces of one frame.

        Args:
            frame: BGR uint8 `[H, W, 3]`, or any other picture that `face.images.as_bgr` takes.

        Returns:
            The faces, largest first; an empty list where there are none.

        Raises:
            InputError: the frame is no picture.
            UsageError: the predictor is closed.
        """
        _ = self._open
        image = as_bgr(frame)
        faces = self._front(image)
        if not faces:
            return []
        with self._stage("infer"):
            outputs = self._open.infer(np.stack([face.crop for face in faces]))
        with self._stage("assemble"):
            rows = self._rows(outputs, len(faces))
            return [self._face(face, index, outputs, rows[index], image) for index, face in enumerate(faces)]

    def infer(self, crops: Any) -> Outputs:
        """Site intensities of faces that are aligned already: crops uint8 `[N, size, size, 3]` in BGR."""
        outputs = self._open.infer(crops)
        self._rows(outputs, len(crops))
        return outputs

    def predict_crops(self, crops: Any) -> list[Intensities]:
        """AU intensities of faces that are aligned already, with the bundle's template.

        Args:
            crops: uint8 `[N, size, size, 3]` in BGR.

        Raises:
            UsageError: another type or number of axes; or the predictor is closed.
            InputError: no crops, or crops of another size.
        """
        return [Intensities(*self._assemble(row)) for row in self._rows(self._open.infer(crops), len(crops))]

    def _face(self, face: AlignedFace, index: int, outputs: Outputs, intensities: list[float], image: Image) -> Face:
        aus, left, right = self._assemble(intensities)
        quality = assess(face, image)
        height, width = image.shape[:2]
        trust, _, _ = self._assemble(site_confidences(face, quality, self._sites, width, height).tolist())
        maps = None
        if outputs.heatmaps is not None:
            maps = {site.name: outputs.heatmaps[index, channel] for channel, site in enumerate(self._sites)}
        return Face(
            box=face.box,
            confidence=face.score * face.landmarks.presence,
            id=index,
            aus=aus,
            left=left,
            right=right,
            confidences=trust,
            quality=quality,
            landmarks=face.landmarks.points,
            matrix=face.matrix,
            crop_size=len(face.crop),
            heatmaps=maps,
        )

    def _rows(self, outputs: Outputs, count: int) -> list[list[float]]:
        """Site intensities of each face as plain numbers on the scale; see `Assembler` for why.

        Raises:
            BundleError: they are no intensities; a wrong number is worse than none.
        """
        shape = outputs.intensities.shape
        rows: list[list[float]] = outputs.intensities.tolist() if shape == (count, len(self._sites)) else []
        # A sum is finite where all of its parts are.
        if not rows or not all(math.isfinite(sum(row)) for row in rows):
            raise BundleError(
                f"The model of {self._bundle.path} gave {list(shape)} values, not all of them numbers, for {count} "
                f"faces of {len(self._sites)} sites. Export the bundle again, or try another --runtime."
            )
        return [
            row if min(row) >= 0 and max(row) <= MAX_INTENSITY else [min(max(v, 0.0), MAX_INTENSITY) for v in row]
            for row in rows
        ]

    def close(self) -> None:
        """Free the model. Calling it again does nothing."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _sites(bundle: Bundle) -> tuple[Site, ...]:
    sites = sites_of(bundle.manifest.aus)
    if tuple(site.name for site in sites) != tuple(bundle.manifest.sites):
        raise BundleError(
            f"The sites in the manifest of {bundle.path} are not those of its AUs in this version. Export the bundle "
            "again from its checkpoint, or use the version of dsrfau-edge that made it."
        )
    return sites
