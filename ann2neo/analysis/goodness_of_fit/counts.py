"""Tests of counts in windows: their dispersion beside Poisson's and the binomial one."""

from __future__ import annotations

import numpy as np

from ...summary.summary import Summary
from .enough import too_few
from .outcome import ALWAYS_ON, SILENT, Outcome, first_reasons


def _dispersion(summary: Summary, free: np.ndarray, scale: float, reason: np.ndarray) -> Outcome:
    """Compare Σ(c − c̄)²/(c̄ · free) with scale · χ² of mean n_windows − 1, on both sides.

    The statistic is discrete: to move one spike changes Σ(c − c̄)² by an even number. Each value therefore
    stands for the interval of a step around it, and counts by half in either tail (the mid-p value). In few
    windows, equal counts would otherwise have a p-value of 0.
    """
    from scipy.stats import chi2

    sums = summary.sums
    n, total = sums.n_windows, sums.sum_counts
    with np.errstate(divide="ignore", invalid="ignore"):
        dispersion = (n * sums.sum_counts_squared - total**2) / (total * free)
        half = n / (total * free)  # of a step, 2 / (mean count · free)
    statistic = np.where(reason == 0, dispersion, np.nan)
    freedom = np.maximum(n - 1, 1)
    null = chi2(freedom / scale, scale=scale)
    below, above = statistic - half, statistic + half
    tail = np.minimum(null.cdf(below) + null.cdf(above), null.sf(below) + null.sf(above)) / 2
    return Outcome(statistic, np.minimum(1.0, 2 * tail), statistic / freedom, reason)


def poisson_dispersion(summary: Summary) -> Outcome:
    r"""Test the counts in windows against a Poisson process by their dispersion, two-sided.

    .. math:: X = \sum_i (c_i - \bar c)^2 / \bar c = n_\mathrm{windows} \cdot \mathrm{FF}

    A Poisson process gives :math:`\chi^2` of n_windows − 1 degrees of freedom. A Bernoulli process gives
    1 − p times that, so the test rejects memoryless units of large p: it is only half of a pair with
    :func:`binomial_dispersion`.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        The effect is X / (n_windows − 1), variance over mean of the counts. NaN for silent units, for a
        single window, and where the N spikes in the n windows are too few for :math:`\chi^2` (N < 20 or
        N² < 20 n).

    References
    ----------
    R. A. Fisher (1950), The significance of deviations from expectation in a Poisson series,
    Biometrics 6.

    Examples
    --------
    A memoryless unit with p = 0.1 and one with p = 0.5:

    >>> from ann2neo import Recording, SpikeRaster
    >>> dense = np.random.default_rng(0).random((2, 10_000)) < [[0.1], [0.5]]
    >>> summary = Recording({"relu": SpikeRaster.from_dense(dense)}).summarize(window=100)
    >>> poisson_dispersion(summary).pvalue.round(2)
    array([0.87, 0.  ])
    """
    sums = summary.sums
    reason = first_reasons(
        len(sums.n_spikes),
        (sums.n_spikes == 0, SILENT),
        (sums.n_windows < 2, "fewer than two windows"),
        (too_few(sums.sum_counts, sums.n_windows), "too few spikes"),
    )
    return _dispersion(summary, np.array(1.0), 1.0, reason)


def binomial_dispersion(summary: Summary) -> Outcome:
    r"""Test the counts in windows of W bins against a Bernoulli process, two-sided.

    .. math:: X = \sum_i \frac{(c_i - \bar c)^2}{\bar c (1 - \bar c / W)}

    This is Pearson's statistic of the 2 × n_windows table of bins with and without spike. Independent bins
    give it mean n_windows − 1 and variance 2 (n_windows − 1)(1 − 1/W), less than that of :math:`\chi^2` when
    windows are short. The null is therefore a :math:`\chi^2` scaled to have this mean and variance.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        The effect is X / (n_windows − 1), variance of the counts over that of independent bins. NaN for
        silent and always-on units, for a single window, for windows of one bin (which hold nothing beyond
        p), and where the n windows hold N spikes, or N empty bins, and these are too few (N < 20 or
        N² < 20 n).

    References
    ----------
    W. G. Cochran (1954), Some methods for strengthening the common χ² tests, Biometrics 10.

    Examples
    --------
    A memoryless unit with p = 0.1 and one with p = 0.5:

    >>> from ann2neo import Recording, SpikeRaster
    >>> dense = np.random.default_rng(0).random((2, 10_000)) < [[0.1], [0.5]]
    >>> summary = Recording({"relu": SpikeRaster.from_dense(dense)}).summarize(window=100)
    >>> binomial_dispersion(summary).pvalue.round(2)
    array([0.54, 0.69])
    """
    sums, window = summary.sums, summary.window
    n_bins = np.maximum(1, sums.n_windows * window)  # a part of a presentation can have no whole window
    reason = first_reasons(
        len(sums.n_spikes),
        (sums.n_spikes == 0, SILENT),
        (sums.n_spikes == sums.n_bins, ALWAYS_ON),
        (sums.n_windows < 2, "fewer than two windows"),
        (window < 2, "windows of one bin"),
        (too_few(sums.sum_counts, sums.n_windows), "too few spikes"),
        (too_few(n_bins - sums.sum_counts, sums.n_windows), "too few bins without spike"),
    )
    return _dispersion(summary, 1 - sums.sum_counts / n_bins, 1 - 1 / max(window, 2), reason)
