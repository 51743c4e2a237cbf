"""`dsrfau-serve`: cameras in, all chosen outputs out, in one process that stays up."""

from __future__ import annotations

import logging
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsrfau_edge.errors import UsageError

from .common import Progress, note

if TYPE_CHECKING:
    from dsrfau_edge.service.settings import CameraSettings, OutputSettings, ServiceSettings

_log = logging.getLogger(__name__)
_PATH = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What the user typed; named as the options are."""

    sources: tuple[str, ...]
    config: Path | None
    send: tuple[str, ...]
    stdout: bool
    record: str | None
    mcap: str | None
    mcap_images: bool
    dds: bool
    domain: int | None
    dds_interface: str | None
    zenoh: str | None
    zenoh_connect: tuple[str, ...]
    baseline: str
    smooth: bool
    state: Path | None
    http: bool
    listen: str | None
    bundle: str | None
    runtime: str | None
    device: str | None
    threads: int | None
    precision: str | None
    max_faces: int | None
    detector_range: str | None

    def settings(self) -> ServiceSettings:
        """The settings of the file, or those of the options.

        Raises:
            UsageError: they make no sense.
        """
        from dsrfau_edge.service.config import address_of, read_config

        found = read_config(self.config) if self.config is not None else self._simple()
        if self.state is not None:
            found = replace(found, state=self.state)
        if self.http or self.listen is not None:
            found = replace(found, listen=address_of(self.listen or ""))
        return found

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: two options exclude each other.
        """
        if self.config is None:
            if not self.sources:
                raise UsageError("Which camera? Give a SOURCE, such as 0, or a file with --config.")
            for used, what in (
                (self.mcap_images and self.mcap is None, "--mcap-images is of a recording: give --mcap FILE too."),
                (self.zenoh_connect and self.zenoh is None, "--zenoh-connect is of Zenoh: give --zenoh KEY too."),
                (self.domain is not None and not self.dds, "--domain is of DDS: give --dds too."),
                (self.dds_interface is not None and not self.dds, "--dds-interface is of DDS: give --dds too."),
            ):
                if used:
                    raise UsageError(what)
            return
        beside = {"config", "state", "http", "listen"}
        defaults: dict[str, Any] = {"baseline": "off", "smooth": True}
        for name in self.__slots__:
            value = getattr(self, name)
            given = value != defaults[name] if name in defaults else value not in (None, False, ())
            if given and name not in beside:
                option = {"sources": "a SOURCE", "smooth": "--no-smooth"}.get(name, f"--{name.replace('_', '-')}")
                raise UsageError(f"--config says everything, and {option} was given too. Write it into {self.config}.")

    def _simple(self) -> ServiceSettings:
        from dsrfau_edge.service.config import address_of
        from dsrfau_edge.service.outputs import check_output
        from dsrfau_edge.service.settings import ServiceSettings

        predictor = {
            name: value
            for name in ("bundle", "runtime", "device", "threads", "precision", "max_faces", "detector_range")
            if (value := getattr(self, name)) is not None
        }
        listen = address_of(self.listen or "") if self.http or self.listen is not None else None
        settings = ServiceSettings(
            cameras=self._cameras(), outputs=self._outputs(), predictor=predictor, state=self.state, listen=listen
        )
        for output in settings.outputs:
            check_output(output, settings)
        return settings

    def _cameras(self) -> tuple[CameraSettings, ...]:
        from dsrfau_edge.service.config import stream_options
        from dsrfau_edge.service.settings import CameraSettings, public_name

        names: list[str] = []
        for source in self.sources:
            name, number = public_name(source), 2
            while name in names:
                name, number = f"{public_name(source)[:60]}-{number}", number + 1
            names.append(name)
        stream = stream_options(self.baseline, smooth=self.smooth)
        return tuple(
            CameraSettings(name=name, source=source, stream=stream)
            for name, source in zip(names, self.sources, strict=True)
        )

    def _outputs(self) -> tuple[OutputSettings, ...]:
        from dsrfau_edge.service.settings import OutputSettings

        found = [
            OutputSettings(name=f"send-{number}" if number > 1 else "send", kind="send", to=address)
            for number, address in enumerate(self.send, 1)
        ]
        given: dict[str, Any] = {
            "stdout": "" if self.stdout else None, "record": self.record, "mcap": self.mcap, "zenoh": self.zenoh,
        }  # fmt: skip
        if self.dds:
            given["dds"] = ""
        for kind, to in given.items():
            if to is not None:
                of_dds: dict[str, Any] = (
                    {"domain": self.domain, "interface": self.dds_interface} if kind == "dds" else {}
                )
                images = kind == "mcap" and self.mcap_images
                connect = self.zenoh_connect if kind == "zenoh" else ()
                found.append(OutputSettings(name=kind, kind=kind, to=to, images=images, connect=connect, **of_dds))
        return tuple(found)


