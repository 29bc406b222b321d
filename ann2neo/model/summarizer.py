"""Summarize a live model: the statistics of all its units, without keeping their spikes."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ..recording.recording import as_json
from ..recording.threshold import needs_calibration
from ..recording.time import divide
from ..recording.units import Layer
from ..summary.kernels.windows import default_window
from ..summary.npz import check_can_be_kept
from ..summary.summary import SETTINGS, Summary
from .batches import batches, number_of_stimuli
from .evaluation import evaluation, parameters_sha256
from .hooks.selection import TimeDim, unwrapped
from .probe import Probe, as_annotation
from .recorder import calibrated

SECONDS_BETWEEN_CHECKPOINTS = 60.0

NOT_COMPARED = {"n_batches", "n_steps", "interrupted", "threshold"}
"""What may differ from a checkpoint that is continued; thresholds are compared unit by unit."""


class SummaryError(RuntimeError):
    """Summarizing stopped before its end; ``summary`` holds what was added up until then.

    Parameters
    ----------
    message : str
        What happened.
    summary : Summary
        All complete forward passes until then.

    Examples
    --------
    >>> stimuli = torch.tensor([[1.0], [2.0], [float("nan")]])
    >>> try:
    ...     summarize(nn.ReLU(), stimuli, batch_size=2)
    ... except SummaryError as error:
    ...     error.summary.n_bins
    2
    """

    def __init__(self, message: str, summary: Summary) -> None:
        super().__init__(message)
        self.summary = summary


class _Sink:
    """Makes the summary when the first activation tells how many steps a stimulus has."""

    def __init__(
        self, settings: dict[str, Any], start: int, trials: tuple[int, ...] | None, lengths: Any
    ) -> None:
        self.settings, self.start, self.trials, self.lengths = settings, start, trials, lengths
        self.summary: Summary | None = None
        self.n_steps: int | None = 1

    def receive(
        self, layer: Layer, activation: torch.Tensor, threshold: np.ndarray, n_steps: np.ndarray
    ) -> None:
        first = int(n_steps[0]) if len(n_steps) else 1
        steps = first if (n_steps == first).all() else None
        if self.summary is None:
            self.n_steps = steps
            self.summary = self.make(steps)
        elif steps != self.n_steps:
            self.n_steps = None
            self._bins_of_trials(None)
        self.summary.receive(layer, activation, threshold, n_steps)

    def make(self, n_steps: int | None) -> Summary:
        """Return an empty summary for stimuli of so many steps; None: of different numbers of them."""
        bins = self._bins_of_trials(n_steps)
        window = self.settings["window"]
        if window is None:
            window = default_window(bins or ())
        start = self.start * (n_steps or 1)
        return Summary(**{**self.settings, "window": window}, trial_bins=bins, start=start)

    def _bins_of_trials(self, n_steps: int | None) -> tuple[int, ...] | None:
        if n_steps is None and self.start:
            raise ValueError(
                f"start={self.start}, but the stimuli take different numbers of steps: make one run over all"
            )
        if self.trials is None:
            return None
        if self.lengths is not None and len(self.lengths) == sum(self.trials):
            lengths = torch.as_tensor(self.lengths).split(self.trials)
            return tuple(int(trial.sum()) for trial in lengths)
        if n_steps is not None:
            return tuple(n * n_steps for n in self.trials)
        raise ValueError(
            f"{len(self.trials)} trials of stimuli that take different numbers of steps: give lengths= of "
            "all stimuli, or one trial"
        )

    @property
    def n_bins(self) -> int:
        """Bins added up so far."""
        return 0 if self.summary is None else self.summary.n_bins

    def complete(self, n_bins: int, *, allow_nan: bool = False) -> None:
        assert self.summary is not None
        self.summary.complete(n_bins, allow_nan=allow_nan)


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
    before.

    Parameters
    ----------
    model, stimuli, layers, units, threshold, calibration, bin_size, n_trials, time_dim, lengths
        As for :func:`ann2neo.record`.
    window : int, optional
        Bins in a counting window of the Fano factor; by default 100, or the shortest trial where that is
        shorter.
    start, n_stimuli : int
        Where the stimuli are a part of a longer presentation: how many come before them, and how many there
        are in all, by which trials are divided. The summaries of adjacent parts
        :meth:`merge <ann2neo.Summary.merge>` into that of the whole: see :mod:`ann2neo.summary.parts`.
    isi_histogram, n_correlated, backend
        As for :class:`ann2neo.Summary`.
    checkpoint : path, optional
        A ``.npz`` file, written once a minute and at the end. If it exists, the stimuli that it holds are
        passed over and the run goes on from there, to the same numbers; give the same stimuli in the same
        order and batches, and the same annotations.
    batch_size, device, progress, seed, allow_nan, annotations
        As for :func:`ann2neo.record`.

    Returns
    -------
    Summary
        On Ctrl-C, what was added up until then, with a warning and the annotation ``interrupted``.

    Raises
    ------
    ValueError, TypeError
        As by :func:`ann2neo.record`; and if a checkpoint is damaged, or of another model, other thresholds
        or other settings.
    SummaryError
        If anything fails after the first batch: its ``summary`` holds the batches until then.

    Notes
    -----
    A batch of another size can round differently, and so move an activation across its threshold: results
    are equal bit for bit when the batches are.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> stimuli = torch.randn(1000, 2)
    >>> summary = summarize(model, stimuli, window=50)
    >>> from ann2neo import record
    >>> summary.units.equals(record(model, stimuli).summarize(window=50).units)
    True
    """
    layers = list(layers) if isinstance(layers, Iterator) else layers
    selection = {"layers": layers, "units": units, "time_dim": time_dim, "seed": seed}
    known = number_of_stimuli(stimuli) if n_stimuli is None else n_stimuli
    if n_trials != 1 and known is None:
        raise ValueError(f"n_trials={n_trials}: give n_stimuli=, as the stimuli do not tell their number")
    trials = None if n_trials == 1 and n_stimuli is None else divide(known or 0, n_trials)
    settings = {
        "window": window,
        "bin_size": bin_size,
        "isi_histogram": isi_histogram,
        "n_correlated": n_correlated,
        "seed": seed,
        "backend": backend,
    }
    sink = _Sink(settings, start, trials, lengths)
    about = {
        "model": type(unwrapped(model)).__name__,
        "threshold": as_annotation(threshold),
        **(annotations or {}),
    }
    as_json(about)  # what cannot be kept is refused before the work is done
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None:
        check_can_be_kept(path)
    with evaluation(model, device) as where:
        n_done = 0
        if path is not None or start or n_stimuli is not None:  # others must be able to tell the model
            about["parameters_sha256"] = parameters_sha256(model)
        if path is not None and path.exists():
            n_done = _resume(path, sink, about, batch_size)
        if needs_calibration(threshold):
            threshold = calibrated(model, calibration, threshold, batch_size, where, selection, allow_nan)
        probe = Probe(model, threshold=threshold, allow_nan=allow_nan, into=[sink], **selection)
        progress_of = _Progress(sink, about, path, n_done, batch_size)
        bar = tqdm(
            total=number_of_stimuli(stimuli), desc="summarizing", unit=" stimuli", disable=not progress
        )
        with probe, bar:
            try:
                by_mask = time_dim is not None
                shown = batches(stimuli, batch_size, model, lengths=lengths, mask=by_mask)
                for i, batch in enumerate(shown):
                    if i >= n_done:
                        probe.present(batch, where)
                        progress_of.batch_is_done()
                    bar.update(len(batch))
            except KeyboardInterrupt:
                if not sink.n_bins:
                    raise
                warnings.warn(
                    f"interrupted: returning the {sink.n_bins} bins added up so far",
                    stacklevel=2,
                )
                return progress_of.result(interrupted=True)
            except Exception as error:
                if not sink.n_bins:
                    raise
                raise SummaryError(
                    f"stopped after {sink.n_bins} bins, which are in this error's .summary: {error}",
                    progress_of.result(interrupted=True),
                ) from error
    return progress_of.result()


