"""Batching and checking, which every runtime shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrfau_edge.errors import InputError, UsageError
from dsrfau_edge.runtimes.base import Crops, Outputs, SessionOptions, check_crops, in_batches


def means(crops: Crops) -> Outputs:
    values = crops.mean(axis=(1, 2), dtype=np.float32)
    return Outputs(values, values[:, :, None, None])


@given(count=st.integers(1, 9), batch=st.none() | st.integers(1, 5), pad=st.booleans())
def test_any_number_of_crops_gives_the_same_as_one_call(count: int, batch: int | None, pad: bool) -> None:
    crops = np.random.default_rng(count).integers(0, 255, (count, 4, 4, 3), dtype=np.uint8)
    sizes: list[int] = []

    def run(part: Crops) -> Outputs:
        sizes.append(len(part))
        return means(part)

    outputs = in_batches(crops, batch, run, pad=pad)
    np.testing.assert_array_equal(outputs.intensities, means(crops).intensities)
    assert outputs.heatmaps is not None
    assert len(outputs.heatmaps) == count
    if batch is not None:
        assert set(sizes) == {batch} if pad else max(sizes) <= batch


@pytest.mark.parametrize(
    ("crops", "error"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), UsageError),
        (np.zeros((8, 8, 3), np.uint8), UsageError),
        ("crop", UsageError),
        (np.zeros((1, 9, 8, 3), np.uint8), InputError),
        (np.zeros((1, 8, 8, 4), np.uint8), InputError),
        (np.zeros((0, 8, 8, 3), np.uint8), InputError),
    ],
)
def test_what_is_no_crop_is_refused_with_the_shape_it_needs(crops: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="8, 8, 3"):
        check_crops(crops, 8)


def test_slices_become_contiguous() -> None:
    strided = np.zeros((2, 8, 16, 3), np.uint8)[:, :, ::2]
    assert check_crops(strided, 8).flags.c_contiguous


def test_no_threads_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="0 threads"):
        SessionOptions(threads=0)
