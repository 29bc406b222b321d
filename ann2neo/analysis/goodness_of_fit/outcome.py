"""What a test gives for all units, and why it says nothing of some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...summary.summary import Summary

FEWEST_SPIKES = 20
"""Dispersion is tested from this many spikes N in the windows, if also N² ≥ 20 · n_windows."""

FEWEST_SPIKES_PER_TRIAL = 10
"""Intervals are tested from this many spikes per trial: trials cut off long intervals."""

TRIALS_FOR_INTERVALS, TRIALS_FOR_PAIRS = 10, 200
"""Tests want k³ / so many trials at most where each has k spikes: that trials cut off long intervals biases
them by about 1/k², which more trials show the better."""

FEWEST_PAIRS = 50
"""Their correlation is tested from this many pairs of intervals."""

NO_HISTOGRAM, SILENT, ALWAYS_ON = "no histogram of intervals", "silent", "always on"

REASONS = (
    "",
    NO_HISTOGRAM,
    SILENT,
    ALWAYS_ON,
    "fewer than two windows",
    "windows of one bin",
    "too few spikes",
    "too few spikes in a trial",
    "too few bins without spike",
    "no adjacent bins",
    "too few intervals",
    "intervals too long",
    "intervals all alike",
)
"""Why a unit has no p-value; the first, empty one is of units that have one."""


class Outcome(NamedTuple):
    """What a test says of every unit: arrays (n_units,), NaN where it cannot be made.

    Parameters
    ----------
    statistic : numpy.ndarray
        float64.
    pvalue : numpy.ndarray
        float64: how often the null gives a statistic as far out.
    effect : numpy.ndarray
        float64: how far a unit is from the null. Unlike a p-value, it does not grow with the recording.
    reason : numpy.ndarray
        int8: index into :data:`REASONS`, of why there is no p-value; 0 where there is one.
    """

    statistic: np.ndarray
    pvalue: np.ndarray
    effect: np.ndarray
    reason: np.ndarray


def _reasons(n_units: int, *of_units: tuple[np.ndarray | bool, str]) -> np.ndarray:
    """Return the first reason that holds of each unit, as a number: int8 (n_units,)."""
    conditions = [np.broadcast_to(holds, (n_units,)) for holds, _ in of_units]
    return np.select(conditions, [REASONS.index(why) for _, why in of_units], 0).astype(np.int8)


@dataclass(frozen=True)
class GoodnessOfFit:
    """One test of all units against one process.

    Parameters
    ----------
    name : str
        Stem of the columns ``<name>_statistic``, ``_pvalue``, ``_qvalue`` and ``_effect``.
    process : {"poisson", "bernoulli", "renewal"}
        The null hypothesis. Poisson and Bernoulli processes are renewal processes, too.
    of : str
        What of a train it looks at, in a word.
    description : str
        One phrase for tables, plots and files.
    effect : str
        What the effect size is, and what it is under the null.
    function : callable
        Summary → :class:`Outcome`.
    """

    name: str
    process: str
    of: str
    description: str
    effect: str
    function: Callable[[Summary], Outcome]


def _too_few(summary: Summary, counted: np.ndarray) -> np.ndarray:
    n = summary.sums.n_windows
    return (counted < FEWEST_SPIKES) | (counted**2 < FEWEST_SPIKES * n)


def _few_in_trials(summary: Summary, trials: int = TRIALS_FOR_INTERVALS) -> np.ndarray:
    n_trials = summary.time.n_trials
    per_trial = summary.sums.n_spikes / n_trials
    return (per_trial < FEWEST_SPIKES_PER_TRIAL) | ((n_trials > 1) & (per_trial**3 < trials * n_trials))
