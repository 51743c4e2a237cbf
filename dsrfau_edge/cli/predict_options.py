"""The options of `dsrfau-predict`, and what of them can be checked before anything is loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dsrfau_edge.action_units import canonical_au
from dsrfau_edge.errors import UsageError
from dsrfau_edge.outputs.peer import Peer, viewer_address

from .formats import FORMATS, form_of
from .robot_options import ROBOT_OPTIONS, Robots

if TYPE_CHECKING:
    from dsrfau_edge.following import StreamOptions
    from dsrfau_edge.manifest import Precision
    from dsrfau_edge.signals.baseline import Baseline

_PATH = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the user typed; named as the options are."""

    sources: tuple[str, ...]
    bundle: Path | None
    runtime: str | None
    device: str | None
    threads: int | None
    precision: Precision | None
    native_precision: bool | None
    max_faces: int | None
    detector_range: str
    aus: str | None
    every: int
    track: bool
    detect_every: int | None
    smooth: bool | None
    baseline: str
    save_baseline: Path | None
    wait: bool
    reconnect: bool
    form: str | None
    as_json: bool
    output: Path | None
    send: tuple[str, ...]
    draw: Path | None
    plot: Path | None
    rerun: str | None
    no_image: bool
    recursive: bool
    redo: bool
    engine: str
    ray_address: str | None
    robots: Robots

    @property
    def file(self) -> Path | None:
        """Where results go; None for stdout."""
        return None if self.output is None or str(self.output) == "-" else self.output

    @property
    def format(self) -> str:
        """The form of the results."""
        return self.form or ("jsonl" if self.as_json else form_of(self.file))

    @property
    def archive_format(self) -> str:
        """The form of the results of an archive of videos."""
        return self.form or "jsonl"

    @property
    def is_archive(self) -> bool:
        """Whether this is about many videos with a result file each."""
        if self.recursive or self.engine == "ray" or self.redo or self.ray_address is not None:
            return True
        if self.file is None or self.file.is_file() or (self.file.suffix and not self.file.is_dir()):
            return False
        return any(_holds_videos(source, alone=self.file.is_dir()) for source in self.sources)

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: two options exclude each other.
        """
        if self.as_json and self.form not in (None, "jsonl"):
            raise UsageError(f"--json is short for --format jsonl, and --format {self.form} was given too. Give one.")
        if self.format == "openface-csv" and len(self.sources) > 1 and not self.is_archive:
            raise UsageError(
                "OpenFace's columns have none for the source, so --format openface-csv takes one source (a folder is "
                "one). Run the command once a source, or use --format csv."
            )
        if self.format == "parquet" and self.file is None and not self.is_archive:
            raise UsageError("--format parquet is no text for stdout. Give it a file: -o NAME.parquet.")
        for address in self.send:
            Peer.parse(address)
        if self.rerun is not None and self.rerun != "spawn" and not self.rerun.endswith(".rrd"):
            viewer_address(self.rerun)
        self._check_stream()
        self.robots.check()
        if self.no_image and self.robots.images:
            raise UsageError("--no-image keeps pixels out of every output; leave out --mcap-images and --face-images.")

    @property
    def keeps_images(self) -> bool:
        """Whether an output needs the pictures."""
        return not self.no_image and (self.draw is not None or self.rerun is not None or self.robots.images)

    def _check_stream(self) -> None:
        for option in self.stream_options():
            if not self.track and option in ("--detect-every", "--smooth", "--baseline"):
                raise UsageError(f"{option} is about faces that are tracked, and --no-track was given. Drop one.")
        if self.save_baseline is not None and self.baseline != "online":
            raise UsageError("--save-baseline saves what is learned, so it needs --baseline online.")

    def stream_options(self) -> list[str]:
        """Those that were given of the options that are about faces over time."""
        used = (
            ("--no-track", not self.track),
            ("--detect-every", self.detect_every is not None),
            ("--smooth" if self.smooth else "--no-smooth", self.smooth is not None),
            ("--baseline", self.baseline != "off"),
        )
        return [option for option, given in used if given]

    def live_options(self) -> list[str]:
        """Those that were given of the options that are about live sources."""
        return ["--wait"] * self.wait + ["--no-reconnect"] * (not self.reconnect)

    def wanted_aus(self) -> list[str] | None:
        """The AUs to report; None for all.

        Raises:
            UsageError: there is no such AU, or none is named.
        """
        if self.aus is None:
            return None
        names = [part for part in self.aus.replace(",", " ").split() if part]
        if not names:
            raise UsageError("--aus names no action unit. Give some, such as --aus 6,12,25.")
        return list(dict.fromkeys(canonical_au(name) for name in names))

    def following(self) -> StreamOptions:
        """How streams are followed.

        Raises:
            DataError: the baseline's file cannot be read.
        """
        from dsrfau_edge.following import StreamOptions
        from dsrfau_edge.signals.one_euro import OneEuro

        return StreamOptions(
            track=self.track,
            detect_every=self.detect_every or StreamOptions().detect_every,
            smoothing=None if self.smooth is False else OneEuro(),
            baseline=self._baseline(),
            keep_images=self.keeps_images,
        )

    def _baseline(self) -> Baseline | None:
        from dsrfau_edge.signals.baseline import Baseline

        if self.baseline == "off":
            return None
        return Baseline() if self.baseline == "online" else Baseline.from_file(self.baseline)


def _holds_videos(source: str, *, alone: bool) -> bool:
    """Whether a source is a folder with videos, or a video `alone`."""
    from dsrfau_edge.stream import VIDEO_SUFFIXES

    folder = Path(source)
    if not folder.is_dir():
        return alone and folder.suffix.lower() in VIDEO_SUFFIXES
    with contextlib.suppress(OSError):
        return any(path.suffix.lower() in VIDEO_SUFFIXES for path in folder.iterdir())
    return False


_OPTIONS = (
    click.argument("sources", metavar="SOURCE...", nargs=-1, required=True),
    click.option("--bundle", type=_PATH, help="A bundle NAME.dsrfau; the bundled student by default."),
    click.option(
        "--runtime", metavar="NAME", help="onnxruntime, openvino, tensorrt, ...; the best one here by default."
    ),
    click.option("--device", metavar="NAME", help="What the runtime computes on, such as cpu or cuda:0."),
    click.option("--threads", type=_COUNT, help="CPU threads of one inference."),
    click.option(
        "--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="fp32 runs an int8 bundle's portable graph."
    ),
    click.option(
        "--native-precision/--model-precision",
        default=None,
        help="Let the device compute in its own precision (bf16, tf32), or never; by default as remembered.",
    ),
    click.option("--max-faces", type=_COUNT, help="Predict only the N largest faces of a frame."),
    click.option(
        "--detector-range",
        type=click.Choice(["auto", "short", "full"]),
        default="auto",
        show_default=True,
        help="short: faces within about 2 m; full: 5 m, slower; auto: both, unless a face is near.",
    ),
    click.option("--aus", metavar="LIST", help="Report these AUs only, such as 6,12,25 or AU06,AU12."),
    click.option(
        "--every", type=_COUNT, default=1, show_default=True, help="Take every Nth frame only; not of live sources."
    ),
    click.option(
        "--track/--no-track", default=True, help="Follow faces through videos and live sources; on by default."
    ),
    click.option("--detect-every", type=_COUNT, help="Look for new faces in every Nth frame; 15 by default."),
    click.option("--smooth/--no-smooth", default=None, help="Smooth intensities over time; on by default."),
    click.option(
        "--baseline",
        metavar="off|online|FILE",
        default="off",
        show_default=True,
        help="Take off the level at which a face rests: learned as it goes, or from --save-baseline's FILE.",
    ),
    click.option(
        "--save-baseline", type=_PATH, metavar="FILE", help="Save the level learned of the face seen longest."
    ),
    click.option("--wait", is_flag=True, help="Wait for a camera or address that is not there yet."),
    click.option(
        "--reconnect/--no-reconnect", default=True, help="Open a live source again when it is lost; the default."
    ),
    click.option(
        "--format", "form", type=click.Choice(FORMATS), help="How results are written; by -o's ending, else a table."
    ),
    click.option("--json", "as_json", is_flag=True, help="Short for --format jsonl."),
    click.option("-o", "--output", type=_PATH, help="Write results to this file instead of stdout."),
    click.option(
        "--send",
        multiple=True,
        metavar="ADDRESS",
        help="Send results as JSON lines to tcp://HOST:PORT, udp://HOST:PORT or unix:PATH; may be repeated.",
    ),
    click.option("--draw", type=_PATH, metavar="OUT", help="Write annotated pictures or videos: a file, or a folder."),
    click.option(
        "--plot", type=_PATH, metavar="OUT", help="Plot AUs over time of each video: NAME.png, NAME.svg, or a folder."
    ),
    click.option(
        "--rerun",
        is_flag=False,
        flag_value="spawn",
        metavar="[spawn|ADDRESS|FILE.rrd]",
        help="Show results in Rerun: in a viewer started here (spawn, or nothing), one that runs at HOST:PORT, "
        "or later from a file.",
    ),
    click.option("--no-image", is_flag=True, help="Let no output carry pixels: draw on black, show Rerun no frames."),
    click.option("--recursive", is_flag=True, help="Also take the videos of a folder's subfolders; needs -o FOLDER."),
    click.option("--redo", is_flag=True, help="Make an archive's results again, also those that are finished."),
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Where an archive's videos are predicted.",
    ),
    click.option("--ray-address", metavar="HOST:PORT", help="A Ray cluster; else --engine ray uses this machine."),
    *ROBOT_OPTIONS,
)


def predict_options(function: Function) -> Function:
    """Give a command all of these."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
