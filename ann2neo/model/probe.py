"""Record a live model: :class:`Probe` around anybody's loop, :func:`record` for the usual one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from ..recording.by_layer import check_keys, rule_of
from ..recording.raster import PackedRows, SpikeRaster
from ..recording.recording import Recording, as_json
from ..recording.spill import Spill, keep
from ..recording.stimuli import Stimuli
from ..recording.threshold import needs_calibration, values_for
from ..recording.time import PseudoTime, divide, milliseconds
from ..recording.units import Layer
from .batches import Batch
from .evaluation import check_shown, present
from .hooks.hooks import Hooks, tensor_of
from .hooks.selection import Selection, TimeDim, unwrapped


class RecordingError(RuntimeError):
    """Recording stopped before its end; ``recording`` holds what was recorded until then.

    Parameters
    ----------
    message : str
        What happened.
    recording : Recording
        All complete forward passes until then.

    Examples
    --------
    >>> from ann2neo import record
    >>> stimuli = torch.tensor([[1.0], [2.0], [float("nan")]])
    >>> try:
    ...     record(nn.ReLU(), stimuli, batch_size=2)
    ... except RecordingError as error:
    ...     error.recording
    Recording(1 layer, 1 units, 2 bins of 1 ms in 1 trial, 2 spikes)
    """

    def __init__(self, message: str, recording: Recording) -> None:
        super().__init__(message)
        self.recording = recording


class Sink(Protocol):
    """What spikes can be pushed into: :class:`ann2neo.Summary` is one."""

    def receive(
        self, layer: Layer, activation: torch.Tensor, threshold: np.ndarray, n_steps: np.ndarray
    ) -> None:
        """Take one layer's activations (n_bins, *shape), thresholds, and the bins of each stimulus."""

    def complete(self, n_bins: int, *, allow_nan: bool = False) -> None:
        """Make what all layers received in a forward pass count."""


