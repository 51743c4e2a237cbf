"""Pictures of `sensor_msgs` as BGR, whatever encoding a camera's driver chose.

Messages are taken by their fields, so that rclpy's, our own and those of a recording all do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np

from dsrfau_edge.errors import InputError
from dsrfau_edge.face.images import Image

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class _Encoding:
    """How a pixel is laid out: bytes of a value, values a pixel, and what OpenCV is told to make BGR of it.

    `width` and `height` have to be multiples of `even`; `rows` is the number of stored rows for two of the picture's.
    """

    channels: int
    code: int | None
    size: int = 1
    even: tuple[int, int] = (1, 1)
    rows: int = 2


_GREY, _BGR, _RGB = cv2.COLOR_GRAY2BGR, None, cv2.COLOR_RGB2BGR
_UYVY = _Encoding(2, cv2.COLOR_YUV2BGR_UYVY, even=(2, 1))
_YUYV = _Encoding(2, cv2.COLOR_YUV2BGR_YUYV, even=(2, 1))
#: By the names of sensor_msgs/image_encodings.hpp. Alpha is left out: cameras fill it with nothing that means anything.
ENCODINGS: dict[str, _Encoding] = {
    "bgr8": _Encoding(3, _BGR),
    "rgb8": _Encoding(3, _RGB),
    "bgra8": _Encoding(4, cv2.COLOR_BGRA2BGR),
    "rgba8": _Encoding(4, cv2.COLOR_RGBA2BGR),
    "mono8": _Encoding(1, _GREY),
    "bgr16": _Encoding(3, _BGR, 2),
    "rgb16": _Encoding(3, _RGB, 2),
    "mono16": _Encoding(1, _GREY, 2),
    "8UC1": _Encoding(1, _GREY),
    "8UC3": _Encoding(3, _BGR),
    "8UC4": _Encoding(4, cv2.COLOR_BGRA2BGR),
    "16UC1": _Encoding(1, _GREY, 2),
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": _Encoding(1, cv2.COLOR_YUV2BGR_NV12, even=(2, 2), rows=3),
    "nv21": _Encoding(1, cv2.COLOR_YUV2BGR_NV21, even=(2, 2), rows=3),
    "bayer_rggb8": _Encoding(1, cv2.COLOR_BayerRGGB2BGR, even=(2, 2)),
    "bayer_bggr8": _Encoding(1, cv2.COLOR_BayerBGGR2BGR, even=(2, 2)),
    "bayer_gbrg8": _Encoding(1, cv2.COLOR_BayerGBRG2BGR, even=(2, 2)),
    "bayer_grbg8": _Encoding(1, cv2.COLOR_BayerGRBG2BGR, even=(2, 2)),
}


def picture_of(message: Any) -> Image:
    """BGR uint8 `[H, W, 3]` of a `sensor_msgs/msg/Image`; 16 bits over their full range.

    Raises:
        InputError: the encoding is not known, or the sizes contradict each other.
    """
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise InputError(
            f"Pictures come as {message.encoding!r}, which is not read here. Have the driver publish one of "
            f"{', '.join(ENCODINGS)}."
        )
    values = _values(message, encoding)
    if encoding.size == 2:
        values = np.asarray(values >> 8, np.uint8)
    if encoding.code is None:
        return cast(Image, np.ascontiguousarray(values))
    return cast(Image, cv2.cvtColor(values, encoding.code))


def _values(message: Any, encoding: _Encoding) -> Any:
    """The message's bytes as an array `[rows, width, channels]`, without copying them."""
    width, height, step = message.width, message.height, message.step
    kind = f"{message.encoding} of {width}x{height} pixels"
    if not (width and height) or width % encoding.even[0] or height % encoding.even[1]:
        raise InputError(f"A picture came as {kind}, which cannot be. Look at the driver's settings.")
    across = width * encoding.channels * encoding.size
    if step < across:
        raise InputError(f"A picture came as {kind} with rows of {step} bytes; they need {across}. Look at the driver.")
    rows = height * encoding.rows // 2
    needed, found = step * (rows - 1) + across, memoryview(message.data).nbytes
    if found < needed:
        raise InputError(f"A picture came as {kind} with {found} bytes; they need {needed}. It was cut off on its way.")
    order = ">" if message.is_bigendian else "<"
    pixel = encoding.channels * encoding.size
    return np.ndarray(
        (rows, width, encoding.channels),
        np.dtype(f"{order}u{encoding.size}"),
        message.data,
        strides=(step, pixel, encoding.size),
    )


def compressed_picture_of(message: Any) -> Image:
    """BGR uint8 `[H, W, 3]` of a `sensor_msgs/msg/CompressedImage`: JPEG, PNG or another file that OpenCV reads.

    Raises:
        InputError: it holds depth, is cut off, or is no picture.
    """
    if "compressedDepth" in message.format:
        raise InputError("compressedDepth holds distances, no picture. Subscribe to the camera's colour or grey image.")
    content = memoryview(message.data)
    if not content.nbytes:
        raise InputError("A compressed picture came without a byte. Look at the driver.")
    if _cut_off(content):
        raise InputError("A compressed picture came without its end. It was cut off on its way.")
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"A compressed picture ({message.format}) cannot be decoded: {error.err}.") from error
    if picture is None:
        raise InputError(f"A compressed picture ({message.format}) is none that OpenCV reads. Publish JPEG or PNG.")
    return cast(Image, picture)


def _cut_off(content: memoryview) -> bool:
    """Decoders fill what is missing with grey; half a face is worse than none. Drivers may pad the end with zeros."""
    start = bytes(content[:8])
    if start[:2] == _JPEG:
        return not bytes(content[-4096:]).rstrip(b"\0").endswith(b"\xff\xd9")
    return start == _PNG and b"IEND" not in bytes(content[-4096:])
