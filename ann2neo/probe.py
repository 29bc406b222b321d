"""Record a live model: :class:`Probe` around anybody's loop, :func:`record` for the usual one."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from .hooks import Hooks, Layer, Selection
from .raster import PseudoTime, SpikeRaster, Stimuli, divide, milliseconds
from .recording import Recording
from .threshold import Rule, needs_calibration, rule_of, values_for


class RecordingError(RuntimeError):
    """Recording stopped before its end; ``recording`` holds what was recorded until then.

    Parameters
    ----------
    message : str
        What happened.
    recording : Recording
        All complete forward passes until then.
    """

    def __init__(self, message: str, recording: Recording) -> None:
        super().__init__(message)
        self.recording = recording


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
        Names (``"layer1.0.relu"``), globs (``"layer*.relu*"``) or module types; by default every activation
        module. A module called twice in a pass gives two layers, ``relu`` and ``relu_1``.
    units : int, array of int, or dict, optional
        Which units of each layer: all, a number sampled with ``seed``, or indices into its flattened
        activation; or a dict of these by layer name or glob.
    threshold : float, array, or dict
        A unit spikes when its activation exceeds it. One number, one for each unit, or a dict of these by
        layer name or glob. :class:`Quantile` and :class:`ZScore` must be calibrated first:
        :func:`calibrate`.
    bin_size : float (ms) or quantity
        Pseudo-time that one presentation takes. A convention: every rate in Hz scales with it.
    n_trials : int
        Contiguous trials that the recording is divided into at its end, equal to within one stimulus.
    time_dim : int, optional
        The dimension of the layers' outputs that is time within a stimulus (1 for batch-first sequences):
        a stimulus of T steps then takes T bins.
    seed : int
        For sampling units.
    allow_nan : bool
        Go on when an activation is NaN; it counts as no spike.
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
        time_dim: int | None = None,
        seed: int = 0,
        allow_nan: bool = False,
        annotations: Mapping[str, Any] | None = None,
    ) -> None:
        if needs_calibration(threshold):
            raise ValueError(
                f"threshold={threshold!r} must be calibrated on stimuli first: "
                "give Probe what ann2neo.calibrate(model, stimuli, threshold) returns"
            )
        if n_trials < 1:
            raise ValueError(f"n_trials={n_trials}: give at least one")
        self._hooks = Hooks(model, Selection(layers, units, time_dim, seed), self._spikes_of, self._keep_pass)
        self._threshold, self._allow_nan, self._n_trials = threshold, allow_nan, n_trials
        self._bin_size = milliseconds(bin_size)
        self._thresholds: dict[str, np.ndarray] = {}
        self._passes: list[dict[str, np.ndarray]] = []
        self._stimuli_shown: list[int] = []
        self._n_steps = 0
        self._n_nan = 0
        self._about: list[dict[str, Any]] = []
        self._annotations = {
            "model": type(model).__name__,
            "threshold": threshold if isinstance(threshold, str | int | float) else repr(threshold),
            "seed": seed,
            "recorded_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **{f"{name}_version": version(name) for name in ("ann2neo", "torch", "neo", "elephant")},
            **(annotations or {}),
        }

    def __enter__(self) -> Probe:
        self._hooks.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._hooks.__exit__(*exception)

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli recorded so far."""
        return sum(self._stimuli_shown)

    def annotate(self, *, labels: Any = None, ids: Any = None) -> None:
        """Tell labels and ids of the stimuli in the latest forward pass, one of each per stimulus."""
        if not self._about:
            raise ValueError("there is no stimulus to annotate yet: call the model first")
        n_stimuli = self._stimuli_shown[-1]
        for name, given in (("labels", labels), ("ids", ids)):
            if given is not None:
                values = _array(given)
                if values.shape != (n_stimuli,):
                    raise ValueError(
                        f"{name} of shape {values.shape} for a batch of {n_stimuli} stimuli: "
                        f"give one of the {name} per stimulus, shape ({n_stimuli},)"
                    )
                self._about[-1][name] = values

    def _spikes_of(self, layer: Layer, activation: torch.Tensor) -> np.ndarray:
        if layer.name not in self._thresholds:
            self._thresholds[layer.name] = values_for(
                rule_of(self._threshold, layer.name), layer.name, layer.shape, layer.units
            )
        if activation.is_floating_point():
            self._check_nan(layer, activation)
        values = torch.from_numpy(self._thresholds[layer.name]).to(activation)
        spikes = activation > values
        return np.packbits(spikes.cpu().numpy(), axis=1)

    def _check_nan(self, layer: Layer, activation: torch.Tensor) -> None:
        found = torch.isnan(activation)
        n_nan = int(found.sum())
        if n_nan and not self._allow_nan:
            row, column = (int(i) for i in found.nonzero()[0])
            raise ValueError(
                f"layer {layer.name!r} gives NaN for stimulus {self.n_stimuli + row}, unit "
                f"{layer.units[column]}: repair the model or its input, or go on with allow_nan=True, which "
                "counts NaN as no spike"
            )
        self._n_nan += n_nan

    def _keep_pass(self, spikes: dict[str, np.ndarray], n_stimuli: int, n_steps: int) -> None:
        if self._passes and n_steps != self._n_steps:
            raise ValueError(
                f"stimuli of {n_steps} steps after stimuli of {self._n_steps}: pad or crop them to one length"
            )
        self._n_steps = n_steps
        self._passes.append(spikes)
        self._stimuli_shown.append(n_stimuli)
        self._about.append({})

    @property
    def recording(self) -> Recording:
        """All complete forward passes so far, as a recording.

        Raises
        ------
        ValueError
            If there was none, if there are fewer stimuli than trials, or if some passes have labels
            or ids and others have none.
        """
        return self._record(self._n_trials)

    def _record(self, n_trials: int, **annotations: Any) -> Recording:
        if not self._passes:
            raise ValueError(
                f"nothing recorded: no forward pass of {self._annotations['model']} was completed "
                "with the probe on (call the model itself, not its forward method or its parts)"
            )
        time = PseudoTime(self._bin_size, tuple(n * self._n_steps for n in divide(self.n_stimuli, n_trials)))
        rasters = {
            layer.name: SpikeRaster.from_bins(
                np.concatenate([spikes[layer.name] for spikes in self._passes]),
                time=time,
                units=layer.units.copy(),
                shape=layer.shape,
                threshold=self._thresholds[layer.name].copy(),
            )
            for layer in self._hooks.layers.values()
        }
        stimuli = Stimuli.in_order(
            self.n_stimuli,
            n_steps=self._n_steps,
            ids=self._told("ids"),
            labels=self._told("labels"),
        )
        if self._n_nan:
            annotations["n_nan"] = self._n_nan
        return Recording(rasters, stimuli, {**self._annotations, **annotations})

    def _told(self, name: str) -> np.ndarray | None:
        told = [about[name] for about in self._about if name in about]
        if told and len(told) < len(self._about):
            raise ValueError(f"{len(told)} of {len(self._about)} batches have {name}: annotate all or none")
        return np.concatenate(told) if told else None


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
    time_dim: int | None = None,
    labels: Any = None,
    ids: Any = None,
    batch_size: int = 128,
    device: Any = None,
    progress: bool = False,
    seed: int = 0,
    allow_nan: bool = False,
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
    stimuli : DataLoader, Dataset, iterable of batches, or array
        Batches are tensors or (tensor, labels, …) tuples, the first dimension of the tensor being the
        stimuli. One tensor or NumPy array of all stimuli, or a Dataset, is cut into batches.
    calibration : as stimuli, optional
        Stimuli on which rules are calibrated.
    labels, ids : array, optional
        (n_stimuli,). Class of each stimulus, unless the batches bring it; which stimulus it is, by default
        its place in the order of presentation.
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
    selection = {"layers": layers, "units": units, "time_dim": time_dim, "seed": seed}
    rule = threshold
    with _evaluation(model, device) as where:
        if needs_calibration(threshold):
            threshold = _calibrated(model, calibration, threshold, batch_size, where, selection)
        probe = Probe(
            model,
            threshold=threshold,
            bin_size=bin_size,
            n_trials=n_trials,
            allow_nan=allow_nan,
            annotations={"threshold": rule if isinstance(rule, str | int | float) else repr(rule)}
            | dict(annotations or {}),
            **selection,
        )
        batches = _batches(stimuli, batch_size, labels, ids)
        bar = tqdm(total=_n_stimuli(stimuli), desc="recording", unit=" stimuli", disable=not progress)
        with probe, bar:
            try:
                for batch, about in batches:
                    model(batch.to(where))
                    probe.annotate(**about)
                    bar.update(len(batch))
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
                if not probe.n_stimuli:
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
    time_dim: int | None = None,
    seed: int = 0,
    batch_size: int = 128,
    device: Any = None,
) -> dict[str, Any]:
    """Turn threshold rules into numbers, by the activations that stimuli evoke; frozen from then on.

    Parameters
    ----------
    model, stimuli, layers, units, time_dim, seed, batch_size, device
        As for :func:`record`. Select the same layers and units as in the recording to come.
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
    >>> from ann2neo.threshold import Quantile
    >>> calibrate(relu, torch.arange(5.0)[:, None], Quantile(0.5))
    {'ReLU': array([2.])}
    """
    selection = {"layers": layers, "units": units, "time_dim": time_dim, "seed": seed}
    with _evaluation(model, device) as where:
        return _calibrated(model, stimuli, threshold, batch_size, where, selection)


