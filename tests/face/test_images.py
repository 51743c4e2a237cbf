"""Pictures of every kind become BGR uint8, or a clear error."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge.errors import InputError
from dsrfau_edge.face.images import as_bgr, read_image

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOUR = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def exif(orientation):
    """An EXIF segment that holds the orientation alone."""
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + tag + b"\0\0\0\0"
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def encoded(image, suffix):
    return cv2.imencode(suffix, image)[1].tobytes()


def test_a_bgr_picture_is_not_copied():
    assert as_bgr(COLOUR) is COLOUR


@pytest.mark.parametrize(
    "picture",
    [
        GREY,
        GREY[:, :, None],
        GREY.astype(np.uint16) * 256,
        GREY.astype(np.int64),
        GREY / 255.0,
        GREY.astype(np.float32),
    ],
    ids=["2-d", "one channel", "16 bit", "int64", "float 0-1", "float 0-255"],
)
def test_every_kind_of_grey_is_the_same_picture(picture):
    result = as_bgr(picture)
    assert result.dtype == np.uint8
    assert result.shape == (3, 4, 3)
    np.testing.assert_array_equal(result, np.repeat(GREY[:, :, None], 3, axis=2))


def test_bool_is_black_and_white():
    assert as_bgr(np.array([[True, False]])).tolist() == [[[255] * 3, [0] * 3]]


def test_transparent_pixels_are_white_whatever_their_colour():
    picture = np.dstack([COLOUR, np.full((30, 40), 255, np.uint8)])
    picture[0, 0, 3], picture[0, 1, 3] = 0, 128
    result = as_bgr(picture)
    assert result[0, 0].tolist() == [255] * 3
    np.testing.assert_allclose(result[0, 1], COLOUR[0, 1] * (128 / 255) + 127, atol=1)
    np.testing.assert_array_equal(result[1:], COLOUR[1:])


def test_views_of_any_layout_are_taken():
    view = COLOUR[::-2, ::3]
    result = as_bgr(view)
    np.testing.assert_array_equal(result, view)
    assert result.flags.c_contiguous


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((0, 0, 3), np.uint8), "empty"),
        (np.zeros((5, 0), np.uint8), "empty"),
        (np.zeros(7, np.uint8), "shape"),
        (np.zeros((2, 2, 5), np.uint8), "shape"),
        (np.zeros((1, 4, 4, 3), np.uint8), "shape"),
        (np.full((2, 2), np.nan), "NaN"),
        (np.full((2, 2), np.inf), "NaN"),
        (np.full((2, 2), 300.0), "300"),
        (np.full((2, 2), -1), "-1"),
        (np.full((2, 2), 1 + 2j), "complex"),
        (np.array([["a", "b"]]), "grey levels"),
        (None, "shape"),
        ([[1, 2], [3]], "array of numbers"),
    ],
)
def test_what_is_no_picture_is_refused(picture, words):
    with pytest.raises(InputError, match=words):
        as_bgr(picture)


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4]), st.sampled_from("BHfd?"), st.randoms())
def test_any_picture_keeps_its_size(height, width, channels, code, random):
    values = np.random.default_rng(random.randrange(1 << 30)).integers(0, 2, (height, width, channels))
    result = as_bgr(values.astype(code))
    assert result.shape == (height, width, 3)
    assert result.dtype == np.uint8


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".jpg"])
def test_files_of_common_formats_are_read(tmp_path, suffix):
    flat = np.full((20, 30, 3), (10, 120, 240), np.uint8)
    (tmp_path / f"a{suffix}").write_bytes(encoded(flat, suffix))
    assert np.abs(read_image(tmp_path / f"a{suffix}").astype(int) - flat).max() <= 3


def test_16_bit_grey_and_transparent_files_are_read(tmp_path):
    (tmp_path / "deep.png").write_bytes(encoded(GREY.astype(np.uint16) * 257, ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[:, :, 1], GREY)
    (tmp_path / "grey.png").write_bytes(encoded(GREY, ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png")[:, :, 2], GREY)
    clear = np.dstack([COLOUR, np.zeros((30, 40), np.uint8)])
    (tmp_path / "clear.png").write_bytes(encoded(clear, ".png"))
    assert (read_image(tmp_path / "clear.png") == 255).all()
    (tmp_path / "float.tiff").write_bytes(encoded(COLOUR.astype(np.float32) / 255, ".tiff"))
    np.testing.assert_array_equal(read_image(tmp_path / "float.tiff"), COLOUR)


@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_exif_orientation_is_applied(tmp_path, orientation, turn):
    smooth = cv2.resize(COLOUR[:3, :4], (40, 30))
    jpeg = encoded(smooth, ".jpg")
    (tmp_path / "turned.jpg").write_bytes(jpeg[:2] + exif(orientation) + jpeg[2:])
    expected = np.rot90(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), turn)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.jpg"), expected)


def test_a_name_outside_ascii_is_no_hindrance(tmp_path):
    path = tmp_path / "Porträt 顔.png"
    path.write_bytes(encoded(COLOUR, ".png"))
    np.testing.assert_array_equal(read_image(path), COLOUR)


def test_a_cut_jpeg_with_a_whole_thumbnail_is_still_cut(tmp_path):
    jpeg = encoded(COLOUR, ".jpg")
    thumbnail = b"Exif\0\0" + encoded(COLOUR[:8, :8], ".jpg")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = jpeg[:2] + segment + jpeg[2:]
    (tmp_path / "whole.jpg").write_bytes(whole + b"trailing bytes are common and harmless")
    assert read_image(tmp_path / "whole.jpg").shape == COLOUR.shape
    (tmp_path / "cut.jpg").write_bytes(whole[:-20])
    with pytest.raises(InputError, match="cut short"):
        read_image(tmp_path / "cut.jpg")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"this is text", "not a picture"),
        (encoded(COLOUR, ".jpg")[:300], "cut short"),
        (encoded(COLOUR, ".jpg")[:3], "cut short"),
        (encoded(COLOUR, ".png")[:-9], "cut short"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50 + b"IEND\xaeB`\x82", "damaged"),
    ],
    ids=["empty", "text", "cut JPEG", "JPEG start", "cut PNG", "PNG of zeros"],
)
def test_broken_files_say_what_is_wrong(tmp_path, content, words):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        read_image(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["missing.jpg", "."])
def test_a_path_that_is_no_file_is_named(tmp_path, name):
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path / name)
