"""Follow a network through its training: what its units do, step after step, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from ..summary.kernels.windows import default_window
from ..summary.summary import Summary
from .hooks.selection import Selection, TimeDim
from .sinks.growing import GrowingSummary
from .summarizer import stream
from .watch import Clock, Watch

if TYPE_CHECKING:
    import pandas as pd


METRICS = (
    "dead_fraction",
    "mean_firing_rate_mean",
    "mean_firing_rate_var",
    "fano_factor_mean",
    "fano_factor_var",
    "relative_fano_factor_mean",
    "relative_fano_factor_var",
)
"""Columns of the table that :meth:`Monitor.metrics` gives to a logger."""


class Monitor:
    """Follow a network through its training, on fixed stimuli or on the batches it is trained with.

    Parameters
    ----------
    layers : str, type, or list of these, optional
        Names (``"layer1.0.relu"``), globs (``"layer*.relu*"``) or module types; by default every activation:
        modules, also one of your own that computes an activation, and functions. What fires twice in a pass
        gives two layers, ``relu`` and ``relu_1``. :func:`ann2neo.layers` lists them all.
    units : int, array of int, or dict, optional
        Which units of each layer: all, a number sampled with ``seed``, or indices into its flattened
        activation; or a dict of these by layer name or glob. In a dict an exact name wins over a glob, and
        the first of several globs. The name of a module holds for all its firings.
    threshold : float, array, or dict
        A unit spikes when its activation exceeds it. One number, one for each unit, or a dict of these by
        layer name or glob, read as that of ``units``: the same at every step. For a rule, give what
        :func:`ann2neo.calibrate` returns.
    window : int, optional
        Bins in a counting window of the Fano factor; by default 100, or with :meth:`observe` less where that
        is needed for 50 windows. The table says which.
    bin_size : float (ms) or quantity
        Pseudo-time that one presentation takes. A convention: every rate in Hz scales with it.
    time_dim : int, "calls", or dict, optional
        The dimension of the layers' outputs that is time within a stimulus (1 for batch-first sequences):
        a stimulus of T steps then takes T bins. ``"calls"``: each call of a module in a forward pass is a
        step. Or a dict of these by layer name or glob, read as that of ``units``; a layer that it lacks has
        no time. Layers whose steps are not those of the stimuli are left out with a warning.
    channel_dim : int or dict, optional
        The dimension of the layers' outputs that is the channel of a feature map (1 for (n, channels, height,
        width), 3 for channels last): where each unit's ``channel, y, x`` are read from. Or a dict of these by
        layer name or glob, read as that of ``units``. Without it, it is found out from the operations of the
        first pass, such as convolutions; where that is not sure, ``channel, y, x`` are −1: unknown.
    batch_size : int
        Stimuli at once, where :meth:`observe` makes batches.
    device : str or torch.device, optional
        Where :meth:`observe` runs the network; by default where its parameters are.
    seed : int
        For sampling units.
    allow_nan : bool
        Go on when an activation is NaN; it counts as no spike. Otherwise a NaN ends the training that is
        watched, with an error that names the layer.

    Raises
    ------
    ValueError
        If the threshold is a rule, or ``layers``, ``time_dim`` or ``channel_dim`` are not what they may be.

    Examples
    --------
    >>> import torch
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> fixed, monitor = torch.randn(200, 4), Monitor()
    >>> summary = monitor.observe(model, fixed)
    >>> for epoch in range(2):
    ...     for batch in torch.randn(10, 16, 4):
    ...         optimizer.zero_grad()
    ...         model(batch).square().mean().backward()
    ...         optimizer.step()
    ...     summary = monitor.observe(model, fixed)
    >>> monitor.table[["step", "layer", "n_units", "n_bins"]]
       step    layer  n_units  n_bins
    0     0        1        8     200
    1     0  network        8     200
    2     1        1        8     200
    3     1  network        8     200
    4     2        1        8     200
    5     2  network        8     200

    On the batches that are shown anyway:

    >>> watching = Monitor(window=16)
    >>> with watching.watch(model):
    ...     for batch in torch.randn(10, 16, 4):
    ...         loss = model(batch).square().mean()
    >>> watching.table[["step", "layer", "n_bins"]]
       step    layer  n_bins
    0     0        1     160
    1     0  network     160
    """

    def __init__(
        self,
        layers: Any = None,
        *,
        units: Any = None,
        threshold: Any = 0.0,
        window: int | None = None,
        bin_size: Any = 1.0,
        time_dim: TimeDim | Mapping[str, TimeDim] = None,
        channel_dim: int | Mapping[str, int] | None = None,
        batch_size: int = 128,
        device: Any = None,
        seed: int = 0,
        allow_nan: bool = False,
    ) -> None:
        self._selection = Selection(layers, units, threshold, time_dim, seed, allow_nan, channel_dim)
        if self._selection.needs_calibration:
            raise ValueError(
                f"threshold={threshold!r} would be another number at every step: give what "
                "ann2neo.calibrate(model, stimuli, threshold) returns"
            )
        self._window, self._bin_size = window, bin_size
        self._batch_size, self._device = batch_size, device
        self._rows: dict[int, pd.DataFrame] = {}

    @property
    def steps(self) -> list[int]:
        """The steps in the table, in the order they were observed."""
        return list(self._rows)

    @property
    def table(self) -> pd.DataFrame:
        """One row a step and layer, and one a step, named ``network``, for all units together.

        Columns are ``step``, those of :attr:`Summary.layers`, ``n_bins``, and ``seconds``: what the
        observation cost, the same in all rows of a step.
        """
        import pandas as pd

        if not self._rows:
            return pd.DataFrame(columns=["step", "layer", "n_bins", "seconds"])
        return pd.concat(self._rows.values(), ignore_index=True)

    def observe(self, model: nn.Module, stimuli: Any, step: int | None = None) -> Summary:
        """Show stimuli to the model as it is now, and add its rows to the table.

        It runs in evaluation mode and without gradients; training flags, gradients, device and torch's
        random state are then as before, and what modules hold between passes; spiking neurons of snnTorch and
        spikingjelly are reset before each batch. ``seconds`` are wall-clock time, all that this took.

        Parameters
        ----------
        model : torch.nn.Module
            The network; it may have other layers than at the last step.
        stimuli : DataLoader, Dataset, iterable of batches, array, or mapping
            What :func:`ann2neo.summarize` takes: the same at every step, to compare steps.
        step : int, optional
            Epoch, optimizer step, or anything else that counts; by default one more than the largest, first
            0.

        Returns
        -------
        Summary
            Of these stimuli, with the values of each unit.

        Raises
        ------
        ValueError, TypeError
            If the step is in the table already, no layer matches or fires, or the stimuli are not what they
            may be.
        SummaryError
            If anything fails after the first batch; then nothing is added to the table.
        """
        step = self._checked(step)
        clock = Clock()
        with clock:
            growing = GrowingSummary(self._window, bin_size=self._bin_size, seed=self._selection.seed)
            summary = stream(
                model,
                stimuli,
                self._selection,
                growing,
                batch_size=self._batch_size,
                device=self._device,
            )
            if summary.annotations.get("interrupted"):
                raise KeyboardInterrupt  # a part of the stimuli cannot be compared with other steps
            layers = summary.layers
        self._add(step, layers, summary.n_bins, clock.seconds)
        return summary

    def watch(self, model: nn.Module, step: int | None = None, *, every: int = 1) -> Watch:
        """Look at the batches that a loop shows to the model anyway, as a context manager around it.

        The rows are added when the block ends; after an exception, too, of the passes until then. Outputs,
        gradients and random states are what they would be without. Each call of the model counts, so
        leave validation out of the block.

        Parameters
        ----------
        model : torch.nn.Module
            What the loop calls.
        step : int, optional
            Epoch, optimizer step, or anything else that counts; by default one more than the largest, first
            0.
        every : int
            Look at the first of so many forward passes; in the others the model runs with one empty hook.

        Returns
        -------
        Watch
            Its ``summary`` holds what was seen so far.

        Raises
        ------
        ValueError
            If the step is in the table already, ``every`` is no whole number from 1, or no layer matches.
        """
        if not isinstance(every, int | np.integer) or every < 1:
            raise ValueError(f"every={every!r}: give a whole number of forward passes, at least 1")
        step = self._checked(step)
        window = default_window() if self._window is None else self._window
        summary = Summary(window, bin_size=self._bin_size, seed=self._selection.seed)
        return Watch(model, self._selection, summary, step, int(every), self._add)

    def metrics(self, step: int | None = None) -> dict[str, float]:
        """Return the columns :data:`METRICS` of one step, for a logger.

        Parameters
        ----------
        step : int, optional
            By default the one observed last.

        Returns
        -------
        dict of str to float
            ``"<layer>/<column>"``, with the names of :attr:`table`, and ``"network/seconds"``. Undefined
            values, such as the Fano factor of silent units, are left out.

        Raises
        ------
        ValueError
            If the step is not in the table.

        Examples
        --------
        >>> import torch
        >>> monitor = Monitor(window=2)
        >>> _ = monitor.observe(nn.ReLU(), torch.tensor([[1.0, -1.0], [1.0, -1.0]]))
        >>> metrics = monitor.metrics()
        >>> metrics["ReLU/dead_fraction"], metrics["network/mean_firing_rate_mean"]
        (0.5, 500.0)
        """
        if step is None and self._rows:
            step = self.steps[-1]
        if step not in self._rows:
            raise ValueError(f"step {step} was not observed: the table has {self.steps}")
        rows = self._rows[step]
        told = {
            f"{row['layer']}/{column}": float(row[column])
            for row in rows.to_dict("records")
            for column in METRICS
            if np.isfinite(row[column])
        }
        return {**told, "network/seconds": float(rows["seconds"].iloc[0])}

    def state_dict(self) -> dict[str, Any]:
        """Return the table as plain values, for the checkpoint of a training.

        Examples
        --------
        >>> import torch
        >>> monitor = Monitor()
        >>> _ = monitor.observe(nn.ReLU(), torch.ones(3, 2))
        >>> resumed = Monitor()
        >>> resumed.load_state_dict(monitor.state_dict())
        >>> resumed.table.equals(monitor.table)
        True
        """
        return {"table": {name: column.tolist() for name, column in self.table.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the table by that of a state_dict; observing goes on from there."""
        import pandas as pd

        table = pd.DataFrame(state["table"])
        self._rows = {int(step): rows for step, rows in table.groupby("step", sort=False)}

    def __repr__(self) -> str:
        seconds = sum(float(rows["seconds"].iloc[0]) for rows in self._rows.values())
        return f"Monitor({len(self._rows)} steps, {seconds:.3g} s)"

    def _checked(self, step: int | None) -> int:
        if step is None:
            return max(self._rows, default=-1) + 1
        if not isinstance(step, int | np.integer) or isinstance(step, bool):
            raise ValueError(f"step={step!r}: give a whole number, of the epoch say")
        if step in self._rows:
            raise ValueError(
                f"step {step} was observed already: give another one, or none, which is then "
                f"{max(self._rows) + 1}"
            )
        return int(step)

    def _add(self, step: int, layers: pd.DataFrame, n_bins: int, seconds: float) -> None:
        self._checked(step)  # two watches, one within the other, may have begun with the same
        rows = layers.assign(n_bins=n_bins, seconds=seconds)
        rows.insert(0, "step", step)
        self._rows[step] = rows
