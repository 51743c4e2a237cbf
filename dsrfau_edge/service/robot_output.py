"""Results of several cameras as ROS4HRI messages, through one recording or connection."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dsrfau_edge.errors import DsrfauError
from dsrfau_edge.robotics.face_messages import FaceMessages, MessageOptions

if TYPE_CHECKING:
    from dsrfau_edge.results import FrameResult
    from dsrfau_edge.robotics.output import Sink


class RobotCameras:
    """Topics are REP-155's own where there is one camera, and below `/CAMERA` where there are several."""

    def __init__(self, sink: Sink, cameras: Sequence[str]) -> None:
        """Send to `sink`, which this closes too."""
        self._sink = sink
        self._messages = {
            camera: FaceMessages(
                MessageOptions(namespace=namespace(camera) if len(cameras) > 1 else "", frame_id=camera)
            )
            for camera in cameras
        }

    def write(self, result: FrameResult) -> None:
        """Send one result's messages.

        Raises:
            DsrfauError: nothing more can be sent.
        """
        self._sink.send(self._messages[result.source](result), result.image)

    def close(self) -> None:
        """Tell that all faces are gone, and close the sink.

        Raises:
            DsrfauError: a recording could not be finished.
        """
        with contextlib.suppress(DsrfauError):  # where sending has failed, `write` has said so
            for messages in self._messages.values():
                self._sink.send(messages.end(), None)
        self._sink.close()


def namespace(camera: str) -> str:
    """A camera's name as ROS allows it in topics."""
    cleaned = re.sub(r"[^A-Za-z0-9_]", "_", camera)
    return f"/{cleaned}" if not cleaned[0].isdigit() else f"/_{cleaned}"
