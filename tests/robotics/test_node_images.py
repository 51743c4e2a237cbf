from __future__ import annotations

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge.errors import InputError
from dsrfau_edge.robotics.node_images import ENCODINGS, compressed_picture_of, picture_of

#: Grey, red, green, blue in fields of 8 x 8 pixels, BGR.
COLOURS = np.array([[[128, 128, 128], [40, 40, 200]], [[40, 200, 40], [200, 40, 40]]], np.uint8)
PICTURE = np.ascontiguousarray(COLOURS.repeat(8, 0).repeat(8, 1))
HEIGHT, WIDTH = PICTURE.shape[:2]
GREY = cv2.cvtColor(PICTURE, cv2.COLOR_BGR2GRAY)


def yuv(first):
    """4:2:2; `first` says whether U comes before Y."""
    full = cv2.cvtColor(PICTURE, cv2.COLOR_BGR2YUV).astype(float)
    luma = 16 + full[..., 0] * 219 / 255
    chroma = 128 + (full[..., 1:] - 128) * 224 / 255 * np.array([0.564 / 0.492, 0.713 / 0.877])
    pairs = np.where(np.arange(WIDTH)[None, :] % 2 == 0, chroma[..., 0], chroma[..., 1])
    return np.rint(np.stack([pairs, luma] if first else [luma, pairs], -1)).clip(0, 255).astype(np.uint8)


def nv(order):
    planar = cv2.cvtColor(PICTURE, cv2.COLOR_BGR2YUV_I420)
    luma, rest = planar[:HEIGHT], planar[HEIGHT:].reshape(2, -1)
    return np.concatenate([luma, np.stack([rest[order], rest[1 - order]], -1).reshape(-1, WIDTH)])


def bayer(corner):
    """`corner` names the upper left 2 x 2 pixels."""
    out = np.zeros((HEIGHT, WIDTH), np.uint8)
    for place, name in enumerate(corner):
        y, x = divmod(place, 2)
        out[y::2, x::2] = PICTURE[y::2, x::2, "bgr".index(name)]
    return out


def wide(values, order):
    return (values.astype(np.uint16) * 257).astype(f"{order}u2").view(np.uint8)


STORED = {
    "bgr8": PICTURE,
    "rgb8": PICTURE[..., ::-1],
    "bgra8": np.dstack([PICTURE, np.full((HEIGHT, WIDTH), 7, np.uint8)]),
    "rgba8": np.dstack([PICTURE[..., ::-1], np.zeros((HEIGHT, WIDTH), np.uint8)]),
    "mono8": GREY,
    "bgr16": wide(PICTURE, "<"),
    "rgb16": wide(PICTURE[..., ::-1], "<"),
    "mono16": wide(GREY, "<"),
    "8UC1": GREY,
    "8UC3": PICTURE,
    "8UC4": np.dstack([PICTURE, GREY]),
    "16UC1": wide(GREY, "<"),
    "uyvy": yuv(first=True),
    "yuv422": yuv(first=True),
    "yuyv": yuv(first=False),
    "yuv422_yuy2": yuv(first=False),
    "nv12": nv(0),
    "nv21": nv(1),
    "bayer_rggb8": bayer("rggb"),
    "bayer_bggr8": bayer("bggr"),
    "bayer_gbrg8": bayer("gbrg"),
    "bayer_grbg8": bayer("grbg"),
}


def message(encoding, stored, *, padding=0, big=0, **changes):
    rows = np.ascontiguousarray(stored).view(np.uint8).reshape(len(stored), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    values = {"height": HEIGHT, "width": WIDTH, "encoding": encoding, "is_bigendian": big, "step": rows.shape[1]}
    return SimpleNamespace(**{**values, "data": array.array("B", rows.tobytes()), **changes})


def grey_only(encoding):
    return ENCODINGS[encoding].code == cv2.COLOR_GRAY2BGR


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_every_encoding_gives_the_same_picture(encoding, padding):
    found = picture_of(message(encoding, STORED[encoding], padding=padding))
    wanted = cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGR) if grey_only(encoding) else PICTURE
    assert found.dtype == np.uint8
    assert found.shape == wanted.shape
    centres = slice(4, None, 8)  # away from borders, where chroma and Bayer patterns mix
    difference = found[centres, centres].astype(int) - wanted[centres, centres]
    assert np.abs(difference).max() <= 4