class _Progress:
    """How far a run is, and its checkpoint."""

    def __init__(
        self, sink: _Sink, about: dict[str, Any], path: Path | None, n_batches: int, batch_size: int
    ) -> None:
        self.sink, self.about, self.path = sink, about, path
        self.n_batches, self.batch_size = n_batches, batch_size
        self.saved_at = time.monotonic()

    def batch_is_done(self) -> None:
        """Count a batch, and write a checkpoint where one is due."""
        self.n_batches += 1
        if self.path is not None and time.monotonic() - self.saved_at > SECONDS_BETWEEN_CHECKPOINTS:
            self.result(interrupted=True)
            self.saved_at = time.monotonic()

    def result(self, interrupted: bool = False) -> Summary:
        """Return the summary, annotated, as it is in the checkpoint."""
        assert self.sink.summary is not None
        so_far = {"n_batches": self.n_batches, "batch_size": self.batch_size, "n_steps": self.sink.n_steps}
        self.sink.summary.annotations = {
            **self.about,
            **(so_far if self.path is not None else {}),
            **({"interrupted": True} if interrupted else {}),
        }
        if self.path is not None:
            self.sink.summary.save(self.path)
        return self.sink.summary


def _resume(path: Path, sink: _Sink, about: Mapping[str, Any], batch_size: int) -> int:
    """Take up a checkpoint; return the number of batches that are in it."""
    summary = Summary.load(path)
    sink.n_steps = summary.annotations.get("n_steps", 1)
    planned = sink.make(sink.n_steps)
    about = {"batch_size": batch_size, **json.loads(as_json(about))}
    then, now = (
        {**told, **{name: getattr(each, name) for name in (*SETTINGS, "start")}}
        for told, each in ((summary.annotations, summary), (about, planned))
    )
    for name in sorted({**now, **then}.keys() - NOT_COMPARED):
        if then.get(name) != now.get(name):
            raise ValueError(
                f"{path} cannot be continued: {name} was {then.get(name)}, now it is {now.get(name)}. Run "
                "with what it was, or name another checkpoint"
            )
    sink.summary = summary
    return summary.annotations["n_batches"]