def _calibrated(
    model: nn.Module,
    stimuli: Any,
    threshold: Any,
    batch_size: int,
    where: torch.device,
    selection: dict[str, Any],
) -> dict[str, np.ndarray]:
    if stimuli is None:
        raise ValueError(
            f"threshold={threshold!r} is calibrated on stimuli: give them as calibration=, other ones "
            "than those to record, or the same if you mean it"
        )
    collected: dict[str, list[np.ndarray]] = {}

    def collect(layer: Layer, activation: torch.Tensor) -> np.ndarray:
        return activation.float().cpu().numpy().copy()

    def keep(activations: dict[str, np.ndarray], *extent: int) -> None:
        for layer, values in activations.items():
            collected.setdefault(layer, []).append(values)

    with Hooks(model, Selection(**selection), collect, keep) as hooks:
        for batch, _ in _batches(stimuli, batch_size, None, None):
            model(batch.to(where))
    frozen = {}
    for name, layer in hooks.layers.items():
        rule = rule_of(threshold, name)
        if isinstance(rule, Rule):
            rule = rule.calibrate(np.concatenate(collected[name]))
            if np.isnan(rule).any():
                raise ValueError(f"layer {name!r} gives NaN for the calibration stimuli")
        frozen[name] = values_for(rule, name, layer.shape, layer.units)
    return frozen


