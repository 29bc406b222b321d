"""What the zoo's tests share: recording with the warnings seen, comparing, and what is still to come."""

import warnings
from contextlib import contextmanager

import numpy as np
import pytest

import ann2neo

from .capture import spikes
from .models import BATCH_SIZE


@contextmanager
def quiet():
    """Ignore what the libraries warn of, of themselves, while models are built."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def built(library, build, *arguments):
    """Return what a builder builds, or skip the test where its library is not installed."""
    pytest.importorskip(library)
    with quiet():
        return build(*arguments)


def recorded(*arguments, **more):
    """Return a recording, and what ann2neo said it left out."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        recording = ann2neo.record(*arguments, **{"batch_size": BATCH_SIZE, **more})
    return recording, [str(each.message) for each in seen if "not recorded" in str(each.message)]


def check(recording, activations, n_bin_dims=1, in_order=True):
    """Assert that a recording has these layers, and every unit and bin of them."""
    assert sorted(recording.layers) == sorted(activations)
    assert not in_order or recording.layers == list(activations)
    for layer, activation in activations.items():
        np.testing.assert_array_equal(recording.raster(layer), spikes(activation, n_bin_dims), layer)


def to_come(reason, *errors):
    """Mark a test of what is right but not there yet: it fails now, and must be turned on when it passes."""
    fails = (AssertionError, ValueError, pytest.fail.Exception, *errors)
    return pytest.mark.xfail(strict=True, reason=f"issue 15, {reason}", raises=fails)
