"""Follow a network through its training: what its units do, step after step, in one table."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..recording.threshold import needs_calibration
from ..recording.units import Layer
from ..summary.kernels.windows import default_window
from ..summary.summary import Summary
from .hooks.selection import TimeDim, unwrapped
from .probe import Probe
from .summarizer import summarize

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
    layers, units, window, bin_size, time_dim, batch_size, device, seed, allow_nan
        As for :func:`ann2neo.summarize`. While the network trains, a NaN that is not allowed ends the
        training, with an error that names the layer.
    threshold : float, array, or dict
        As for :class:`ann2neo.Probe`: numbers, the same at every step. For a rule, give what
        :func:`ann2neo.calibrate` returns.

    Raises
    ------
    ValueError
        If the threshold is a rule.

    Examples
    --------
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
        batch_size: int = 128,
        device: Any = None,
        seed: int = 0,
        allow_nan: bool = False,
    ) -> None:
        if needs_calibration(threshold):
            raise ValueError(
                f"threshold={threshold!r} would be another number at every step: give what "
                "ann2neo.calibrate(model, stimuli, threshold) returns"
            )
        layers = layers if layers is None or isinstance(layers, str | type) else list(layers)
        self._looks_at = {
            "layers": layers,
            "units": units,
            "threshold": threshold,
            "time_dim": time_dim,
            "seed": seed,
            "allow_nan": allow_nan,
        }
        self._window, self._bin_size, self._seed = window, bin_size, seed
        self._shows = {"batch_size": batch_size, "device": device}
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
        random state are then as before. ``seconds`` are wall-clock time, all that this took.

        Parameters
        ----------
        model : torch.nn.Module
            The network; its layers may be others than at the last step.
        stimuli
            As for :func:`ann2neo.summarize`: the same at every step, to compare steps.
        step : int, optional
            Epoch, optimizer step, or whatever counts; by default one more than the largest, first 0.

        Returns
        -------
        Summary
            Of these stimuli, with the values of each unit.

        Raises
        ------
        ValueError
            If the step is in the table already, or as by :func:`ann2neo.summarize`.
        SummaryError
            As by :func:`ann2neo.summarize`; then nothing is added.
        """
        step = self._checked(step)
        clock = _Clock()
        with clock:
            summary = summarize(
                model, stimuli, window=self._window, bin_size=self._bin_size, **self._looks_at, **self._shows
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
            As for :meth:`observe`.
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
        summary = Summary(window, bin_size=self._bin_size, seed=self._seed)
        return Watch(self, model, step, int(every), summary)

    def metrics(self, step: int | None = None) -> dict[str, float]:
        """Return the columns :data:`METRICS` of one step, for a logger.

        Parameters
        ----------
        step : int, optional
            By default the one observed last.

        Returns
        -------
        dict of str to float
            ``"<layer>/<column>"``, with the names of :attr:`table`, and ``"network/seconds"``. What is
            undefined, as the Fano factor of silent units, is left out.

        Raises
        ------
        ValueError
            If the step is not in the table.

        Examples
        --------
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
        >>> monitor = Monitor()
        >>> _ = monitor.observe(nn.ReLU(), torch.ones(3, 2))
        >>> resumed = Monitor()
        >>> resumed.load_state_dict(monitor.state_dict())
        >>> resumed.table.equals(monitor.table)
        True
        """
        return {"table": {name: column.tolist() for name, column in self.table.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the table of a state_dict, in place of this one's; observing goes on from there."""
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
                f"step {step} was observed already: give another one, or none, which counts on from "
                f"{max(self._rows)}"
            )
        return int(step)

    def _add(self, step: int, layers: pd.DataFrame, n_bins: int, seconds: float) -> None:
        self._checked(step)  # two watches, one within the other, may have begun with the same
        rows = layers.assign(n_bins=n_bins, seconds=seconds)
        rows.insert(0, "step", step)
        self._rows[step] = rows


class Watch:
    """What :meth:`Monitor.watch` gives: a probe on a training loop that can pause.

    ``seconds`` in its rows are wall-clock time spent in taking activations in, adding them up, switching
    the probe on and off, and making the table. On a GPU adding up waits until the forward pass has been
    computed, and this wait counts, too. The search for activations that are functions does not: it slows
    the forward pass down a little where ``layers`` does not name modules.

    Examples
    --------
    >>> model, monitor = nn.ReLU(), Monitor(window=4)
    >>> with monitor.watch(model) as watch:
    ...     _ = model(torch.ones(8, 2))
    ...     watch.pause()
    ...     _ = model(torch.ones(50, 2))  # a validation
    ...     watch.resume()
    ...     _ = model(torch.ones(8, 2))
    >>> watch.summary.n_bins
    16
    """

    def __init__(self, monitor: Monitor, model: nn.Module, step: int, every: int, summary: Summary) -> None:
        self.summary, self.step = summary, step
        self._monitor, self._model, self._every = monitor, model, every
        self._clock = _Clock()
        self._probe = Probe(model, into=[_Timed(summary, self._clock)], **monitor._looks_at)
        self._n_passes = 0
        self._while_on = ExitStack()
        self._is_over = False

    def __enter__(self) -> Watch:
        self.resume()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def announce(self, *, lengths: Any = None, mask: Any = None) -> None:
        """Tell which steps of the stimuli in the next pass are no padding: see :meth:`Probe.announce`."""
        self._probe.announce(lengths=lengths, mask=mask)

    def resume(self) -> None:
        """Look at the model's passes from now on."""
        if self._is_over:
            raise RuntimeError(f"the watch of step {self.step} is over: begin another one")
        self.pause()
        with self._clock:
            if self._n_passes % self._every == 0:
                self._while_on.enter_context(self._probe)
            if self._every > 1:
                # it runs after the hooks of the probe, which complete the pass, so it is made after them
                handle = unwrapped(self._model).register_forward_hook(self._pass_is_done)
                self._while_on.callback(handle.remove)

    def pause(self) -> None:
        """Look away: the model has no hook."""
        with self._clock:
            self._while_on.close()

    def close(self) -> None:
        """Look away for good, and add the rows of what was seen to the monitor's table."""
        self.pause()
        if self._is_over:
            return
        self._is_over = True
        if self.summary.n_bins:
            with self._clock:
                layers = self.summary.layers
            self._monitor._add(self.step, layers, self.summary.n_bins, self._clock.seconds)
        elif sys.exc_info()[0] is None:
            model = type(unwrapped(self._model)).__name__
            warnings.warn(
                f"step {self.step} is not in the table: no forward pass of {model} was completed in the "
                "block. Watch what the loop calls, not what it is a part of; a call of its forward method or "
                "of its parts does not count",
                stacklevel=3,
            )

    @torch.compiler.disable
    def _pass_is_done(self, *_: Any) -> None:
        self._n_passes += 1
        self.resume()


class _Clock:
    """Adds up the wall-clock time spent within it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self.seconds += time.perf_counter() - self._since


class _Timed:
    """Passes on to a summary what a probe pushes, and takes the time."""

    def __init__(self, summary: Summary, clock: _Clock) -> None:
        self._summary, self._clock = summary, clock

    def receive(
        self, layer: Layer, activation: torch.Tensor, threshold: np.ndarray, n_steps: np.ndarray
    ) -> None:
        with self._clock:
            self._summary.receive(layer, activation, threshold, n_steps)

    def complete(self, n_bins: int, *, allow_nan: bool = False) -> None:
        with self._clock:
            self._summary.complete(n_bins, allow_nan=allow_nan)
