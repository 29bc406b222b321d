"""Activations that are NaN: counted where they are allowed, else named."""

from __future__ import annotations

import numpy as np
import torch

from .units import Layer


def nan_error(layer: str, unit: int, where: str) -> ValueError:
    """Return the error that names a unit whose activation is NaN, and the stimulus or bin where it is.

    Examples
    --------
    >>> nan_error("relu", 3, "stimulus 5").args[0]
    "layer 'relu' gives NaN for stimulus 5, unit 3: repair the model or its input, or go on with \
allow_nan=True, which counts NaN as no spike"
    """
    return ValueError(
        f"layer {layer!r} gives NaN for {where}, unit {unit}: repair the model or its input, or go on with "
        "allow_nan=True, which counts NaN as no spike"
    )


def count_nan(
    layer: Layer, activation: torch.Tensor, n_steps: np.ndarray, n_before: int, allow_nan: bool
) -> int:
    """Return how many activations are NaN.

    Parameters
    ----------
    layer : Layer
        Where they are from.
    activation : torch.Tensor
        (n_bins, n_recorded_units).
    n_steps : numpy.ndarray
        int64 (n_stimuli,), the bins of each stimulus.
    n_before : int
        Stimuli shown before these.
    allow_nan : bool
        Whether NaN is allowed.

    Raises
    ------
    ValueError
        If NaN is not allowed; it names the first.

    Examples
    --------
    >>> layer = Layer("relu", ("relu",), (2,), np.arange(2))
    >>> count_nan(layer, torch.tensor([[0.0, float("nan")]]), np.array([1]), 0, allow_nan=True)
    1
    """
    found = torch.isnan(activation)
    n_nan = int(found.sum())
    if n_nan and not allow_nan:
        row, column = (int(i) for i in found.nonzero()[0])
        stimulus = int(np.searchsorted(np.cumsum(n_steps), row, side="right"))
        step = f", step {row - n_steps[:stimulus].sum()}" if n_steps[stimulus] > 1 else ""
        raise nan_error(layer.name, int(layer.units[column]), f"stimulus {n_before + stimulus}{step}")
    return n_nan
