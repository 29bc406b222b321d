"""Spikes of complete forward passes, kept until they are made into a recording."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

from ...recording.nan import count_nan
from ...recording.raster import SpikeRaster
from ...recording.recording import Recording
from ...recording.spill import Spill
from ...recording.stimuli import Stimuli
from ...recording.time import PseudoTime, divide, milliseconds
from ...recording.units import Layer
from ..hooks.plain import tensor_of
from ..hooks.selection import Selection
from ..runs.partial import RecordingError


class Keeper:
    """Keeps the spikes that the hooks of a model see, and what is told of the stimuli.

    Parameters
    ----------
    selection : Selection
        Which thresholds, and whether NaN is allowed.
    bin_size : float (ms) or quantity
        Pseudo-time that one presentation takes.
    n_trials : int
        Contiguous trials that the recording is divided into.
    memory : int or str, optional
        How much memory the spikes may take.
    spill_to : path
        A folder for what is more.
    annotations : mapping
        To be kept with the recording.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """

    def __init__(
        self,
        selection: Selection,
        *,
        bin_size: Any,
        n_trials: int,
        memory: int | str | None,
        spill_to: str | os.PathLike[str],
        annotations: Mapping[str, Any],
    ) -> None:
        if not isinstance(n_trials, int | np.integer) or n_trials < 1:
            raise ValueError(f"n_trials={n_trials!r}: give a whole number, at least 1")
        self._allow_nan, self._threshold_of = selection.allow_nan, cache(selection.threshold_of)
        self._bin_size, self._n_trials = milliseconds(bin_size), n_trials
        self._spill, self._annotations = Spill(memory, spill_to), annotations
        self._layers: list[Layer] = []
        self._passes: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []  # n_steps, what is told of stimuli
        self._n_nan = 0

    # -- adding ----------------------------------------------------------------------------------------

    def take(self, layer: Layer, activation: torch.Tensor, n_steps: np.ndarray, n_before: int) -> np.ndarray:
        """Return the spikes in one layer's activations: uint8, one row of packed units a bin."""
        activation = layer.recorded(activation)
        self._n_nan += count_nan(layer, activation, n_steps, n_before, self._allow_nan)
        if activation.dtype != torch.float64:
            # a threshold has no exact value in half precision, integers or truth values
            activation = activation.float()
        values = torch.from_numpy(self._threshold_of(layer)).to(activation)
        return np.packbits((activation > values).cpu().numpy(), axis=1)

    def keep(self, taken: Mapping[Layer, np.ndarray], n_steps: np.ndarray, output: Any) -> None:
        """Keep the spikes of a complete pass, and what the model took the stimuli for."""
        self._layers = self._layers or list(taken)
        self._spill.append(
            {layer.name: spikes for layer, spikes in taken.items()},
            {layer.name: len(layer.units) for layer in taken},
        )
        self._passes.append((n_steps, _prediction(output, len(n_steps))))

    def annotate(self, given: Mapping[str, Any]) -> None:
        """Keep labels, ids and anything else of the stimuli in the latest pass, one of each per stimulus.

        Raises
        ------
        ValueError
            If there was no pass, or not one value is given per stimulus of it.
        """
        if not self._passes:
            raise ValueError("there is no stimulus to annotate yet: call the model first")
        n_steps, told = self._passes[-1]
        more = {name: as_array(values) for name, values in given.items() if values is not None}
        stimuli_of(len(n_steps), more)  # raises if they do not fit
        told.update(more)

    # -- making ----------------------------------------------------------------------------------------

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli kept."""
        return sum(len(n_steps) for n_steps, _ in self._passes)

    def recording(self) -> Recording:
        """Return all that was kept.

        Raises
        ------
        ValueError
            If there was no complete pass.
        RecordingError
            If there are fewer stimuli than trials; its ``recording`` has one trial.
        """
        n_stimuli = self.n_stimuli
        if 0 < n_stimuli < self._n_trials:
            raise RecordingError(
                f"n_trials={self._n_trials}, but {n_stimuli} stimuli were recorded. They are in this error's "
                f".recording, in one trial. Give 1 to {n_stimuli} trials",
                self._made(1),
            )
        return self._made(self._n_trials)

    def partial(self) -> Recording:
        """Return what was kept until something stopped the run, in as many trials as there can be."""
        return self._made(min(self._n_trials, self.n_stimuli), interrupted=True)

    def _made(self, n_trials: int, **annotations: Any) -> Recording:
        if not self._passes:
            raise ValueError(
                f"nothing was recorded: no forward pass of {self._annotations['model']} was completed while "
                "the probe was on (call the model itself, not its forward method or its parts)"
            )
        n_steps = np.concatenate([of_pass for of_pass, _ in self._passes])
        trials = np.split(n_steps, np.cumsum(divide(len(n_steps), n_trials))[:-1])
        time = PseudoTime(self._bin_size, tuple(int(trial.sum()) for trial in trials))
        rasters = {
            layer.name: SpikeRaster(
                self._spill.rows(layer.name),
                time,
                layer.units.copy(),
                layer.shape,
                self._threshold_of(layer).copy(),
                layer.channel_dim,
            )
            for layer in self._layers
        }
        names = dict.fromkeys(name for _, told in self._passes for name in told)
        told = {name: self._told(name) for name in names}
        stimuli = stimuli_of(n_steps, {k: v for k, v in told.items() if v is not None})
        if self._n_nan:
            annotations["n_nan"] = self._n_nan
        return Recording(rasters, stimuli, {**self._annotations, **annotations})

    def _told(self, name: str) -> np.ndarray | None:
        told = [of_pass[name] for _, of_pass in self._passes if name in of_pass]
        if len(told) < len(self._passes):
            warnings.warn(
                f"only {len(told)} of {len(self._passes)} batches were given {name}: they are left out",
                stacklevel=5,
            )
            return None
        return np.concatenate(told)


def stimuli_of(n_steps: Any, told: Mapping[str, np.ndarray]) -> Stimuli:
    """Return stimuli, given their number or the bins of each, with all that is told of them.

    Raises
    ------
    ValueError
        If not one value is told per stimulus, or a name or type is wrong.
    """
    others = {name: values for name, values in told.items() if name not in ("labels", "ids")}
    is_number = isinstance(n_steps, int)
    return Stimuli.in_order(
        n_steps if is_number else len(n_steps),
        n_steps=1 if is_number else n_steps,
        ids=told.get("ids"),
        labels=told.get("labels"),
        array_annotations=others,
    )


def as_array(values: Any) -> np.ndarray:
    """Return what is told of stimuli, a list or a tensor on any device, as a NumPy array."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    array = np.asarray(values)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array  # a column, as data sets have it


def _prediction(output: Any, n_stimuli: int) -> dict[str, np.ndarray]:
    """Return the largest output's index for each stimulus, if the model gives one output for each class."""
    try:
        found = tensor_of(output, "output")
    except (TypeError, ValueError):
        return {}
    if not isinstance(found, torch.Tensor) or not found.is_floating_point() or found.ndim != 2:
        return {}
    if len(found) != n_stimuli or found.shape[1] < 2:
        return {}
    return {"prediction": found.argmax(1).cpu().numpy()}
