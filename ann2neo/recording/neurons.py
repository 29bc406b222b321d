"""Recordings of neurons: their spikes had times, which were binned; what that cost is written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEFORE_BINNING = "n_spikes_before_binning"
"""The annotation with two numbers for each layer: spikes with one a bin at most, and as they were before."""

MERGED = "n_spikes_merged"
"""The annotation with the number of spikes that are lost, of all layers."""


def of_neurons(annotations: Mapping[str, Any]) -> bool:
    """Return whether a recording was binned from spike times, and not made by a network in pseudo-time.

    Examples
    --------
    >>> of_neurons({"model": "mouse", "n_spikes_merged": 0}), of_neurons({"model": "ResNet"})
    (True, False)
    >>> of_neurons({"model": "ResNet", "surrogate": "dither_spikes", "n_spikes_merged": 5})
    False
    """
    return BEFORE_BINNING in annotations or (MERGED in annotations and "surrogate" not in annotations)


def n_spikes_before_binning(annotations: Mapping[str, Any], n_spikes: Mapping[str, int]) -> dict[str, int]:
    """Return for each layer how many spikes its units had in the bins before these were cut to one a bin.

    Parameters
    ----------
    annotations : mapping
        Of the recording.
    n_spikes : mapping of str to int
        The spikes that each layer has now.

    Returns
    -------
    dict of str to int
        Of those layers of which it is known and that are whole: they are lacking if units or trials were
        selected since.

    Examples
    --------
    >>> about = {"n_spikes_before_binning": {"V1": [90, 100], "LM": [50, 50]}}
    >>> n_spikes_before_binning(about, {"V1": 90, "LM": 20})
    {'V1': 100}
    """
    known = annotations.get(BEFORE_BINNING, {})
    return {
        layer: known[layer][1] for layer, n in n_spikes.items() if layer in known and known[layer][0] == n
    }
