"""Pictures of any kind as BGR uint8, the one form that the rest of the package knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import InputError

Image = npt.NDArray[np.uint8]
_PASS = "Pass a picture as OpenCV gives it: uint8 [H, W, 3] in BGR."
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"


def as_bgr(picture: Any) -> Image:
    """A picture as BGR uint8 `[H, W, 3]`; not copied if it is one already.

    Args:
        picture: `[H, W]` or `[H, W, 1]` grey, `[H, W, 3]` BGR or `[H, W, 4]` BGRA (put on white); uint8, bool, uint16
            over its full range, floats of 0 to 1 or 0 to 255, other integers of 0 to 255.

    Raises:
        InputError: it is empty, has another shape, or holds values that are no grey levels (NaN, out of range).
    """
    try:
        array = np.asarray(picture)
    except ValueError as error:
        raise InputError(f"The picture is not an array of numbers ({error}). {_PASS}") from error
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise InputError(f"The picture has the shape {list(np.shape(picture))}, which is no picture's. {_PASS}")
    if array.size == 0:
        raise InputError(f"The picture is empty: {array.shape[1]}x{array.shape[0]} pixels. Check where it comes from.")
    levels: Image = _as_uint8(array)
    if levels.shape[2] == 1:
        return np.repeat(levels, 3, axis=2)
    return np.ascontiguousarray(levels) if levels.shape[2] == 3 else _on_white(levels)


def _as_uint8(array: npt.NDArray[Any]) -> Image:
    if array.dtype == np.uint8:
        return cast(Image, array)
    if array.dtype == np.uint16:  # over the full range, as 16-bit PNG and TIFF use it
        return np.asarray(array >> 8, np.uint8)
    if array.dtype == np.bool_:
        return np.asarray(array.astype(np.uint8) * 255, np.uint8)
    if array.dtype.kind not in "iuf":
        raise InputError(f"The picture holds {array.dtype} values, which are no grey levels. {_PASS}")
    low, high = float(array.min()), float(array.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise InputError("The picture holds NaN or infinite values. Replace them before predicting.")
    if low < 0 or high > 255:
        raise InputError(
            f"The picture's {array.dtype} values run from {low:g} to {high:g}; grey levels run from 0 to 255 (floats "
            "also from 0 to 1). Scale it first."
        )
    if array.dtype.kind == "f":
        array = np.rint(array * 255 if high <= 1 else array)
    return np.asarray(array, np.uint8)


def _on_white(levels: Image) -> Image:
    """Colours under full transparency are arbitrary, so that dropping the fourth channel alone will not do."""
    colours, alpha = levels[:, :, :3], levels[:, :, 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(colours)
    mixed = colours * (alpha / np.float32(255)) + (255 - alpha.astype(np.float32))
    return np.asarray(np.rint(mixed), np.uint8)


def read_image(path: str | Path) -> Image:
    """Read a picture from a file as BGR uint8 `[H, W, 3]`, turned as its EXIF orientation says.

    Raises:
        InputError: there is no such file, or it is not a whole picture.
    """
    file = Path(path)
    try:
        content = file.read_bytes()  # not cv2.imread, which on Windows takes ASCII paths only and gives no reasons
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}. Check the path.") from error
    if not content:
        raise InputError(f"{file} is empty. Copy it again from where it came.")
    if _cut_short(content):
        raise InputError(f"{file} is cut short: the end of the picture is missing. Copy it again from where it came.")
    try:
        return _decode(content)
    except (cv2.error, MemoryError) as error:
        raise InputError(
            f"{file} cannot be decoded: {_reason(error)}. Save it as JPEG or PNG of normal size."
        ) from error
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _decode(content: bytes) -> Image:
    data = np.frombuffer(content, np.uint8)
    # IMREAD_COLOR turns by EXIF, and brings 16 bits and grey to BGR without a second copy in memory, but drops alpha;
    # it also refuses floats. Those go the other way.
    decoded = None if _has_alpha(content) else cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None:
        decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise InputError("this is not a picture of a format that OpenCV reads, or it is damaged. Give a JPEG or PNG.")
    return as_bgr(decoded)


def _has_alpha(content: bytes) -> bool:
    if content.startswith(_PNG):
        return len(content) > 25 and content[25] in (4, 6)  # IHDR's colour types with alpha
    return content[8:16] == b"WEBPVP8X" and len(content) > 20 and bool(content[20] & 0x10)


def _cut_short(content: bytes) -> bool:
    """Decoders fill what is missing of a truncated picture with grey and only mutter; a cut face is worse than none."""
    if content.startswith(_PNG):
        return b"IEND\xaeB`\x82" not in content
    if not content.startswith(_JPEG):
        return False
    position = 2
    while position + 4 <= len(content):  # walk over the segments: a thumbnail in one has an end marker of its own
        if content[position] != 0xFF:
            return False  # damaged rather than short: the decoder's own matter
        if content[position + 1] == 0xFF:  # fill byte
            position += 1
        elif content[position + 1] == 0xDA:  # start of the compressed data, in which this pair is always a marker
            return content.find(b"\xff\xd9", position) < 0
        else:
            position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, cv2.error):
        return str(getattr(error, "err", "") or error).strip()
    return "not enough memory"
