"""The node's parameters: their names, defaults, ranges, and which of them may change while it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from dsrfau_edge.errors import UsageError
from dsrfau_edge.following import StreamOptions
from dsrfau_edge.signals.baseline import Baseline
from dsrfau_edge.signals.one_euro import OneEuro

from .face_messages import MessageOptions

if TYPE_CHECKING:
    from dsrfau_edge.predictor import Predictor

Input = Literal["image", "compressed", "cropped", "aligned"]
#: Inputs that are pictures of one face each, from another node's face detector.
OF_FACES = ("cropped", "aligned")


def _parameter(
    *,
    default: Any,
    about: str,
    span: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    return field(default=default, metadata={"about": about, "span": span, "choices": choices, "live": live})


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """One field a parameter; its metadata are `about`, `span` (least and greatest), `choices` and `live`.

    A live one may change at any time; the others only before the node is configured.
    """

    autostart: bool = _parameter(default=False, about="Configure and activate when the program starts.")
    input: Input = _parameter(
        default="image",
        about="What comes in: image or compressed (whole pictures on the topic image or image/compressed), or cropped "
        "or aligned (of each face in /humans/faces/tracked, by another node's face detector).",
        choices=get_args(Input),
    )
    bundle: str = _parameter(default="", about="Path of a bundle, or dsrfau-s or dsrfau-nano; empty for the default.")
    runtime: str = _parameter(
        default="", about="Runtime, such as onnxruntime, openvino or tensorrt; empty for the best one here."
    )
    device: str = _parameter(
        default="", about="What the runtime computes on, such as cpu or cuda:0; empty for its own choice."
    )
    threads: int = _parameter(
        default=0, about="CPU threads of one inference; 0 for the runtime's own choice.", span=(0, 256)
    )
    max_faces: int = _parameter(default=0, about="Predict only the largest so many faces; 0 for all.", span=(0, 100))
    detector_range: str = _parameter(
        default="auto", about="How far away faces are looked for.", choices=("auto", "short", "full")
    )
    detect_every: int = _parameter(default=15, about="Look for new faces in every so manieth picture.", span=(1, 1000))
    forget_after: float = _parameter(
        default=1.0, about="Seconds after which a lost face is another one.", span=(0.0, 60.0)
    )
    smoothing: bool = _parameter(default=True, about="Smooth intensities over time.")
    neutral_baseline: bool = _parameter(default=False, about="Learn at which level each face rests and subtract it.")
    topic_prefix: str = _parameter(
        default="", about="Put before /humans/faces/..., such as /front; empty for REP-155's own topics."
    )
    intensity_scale: float = _parameter(
        default=0.2, about="What intensities 0 to 5 are multiplied by.", span=(0.001, 1000.0), live=True
    )
    aus: str = _parameter(default="", about="Action units to publish, such as AU01 AU12; empty for all.", live=True)
    publish_landmarks: bool = _parameter(default=True, about="Publish each face's landmarks.", live=True)
    publish_cropped: bool = _parameter(default=False, about="Publish each face's picture.", live=True)
    publish_aligned: bool = _parameter(default=False, about="Publish each face's aligned picture.", live=True)
    face_size: int = _parameter(default=128, about="Side of these pictures in pixels.", span=(8, 4096), live=True)
    keep_seconds: float = _parameter(
        default=1.0, about="For how long a face that is out of sight keeps its topics.", span=(0.0, 60.0), live=True
    )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            UsageError: one of them is of another type, out of its range, or makes no sense.
        """
        for item in fields(self):
            _check(item, getattr(self, item.name))
        self.messages()

    @property
    def of_faces(self) -> bool:
        """Whether pictures of one face each come in."""
        return self.input in OF_FACES

    def messages(self) -> MessageOptions:
        """What is published."""
        return MessageOptions(
            namespace=self.topic_prefix,
            intensity_scale=self.intensity_scale,
            aus=tuple(self.aus.replace(",", " ").split()) or None,
            landmarks=self.publish_landmarks,
            cropped=self.publish_cropped,
            aligned=self.publish_aligned,
            face_size=self.face_size,
            keep_seconds=self.keep_seconds,
        )

    def stream(self) -> StreamOptions:
        """How faces are followed."""
        return StreamOptions(
            detect_every=self.detect_every,
            forget_after=self.forget_after,
            smoothing=OneEuro() if self.smoothing else None,
            baseline=Baseline() if self.neutral_baseline else None,
            keep_images=not self.of_faces,
            restart_time=True,  # a recording that is played in a loop, or a simulation that is reset
        )

    def load(self) -> Predictor:
        """The predictor.

        Raises:
            DsrfauError: the bundle or runtime cannot be used.
        """
        from dsrfau_edge.predictor import Predictor

        range_: Any = self.detector_range
        return Predictor(
            self.bundle or None,
            runtime=self.runtime or None,
            device=self.device or None,
            threads=self.threads or None,
            max_faces=1 if self.of_faces else self.max_faces or None,
            detector_range=range_,
        )

    def changed(self, values: Mapping[str, Any], *, configured: bool) -> NodeSettings:
        """With other values for some parameters; names that are not ours are passed over.

        Raises:
            UsageError: a value makes no sense, or the parameter cannot change once the node is configured.
        """
        kinds = {item.name: item for item in fields(self)}
        new = {name: value for name, value in values.items() if name in kinds and value != getattr(self, name)}
        fixed = [name for name in new if not kinds[name].metadata["live"]]
        if configured and fixed:
            raise UsageError(f"{fixed[0]} takes effect when the node is configured. Deactivate and clean it up first.")
        return replace(self, **new)

    def check_network(self, known: tuple[str, ...]) -> None:
        """Compare with the AUs that a network estimates.

        Raises:
            UsageError: it does not estimate one that is to be published.
        """
        missing = [au for au in self.messages().aus or () if au not in known]
        if missing:
            raise UsageError(f"aus asks for {missing[0]}; this network estimates {' '.join(known)}.")


def _check(item: Field[Any], value: Any) -> None:
    default: Any = item.default
    kind, span, choices = type(default), item.metadata["span"], item.metadata["choices"]
    if type(value) is not kind:
        raise UsageError(f"{item.name} is {value!r}; give a {kind.__name__}.")
    if span is not None and not (math.isfinite(value) and span[0] <= value <= span[1]):
        raise UsageError(f"{item.name} is {value}; give {span[0]} to {span[1]}.")
    if choices and value not in choices:
        raise UsageError(f"{item.name} is {value!r}; give one of {', '.join(choices)}.")
