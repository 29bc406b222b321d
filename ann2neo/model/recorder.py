"""Record a model: show it stimuli, keep which units spike."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..recording.by_layer import check_keys, rule_of
from ..recording.recording import Recording
from ..recording.threshold import Rule, needs_calibration, values_for
from ..recording.units import Layer
from .batches import batches, number_of_stimuli
from .evaluation import evaluation, parameters_sha256, present
from .hooks.hooks import Hooks
from .hooks.selection import Selection, TimeDim
from .probe import Probe, RecordingError, _array, _stimuli, as_annotation, count_nan


def record(
    model: nn.Module,
    stimuli: Any,
    layers: Any = None,
    *,
    units: Any = None,
    threshold: Any = 0.0,
    calibration: Any = None,
    bin_size: Any = 1.0,
    n_trials: int = 1,
    time_dim: TimeDim | Mapping[str, TimeDim] = None,
    lengths: Any = None,
    labels: Any = None,
    ids: Any = None,
    array_annotations: Mapping[str, Any] | None = None,
    batch_size: int = 128,
    device: Any = None,
    progress: bool = False,
    seed: int = 0,
    allow_nan: bool = False,
    memory: int | str | None = None,
    spill_to: str | os.PathLike[str] = ".",
    keep_spill: bool = False,
    annotations: Mapping[str, Any] | None = None,
) -> Recording:
    """Show stimuli to a model and record which units spike.

    The model runs in evaluation mode and without gradients; its training flags, device and the random
    state are as before when this returns.

    Parameters
    ----------
    model, layers, units, threshold, bin_size, n_trials, time_dim, seed, allow_nan, annotations
        As for :class:`Probe`. ``threshold`` may also be :class:`Quantile`, :class:`ZScore`, or a dict with
        such rules.
    stimuli : DataLoader, Dataset, iterable of batches, array, or mapping
        Batches are tensors, (tensor, labels, …) tuples, or the model's arguments by name, as tokenizers
        give them (``labels`` is not passed on). The first dimension of a tensor is the stimuli. One tensor
        or NumPy array of all stimuli, a mapping of these, or a Dataset, is cut into batches. NumPy's floats
        are given the precision of the model.
    calibration : as stimuli, optional
        Stimuli on which rules are calibrated.
    lengths : array, optional
        int (n_stimuli,), with ``time_dim``: how many steps of each stimulus are no padding. Only these are
        bins. Stimuli by name with an ``attention_mask`` bring it themselves.
    labels, ids : array, optional
        (n_stimuli,). Class of each stimulus, unless the batches bring it; which stimulus it is, by default
        its place in the order of presentation.
    array_annotations : mapping of str to array, optional
        Anything else of each stimulus, each (n_stimuli,): file names, say. ``prediction`` is there already
        where the model gives (n_stimuli, n_classes): the index of the largest.
    batch_size : int
        Stimuli at once, where batches are made here.
    device : str or torch.device, optional
        Where to run; by default where the model's parameters are.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Recording
        On Ctrl-C, what was recorded until then, with a warning and the annotation ``interrupted``.

    Raises
    ------
    ValueError
        If no layer matches or fires, there are no stimuli, a threshold has the wrong shape, or
        another argument is out of range.
    TypeError
        If the stimuli are not what is listed above, or a layer gives no tensor of real numbers.
    RecordingError
        If anything fails after the first batch (a NaN, a shape that changes, an error while loading):
        its ``recording`` holds the batches until then.

    Notes
    -----
    With independent presentations a unit of spike probability p has Fano factor 1 − p, not 1 as a Poisson
    process: a bin holds one spike at most (see :meth:`Summary.expected`).

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> recording = record(model, torch.randn(100, 2), n_trials=4)
    >>> recording.n_bins, recording.n_trials, recording.raster("1").shape
    (100, 4, (3, 100))
    """
    layers = list(layers) if isinstance(layers, Iterator) else layers
    selection = {"layers": layers, "units": units, "time_dim": time_dim, "seed": seed}
    more = dict(array_annotations or {})
    for name in more.keys() & {"labels", "ids"}:
        raise ValueError(f"{name!r} as the name of a stimulus annotation: give it as {name}=")
    given = {"labels": labels, "ids": ids, **more}
    told = {name: _array(values) for name, values in given.items() if values is not None}
    _check_told(stimuli, told)
    rule = threshold
    with evaluation(model, device) as where:
        if needs_calibration(threshold):
            # lengths are those of the stimuli: calibration brings its own, in an attention_mask
            threshold = calibrated(model, calibration, threshold, batch_size, where, selection, allow_nan)
        known = {"threshold": as_annotation(rule), "parameters_sha256": parameters_sha256(model)}
        probe = Probe(
            model,
            threshold=threshold,
            bin_size=bin_size,
            n_trials=n_trials,
            allow_nan=allow_nan,
            memory=memory,
            spill_to=spill_to,
            keep_spill=keep_spill,
            annotations={**known, **(annotations or {})},
            **selection,
        )
        bar = tqdm(total=number_of_stimuli(stimuli), desc="recording", unit=" stimuli", disable=not progress)
        with probe, bar:
            try:
                for batch in batches(stimuli, batch_size, model, lengths=lengths, mask=time_dim is not None):
                    before = probe.n_stimuli
                    probe.present(batch, where)
                    about = {k: v[before : probe.n_stimuli] for k, v in told.items()}
                    probe.annotate(**{"labels": batch.labels, **about})
                    bar.update(probe.n_stimuli - before)
                for name, values in told.items():
                    if len(values) != probe.n_stimuli:
                        raise ValueError(f"{len(values)} {name} for {probe.n_stimuli} stimuli: give as many")
                return probe.recording
            except KeyboardInterrupt:
                if not probe.n_stimuli:
                    raise
                warnings.warn(
                    f"interrupted: returning the {probe.n_stimuli} stimuli recorded so far",
                    stacklevel=2,
                )
                return probe._record(min(n_trials, probe.n_stimuli), interrupted=True)
            except Exception as error:
                if not probe.n_stimuli or isinstance(error, RecordingError):
                    raise
                recorded = probe._record(1, interrupted=True)
                raise RecordingError(
                    f"stopped after {probe.n_stimuli} stimuli, which are in this error's .recording: {error}",
                    recorded,
                ) from error


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

    Parameters
    ----------
    model, stimuli, layers, units, time_dim, seed, batch_size, device, allow_nan
        As for :func:`record`; NaN is left out. Select the same layers and units as in the recording to come.
    threshold : Quantile, ZScore, or dict
        The rule, or rules by layer name or glob; numbers stay as they are.

    Returns
    -------
    dict of str to numpy.ndarray
        float64 (n_recorded_units,) for each layer: what ``threshold=`` of :func:`record` and
        :class:`Probe` takes.

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
    selection = {"layers": layers, "units": units, "time_dim": time_dim, "seed": seed}
    with evaluation(model, device) as where:
        return calibrated(model, stimuli, threshold, batch_size, where, selection, allow_nan)


def calibrated(
    model: nn.Module,
    stimuli: Any,
    threshold: Any,
    batch_size: int,
    where: torch.device,
    selection: dict[str, Any],
    allow_nan: bool,
) -> dict[str, np.ndarray]:
    """Return what :func:`calibrate` does, of a model that is already in evaluation mode."""
    if stimuli is None:
        raise ValueError(
            f"threshold={threshold!r} is calibrated on stimuli: give them as calibration=, other ones "
            "than those to record, or the same if you mean it"
        )
    collected: dict[str, list[np.ndarray]] = {}
    shown = 0

    def collect(layer: Layer, activation: torch.Tensor, n_steps: np.ndarray) -> np.ndarray:
        activation = layer.recorded(activation)
        count_nan(layer, activation, n_steps, shown, allow_nan)
        exact = activation if activation.dtype == torch.float64 else activation.float()
        return exact.cpu().numpy().copy()

    def keep(activations: dict[str, np.ndarray], n_steps: np.ndarray, output: Any) -> None:
        nonlocal shown
        shown += len(n_steps)
        for layer, values in activations.items():
            collected.setdefault(layer, []).append(values)

    with Hooks(model, Selection(**selection), collect, keep) as hooks:
        for batch in batches(stimuli, batch_size, model, mask=selection["time_dim"] is not None):
            present(model, hooks, batch, where)
    if isinstance(threshold, Mapping):
        check_keys("threshold", threshold, hooks.layers.values())
    frozen = {}
    for name, layer in hooks.layers.items():
        rule = rule_of(threshold, name)
        if isinstance(rule, Rule):
            rule = rule.calibrate(np.concatenate(collected[name]))
        frozen[name] = values_for(rule, name, layer.shape, layer.units)
    return frozen


def _check_told(stimuli: Any, told: Mapping[str, np.ndarray]) -> None:
    """Raise what is wrong with labels and ids before the stimuli are shown, where it can be known."""
    n_stimuli = number_of_stimuli(stimuli) if not isinstance(stimuli, Dataset | DataLoader) else None
    for name, values in told.items():
        _stimuli(values.size if n_stimuli is None else n_stimuli, {name: values})