class Probe:
    """Record the spikes of a model's layers while somebody's own loop runs it.

    The probe hooks the model when entered and leaves no trace: no hook, no changed flag, output or random
    state, also after an exception. It keeps complete forward passes only; one that failed is not part of
    the recording.

    Parameters
    ----------
    model : torch.nn.Module
        Each call of it presents a batch of stimuli.
    layers : str, type, or list of these, optional
        Names (``"layer1.0.relu"``), globs (``"layer*.relu*"``) or module types; by default every
        activation, be it a module or a function that is called in the forward pass (``F.relu``,
        ``torch.sigmoid``, ``x.clamp(min=0)``). A function is named as torchvision's feature extraction
        names it, by the module that calls it: ``"layer1.0.relu"``; a name, but no glob, can also be that of
        any other torch function, say ``"layer1.0.add"``. What fires twice in a pass gives two layers,
        ``relu`` and ``relu_1``. :func:`ann2neo.layers` lists them all.
    units : int, array of int, or dict, optional
        Which units of each layer: all, a number sampled with ``seed``, or indices into its flattened
        activation; or a dict of these by layer name or glob.
    threshold : float, array, or dict
        A unit spikes when its activation exceeds it, compared in the activation's own precision, float32
        at least. One number, one for each unit, or a dict of these by
        layer name or glob. :class:`Quantile` and :class:`ZScore` must be calibrated first:
        :func:`calibrate`.
    bin_size : float (ms) or quantity
        Pseudo-time that one presentation takes. A convention: every rate in Hz scales with it.
    n_trials : int
        Contiguous trials that the recording is divided into at its end, equal to within one stimulus.
    time_dim : int, "calls", or dict, optional
        The dimension of the layers' outputs that is time within a stimulus (1 for batch-first sequences):
        a stimulus of T steps then takes T bins. ``"calls"``: each call of a module in a forward pass is a
        step, as in networks of spiking neurons. Or a dict of these by layer name or glob. Packed sequences
        need none; each stimulus takes its own length.
    seed : int
        For sampling units.
    allow_nan : bool
        Go on when an activation is NaN; it counts as no spike.
    memory : int or str, optional
        How much memory the spikes may take, one bit a unit and bin: bytes, or a text such as ``"4 GB"``. What
        is more goes to a file in ``spill_to``, and the recording's rasters are mapped from there.
    spill_to : path
        A folder for that file, which has no name and goes when the recording goes.
    keep_spill : bool
        Leave the rasters that did not fit into memory there, one ``LAYER.npy`` each: uint8 (n_units,
        ceil(n_bins / 8)), packed as by :func:`numpy.packbits`.
    into : list of Summary, optional
        Push the spikes into these, and keep none: the probe then has no ``recording``. Windows, trials and
        ``bin_size`` are those of each summary.
    annotations : mapping, optional
        Anything JSON can hold, to be kept with the recording.

    Raises
    ------
    ValueError
        If no layer matches, or an argument is out of range. In the loop: if an activation is NaN, a
        layer's shape changes, a layer does not fire.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with Probe(model, threshold=0.1) as probe:
    ...     for batch in torch.zeros(4, 5, 2):
    ...         _ = model(batch)
    >>> probe.recording.n_bins, probe.recording.layers
    (20, ['1'])

    Statistics only, of any number of stimuli:

    >>> from ann2neo import Summary
    >>> summary = Summary(window=5)
    >>> with Probe(model, into=[summary]):
    ...     for batch in torch.zeros(4, 5, 2):
    ...         _ = model(batch)
    >>> summary
    Summary(3 units, 20 bins of 1 ms, windows of 5 bins, engine 'raster')
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Any = None,
        *,
        units: Any = None,
        threshold: Any = 0.0,
        bin_size: Any = 1.0,
        n_trials: int = 1,
        time_dim: TimeDim | Mapping[str, TimeDim] = None,
        seed: int = 0,
        allow_nan: bool = False,
        memory: int | str | None = None,
        spill_to: str | os.PathLike[str] = ".",
        keep_spill: bool = False,
        into: Sequence[Sink] | None = None,
        annotations: Mapping[str, Any] | None = None,
    ) -> None:
        if needs_calibration(threshold):
            raise ValueError(
                f"threshold={threshold!r} must be calibrated on stimuli first: "
                "give Probe what ann2neo.calibrate(model, stimuli, threshold) returns"
            )
        if not isinstance(n_trials, int | np.integer) or n_trials < 1:
            raise ValueError(f"n_trials={n_trials!r}: give a whole number, at least 1")
        if into is not None and (memory is not None or keep_spill):
            raise ValueError("into= keeps no spikes: leave out memory= and keep_spill=")
        self._into, self._model, self._time_dim = into, model, time_dim
        self._hooks = Hooks(model, Selection(layers, units, time_dim, seed), self._spikes_of, self._keep_pass)
        self._threshold, self._allow_nan, self._n_trials = threshold, allow_nan, n_trials
        self._bin_size = milliseconds(bin_size)
        self._thresholds: dict[Layer, np.ndarray] = {}
        self._spill, self._kept_in = Spill(memory, spill_to), Path(spill_to) if keep_spill else None
        self._n_steps: list[np.ndarray] = []
        self._n_stimuli = self._n_nan = 0
        self._about: list[dict[str, Any]] = []
        self._annotations = {
            "model": type(unwrapped(model)).__name__,
            "threshold": as_annotation(threshold),
            "seed": seed,
            "recorded_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **{f"{name}_version": version(name) for name in ("ann2neo", "torch", "neo", "elephant")},
            **(annotations or {}),
        }
        as_json(self._annotations)  # what cannot be kept is refused before the work is done

    def __enter__(self) -> Probe:
        self._hooks.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._hooks.__exit__(*exception)

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli recorded so far."""
        return self._n_stimuli

    def announce(self, *, lengths: Any = None, mask: Any = None) -> None:
        """Tell which steps of the stimuli in the next forward pass are no padding: only these are bins.

        Parameters
        ----------
        lengths : array, optional
            int (n_stimuli,), the number of steps of each, from the first one on.
        mask : array, optional
            bool (n_stimuli, n_steps).
        """
        if (lengths is None) == (mask is None):
            raise ValueError("give either lengths= or mask=")
        self._hooks.announce(torch.as_tensor(lengths if mask is None else mask))

    def annotate(self, *, labels: Any = None, ids: Any = None, **array_annotations: Any) -> None:
        """Tell labels, ids and anything else of the stimuli in the latest pass, one of each per stimulus.

        Raises
        ------
        ValueError
            If there was no forward pass, or they are not one per stimulus of it.
        """
        if not self._about:
            raise ValueError("there is no stimulus to annotate yet: call the model first")
        given = {"labels": labels, "ids": ids, **array_annotations}
        about = {name: _array(values) for name, values in given.items() if values is not None}
        _stimuli(len(self._n_steps[-1]), about)  # raises if they do not fit
        self._about[-1].update(about)

    def present(self, batch: Batch, device: Any) -> None:
        """Show a batch to the model, and check that the layers saw its stimuli."""
        before = self.n_stimuli
        present(self._model, self._hooks, batch, device)
        check_shown(self.n_stimuli - before, batch, self._time_dim)

    def _spikes_of(self, layer: Layer, activation: torch.Tensor, n_steps: np.ndarray) -> np.ndarray:
        if layer not in self._thresholds:
            self._thresholds[layer] = values_for(
                rule_of(self._threshold, layer.name), layer.name, layer.shape, layer.units
            )
        if self._into is not None:
            for summary in self._into:
                summary.receive(layer, activation, self._thresholds[layer], n_steps)
            return np.empty(0)
        activation = layer.recorded(activation)
        self._n_nan += count_nan(layer, activation, n_steps, self.n_stimuli, self._allow_nan)
        if activation.dtype != torch.float64:
            # a threshold has no exact value in half precision, integers or truth values
            activation = activation.float()
        values = torch.from_numpy(self._thresholds[layer]).to(activation)
        return np.packbits((activation > values).cpu().numpy(), axis=1)

    def _keep_pass(self, spikes: dict[str, np.ndarray], n_steps: np.ndarray, output: Any) -> None:
        if not self.n_stimuli and isinstance(self._threshold, Mapping):
            check_keys("threshold", self._threshold, self._hooks.layers.values())
        for summary in self._into or ():
            summary.complete(int(n_steps.sum()), allow_nan=self._allow_nan)
        if self._into is None:
            of_layers = self._hooks.layers
            self._spill.append(spikes, {name: len(of_layers[name].units) for name in spikes})
        self._n_stimuli += len(n_steps)
        if self._into is None:
            self._n_steps.append(n_steps)
            self._about.append(_prediction(output, len(n_steps)))

    @property
    def recording(self) -> Recording:
        """All complete forward passes so far, as a recording.

        If some passes were given labels (or ids) and others not, as after an interruption, they are left
        out, with a warning.

        Raises
        ------
        ValueError
            If there was none.
        RecordingError
            If there are fewer stimuli than trials; its ``recording`` has one trial.
        """
        if 0 < self.n_stimuli < self._n_trials:
            raise RecordingError(
                f"n_trials={self._n_trials}, but {self.n_stimuli} stimuli were recorded, which are in this "
                f"error's .recording, in one trial: give 1 to {self.n_stimuli} trials",
                self._record(1),
            )
        return self._record(self._n_trials)

    def _record(self, n_trials: int, **annotations: Any) -> Recording:
        if self._into is not None:
            raise ValueError("this probe pushes spikes into summaries and keeps none: leave out into=")
        if not self._n_steps:
            raise ValueError(
                f"nothing recorded: no forward pass of {self._annotations['model']} was completed "
                "with the probe on (call the model itself, not its forward method or its parts)"
            )
        n_steps = np.concatenate(self._n_steps)
        trials = np.split(n_steps, np.cumsum(divide(self.n_stimuli, n_trials))[:-1])
        time = PseudoTime(self._bin_size, tuple(int(trial.sum()) for trial in trials))
        rasters = {
            layer.name: SpikeRaster(
                self._packed(layer.name),
                time,
                layer.units.copy(),
                layer.shape,
                self._thresholds[layer].copy(),
            )
            for layer in self._hooks.layers.values()
        }
        names = dict.fromkeys(name for about in self._about for name in about)
        told = {name: self._told(name) for name in names}
        stimuli = _stimuli(n_steps, {k: v for k, v in told.items() if v is not None})
        if self._n_nan:
            annotations["n_nan"] = self._n_nan
        return Recording(rasters, stimuli, {**self._annotations, **annotations})

    def _packed(self, layer: str) -> PackedRows:
        rows = self._spill.rows(layer)
        if self._kept_in is None or isinstance(rows, np.ndarray):
            return rows
        return keep(rows, self._kept_in, layer)

    def _told(self, name: str) -> np.ndarray | None:
        told = [about[name] for about in self._about if name in about]
        if len(told) < len(self._about):
            warnings.warn(
                f"only {len(told)} of {len(self._about)} batches were given {name}: they are left out",
                stacklevel=4,
            )
            return None
        return np.concatenate(told)


