"""The options of `dsrfau-predict` that publish and record what robots read."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsrfau_edge.errors import UsageError

if TYPE_CHECKING:
    from dsrfau_edge.robotics.output import RobotOutput, Sink

_IMAGE_TOPIC = "/image_raw/compressed"

ROBOT_OPTIONS = (
    click.option("--dds", is_flag=True, help="Publish ROS 2 messages (ROS4HRI) over DDS. Extra: dds."),
    click.option(
        "--domain", type=click.IntRange(0, 232), metavar="N", help="DDS domain; ROS_DOMAIN_ID or 0 by default."
    ),
    click.option(
        "--dds-interface", metavar="NAME", help="Network interface of DDS, by name or address; localhost stays here."
    ),
    click.option(
        "--mcap",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Record the messages as MCAP, to a new file. Extra: mcap.",
    ),
    click.option("--mcap-images", is_flag=True, help="Record the pictures too, as JPEG."),
    click.option("--zenoh", metavar="KEY", help="Publish the messages over Zenoh under this key. Extra: zenoh."),
    click.option(
        "--zenoh-connect", multiple=True, metavar="ENDPOINT", help="A router or peer to connect to; again for more."
    ),
    click.option(
        "--zenoh-listen",
        multiple=True,
        metavar="ENDPOINT",
        help="Where peers may connect; tcp/127.0.0.1:7447 unless told to connect.",
    ),
    click.option("--zenoh-format", type=click.Choice(["cdr", "json"]), help="Payload; cdr by default."),
    click.option("--frame-id", metavar="NAME", help="Camera frame in the messages' headers; camera by default."),
    click.option(
        "--intensity-scale", type=float, metavar="X", help="What intensities are multiplied by; 0.2 gives 0 to 1."
    ),
    click.option("--face-images", is_flag=True, help="Publish each face's picture too, as /cropped and /aligned."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Robots:
    """What the user typed of these; named as the options are."""

    dds: bool
    domain: int | None
    dds_interface: str | None
    mcap: Path | None
    mcap_images: bool
    zenoh: str | None
    zenoh_connect: tuple[str, ...]
    zenoh_listen: tuple[str, ...]
    zenoh_format: str | None
    frame_id: str | None
    intensity_scale: float | None
    face_images: bool

    @classmethod
    def taken_from(cls, values: MutableMapping[str, Any]) -> Robots:
        """Take them out of all options' values."""
        return cls(**{item.name: values.pop(item.name) for item in fields(cls)})

    @property
    def wanted(self) -> bool:
        """Whether anything is to be published or recorded."""
        return self.dds or self.mcap is not None or self.zenoh is not None

    @property
    def images(self) -> bool:
        """Whether results have to carry their pictures."""
        return self.mcap_images or self.face_images

    @property
    def name(self) -> str:
        """What messages call this output."""
        named = (("--dds", self.dds), (f"--mcap {self.mcap}", self.mcap), (f"--zenoh {self.zenoh}", self.zenoh))
        return " ".join(option for option, used in named if used)

    def check(self) -> None:
        """Refuse what does not go together, before anything is loaded.

        Raises:
            UsageError: an option is of another that was not given, or has a value that makes no sense.
        """
        for option, used, of, given in (
            ("--domain", self.domain is not None, "--dds", self.dds),
            ("--dds-interface", self.dds_interface is not None, "--dds", self.dds),
            ("--mcap-images", self.mcap_images, "--mcap FILE", self.mcap is not None),
            ("--zenoh-connect", bool(self.zenoh_connect), "--zenoh KEY", self.zenoh is not None),
            ("--zenoh-listen", bool(self.zenoh_listen), "--zenoh KEY", self.zenoh is not None),
            ("--zenoh-format", self.zenoh_format is not None, "--zenoh KEY", self.zenoh is not None),
            ("--frame-id", self.frame_id is not None, "--dds, --mcap or --zenoh", self.wanted),
            ("--intensity-scale", self.intensity_scale is not None, "--dds, --mcap or --zenoh", self.wanted),
            ("--face-images", self.face_images, "--dds, --mcap or --zenoh", self.wanted),
        ):
            if used and not given:
                raise UsageError(f"{option} is of {of}, which was not given. Give that too, or leave {option} out.")
        if self.mcap is not None and self.mcap.exists():
            raise UsageError(f"{self.mcap} exists already. Give another name; recordings are not overwritten.")
        if self.wanted:
            self._messages()

    def open(self) -> RobotOutput:
        """Everything that is wanted, as one output.

        Raises:
            RuntimeUnavailable: a library is not installed.
            DsrfauError: something cannot be opened; what was is closed again.
        """
        from dsrfau_edge.robotics.output import RobotOutput

        sinks: list[Sink] = []
        try:
            if self.dds:
                from dsrfau_edge.robotics.dds import DdsPublisher

                sinks.append(DdsPublisher(domain=self.domain, interface=self.dds_interface))
            if self.zenoh is not None:
                from dsrfau_edge.robotics.zenoh import ZenohPublisher

                form: Any = self.zenoh_format or "cdr"
                sinks.append(
                    ZenohPublisher(self.zenoh, connect=self.zenoh_connect, listen=self.zenoh_listen, form=form)
                )
            if self.mcap is not None:  # last, so that a failure above leaves no empty file
                from dsrfau_edge.robotics.recording import McapRecording

                sinks.append(McapRecording(self.mcap, image_topic=_IMAGE_TOPIC if self.mcap_images else None))
        except BaseException:
            for sink in sinks:
                sink.close()
            raise
        return RobotOutput(self._messages(), sinks)

    def _messages(self) -> Any:
        from dsrfau_edge.robotics.face_messages import FaceMessages, MessageOptions

        default = MessageOptions()
        return FaceMessages(
            MessageOptions(
                frame_id=default.frame_id if self.frame_id is None else self.frame_id,
                intensity_scale=default.intensity_scale if self.intensity_scale is None else self.intensity_scale,
                cropped=self.face_images,
                aligned=self.face_images,
            )
        )
