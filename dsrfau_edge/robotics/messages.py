"""The ROS 2 messages that we publish, as plain frozen dataclasses.

Each field names its type as in a `.msg` file. From that alone come the definitions that recordings carry
(`definitions.py`), the types of DDS (`dds_types.py`) and CDR (`cdr.py`), so that none can differ from another. Layouts
are those of hri_msgs 2.0 to 2.3 and of common_interfaces since Humble.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

#: hri_msgs gives each FACS number its place in these arrays, from 0 to 98.
AU_COUNT = 99
LANDMARK_COUNT = 70
_BILLION = 1_000_000_000


def _ros(kind: str, *, shown: bool = True) -> Any:
    return field(metadata={"ros": kind}, repr=shown)


@dataclass(frozen=True, slots=True, order=True)
class Time:
    """A moment: seconds and nanoseconds since 1970."""

    TYPE: ClassVar[str] = "builtin_interfaces/msg/Time"
    sec: int = _ros("int32")
    nanosec: int = _ros("uint32")

    @classmethod
    def from_ns(cls, nanoseconds: int) -> Time:
        """From nanoseconds since 1970, as `time.time_ns` counts them.

        Times beyond what the message holds (after January 2038) become the last one that it does.
        """
        sec, nanosec = divmod(nanoseconds, _BILLION)
        if sec > 0x7FFFFFFF:
            return cls(0x7FFFFFFF, _BILLION - 1)
        return cls(max(sec, -0x80000000), nanosec)

    @property
    def ns(self) -> int:
        """Nanoseconds since 1970."""
        return self.sec * _BILLION + self.nanosec


@dataclass(frozen=True, slots=True)
class Header:
    """When and from where the picture was taken; `frame_id` names the camera's optical frame."""

    TYPE: ClassVar[str] = "std_msgs/msg/Header"
    stamp: Time = _ros("builtin_interfaces/Time")
    frame_id: str = _ros("string")


@dataclass(frozen=True, slots=True)
class FacialActionUnits:
    """Intensity and confidence by FACS number; where the confidence is 0, nothing is known of that AU."""

    TYPE: ClassVar[str] = "hri_msgs/msg/FacialActionUnits"
    header: Header = _ros("std_msgs/Header")
    intensity: tuple[float, ...] = _ros(f"float32[{AU_COUNT}]")
    confidence: tuple[float, ...] = _ros(f"float32[{AU_COUNT}]")


@dataclass(frozen=True, slots=True)
class IdsList:
    """The faces in sight."""

    TYPE: ClassVar[str] = "hri_msgs/msg/IdsList"
    header: Header = _ros("std_msgs/Header")
    ids: tuple[str, ...] = _ros("string[]")


@dataclass(frozen=True, slots=True)
class NormalizedRegionOfInterest2D:
    """A box as fractions of the picture's width and height, and how sure it is, all 0 to 1."""

    TYPE: ClassVar[str] = "hri_msgs/msg/NormalizedRegionOfInterest2D"
    header: Header = _ros("std_msgs/Header")
    xmin: float = _ros("float32")
    ymin: float = _ros("float32")
    xmax: float = _ros("float32")
    ymax: float = _ros("float32")
    c: float = _ros("float32")


@dataclass(frozen=True, slots=True)
class NormalizedPointOfInterest2D:
    """A point as fractions of the picture's width and height, and how sure it is, all 0 to 1."""

    TYPE: ClassVar[str] = "hri_msgs/msg/NormalizedPointOfInterest2D"
    x: float = _ros("float32")
    y: float = _ros("float32")
    c: float = _ros("float32")


@dataclass(frozen=True, slots=True)
class FacialLandmarks:
    """70 points in the order of dlib and OpenPose, see `landmarks.py`; `height` and `width` are the picture's."""

    TYPE: ClassVar[str] = "hri_msgs/msg/FacialLandmarks"
    header: Header = _ros("std_msgs/Header")
    landmarks: tuple[NormalizedPointOfInterest2D, ...] = _ros(f"hri_msgs/NormalizedPointOfInterest2D[{LANDMARK_COUNT}]")
    height: int = _ros("uint32")
    width: int = _ros("uint32")


@dataclass(frozen=True, slots=True)
class Image:
    """A picture without compression, row by row of `step` bytes."""

    TYPE: ClassVar[str] = "sensor_msgs/msg/Image"
    header: Header = _ros("std_msgs/Header")
    height: int = _ros("uint32")
    width: int = _ros("uint32")
    encoding: str = _ros("string")
    is_bigendian: int = _ros("uint8")
    step: int = _ros("uint32")
    data: bytes = _ros("uint8[]", shown=False)


@dataclass(frozen=True, slots=True)
class CompressedImage:
    """A picture as a JPEG file; `format` is `jpeg`."""

    TYPE: ClassVar[str] = "sensor_msgs/msg/CompressedImage"
    header: Header = _ros("std_msgs/Header")
    format: str = _ros("string")
    data: bytes = _ros("uint8[]", shown=False)


Message: TypeAlias = (
    FacialActionUnits | IdsList | NormalizedRegionOfInterest2D | FacialLandmarks | Image | CompressedImage
)

#: What is published, and what that is made of, each after its parts.
TYPES: tuple[type[Any], ...] = (
    *(Time, Header, FacialActionUnits, IdsList, NormalizedRegionOfInterest2D, NormalizedPointOfInterest2D),
    *(FacialLandmarks, Image, CompressedImage),
)
