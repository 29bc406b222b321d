"""Tests of order: runs of bins, and correlation of adjacent intervals."""

from __future__ import annotations

import numpy as np

from ...summary.statistics import cv_isi, serial_correlation_isi
from ...summary.summary import Summary
from .enough import FEWEST_SPIKES, few_in_trials
from .outcome import ALWAYS_ON, SILENT, Outcome, first_reasons

FEWEST_PAIRS = 50
"""The correlation of adjacent intervals is tested from this many pairs."""

TRIALS_FOR_PAIRS = 200
"""Pairs of intervals are tested in at most k³ / 200 trials of k spikes each."""


def runs(summary: Summary) -> Outcome:
    r"""Test the order of bins with and without spike for independence: Wald and Wolfowitz, two-sided.

    .. math:: Z = \frac{T - m \mu}{\sqrt{\mathrm{Var}(T)}}, \quad \mu = \frac{2 k (n - k)}{n (n - 1)}

    Of the m pairs of adjacent bins, T have a spike in one bin only; of the n bins, k have a spike. One trial
    has T + 1 runs. Mean and variance are taken over all orders of the same bins,

    .. math:: \mathrm{Var}(T) = m \mu (1 - \mu) + 2 c \left(\tfrac{\mu}{2} - \mu^2\right)
              + (m (m - 1) - 2 c) (\nu - \mu^2), \quad
              \nu = \frac{4 k (k - 1) (n - k) (n - k - 1)}{n (n - 1) (n - 2) (n - 3)}

    where c pairs of pairs share a bin. No pair spans a trial. A Bernoulli process, a Poisson process in short
    bins, and any train that was shuffled give a standard normal Z. Z < 0: spikes come in bursts; Z > 0: they
    alternate.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        The effect is 1 − T / (m μ), the correlation of adjacent bins: 0 for independent bins. NaN where the N
        bins with a spike, or the N bins without, are too few for a normal distribution (N² < 20 n).

    References
    ----------
    A. Wald and J. Wolfowitz (1940), On a test whether two samples are from the same population, Annals of
    Mathematical Statistics 11.

    Examples
    --------
    A memoryless unit, and one that repeats each bin:

    >>> from ann2neo import Recording, SpikeRaster
    >>> once = np.random.default_rng(0).random((1, 1000)) < 0.4
    >>> dense = np.concatenate([once, once[:, :500].repeat(2, axis=1)])
    >>> runs(Recording({"relu": SpikeRaster.from_dense(dense)}).summarize()).pvalue.round(2)
    array([0.53, 0.  ])
    """
    from scipy.stats import norm

    sums = summary.sums
    n, k, m = (each.astype(np.float64) for each in (sums.n_bins, sums.n_spikes, sums.n_adjacent))
    shared = sum(max(0, bins - 2) for bins in summary.time.trial_bins)
    with np.errstate(divide="ignore", invalid="ignore"):
        differ = 2 * k * (n - k) / (n * (n - 1))
        both_differ = differ * 2 * (k - 1) * (n - k - 1) / ((n - 2) * (n - 3))
        variance = m * differ * (1 - differ) + 2 * shared * (differ / 2 - differ**2)
        variance += (m * (m - 1) - 2 * shared) * (both_differ - differ**2)
        z = (sums.n_transitions - m * differ) / np.sqrt(variance)
        correlation = 1 - sums.n_transitions / (m * differ)
    reason = first_reasons(
        len(n),
        (k == 0, SILENT),
        (k == n, ALWAYS_ON),
        ((k**2 < FEWEST_SPIKES * n) | (n <= 3), "too few spikes"),
        ((n - k) ** 2 < FEWEST_SPIKES * n, "too few bins without spike"),
        (m == 0, "no adjacent bins"),
    )
    statistic, effect = np.where(reason == 0, (z, correlation), np.nan)
    return Outcome(statistic, 2 * norm.sf(np.abs(statistic)), effect, reason)


def serial_correlation(summary: Summary) -> Outcome:
    r"""Test adjacent intervals for correlation, two-sided.

    .. math:: Z = \frac{r + 1/n}{\sqrt{\mathrm{Var}(r)}}, \quad
              \mathrm{Var}(r) = \frac{1}{m} + \frac{1}{\mathrm{CV}^2}
              \left(\frac{4}{m} - \frac{2 (n - m)}{m^2} - \frac{4}{n}\right)

    where r is the correlation over m pairs of the n intervals, :func:`.serial_correlation_isi`. The second
    term comes from intervals at the ends of trials, which are in one pair only; in one trial it is small. A
    renewal process, such as Poisson or Bernoulli, gives a standard normal Z. Unlike :func:`runs`, the test
    holds for any distribution of the intervals.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        The effect is r + 1/n: 0 for independent intervals. NaN for intervals that do not vary; for fewer than
        10 spikes a trial, or more than k³ / 200 trials of k spikes each (they cut off long intervals); for
        fewer than ``FEWEST_PAIRS`` pairs; and where N of the n bins are without a spike and N² < 20 n.

    References
    ----------
    D. R. Cox and P. A. W. Lewis (1966), The Statistical Analysis of Series of Events, Methuen.

    Examples
    --------
    A memoryless unit, and one whose long and short intervals take turns:

    >>> from ann2neo import Recording, SpikeRaster
    >>> dense = np.random.default_rng(0).random((2, 3000)) < 0.2
    >>> dense[1] = [i % 9 in (0, 2 + i // 9 % 3) for i in range(3000)]
    >>> serial_correlation(Recording({"relu": SpikeRaster.from_dense(dense)}).summarize()).pvalue.round(2)
    array([0.23, 0.  ])
    """
    from scipy.stats import norm

    sums = summary.sums
    n, m = (each.astype(np.float64) for each in (sums.n_isis, sums.n_isi_pairs))
    with np.errstate(divide="ignore", invalid="ignore"):
        at_ends = (4 / m - 2 * (n - m) / m**2 - 4 / n) / cv_isi(sums) ** 2
        correlation = serial_correlation_isi(sums) + 1 / n
        z = correlation / np.sqrt(1 / m + at_ends)
    reason = first_reasons(
        len(n),
        (sums.n_spikes == 0, SILENT),
        (few_in_trials(summary, TRIALS_FOR_PAIRS), "too few spikes in a trial"),
        (m < FEWEST_PAIRS, "too few intervals"),
        (~np.isfinite(z), "intervals all alike"),
        ((sums.n_bins - sums.n_spikes) ** 2 < FEWEST_SPIKES * sums.n_bins, "too few bins without spike"),
    )
    statistic, effect = np.where(reason == 0, (z, correlation), np.nan)
    return Outcome(statistic, 2 * norm.sf(np.abs(statistic)), effect, reason)
