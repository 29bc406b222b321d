"""Whether a unit has enough spikes for a test: limits that several tests share."""

from __future__ import annotations

import numpy as np

from ...summary.summary import Summary

FEWEST_SPIKES = 20
"""Sums of N spikes are taken as normal from N = 20 on, if also N² ≥ 20 n where they are in n places."""

FEWEST_SPIKES_PER_TRIAL = 10
"""Intervals are tested from this many spikes per trial: the end of a trial cuts off a long interval."""

TRIALS_FOR_INTERVALS = 10
"""Intervals are tested in at most k³ / 10 trials of k spikes each."""


def too_few(counted: np.ndarray, n: np.ndarray | int) -> np.ndarray:
    """Return whether N things in n places are too few for a normal distribution: N < 20 or N² < 20 n.

    From these limits on, the 5 % tests of dispersion reject 3.5 % to 6 % of simulated memoryless units close
    to the limits, and 5 % elsewhere.

    Examples
    --------
    >>> too_few(np.array([19, 20, 20, 45]), np.array([1, 20, 21, 100])).tolist()
    [True, False, True, False]
    """
    return (counted < FEWEST_SPIKES) | (counted**2 < FEWEST_SPIKES * n)


def few_in_trials(summary: Summary, trials: int = TRIALS_FOR_INTERVALS) -> np.ndarray:
    """Return whether the trials of each unit are too short, or too many, for its intervals: bool (n_units,).

    A trial cuts off long intervals. That biases their statistics by about 1 / k² where a trial has k spikes,
    and the more trials there are, the smaller a bias a test finds. So at least 10 spikes a trial are needed,
    and at most k³ / ``trials`` trials.
    """
    n_trials = summary.time.n_trials
    per_trial: np.ndarray = summary.sums.n_spikes / n_trials
    return (per_trial < FEWEST_SPIKES_PER_TRIAL) | ((n_trials > 1) & (per_trial**3 < trials * n_trials))
