"""`Predictor`: a frame in, the AU intensities of its faces out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, get_args

from .bundle import Bundle, default_bundle
from .errors import UsageError
from .estimation import Estimator
from .face.frontend import DetectorRange, FaceFrontEnd
from .face.images import as_bgr
from .results import Face, FrameResult, Intensities
from .runtimes.base import SessionOptions
from .runtimes.registry import Selection, choose
from .stages import Stage, untimed

if TYPE_CHECKING:
    from .face_stream import FaceStream
    from .following import StreamOptions
    from .live import LiveOptions, LiveStream
    from .manifest import Precision
    from .runtimes.base import Outputs, Progress, SessionInfo
    from .stream import Frame


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
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle or default_bundle())
        manifest = opened.manifest
        self._estimator = Estimator(opened, stage)
        self._stage = stage
        self._selection = choose(opened.model_files(), runtime, device, precision=precision)
        self._front = FaceFrontEnd(
            manifest.alignment,
            manifest.input_size,
            detector_range=detector_range,
            max_faces=max_faces,
            stage=stage,
            # OpenVINO runs the face models faster too; it is loaded for them only where it is in use anyway.
            engine="openvino" if self._selection.runtime.name == "openvino" else "opencv",
            threads=threads,
        )
        native = self._selection.native if native_precision is None else native_precision
        options = SessionOptions(threads=threads, heatmaps=heatmaps, native_precision=native, progress=progress)
        self._estimator.session = self._selection.load(device, options)

    @property
    def aus(self) -> tuple[str, ...]:
        """AUs that the network estimates, in the order of the results."""
        return self.bundle.manifest.aus

    @property
    def sided(self) -> tuple[str, ...]:
        """Those of them with a left and a right value."""
        return tuple(site.au for site in self._estimator.sites if site.side == "left")

    @property
    def bundle(self) -> Bundle:
        """The bundle in use."""
        return self._estimator.bundle

    @property
    def confidence_calibrated(self) -> bool:
        """Whether confidences are probabilities that were fitted to this network; else a heuristic, see the docs."""
        return self._estimator.judge.calibrated

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
        return self._estimator.session.info

    def __call__(self, frame: Any) -> list[Face]:
        """Predict the faces of one picture, which nothing came before and nothing follows.

        Args:
            frame: BGR uint8 `[H, W, 3]`, or any other picture that `face.images.as_bgr` takes.

        Returns:
            The faces, largest first; an empty list where there are none.

        Raises:
            InputError: the frame is no picture.
            UsageError: the predictor is closed.
        """
        _ = self._estimator.session
        image = as_bgr(frame)
        estimates = self._estimator.faces(self._front(image), image)
        with self._stage("assemble"):
            return [estimate.face(number) for number, estimate in enumerate(estimates)]

    def stream(self, options: StreamOptions | None = None) -> FaceStream:
        """What follows the faces of one camera or video from frame to frame; call it with each frame and its time.

        Example:
            >>> stream = predictor.stream()
            >>> result = stream(frame, time.monotonic())     # tracked, smoothed, with events
        """
        from .face_stream import FaceStream

        return FaceStream(self._estimator, self._front, options)

    def video(
        self, frames: str | Path | Iterable[Frame | tuple[float, Any]], options: StreamOptions | None = None
    ) -> Iterator[FrameResult]:
        """Predict the frames of a video one after another, none left out.

        Args:
            frames: the path of a video, or pairs of a time in seconds and a picture, or `Frame`s.
            options: see `StreamOptions`.

        Raises:
            InputError: the video cannot be read, a frame is no picture, or a time does not come after the last.
            UsageError: the frames are none of these.
        """
        from .stream import video_frames

        stream, found = self.stream(options), video_frames(frames)  # what is wrong with these is told at once
        return (
            stream(frame[1], frame[0]) if isinstance(frame, tuple) and len(frame) == 2 else stream(frame)
            for frame in found
        )

    def live(self, source: Any, options: StreamOptions | None = None, live: LiveOptions | None = None) -> LiveStream:
        """Predict a camera or another source that goes on by itself: the newest frame wins, and lost ones come back.

        Example:
            >>> with predictor.live(0) as stream:           # a camera's number, an address, a pipeline, ...
            ...     for result in stream:                   # or `async for`
            ...         print(result.latency_ms, [face["AU12"] for face in result.faces])

        Args:
            source: what `LiveStream` takes.
            options: what is done with faces over time, see `StreamOptions`.
            live: how the source is read, see `LiveOptions`.

        Raises:
            InputError: there is no such source.
        """
        from .live import LiveStream

        return LiveStream(self, source, options, live)

    def infer(self, crops: Any) -> Outputs:
        """Site intensities of faces that are aligned already: crops uint8 `[N, size, size, 3]` in BGR."""
        return self._estimator.infer(crops)[0]

    def predict_crops(self, crops: Any) -> list[Intensities]:
        """AU intensities of faces that are aligned already, with the bundle's template.

        Args:
            crops: uint8 `[N, size, size, 3]` in BGR.

        Raises:
            UsageError: another type or number of axes; or the predictor is closed.
            InputError: no crops, or crops of another size.
        """
        return self._estimator.intensities(crops)

    def close(self) -> None:
        """Free the model. Calling it again does nothing."""
        self._estimator.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
