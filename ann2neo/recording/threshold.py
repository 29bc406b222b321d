"""The rule that turns an activation into spike or no spike: a unit spikes when it exceeds its threshold.

Numbers are used as they are. :class:`Quantile` and :class:`ZScore` are rules. They are calibrated, unit by
unit, on the activations that calibration stimuli evoke. The numbers that come out are frozen, and stored with
the recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Quantile:
    """Threshold at a quantile of each unit's activations, so that it spikes for a fraction 1 − q.

    Parameters
    ----------
    q : float
        Between 0 and 1.

    Examples
    --------
    >>> Quantile(0.75).calibrate(np.array([[0.0], [1.0], [2.0], [3.0], [4.0]]))
    array([3.])
    """

    q: float

    def __post_init__(self) -> None:
        if not 0 <= self.q <= 1:
            raise ValueError(f"Quantile({self.q}): give a fraction between 0 and 1")

    def calibrate(self, activations: np.ndarray) -> np.ndarray:
        """Return thresholds float64 (n_units,) from activations (n_bins, n_units), NaN left out."""
        values: np.ndarray = np.nanquantile(activations.astype(np.float64), self.q, axis=0)
        return values


@dataclass(frozen=True)
class ZScore:
    """Threshold k standard deviations (ddof = 0) above each unit's mean activation.

    Parameters
    ----------
    k : float
        Number of standard deviations; may be negative.

    Examples
    --------
    >>> ZScore(2.0).calibrate(np.array([[1.0], [3.0]]))
    array([4.])
    """

    k: float

    def __post_init__(self) -> None:
        if not np.isfinite(self.k):
            raise ValueError(f"ZScore({self.k}): give a finite number of standard deviations")

    def calibrate(self, activations: np.ndarray) -> np.ndarray:
        """Return thresholds float64 (n_units,) from activations (n_bins, n_units), NaN left out."""
        given = activations.astype(np.float64)
        values: np.ndarray = np.nanmean(given, axis=0) + self.k * np.nanstd(given, axis=0)
        return values


Rule = Quantile | ZScore


def needs_calibration(threshold: Any) -> bool:
    """Tell whether a threshold, or one in a dict of them, is a rule to calibrate."""
    rules = threshold.values() if isinstance(threshold, Mapping) else [threshold]
    return any(isinstance(rule, Rule) for rule in rules)


def values_for(rule: Any, layer: str, shape: tuple[int, ...], units: np.ndarray) -> np.ndarray:
    """Return the threshold of each recorded unit of a layer.

    Parameters
    ----------
    rule : float or array
        One number for all units, or one for each unit of the layer (of the layer's shape or
        flattened), or one for each recorded unit.
    layer, shape, units
        The layer's name, the shape of its activation in one bin and the recorded units' indices.

    Returns
    -------
    numpy.ndarray
        float64 (n_recorded_units,).

    Raises
    ------
    ValueError
        If the rule has none of these shapes, or a threshold is NaN.

    Examples
    --------
    >>> values_for([1.0, 2.0, 3.0], "fc", (3,), np.array([0, 2]))
    array([1., 3.])
    """
    try:
        if rule is None or isinstance(rule, str):
            raise TypeError("not a number")
        given = np.asarray(rule.detach().cpu() if isinstance(rule, torch.Tensor) else rule, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"threshold {rule!r} for layer {layer!r}: give a number, an array, Quantile(q) or ZScore(k)"
        ) from error
    n_units = int(np.prod(shape))
    if given.ndim == 0:
        values = np.full(len(units), given.item())
    elif given.shape in (shape, (n_units,)):
        values = given.reshape(-1)[units]
    elif given.shape == (len(units),):
        values = given.copy()
    else:
        raise ValueError(
            f"threshold of shape {given.shape} for layer {layer!r}: give one number, or one for each of "
            f"its units, shape {shape}, or one for each of the {len(units)} recorded units"
        )
    if np.isnan(values).any():
        unit = units[np.isnan(values)][0]
        raise ValueError(f"the threshold of unit {unit} of layer {layer!r} is NaN: give a number")
    return values