def test_big_endian_is_heeded_for_16_bits_and_of_no_matter_for_8():
    assert np.array_equal(picture_of(message("mono16", wide(GREY, ">"), big=1))[..., 0], GREY)
    assert np.array_equal(picture_of(message("bgr8", PICTURE, big=1)), PICTURE)


def test_the_last_row_needs_no_padding_and_bytes_do_as_well():
    padded = message("bgr8", PICTURE, padding=5)
    assert np.array_equal(picture_of(SimpleNamespace(**{**vars(padded), "data": bytes(padded.data)[:-5]})), PICTURE)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoding": "32FC1"}, "32FC1"),
        ({"encoding": ""}, "Have the driver publish one of"),
        ({"height": 0}, "cannot be"),
        ({"width": 0}, "cannot be"),
        ({"step": 47}, "they need 48"),
        ({"height": 17}, "cut off"),
        ({"data": b""}, "cut off"),
        ({"height": 2**32 - 1, "width": 2**32 - 1, "step": 2**32 - 1}, "rows of"),
        ({"encoding": "yuyv", "width": 15}, "cannot be"),
        ({"encoding": "nv12", "height": 15}, "cannot be"),
    ],
)
def test_what_contradicts_itself_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        picture_of(SimpleNamespace(**{**vars(message("bgr8", PICTURE)), **changes}))


SIZES = st.integers(0, 40)


@given(
    SIZES, SIZES, st.integers(0, 200), st.sampled_from([*ENCODINGS, "x"]), st.integers(0, 255), st.binary(max_size=900)
)
def test_any_fields_give_a_picture_or_an_error(width, height, step, encoding, big, data):
    fields = SimpleNamespace(
        width=width, height=height, step=step, encoding=encoding, is_bigendian=big, data=array.array("B", data)
    )
    try:
        found = picture_of(fields)
    except InputError:
        return
    assert found.shape == (height, width, 3)
    assert found.dtype == np.uint8


def compressed(data, kind="bgr8; jpeg compressed bgr8"):
    return SimpleNamespace(format=kind, data=array.array("B", data))


def test_compressed_pictures():
    for suffix in (".jpg", ".png", ".bmp"):
        encoded = cv2.imencode(suffix, PICTURE)[1].tobytes()
        assert np.abs(compressed_picture_of(compressed(encoded)).astype(int) - PICTURE).mean() < 8
    padded = cv2.imencode(".jpg", PICTURE)[1].tobytes() + b"\0" * 100
    assert compressed_picture_of(compressed(padded)).shape == PICTURE.shape
    grey = cv2.imencode(".png", GREY)[1].tobytes()
    assert compressed_picture_of(compressed(grey)).shape == PICTURE.shape


JPEG, PNG = (cv2.imencode(suffix, PICTURE)[1].tobytes() for suffix in (".jpg", ".png"))


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", "jpeg", "without a byte"),
        (JPEG[:-40], "jpeg", "without its end"),
        (PNG[:-20], "png", "without its end"),
        (b"no picture at all", "jpeg", "none that OpenCV reads"),
        (b"\xff\xd8" + b"\1" * 300 + b"\xff\xd9", "jpeg", "none that OpenCV reads"),
        (PNG, "16UC1; compressedDepth png", "distances"),
    ],
)
def test_compressed_pictures_that_are_none_are_refused(data, kind, words):
    with pytest.raises(InputError, match=words):
        compressed_picture_of(compressed(data, kind))


@given(st.binary(max_size=600), st.sampled_from([b"", JPEG[:200], PNG[:60]]))
def test_any_bytes_give_a_picture_or_an_error(data, start):
    try:
        found = compressed_picture_of(compressed(start + data))
    except InputError:
        return
    assert found.ndim == 3
