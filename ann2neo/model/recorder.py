"""Record a model: show it stimuli, keep which units spike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ..recording.recording import Recording
from .hooks.hooks import Hooks
from .hooks.selection import Selection, TimeDim
from .runs.arrangement import arranged
from .runs.batch import Batch
from .runs.batches import check_order, number_of_stimuli
from .runs.calibration import calibrated
from .runs.evaluation import evaluation
from .runs.origin import origin, parameters_sha256
from .runs.partial import RecordingError, whole_or_partial
from .runs.presentation import show
from .sinks.keeper import Keeper, as_array, stimuli_of


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
    channel_dim: int | Mapping[str, int] | None = None,
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
    annotations: Mapping[str, Any] | None = None,
) -> Recording:
    """Show stimuli to a model and record which units spike.

    The model runs in evaluation mode and without gradients; its training flags, device and the random
    state are as before when this returns.

    Where modules hold something between passes, as spiking neurons do, those of snnTorch and spikingjelly are
    reset before each batch, by their own methods (``reset_mem``, ``reset``); those of norse are given their
    states. Afterwards every module holds what it held before: buffers, and numbers, tensors, lists and dicts
    of its own.

    Parameters
    ----------
    model : torch.nn.Module
        Each call of it presents a batch of stimuli.
    stimuli : DataLoader, Dataset, iterable of batches, array, or mapping
        Batches are tensors, (tensor, labels, …) tuples, or the model's arguments by name, as tokenizers
        give them (``labels`` is not passed on). The first dimension of a tensor is the stimuli; with
        ``time_dim=0`` it may be the steps, and the second the stimuli. One tensor or NumPy array of all
        stimuli, a mapping of these, or a Dataset, is cut into batches. NumPy's floats are given the
        precision of the model. For a model that takes lengths, batches may be (tensor, lengths, labels);
        for one that takes a list of images, lists. With ``edge_index`` among the arguments, or as objects
        of torch_geometric, stimuli are graphs: each node is a bin of its graph, and no graph is cut.
    layers : str, type, or list of these, optional
        Names (``"layer1.0.relu"``), globs (``"layer*.relu*"``) or module types; by default every activation:
        modules, also one of your own that computes an activation, and functions that are called in the
        forward pass (``F.relu``, ``torch.sigmoid``, ``x.clamp(min=0)``). A function is named as torchvision's
        feature extraction names it, by the module that calls it: ``"layer1.0.relu"``; a name, but no glob,
        can also be that of any other torch function, say ``"layer1.0.add"``. What fires twice in a pass gives
        two layers, ``relu`` and ``relu_1``. :func:`ann2neo.layers` lists them all.
    units : int, array of int, or dict, optional
        Which units of each layer: all, a number sampled with ``seed``, or indices into its flattened
        activation; or a dict of these by layer name or glob. In a dict an exact name wins over a glob, and
        the first of several globs. The name of a module holds for all its firings.
    threshold : float, array, Quantile, ZScore, or dict
        A unit spikes when its activation exceeds it, compared in the activation's own precision, float32
        at least. One number, one for each unit, a rule that is calibrated on ``calibration``, or a dict of
        these by layer name or glob, read as that of ``units``.
    calibration : as stimuli, optional
        Stimuli on which rules are calibrated.
    bin_size : float (ms) or quantity
        Pseudo-time that one presentation takes. A convention: every rate in Hz scales with it.
    n_trials : int
        Contiguous trials that the recording is divided into, equal to within one stimulus.
    time_dim : int, "calls", or dict, optional
        The dimension of the layers' outputs that is time within a stimulus (1 for batch-first sequences):
        a stimulus of T steps then takes T bins. ``"calls"``: each call of a module in a forward pass is a
        step, as in networks of spiking neurons. Or a dict of these by layer name or glob, read as that of
        ``units``; a layer that it lacks has no time. Packed sequences need no ``time_dim``; each stimulus
        takes its own length. Layers whose steps are not those of the stimuli, such as a pooler, are left out
        with a warning, or refused if they are named. Frames of films, (stimuli · steps, …), are steps with
        ``time_dim=1``.
    channel_dim : int or dict, optional
        The dimension of the layers' outputs that is the channel of a feature map (1 for (n, channels, height,
        width), 3 for channels last): where each unit's ``channel, y, x`` are read from. Or a dict of these by
        layer name or glob, read as that of ``units``. Without it, it is found out from the operations of the
        first pass, such as convolutions; where that is not sure, ``channel, y, x`` are −1: unknown.
    lengths : array, optional
        int (n_stimuli,), with ``time_dim``: how many steps of each stimulus are not padding. Only these are
        bins. An ``attention_mask`` or lengths that the model is given are read without this.
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
    seed : int
        For sampling units.
    allow_nan : bool
        Go on when an activation is NaN; it counts as no spike.
    memory : int or str, optional
        How much memory the spikes may take, one bit a unit and bin: bytes, or a text such as ``"4 GB"``. What
        is more goes to a file in ``spill_to``, and the recording's rasters are mapped from there.
    spill_to : path
        A folder for that file, which has no name and goes when the recording goes.
    annotations : mapping, optional
        Anything JSON can hold, to be kept with the recording.

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
        If the stimuli are not what is listed above, or a layer does not give a tensor of real numbers.
    RecordingError
        If anything fails after the first batch (a NaN, a shape that changes, an error while loading):
        its ``recording`` holds the batches until then.

    Notes
    -----
    With independent presentations a unit of spike probability p has Fano factor 1 − p, not 1 as a Poisson
    process: a bin holds one spike at most (see :meth:`Summary.expected`).

    Examples
    --------
    >>> import torch
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> recording = record(model, torch.randn(100, 2), n_trials=4)
    >>> recording.n_bins, recording.n_trials, recording.raster("1").shape
    (100, 4, (3, 100))
    """
    selection = Selection(layers, units, threshold, time_dim, seed, allow_nan, channel_dim)
    with evaluation(model, device) as where:
        stimuli = arranged(model, stimuli, selection, where)
        told = _told(stimuli, labels, ids, array_annotations or {})
        about = {"parameters_sha256": parameters_sha256(model), **(annotations or {})}
        about = origin(model, selection, about)
        selection = calibrated(model, calibration, selection, batch_size, where)
        keeper = Keeper(
            selection,
            bin_size=bin_size,
            n_trials=n_trials,
            memory=memory,
            spill_to=spill_to,
            annotations=about,
        )
        hooks = Hooks(model, selection, keeper.take, keeper.keep)

        def check_labels(batch: Batch) -> None:
            shape = () if batch.labels is None else as_array(batch.labels).shape
            if len(shape) > 1:
                raise ValueError(
                    f"labels in a batch have shape {shape}, but there is one for each stimulus: let the "
                    "loader give x alone, or (x, labels) with labels of shape (n_stimuli,)"
                )

        def annotate(batch: Batch, shown: slice) -> None:
            of_batch = {name: values[shown] for name, values in told.items()}
            keeper.annotate({"labels": batch.labels, **of_batch})

        def run() -> Recording:
            show(
                model,
                hooks,
                stimuli,
                where,
                batch_size=batch_size,
                before=check_labels,
                after=annotate,
                lengths=lengths,
                progress="recording" if progress else "",
            )
            for name, values in told.items():
                if len(values) != keeper.n_stimuli:
                    raise ValueError(
                        f"{len(values)} {name} for {keeper.n_stimuli} stimuli: give one for each stimulus"
                    )
            return keeper.recording()

        return whole_or_partial(run, lambda: keeper.n_stimuli, keeper.partial, RecordingError)


def _told(stimuli: Any, labels: Any, ids: Any, others: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return what is told of stimuli; raise what is wrong before they are shown, where it can be known."""
    for name in others.keys() & {"labels", "ids"}:
        raise ValueError(f"array_annotations has {name!r}: give it as {name}=")
    given = {"labels": labels, "ids": ids, **others}
    told = {name: as_array(values) for name, values in given.items() if values is not None}
    check_order(stimuli, told)
    n_stimuli = number_of_stimuli(stimuli) if not isinstance(stimuli, Dataset | DataLoader) else None
    for name, values in told.items():
        stimuli_of(values.size if n_stimuli is None else n_stimuli, {name: values})
    return told
