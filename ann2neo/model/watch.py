"""A probe on a training loop that can pause, and takes the time."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..recording.units import Layer
from ..summary.summary import Summary
from .hooks.hooks import Hooks
from .hooks.names import unwrapped
from .hooks.selection import Selection
from .hooks.watching.eagerly import load_compiler
from .hooks.watching.interception import intercept, release
from .probe import shown_steps
from .sinks.sink import Pushing

if TYPE_CHECKING:
    import pandas as pd


class Watch:
    """A probe on a training loop that can pause, as :meth:`ann2neo.Monitor.watch` returns it.

    ``seconds`` in its rows are wall-clock time spent in taking activations in, adding them up, switching
    the hooks on and off, and making the table. On a GPU adding up waits until the forward pass has been
    computed, and this wait counts, too. Looking for activations that are functions is not counted: it slows
    the forward pass down a little where ``layers`` does not name modules.

    Parameters
    ----------
    model : torch.nn.Module
        What the loop calls.
    selection : Selection
        What to look at.
    summary : Summary
        What to add to.
    step : int
        The step in the table.
    every : int
        Look at the first of so many forward passes.
    add : callable
        Called at the end with step, table of layers, number of bins, and seconds.

    Examples
    --------
    >>> from ann2neo import Monitor
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

    def __init__(
        self,
        model: nn.Module,
        selection: Selection,
        summary: Summary,
        step: int,
        every: int,
        add: Callable[[int, pd.DataFrame, int, float], None],
    ) -> None:
        self.summary, self.step = summary, step
        self._model, self._every, self._add = model, every, add
        self._clock = Clock()
        pushing = Pushing(selection, [_Timed(summary, self._clock)])
        self._hooks = Hooks(model, selection, pushing.take, pushing.keep)
        self._n_passes, self._is_in_pass = 0, False
        self._while_on = ExitStack()
        self._is_over = self._is_in_block = False

    def __enter__(self) -> Watch:
        load_compiler()
        self.resume()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

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
        """
        self._hooks.announce(shown_steps(lengths, mask))

    @contextmanager
    def stimulus(self) -> Iterator[None]:
        """Take all forward passes in a block for steps of the same stimuli: see :meth:`Probe.stimulus`.

        With ``every``, a block counts as one pass.
        """
        if self._is_in_block:
            raise RuntimeError("this is within the block of a stimulus already: leave that one first")
        self._is_in_block = True
        try:
            with self._hooks.stimulus() if self._hooks.is_on else nullcontext():
                yield
        finally:
            self._is_in_block = False
        if self._every > 1:
            self._pass_is_done()

    def resume(self) -> None:
        """Look at the model's passes from now on."""
        if self._is_over:
            raise RuntimeError(f"the watch of step {self.step} is over: begin another one")
        self.pause()
        with self._clock:
            if self._n_passes % self._every == 0:
                self._while_on.enter_context(self._hooks)
            if self._every > 1:
                # the outermost, after the hooks have completed the pass, so it comes after them; what the
                # loop calls may be a wrapper, too, in which compiled code does not call the model
                for model in dict.fromkeys((unwrapped(self._model), self._model)):
                    self._while_on.callback(release, model, self._around_a_pass)
                    intercept(model, self._around_a_pass)

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
            self._add(self.step, layers, self.summary.n_bins, self._clock.seconds)
        elif sys.exc_info()[0] is None:
            model = type(unwrapped(self._model)).__name__
            warnings.warn(
                f"step {self.step} is not in the table: no forward pass of {model} was completed in the "
                "block. Watch the very module that the loop calls. A call of its forward method or of its "
                "parts does not count",
                stacklevel=3,
            )

    def _around_a_pass(self, call: Callable[[], Any], args: Any, kwargs: Any) -> Any:
        if self._is_in_pass:
            return call()
        self._is_in_pass = True
        try:
            output = call()
        finally:
            self._is_in_pass = False
        self._pass_is_done()
        return output

    def _pass_is_done(self) -> None:
        if not self._is_in_block:
            self._n_passes += 1
            self.resume()


class Clock:
    """Adds up the wall-clock time spent within it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self.seconds += time.perf_counter() - self._since


class _Timed:
    """Passes on to a summary what is pushed, and takes the time."""

    def __init__(self, summary: Summary, clock: Clock) -> None:
        self._summary, self._clock = summary, clock

    def receive(
        self, layer: Layer, activation: torch.Tensor, threshold: np.ndarray, n_steps: np.ndarray
    ) -> None:
        with self._clock:
            self._summary.receive(layer, activation, threshold, n_steps)

    def complete(self, n_bins: int, *, allow_nan: bool = False) -> None:
        with self._clock:
            self._summary.complete(n_bins, allow_nan=allow_nan)
