"""How a stream of frames is followed: the options of `Predictor.video` and `Predictor.live`."""

from __future__ import annotations

from dataclasses import dataclass, field

from .signals.baseline import Baseline
from .signals.checks import check_count, check_setting, check_type
from .signals.one_euro import OneEuro
from .signals.presence import Hysteresis


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """What is done with a face from frame to frame.

    Attributes:
        track: keep faces and their ids from frame to frame; without it every frame is a picture of its own, and nothing
            below applies.
        detect_every: look for new faces in every so manieth frame; always where none is tracked or one was just lost,
            never while `max_faces` are tracked.
        forget_after: seconds after which a lost face is forgotten; one that comes back later, or elsewhere, is a new
            one.
        steady_crops: smooth a face's alignment over time before it is cut out, more where it moves less.
        smoothing: of the intensities; None for those of each frame.
        baseline: learn at which level each face rests and subtract it; None to leave intensities as they are.
        presence: when an AU counts as present.
        keep_images: give every result its picture.
        restart_time: take a timestamp that does not come after the last one for a new start of the clock, instead of
            raising an error.
    """

    track: bool = True
    detect_every: int = 15
    forget_after: float = 1.0
    steady_crops: bool = True
    smoothing: OneEuro | None = field(default_factory=OneEuro)
    baseline: Baseline | None = None
    presence: Hysteresis = field(default_factory=Hysteresis)
    keep_images: bool = False
    restart_time: bool = False

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            UsageError: one of them makes no sense.
        """
        check_count("detect_every", self.detect_every, 1, "1 (every frame) or more")
        check_setting("forget_after", self.forget_after, 0, 1e9, "seconds, 0 or more")
        check_type("smoothing", self.smoothing, (OneEuro, type(None)), "OneEuro() or None")
        check_type("baseline", self.baseline, (Baseline, type(None)), "Baseline() or None")
        check_type("presence", self.presence, (Hysteresis,), "Hysteresis()")
        for name in ("track", "steady_crops", "keep_images", "restart_time"):
            check_type(name, getattr(self, name), (bool,), "True or False")
