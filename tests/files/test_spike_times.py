"""Packed rasters to spike times and back, against NumPy's unpacked bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ann2neo.files.spike_times import packed_of, seconds_of

BIN_SIZES = st.sampled_from([1.0, 0.1, 0.3, 1 / 3, 1e-3, 1000.0])


@settings(deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)), BIN_SIZES)
def test_there_and_back(dense, bin_size):
    packed = np.packbits(dense, axis=1)
    times = seconds_of(packed, bin_size)
    np.testing.assert_allclose(times, (np.nonzero(dense)[1] + 0.5) * bin_size / 1e3, rtol=1e-15)
    offsets = np.concatenate([[0], np.cumsum(dense.sum(axis=1))])
    np.testing.assert_array_equal(packed_of(times, offsets, bin_size, dense.shape[1]), packed)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**24), BIN_SIZES)
def test_late_bins(first, bin_size):
    bins = np.arange(first, first + 50)
    times = (bins + 0.5) * bin_size / 1e3
    packed = packed_of(times, np.array([0, 50]), bin_size, first + 50)
    np.testing.assert_array_equal(
        np.flatnonzero(np.unpackbits(packed[0, first // 8 :])) + first // 8 * 8, bins
    )


@pytest.mark.parametrize("time", [-1e-3, 3.6e-3, np.nan, np.inf, -np.inf, 1e300])
def test_a_spike_outside_the_bins_is_found(time):
    with pytest.raises(ValueError, match="a spike of row 1 lies outside the 3 bins"):
        packed_of(np.array([0.5e-3, time]), np.array([0, 1, 2]), 1.0, 3)
