"""A summary that is made when the first activations come, since only they show the steps of a stimulus."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...recording.time import PseudoTime, milliseconds
from ...recording.units import Layer
from ...summary.kernels.windows import default_window
from ...summary.summary import Summary


class GrowingSummary:
    """Takes activations in, and makes the summary of them with the first.

    Parameters
    ----------
    window : int, optional
        Bins in a counting window; by default what leaves 50 windows, or 100 where it is not known how many
        bins will come: see :func:`.default_window`.
    bin_size, isi_histogram, n_correlated, seed, backend
        As for :class:`ann2neo.Summary`.
    start : int
        Number of stimuli that come before.
    trials : tuple of int, optional
        Number of stimuli in each trial; by default all is one trial.
    lengths : array, optional
        int (n_stimuli,), the bins of each stimulus, if they are told beforehand.

    Attributes
    ----------
    n_stimuli : int, optional
        How many stimuli will come in all, where that is known.

    Examples
    --------
    >>> growing = GrowingSummary(trials=(2, 2))
    >>> layer = Layer("rnn", (), (3,), np.arange(3))
    >>> growing.receive(layer, torch.ones(10, 3), np.zeros(3), np.array([5, 5]))  # stimuli of five steps
    >>> growing.complete(10)
    >>> growing.summary.trial_bins, growing.summary.window
    ((10, 10), 2)
    """

    def __init__(
        self,
        window: int | None = None,
        *,
        bin_size: Any = 1.0,
        isi_histogram: bool = False,
        n_correlated: int = 50,
        seed: int = 0,
        backend: str | None = None,
        start: int = 0,
        trials: tuple[int, ...] | None = None,
        lengths: Any = None,
    ) -> None:
        self.window, self.bin_size, self.seed = window, bin_size, seed
        self.isi_histogram, self.n_correlated, self.backend = isi_histogram, n_correlated, backend
        self.start, self.trials, self.lengths = start, trials, lengths
        self.n_stimuli: int | None = None
        self.n_steps: int | None = 1
        self._summary: Summary | None = None

    @property
    def summary(self) -> Summary:
        """What was added up so far."""
        assert self._summary is not None
        return self._summary

    @property
    def n_bins(self) -> int:
        """Bins added up so far."""
        return 0 if self._summary is None else self._summary.n_bins

    def go_on(self, summary: Summary, n_steps: int | None) -> None:
        """Add to a summary that is there already, of stimuli of so many steps; None: of different numbers."""
        self._summary, self.n_steps = summary, n_steps

    def receive(
        self, layer: Layer, activation: torch.Tensor, threshold: np.ndarray, n_steps: np.ndarray
    ) -> None:
        """Take one layer's activations: see :meth:`Summary.receive`."""
        first = int(n_steps[0]) if len(n_steps) else 1
        steps = first if (n_steps == first).all() else None
        if self._summary is None:
            self.n_steps = steps
            self._summary = self.empty(steps)
        elif steps != self.n_steps:
            self.n_steps = None
            self._bins_of_trials(None)
        self._summary.receive(layer, activation, threshold, n_steps)

    def complete(self, n_bins: int, *, allow_nan: bool = False) -> None:
        """Make what all layers received in a forward pass count."""
        self.summary.complete(n_bins, allow_nan=allow_nan)

    def empty(self, n_steps: int | None) -> Summary:
        """Return an empty summary for stimuli of so many steps; None: of different numbers of them."""
        bins = self._bins_of_trials(n_steps)
        all_bins = bins or self._all_bins(n_steps)
        if all_bins and self.window is not None:
            PseudoTime(milliseconds(self.bin_size), all_bins).check_window(self.window)
        return Summary(
            default_window(all_bins) if self.window is None else self.window,
            bin_size=self.bin_size,
            trial_bins=bins,
            start=self.start * (n_steps or 1),
            isi_histogram=self.isi_histogram,
            n_correlated=self.n_correlated,
            seed=self.seed,
            backend=self.backend,
        )

    def check_window(self) -> None:
        """Raise ValueError if all bins, now that they are added up, are fewer than a counting window."""
        if self.window is not None and self.trials is None:
            PseudoTime(milliseconds(self.bin_size), (self.n_bins,)).check_window(self.window)

    def _all_bins(self, n_steps: int | None) -> tuple[int, ...]:
        """Return the bins of the one trial, as far as they are known."""
        if self.lengths is not None:
            return (int(torch.as_tensor(self.lengths).sum()),)
        return () if self.n_stimuli is None or n_steps is None else (self.n_stimuli * n_steps,)

    def _bins_of_trials(self, n_steps: int | None) -> tuple[int, ...] | None:
        if n_steps is None and self.start:
            raise ValueError(
                f"start={self.start}, but the stimuli take different numbers of steps: summarize them all in "
                "one run, without start="
            )
        if self.trials is None:
            return None
        if self.lengths is not None and len(self.lengths) == sum(self.trials):
            ends = np.cumsum(self.trials)
            lengths = np.asarray(torch.as_tensor(self.lengths).cpu())
            return tuple(int(of_trial.sum()) for of_trial in np.split(lengths, ends[:-1]))
        if n_steps is not None:
            return tuple(n * n_steps for n in self.trials)
        raise ValueError(
            f"{len(self.trials)} trials of stimuli that take different numbers of steps: give lengths= of "
            "all stimuli, or one trial"
        )
