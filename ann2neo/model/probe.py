"""Record a live model while somebody's own loop runs it."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from ..recording.recording import Recording
from .hooks.hooks import Hooks
from .hooks.selection import Selection, TimeDim
from .hooks.watching.eagerly import load_compiler
from .runs.origin import origin
from .sinks.keeper import Keeper
from .sinks.sink import Pushing, Sink


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
    threshold : float, array, or dict
        A unit spikes when its activation exceeds it, compared in the activation's own precision, float32
        at least. One number, one for each unit, or a dict of these by layer name or glob, read as that of
        ``units``. Calibrate :class:`Quantile` and :class:`ZScore` first, with :func:`ann2neo.calibrate`.
    bin_size : float (ms) or quantity
        Pseudo-time that one presentation takes. A convention: every rate in Hz scales with it.
    n_trials : int
        Contiguous trials that the recording is divided into at its end, equal to within one stimulus.
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
    seed : int
        For sampling units.
    allow_nan : bool
        Go on when an activation is NaN; it counts as no spike.
    memory : int or str, optional
        How much memory the spikes may take, one bit a unit and bin: bytes, or a text such as ``"4 GB"``. What
        is more goes to a file in ``spill_to``, and the recording's rasters are mapped from there.
    spill_to : path
        A folder for that file, which has no name and goes when the recording goes.
    into : list of Summary, optional
        Push the spikes into these, and keep none: the probe then has no ``recording``. Windows, trials and
        ``bin_size`` are those of each summary.
    annotations : mapping, optional
        Anything JSON can hold, to be kept with the recording.

    Raises
    ------
    ValueError
        If no layer matches, or an argument is out of range. In the loop: if an activation is NaN, a
        layer's shape changes, a layer does not fire, or the stimuli have no dimension of their own.

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
        channel_dim: int | Mapping[str, int] | None = None,
        seed: int = 0,
        allow_nan: bool = False,
        memory: int | str | None = None,
        spill_to: str | os.PathLike[str] = ".",
        into: Sequence[Sink] | None = None,
        annotations: Mapping[str, Any] | None = None,
    ) -> None:
        selection = Selection(layers, units, threshold, time_dim, seed, allow_nan, channel_dim)
        if selection.needs_calibration:
            raise ValueError(
                f"threshold={threshold!r} must be calibrated on stimuli first: "
                "give Probe what ann2neo.calibrate(model, stimuli, threshold) returns"
            )
        if into is not None and memory is not None:
            raise ValueError("into= keeps no spikes: leave out memory=")
        self._keeper = Keeper(
            selection,
            bin_size=bin_size,
            n_trials=n_trials,
            memory=memory,
            spill_to=spill_to,
            annotations=origin(model, selection, annotations),
        )
        self._is_pushing = into is not None
        taker = self._keeper if into is None else Pushing(selection, into)
        self._hooks = Hooks(model, selection, taker.take, taker.keep)

    def __enter__(self) -> Probe:
        load_compiler()
        self._hooks.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._hooks.__exit__(*exception)
        if self._is_pushing and not self._hooks.was_called and sys.exc_info()[0] is None:
            warnings.warn(
                f"the summaries got nothing: no forward pass of {type(self._hooks.model).__name__} was "
                "begun in the block. Call the model itself, not its forward method or its parts",
                stacklevel=2,
            )

    def stimulus(self) -> AbstractContextManager[None]:
        """Take all forward passes in a block for steps of the same stimuli.

        For loops around the model: over the steps of a network of spiking neurons, over the tokens of a text
        that is generated, over the steps of a diffusion. Each pass shows the same stimuli, in the same
        order. Without ``time_dim`` a pass is one bin of each stimulus; with it, each step in the pass is. In
        a text that grows from pass to pass only the new steps count; with a cache, each token counts once.
        A text that has ended goes on with padding until the longest ends, and these steps count. Generate
        without beams: they move texts from place to place, which is refused where texts grow, but cannot be
        seen where there is a cache.

        What layers give is kept until the block ends, with 4 bytes a unit, stimulus and step. The state of
        the neurons is yours: reset it before each block. If an exception leaves the block, its stimuli are
        not recorded. Annotate them after the block.

        Returns
        -------
        context manager

        Raises
        ------
        RuntimeError
            If the probe is off, or within such a block already.
        ValueError
            In the block: if the number of stimuli changes, or a sequence is longer than in the pass before
            but does not begin with it, as where beams change places.

        Examples
        --------
        >>> relu, steps = nn.ReLU(), torch.tensor([[[1.0]], [[-1.0]], [[1.0]]])
        >>> with Probe(relu) as probe, probe.stimulus():
        ...     for step in steps:
        ...         _ = relu(step)
        >>> probe.n_stimuli, probe.recording.raster("ReLU").astype(int)
        (1, array([[1, 0, 1]]))
        """
        return self._hooks.stimulus()

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli recorded so far."""
        return self._hooks.n_stimuli

    def announce(self, *, lengths: Any = None, mask: Any = None) -> None:
        """Tell which steps of the stimuli in the next forward pass are not padding: only these are bins.

        An ``attention_mask`` or lengths that the model is given are read without this; what is told here
        counts more.

        Parameters
        ----------
        lengths : array, optional
            int (n_stimuli,), the number of steps of each, from the first one on.
        mask : array, optional
            bool (n_stimuli, n_steps).

        Raises
        ------
        ValueError
            If both or none are given, or the probe has no ``time_dim``.
        """
        self._hooks.announce(shown_steps(lengths, mask))

    def annotate(self, *, labels: Any = None, ids: Any = None, **array_annotations: Any) -> None:
        """Tell labels, ids and anything else of the stimuli in the latest pass, one of each per stimulus.

        Parameters
        ----------
        labels, ids : array, optional
            (n_stimuli,), the class of each stimulus, and which stimulus it is.
        **array_annotations : array
            Anything else of each stimulus, (n_stimuli,).

        Raises
        ------
        ValueError
            If there was no forward pass, they are not one per stimulus of it, the probe keeps no spikes, or
            the block of :meth:`stimulus` is not over.
        """
        self._check_keeps()
        if self._hooks.is_in_block:
            raise ValueError("the stimuli of this block are not complete: annotate them after the block")
        self._keeper.annotate({"labels": labels, "ids": ids, **array_annotations})

    @property
    def recording(self) -> Recording:
        """All complete forward passes so far, as a recording.

        If some passes were given labels (or ids) and others not, as after an interruption, they are left
        out, with a warning.

        Raises
        ------
        ValueError
            If there was no forward pass.
        RecordingError
            If there are fewer stimuli than trials; its ``recording`` has one trial.
        """
        self._check_keeps()
        return self._keeper.recording()

    def _check_keeps(self) -> None:
        if self._is_pushing:
            raise ValueError("this probe pushes spikes into summaries and keeps none: leave out into=")


def shown_steps(lengths: Any, mask: Any) -> torch.Tensor:
    """Return lengths or a mask, of which one is given, as a tensor."""
    if (lengths is None) == (mask is None):
        raise ValueError("give either lengths= or mask=")
    return torch.as_tensor(lengths if mask is None else mask)