def count_nan(
    layer: Layer, activation: torch.Tensor, n_steps: np.ndarray, n_before: int, allow_nan: bool
) -> int:
    """Return how many activations are NaN; raise, naming the first, unless that is allowed."""
    found = torch.isnan(activation)
    n_nan = int(found.sum())
    if n_nan and not allow_nan:
        row, column = (int(i) for i in found.nonzero()[0])
        stimulus = int(np.searchsorted(np.cumsum(n_steps), row, side="right"))
        step = f", step {row - n_steps[:stimulus].sum()}" if n_steps[stimulus] > 1 else ""
        raise ValueError(
            f"layer {layer.name!r} gives NaN for stimulus {n_before + stimulus}{step}, unit "
            f"{layer.units[column]}: repair the model or its input, or go on with allow_nan=True (on the "
            "command line --allow-nan), which counts NaN as no spike"
        )
    return n_nan


def _stimuli(n_steps: Any, told: Mapping[str, np.ndarray]) -> Stimuli:
    others = {name: values for name, values in told.items() if name not in ("labels", "ids")}
    about: dict[str, Any] = {name: told.get(name) for name in ("labels", "ids")}
    n_stimuli = n_steps if isinstance(n_steps, int) else len(n_steps)
    lengths = 1 if isinstance(n_steps, int) else n_steps
    return Stimuli.in_order(n_stimuli, n_steps=lengths, array_annotations=others, **about)


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


def as_annotation(threshold: Any) -> float | str:
    """Return a threshold as JSON can keep it."""
    return threshold if isinstance(threshold, int | float) else repr(threshold)


def _array(values: Any) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)
