"""Crops and centres are what the device would make of the same picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_trees import nobody, portrait, table, write_picture

from dsrfau_edge import Predictor
from dsrfau_edge.action_units import site_centres, sites_of
from dsrfau_edge.errors import UsageError
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE, warp
from dsrfau_edge.face.frontend import FaceFrontEnd
from dsrfau_edge.shards import crop_side
from dsrfau_edge.train.data.augment import centre_crop
from dsrfau_edge.train.data.preparation.crops import cut
from dsrfau_edge.train.data.preparation.options import Options
from dsrfau_edge.train.data.preparation.table import plan

from .making import decoded, made


@pytest.mark.parametrize("size", [64, 128, 256])
def test_the_middle_of_a_crop_is_what_the_device_sees(size: int) -> None:
    image = portrait()
    crop = cut(image, size, 100)
    assert crop is not None
    (device,) = FaceFrontEnd(DEFAULT_TEMPLATE, size)(image)
    picture = cv2.imdecode(np.frombuffer(crop.encoded, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (crop_side(size), crop_side(size), 3)
    points = device.landmarks.points[:, :2] @ device.matrix[:, :2].T + device.matrix[:, 2]
    middle, placed = centre_crop(picture, crop.points, size)
    np.testing.assert_allclose(placed, points, atol=1e-3)
    assert np.abs(middle.astype(int) - device.crop).mean() < 2  # JPEG


def test_a_sample_agrees_with_the_predictor(tmp_path: Path, tiny_bundle: Path) -> None:
    write_picture(tmp_path / "set" / "a.png")
    table(tmp_path / "set", "path,subject,AU04,AU12,AU25\na.png,x,0,4,2\n", ())
    with Predictor(tiny_bundle) as predictor:
        (face,) = predictor(portrait())
        template = predictor.bundle.manifest.alignment
    planned = plan(tmp_path / "set", Options(size=face.crop_size))
    (sample,), _ = made(planned, tmp_path / "out")
    assert template == DEFAULT_TEMPLATE
    middle, centres = centre_crop(decoded(sample), sample.centres, face.crop_size)
    seen = warp(portrait(), face.matrix, face.crop_size)
    assert np.abs(middle.astype(int) - seen).mean() < 5  # JPEG of very few pixels
    points = face.landmarks[:, :2] @ face.matrix[:, :2].T + face.matrix[:, 2]
    np.testing.assert_allclose(centres, site_centres(points.astype(np.float32), sites_of(planned.index.aus)), atol=0.02)
    left, right = (planned.index.sites.index(f"AU12_{side}") for side in ("left", "right"))
    assert centres[left][0] > centres[right][0]  # the person's left is on the picture's right
    assert sample.landmarks is not None
    np.testing.assert_allclose(
        sample.landmarks.astype(np.float32) - (crop_side(face.crop_size) - face.crop_size) / 2, points, atol=0.1
    )


def test_no_face_is_no_crop() -> None:
    assert cut(nobody(), 128, 95) is None


@pytest.mark.parametrize("options", [{"size": 100}, {"size": 0}, {"subsample": 0}, {"limit": 0}, {"quality": 101}])
def test_options_that_make_no_sense(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="--"):
        Options(**options)
