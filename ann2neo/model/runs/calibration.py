"""Threshold rules turned into numbers, by the activations that stimuli evoke."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from ...recording.by_layer import value_for
from ...recording.nan import count_nan
from ...recording.threshold import Rule, values_for
from ...recording.units import Layer
from ..hooks.hooks import Hooks
from ..hooks.selection import Selection, TimeDim
from .arrangement import arranged
from .evaluation import evaluation
from .presentation import show


def calibrate(
    model: nn.Module,
    stimuli: Any,
    threshold: Any,
    layers: Any = None,
    *,
    units: Any = None,
    time_dim: TimeDim | Mapping[str, TimeDim] = None,
    seed: int = 0,
    batch_size: int = 128,
    device: Any = None,
    allow_nan: bool = False,
) -> dict[str, Any]:
    """Turn threshold rules into numbers, by the activations that stimuli evoke; frozen from then on.

    Select the same layers and units as in the recording to come.

    Parameters
    ----------
    model : torch.nn.Module
        It runs in evaluation mode and without gradients, and is then as it was before.
    stimuli : DataLoader, Dataset, iterable of batches, array, or mapping
        Calibration stimuli: what :func:`ann2neo.record` takes.
    threshold : Quantile, ZScore, or dict
        The rule, or rules by layer name or glob; numbers stay as they are. In a dict an exact name wins over
        a glob, and the first of several globs.
    layers : str, type, or list of these, optional
        Names, globs or module types; by default every activation, be it a module or a function.
    units : int, array of int, or dict, optional
        Which units of each layer: all, a number sampled with ``seed``, or indices into its flattened
        activation; or a dict of these by layer name or glob.
    time_dim : int, "calls", or dict, optional
        The dimension of the layers' outputs that is time within a stimulus; ``"calls"``, if each call of a
        module is a step; or a dict of these by layer name or glob.
    seed : int
        For sampling units.
    batch_size : int
        Stimuli at once, where batches are made here.
    device : str or torch.device, optional
        Where to run; by default where the model's parameters are.
    allow_nan : bool
        Leave out activations that are NaN, instead of raising.

    Returns
    -------
    dict of str to numpy.ndarray
        float64 (n_recorded_units,) for each layer: what ``threshold=`` of :func:`ann2neo.record` and
        :class:`ann2neo.Probe` takes.

    Raises
    ------
    ValueError
        If no layer matches or fires, there are no stimuli, an activation is NaN, or an argument is out of
        range.
    TypeError
        If the stimuli are not what they may be, or a layer does not give a tensor of real numbers.

    Notes
    -----
    All activations of the recorded units are held in memory, n_stimuli × n_units × 4 bytes.

    Examples
    --------
    >>> relu = nn.ReLU()
    >>> from ann2neo import Quantile
    >>> calibrate(relu, torch.arange(5.0)[:, None], Quantile(0.5))
    {'ReLU': array([2.])}
    """
    selection = Selection(layers, units, threshold, time_dim, seed, allow_nan)
    with evaluation(model, device) as where:
        return _thresholds(model, stimuli, selection, batch_size, where)


def calibrated(
    model: nn.Module, stimuli: Any, selection: Selection, batch_size: int, where: torch.device
) -> Selection:
    """Return a selection whose rules are calibrated, for a model that is in evaluation mode.

    Lengths of stimuli that are padded come from the calibration stimuli's own ``attention_mask``.

    Raises
    ------
    ValueError
        If there is a rule, but no stimuli; or as by :func:`calibrate`.
    """
    if not selection.needs_calibration:
        return selection
    return replace(selection, threshold=_thresholds(model, stimuli, selection, batch_size, where))


def _thresholds(
    model: nn.Module, stimuli: Any, selection: Selection, batch_size: int, where: torch.device
) -> dict[str, np.ndarray]:
    if stimuli is None:
        raise ValueError(
            f"threshold={selection.threshold!r} is calibrated on stimuli: give them as calibration=, other "
            "ones than those to record, or the same if you mean it"
        )
    activations = _Activations(selection.allow_nan)
    hooks = Hooks(model, selection, activations.take, activations.keep)
    stimuli = arranged(model, stimuli, selection, where)
    show(model, hooks, stimuli, where, batch_size=batch_size)
    frozen = {}
    for layer in hooks.layers.values():
        rule = value_for("threshold", selection.threshold, *layer.names)
        if isinstance(rule, Rule):
            rule = rule.calibrate(np.concatenate(activations.of[layer]))
        frozen[layer.name] = values_for(rule, layer.name, layer.shape, layer.units)
    return frozen


class _Activations:
    """All activations of the recorded units, as the hooks of a model see them."""

    def __init__(self, allow_nan: bool) -> None:
        self.allow_nan = allow_nan
        self.of: dict[Layer, list[np.ndarray]] = {}

    def take(self, layer: Layer, activation: torch.Tensor, n_steps: np.ndarray, n_before: int) -> np.ndarray:
        activation = layer.recorded(activation)
        count_nan(layer, activation, n_steps, n_before, self.allow_nan)
        exact = activation if activation.dtype == torch.float64 else activation.float()
        return exact.cpu().numpy().copy()

    def keep(self, taken: Mapping[Layer, np.ndarray], n_steps: np.ndarray, output: Any) -> None:
        for layer, values in taken.items():
            self.of.setdefault(layer, []).append(values)