@contextmanager
def _evaluation(model: nn.Module, device: Any) -> Iterator[torch.device]:
    """Run a model in evaluation mode, without gradients, on a device; then restore everything."""
    training = {module: module.training for module in model.modules()}
    tensor = next((t for ts in (model.parameters(), model.buffers()) for t in ts), None)
    home = torch.device("cpu") if tensor is None else tensor.device
    where = home if device is None else torch.device(device)
    accelerators = [d.index or 0 for d in (home, where) if d.type == "cuda"]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=set(accelerators)):
            model.eval()
            if where != home:
                model.to(where)
            yield where
    finally:
        for module, flag in training.items():
            module.training = flag
        if where != home:
            model.to(home)


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _n_stimuli(stimuli: Any) -> int | None:
    """Tell how many stimuli there will be, for the progress bar, where that is known."""
    source: Any = stimuli.dataset if isinstance(stimuli, DataLoader) else stimuli
    return (
        len(source)
        if isinstance(source, Dataset | torch.Tensor | np.ndarray) and hasattr(source, "__len__")
        else None
    )


def _batches(
    stimuli: Any, batch_size: int, labels: Any, ids: Any
) -> Iterator[tuple[torch.Tensor, dict[str, Any]]]:
    """Yield batches of stimuli with what is known about them; raise if there is none."""
    told = {k: _array(v) for k, v in (("labels", labels), ("ids", ids)) if v is not None}
    shown = 0
    for batch in _raw_batches(stimuli, batch_size):
        parts = [batch] if isinstance(batch, torch.Tensor | np.ndarray) else batch
        if not isinstance(parts, Sequence) or not isinstance(parts[0], torch.Tensor | np.ndarray):
            raise TypeError(
                f"a batch of stimuli is a {type(batch).__name__}: give tensors or (tensor, labels) tuples, "
                "or run your own loop with ann2neo.Probe"
            )
        tensor = torch.as_tensor(parts[0])
        if not len(tensor):
            continue
        about: dict[str, Any] = {k: values[shown : shown + len(tensor)] for k, values in told.items()}
        if len(parts) > 1 and "labels" not in told:
            about["labels"] = parts[1]
        shown += len(tensor)
        yield tensor, about
    if not shown:
        raise ValueError(f"there are no stimuli in the {type(stimuli).__name__}")
    for name, values in told.items():
        if values.shape != (shown,):
            raise ValueError(f"{name} of shape {values.shape} for {shown} stimuli: give ({shown},)")


def _raw_batches(stimuli: Any, batch_size: int) -> Iterable[Any]:
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: give at least one")
    if isinstance(stimuli, np.ndarray):
        stimuli = torch.from_numpy(stimuli)
    if isinstance(stimuli, torch.Tensor):
        if not stimuli.ndim:
            raise ValueError(
                "stimuli is one number: give a tensor with the stimuli along its first dimension"
            )
        return stimuli.split(batch_size) if len(stimuli) else ()
    if isinstance(stimuli, Dataset) and not isinstance(stimuli, torch.utils.data.IterableDataset):
        return DataLoader(stimuli, batch_size)
    if isinstance(stimuli, nn.Module) or not isinstance(stimuli, Iterable):
        raise TypeError(
            f"stimuli is a {type(stimuli).__name__}: give a DataLoader, a Dataset, batches, or a tensor"
        )
    return stimuli
