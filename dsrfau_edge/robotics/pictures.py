"""Faces cut out of their picture, and whole pictures, as messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge.face.alignment import warp

from .messages import CompressedImage, Header, Image

if TYPE_CHECKING:
    from dsrfau_edge.results import Face

_Picture = npt.NDArray[np.uint8]


def image_message(picture: _Picture, header: Header) -> Image:
    """A BGR picture `[H, W, 3]` as `sensor_msgs/msg/Image`."""
    height, width = picture.shape[:2]
    return Image(header, height, width, "bgr8", 0, width * 3, np.ascontiguousarray(picture).tobytes())


def jpeg_message(picture: _Picture, header: Header, quality: int = 90) -> CompressedImage:
    """A BGR picture `[H, W, 3]` as `sensor_msgs/msg/CompressedImage`."""
    encoded: Any = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return CompressedImage(header, "jpeg", encoded.tobytes())


def cropped(picture: _Picture, face: Face, side: int) -> _Picture:
    """The face's box, scaled to fit `[side, side, 3]`, centred on black, as REP-155 describes `/cropped`.

    What of the box lies outside the picture is black too.
    """
    height, width = picture.shape[:2]
    low = np.clip(np.floor(face.box[:2]).astype(int), 0, (width - 1, height - 1))
    high = np.clip(np.ceil(face.box[2:]).astype(int), low + 1, (width, height))
    part = picture[low[1] : high[1], low[0] : high[0]]
    scale = side / max(part.shape[:2])
    across, down = (max(round(length * scale), 1) for length in (part.shape[1], part.shape[0]))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((side, side, 3), np.uint8)
    left, top = (side - across) // 2, (side - down) // 2
    canvas[top : top + down, left : left + across] = cv2.resize(part, (across, down), interpolation=method)
    return canvas


def aligned(picture: _Picture, face: Face, side: int) -> _Picture:
    """The face upright with level eyes `[side, side, 3]`: the part of the picture that the network sees."""
    scale = side / face.crop_size
    matrix = face.matrix * scale
    matrix[:, 2] += (scale - 1) / 2  # pixels are counted from their centres
    return warp(picture, matrix, side)