@click.command(name="serve", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@click.option(
    "--config", type=_PATH, metavar="FILE", help="Cameras and outputs from a file (TOML), instead of options."
)
@click.option("--send", multiple=True, metavar="ADDRESS", help="JSON lines to tcp://HOST:PORT, udp://... or unix:PATH.")
@click.option("--stdout", is_flag=True, help="JSON lines to stdout.")
@click.option("--record", metavar="FILE", help="JSON lines to a new file, such as aus-{time}.jsonl.")
@click.option("--mcap", metavar="FILE", help="ROS 2 messages to a new file, such as aus-{time}.mcap.")
@click.option("--mcap-images", is_flag=True, help="Record the pictures too.")
@click.option("--dds", is_flag=True, help="Publish ROS 2 messages over DDS.")
@click.option("--domain", type=int, metavar="N", help="DDS domain; $ROS_DOMAIN_ID or 0 by default.")
@click.option("--dds-interface", metavar="NAME", help="Network interface of DDS; localhost keeps to this machine.")
@click.option("--zenoh", metavar="KEY", help="Publish ROS 2 messages over Zenoh, below this key.")
@click.option("--zenoh-connect", multiple=True, metavar="ENDPOINT", help="Router or peer of Zenoh.")
@click.option(
    "--baseline",
    metavar="off|online|FILE",
    default="off",
    show_default=True,
    help="Take off the level at which a face rests: learned as it goes, or from a file.",
)
@click.option("--smooth/--no-smooth", default=True, help="Smooth intensities over time; the default.")
@click.option("--state", type=_PATH, metavar="DIR", help="Keep neutral baselines here, over a restart.")
@click.option("--http", is_flag=True, help="Serve /healthz and /metrics at 127.0.0.1:8095.")
@click.option("--listen", metavar="HOST:PORT", help="Serve them at this address instead; there is no password.")
@click.option("--bundle", metavar="B", help="A bundle NAME.dsrfau; the bundled student by default.")
@click.option("--runtime", metavar="NAME", help="onnxruntime, openvino, tensorrt, ...; the best one here by default.")
@click.option("--device", metavar="NAME", help="What the runtime computes on, such as cpu or cuda:0.")
@click.option("--threads", type=_COUNT, help="CPU threads of one inference.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="fp32 runs the portable graph.")
@click.option("--max-faces", type=_COUNT, help="Predict only the N largest faces of a frame.")
@click.option(
    "--detector-range", type=click.Choice(["auto", "short", "full"]), help="How far faces are; auto by default."
)
def command(**options: Any) -> int:
    r"""Serve the action units of one or several cameras until it is told to stop.

    A SOURCE is the number of a camera, a device path, the address of a stream, a GStreamer pipeline or a video. A
    source that is lost is opened again for ever, an output that fails likewise, and none of them stops another. SIGTERM
    and Ctrl-C end it in order; a second one at once.

    \b
    Exit codes: 0 ended by SIGTERM, or all sources came to their end · 1 failed · 2 usage · 3 runtime or package
    missing · 5 a source, the bundle or a baseline is unreadable · 130 interrupted by Ctrl-C.
    """
    given = _Given(**options)
    given.check()
    settings = given.settings()
    _check_sources(settings)
    return _serve(settings)


def _check_sources(settings: ServiceSettings) -> None:
    """A path that is not there is a mistake; a camera that is not there may come.

    Raises:
        InputError: so it is.
    """
    from dsrfau_edge.live.feeds import origin_of

    for camera in settings.cameras:
        origin_of(camera.source, camera.live)


def _serve(settings: ServiceSettings) -> int:
    from dsrfau_edge.live.stopping import StopOnSignals
    from dsrfau_edge.predictor import Predictor
    from dsrfau_edge.service.notify import Notifier
    from dsrfau_edge.service.service import Service

    progress = Progress(wanted=True)
    notifier = Notifier()

    def loading(what: str, done: float) -> None:
        progress.share(what, done)
        # To build an engine takes minutes, longer than systemd waits for a start.
        notifier.send("EXTEND_TIMEOUT_USEC=120000000", f"STATUS={what} {100 * done:.0f} %")

    predictor = Predictor(**settings.predictor, progress=loading)
    progress.clear()
    _log.info("%s in %s", predictor.bundle.path, predictor.selection)
    service = Service(settings, predictor, notifier=notifier)
    if service.http is not None:
        note("Health and metrics: http://{}:{}/healthz and /metrics".format(*service.http.address))
    signals = StopOnSignals(service.stop)
    signals.install()
    try:
        service.run()
    finally:
        signals.restore()
        notifier.close()
    # A camera that hangs in a driver or an inference may still use the predictor; the process ends in a moment anyway.
    if all(camera.join(0) for camera in service.cameras):
        predictor.close()
    return 130 if signals.received == signal.SIGINT else 0
