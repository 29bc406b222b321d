"""Summarize a live model: the statistics of all its units, without keeping their spikes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..recording.time import divide
from ..summary.summary import Summary
from .hooks.hooks import Hooks
from .hooks.selection import Selection, TimeDim
from .runs.arrangement import arranged
from .runs.batch import Batch
from .runs.batches import number_of_stimuli
from .runs.calibration import calibrated
from .runs.evaluation import evaluation
from .runs.origin import origin, parameters_sha256
from .runs.partial import SummaryError, whole_or_partial
from .runs.presentation import show
from .sinks.checkpoint import Checkpoint
from .sinks.growing import GrowingSummary
from .sinks.sink import Pushing


def summarize(
    model: nn.Module,
    stimuli: Any,
    layers: Any = None,
    *,
    window: int | None = None,
    units: Any = None,
    threshold: Any = 0.0,
    calibration: Any = None,
    bin_size: Any = 1.0,
    n_trials: int = 1,
    time_dim: TimeDim | Mapping[str, TimeDim] = None,
    channel_dim: int | Mapping[str, int] | None = None,
    lengths: Any = None,
    start: int = 0,
    n_stimuli: int | None = None,
    isi_histogram: bool = False,
    n_correlated: int = 50,
    backend: str | None = None,
    checkpoint: Any = None,
    batch_size: int = 128,
    device: Any = None,
    progress: bool = False,
    seed: int = 0,
    allow_nan: bool = False,
    annotations: Mapping[str, Any] | None = None,
) -> Summary:
    """Show stimuli to a model and add up the statistics of its units as they stream by.

    The numbers are those of ``record(...).summarize(window)``, Elephant's, for networks of which nobody
    could keep the spikes: about 200 bytes a unit, however many stimuli there are. As with
    :func:`ann2neo.record`, the model runs in evaluation mode and without gradients, and is then as it was
    before; spiking neurons of snnTorch and spikingjelly are reset before each batch.

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
        modules, also one of your own that computes an activation, and functions. What fires twice in a pass
        gives two layers, ``relu`` and ``relu_1``. :func:`ann2neo.layers` lists them all.
    window : int, optional
        Bins in a counting window of the Fano factor; by default the longest that leaves 50 windows, 100 at
        most. Where nobody knows how many stimuli there are, as of an iterable of batches or of a part with
        ``start`` and without ``n_stimuli``, it is 100.
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
        Contiguous trials that the presentation is divided into, equal to within one stimulus. Windows and
        intervals never span two.
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
    start, n_stimuli : int
        Where the stimuli are a part of a longer presentation: how many come before them, and how many there
        are in all, by which trials are divided. The summaries of adjacent parts
        :meth:`merge <ann2neo.Summary.merge>` into that of the whole: see :mod:`ann2neo.summary.parts`.
    isi_histogram : bool
        Count intervals by length, up to 256 bins, which the interval tests of
        :meth:`ann2neo.Summary.fit_poisson` need: 2 kB a unit.
    n_correlated : int
        In how many units of each layer, sampled with ``seed``, to count common spikes for
        :meth:`ann2neo.Summary.correlation`.
    backend : {"compiled", "fused", "portable"}, optional
        What does the work: numba on CPUs, Triton on GPUs, or plain torch; by default the fastest for the
        device.
    checkpoint : path, optional
        A ``.npz`` file, written once a minute and at the end. If it exists, the stimuli that it holds are
        passed over and the run goes on from there, to the same numbers; give the same stimuli in the same
        order and batches, and the same annotations.
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
    annotations : mapping, optional
        Anything JSON can hold, to be kept with the summary.

    Returns
    -------
    Summary
        On Ctrl-C, what was added up until then, with a warning and the annotation ``interrupted``.

    Raises
    ------
    ValueError
        If no layer matches or fires, there are no stimuli, a threshold has the wrong shape, or another
        argument is out of range; if a checkpoint is damaged, or of another model, other thresholds or other
        settings.
    TypeError
        If the stimuli are not what is listed above, or a layer does not give a tensor of real numbers.
    SummaryError
        If anything fails after the first batch: its ``summary`` holds the batches until then.

    Notes
    -----
    A batch of another size can round differently, and so move an activation across its threshold: results
    are equal bit for bit when the batches are.

    Examples
    --------
    >>> import torch
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> stimuli = torch.randn(1000, 2)
    >>> summary = summarize(model, stimuli, window=50)
    >>> from ann2neo import record
    >>> summary.units.equals(record(model, stimuli).summarize(window=50).units)
    True
    """
    selection = Selection(layers, units, threshold, time_dim, seed, allow_nan, channel_dim)
    if selection.has_steps_first:
        with evaluation(model, device) as where:
            stimuli = arranged(model, stimuli, selection, where)
    known = number_of_stimuli(stimuli) if n_stimuli is None else n_stimuli
    if n_trials != 1 and known is None:
        raise ValueError(f"n_trials={n_trials}: give n_stimuli=, as the stimuli do not tell their number")
    growing = GrowingSummary(
        window,
        bin_size=bin_size,
        isi_histogram=isi_histogram,
        n_correlated=n_correlated,
        seed=seed,
        backend=backend,
        start=start,
        trials=None if n_trials == 1 and n_stimuli is None else divide(known or 0, n_trials),
        lengths=lengths,
    )
    return stream(
        model,
        stimuli,
        selection,
        growing,
        calibration=calibration,
        checkpoint=checkpoint,
        has_parts=bool(start) or n_stimuli is not None,
        batch_size=batch_size,
        device=device,
        progress=progress,
        annotations=annotations,
    )


def stream(
    model: nn.Module,
    stimuli: Any,
    selection: Selection,
    growing: GrowingSummary,
    *,
    calibration: Any = None,
    checkpoint: Any = None,
    has_parts: bool = False,
    batch_size: int = 128,
    device: Any = None,
    progress: bool = False,
    annotations: Mapping[str, Any] | None = None,
) -> Summary:
    """Show stimuli to a model and add up the statistics of its units in a summary that grows.

    The arguments are those of :func:`summarize`. With ``has_parts``, the annotations have a hash of the
    model's parameters: summaries of parts merge only if they are of the same model.
    """
    about = origin(model, selection, annotations)
    so_far = Checkpoint(checkpoint, growing, batch_size)
    with evaluation(model, device) as where:
        stimuli = arranged(model, stimuli, selection, where)
        if not has_parts:
            growing.n_stimuli = number_of_stimuli(stimuli)
        if has_parts or checkpoint is not None:
            about["parameters_sha256"] = parameters_sha256(model)
        n_done = so_far.begin(about)
        selection = calibrated(model, calibration, selection, batch_size, where)
        pushing = Pushing(selection, [growing])
        hooks = Hooks(model, selection, pushing.take, pushing.keep)

        def after(batch: Batch, shown: slice) -> None:
            so_far.batch_is_done()

        def run() -> Summary:
            show(
                model,
                hooks,
                stimuli,
                where,
                batch_size=batch_size,
                after=after,
                lengths=growing.lengths,
                n_done=n_done,
                progress="summarizing" if progress else "",
            )
            summary = so_far.whole()
            if not has_parts:
                growing.check_window()
            return summary

        return whole_or_partial(run, lambda: growing.n_bins, so_far.partial, SummaryError)
