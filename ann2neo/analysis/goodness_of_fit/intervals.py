"""Tests of intervals: exponential, geometric, rescaled by the estimated rate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...recording.raster import UNITS_AT_ONCE
from ...summary.statistics import LONGEST_ISI
from ...summary.summary import Summary
from .enough import few_in_trials
from .nulls import exponential_pvalue, rescaled_pvalue
from .outcome import ALWAYS_ON, NO_HISTOGRAM, SILENT, Outcome, first_reasons

FEWEST_IN_CELL = 5
"""Fewest intervals that a closed cell of the geometric test may be expected to hold."""

FEWEST_LONGER = 20
"""Fewest intervals that the open cell may be expected to hold: with 5, p < 10⁻³ comes too often."""

FEWEST_BEYOND_TWO = 10
"""Fewest intervals of more than two bins that must be expected for the rescaled test."""

WIDEST_CELL = LONGEST_ISI // 4
"""Most bins in a cell of the geometric test: units of low rate still have four cells."""

LARGEST_CELL_PROBABILITY = 0.3
"""Cells of the geometric test are widened as long as the first one holds at most this probability."""


def _by_blocks(function: Callable[[np.ndarray], np.ndarray], usable: np.ndarray) -> np.ndarray:
    """Apply a function of row numbers to usable rows, a bounded number at once; NaN elsewhere."""
    values = np.full(len(usable), np.nan)
    rows = np.flatnonzero(usable)
    for first in range(0, len(rows), UNITS_AT_ONCE):
        block = rows[first : first + UNITS_AT_ONCE]
        values[block] = function(block)
    return values


def _no_intervals(summary: Summary) -> tuple[tuple[np.ndarray | bool, str], ...]:
    """Return for which units no test of the histogram of intervals can be made, and why."""
    sums = summary.sums
    return (
        (sums.isi_histogram is None, NO_HISTOGRAM),
        (sums.n_spikes == 0, SILENT),
        (few_in_trials(summary), "too few spikes in a trial"),
        (sums.n_isis < 2, "too few intervals"),
    )


def exponential_isi(summary: Summary) -> Outcome:
    r"""Test the intervals against a Poisson process: Kolmogorov–Smirnov distance to exponential.

    .. math:: D = \sup_t \left| \hat F(t) - (1 - e^{-t / \bar I}) \right|

    D is exact for intervals of whole bins. Because the mean is estimated (Lilliefors), the p-value is
    that of Stephens' :math:`D^* = (D - 0.2/n)(\sqrt n + 0.26 + 0.5/\sqrt n)`, whose null is nearly
    the same for every number n of intervals: see :func:`.exponential_pvalue`. A Poisson process
    observed in short bins gives uniform p-values: 5 % are below 0.05 as long as p √n is at most about 0.15,
    12 % at 0.7. A Bernoulli process in longer bins has geometric intervals, and with enough of them the test
    rejects it: it is only half of a pair with :func:`geometric_isi`.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        Statistic and effect are D. NaN for silent units; for fewer than 10 spikes a trial, or more than
        k³ / 10 trials of k spikes each (they cut off long intervals); and for mean intervals above
        ``LONGEST_ISI`` bins. Only t ≤ ``LONGEST_ISI`` is compared, as longer intervals are counted together.
        D is rarely reached beyond, and the simulated size of the 5 % test stays 5 %.

    References
    ----------
    M. A. Stephens (1974), EDF statistics for goodness of fit and some comparisons, JASA 69.

    H. W. Lilliefors (1969), On the Kolmogorov–Smirnov test for the exponential distribution, JASA
    64.

    Examples
    --------
    A memoryless unit with p = 0.1 and one with p = 0.5:

    >>> from ann2neo import Recording, SpikeRaster
    >>> dense = np.random.default_rng(0).random((2, 10_000)) < [[0.1], [0.5]]
    >>> summary = Recording({"relu": SpikeRaster.from_dense(dense)}).summarize(window=100)
    >>> exponential_isi(summary).pvalue.round(2)
    array([0., 0.])
    """
    sums = summary.sums
    reason = first_reasons(
        len(sums.n_spikes),
        *_no_intervals(summary),
        # the mean, unlike the fraction of longer intervals, is independent of D under the null (Basu):
        # to choose by it does not bias the test
        (sums.sum_isi > LONGEST_ISI * sums.n_isis, "intervals too long"),
    )
    edges = np.arange(1, LONGEST_ISI + 1)

    def distance(rows: np.ndarray) -> np.ndarray:
        assert sums.isi_histogram is not None
        n = sums.n_isis[rows, None]
        ecdf = np.cumsum(sums.isi_histogram[rows, :-1], axis=1) / n
        cdf = -np.expm1(-edges * n / sums.sum_isi[rows, None])
        before = np.pad(ecdf[:, :-1], ((0, 0), (1, 0)))
        farthest: np.ndarray = np.maximum(np.abs(ecdf - cdf), np.abs(cdf - before)).max(axis=1)
        return farthest

    statistic = _by_blocks(distance, reason == 0)
    return Outcome(statistic, exponential_pvalue(statistic, sums.n_isis), statistic, reason)


def geometric_isi(summary: Summary) -> Outcome:
    r"""Test the intervals against a Bernoulli process: chi-square distance to geometric.

    Intervals are counted in J cells of w bins each and one open cell for longer ones. Geometric intervals
    counted by w bins are again geometric, with :math:`P = 1 - (1 - p)^w`. p is estimated from the mean of the
    intervals themselves; the Rao–Robson term makes up for that in Pearson's statistic of the counts
    :math:`O_j`,

    .. math:: Y = \sum_{j=0}^{J} \frac{(O_j - n \pi_j)^2}{n \pi_j}
              + \frac{\big(\sum_j O_j \, \partial_p \ln \pi_j\big)^2}{n (i - i_J)}, \quad
              i = \frac{1}{p^2 (1 - p)}, \quad i_J = \sum_j \frac{(\partial_p \pi_j)^2}{\pi_j}

    A Bernoulli process gives :math:`\chi^2` of J degrees of freedom. So does a Poisson process, where bins
    that would hold more than one spike are rare.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        The effect is √((Y − J) / n), 0 for Y < J: Cohen's w, less what chance gives. NaN for silent and
        always-on units; for fewer than 10 spikes a trial, or more than k³ / 10 trials of k spikes each (they
        cut off long intervals); and for too few intervals.

    Notes
    -----
    w is the largest power of two, up to 64, with P ≤ 0.3, and J the largest number of cells with at
    least 5 expected intervals in each, 20 in the open one, and J · w ≤ ``LONGEST_ISI``. Simulated
    sizes of the 5 % test for p from 0.002 to 0.9: 4 % to 5.6 %.

    References
    ----------
    K. C. Rao and D. S. Robson (1974), A chi-square statistic for goodness-of-fit tests within the
    exponential family, Communications in Statistics 3.

    Examples
    --------
    A memoryless unit with p = 0.1 and one with p = 0.5:

    >>> from ann2neo import Recording, SpikeRaster
    >>> dense = np.random.default_rng(0).random((2, 10_000)) < [[0.1], [0.5]]
    >>> summary = Recording({"relu": SpikeRaster.from_dense(dense)}).summarize(window=100)
    >>> geometric_isi(summary).pvalue.round(2)
    array([0.05, 0.73])
    """
    from scipy.stats import chi2

    sums = summary.sums
    with np.errstate(divide="ignore", invalid="ignore"):
        p = sums.n_isis / sums.sum_isi
    width, n_cells = _cells(p, sums.n_isis)
    reason = first_reasons(
        len(p),
        *_no_intervals(summary),
        (sums.n_spikes == sums.n_bins, ALWAYS_ON),
        (sums.sum_isi == sums.n_isis, "intervals all alike"),
        (n_cells < 1, "too few intervals"),
    )
    usable = reason == 0
    statistic = np.full(len(p), np.nan)
    for w in np.unique(width[usable]):

        def chi_square(rows: np.ndarray, w: int = w) -> np.ndarray:
            assert sums.isi_histogram is not None
            return _rao_robson(sums.isi_histogram[rows], p[rows], w, n_cells[rows])

        chosen = usable & (width == w)
        statistic[chosen] = _by_blocks(chi_square, chosen)[chosen]
    beyond_chance = np.maximum(0.0, statistic - n_cells) / np.maximum(sums.n_isis, 1)
    return Outcome(statistic, chi2.sf(statistic, np.maximum(n_cells, 1)), np.sqrt(beyond_chance), reason)


def _cells(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose width and number of the closed cells of units of probability p and n intervals."""
    width = np.ones(len(p), np.int64)
    for wider in 2 ** np.arange(1, int(np.log2(WIDEST_CELL)) + 1):
        width[1 - (1 - p) ** wider <= LARGEST_CELL_PROBABILITY] = wider
    with np.errstate(divide="ignore", invalid="ignore"):
        log_q = width * np.log1p(-p)
        last_cell = 1 + np.log(FEWEST_IN_CELL / (n * -np.expm1(log_q))) / log_q
        open_cell = np.log(FEWEST_LONGER / n) / log_q
    most = np.fmin(np.fmin(last_cell, open_cell), LONGEST_ISI // width)
    return width, np.maximum(np.floor(most), 0).astype(np.int64)


def _rao_robson(histogram: np.ndarray, p: np.ndarray, w: int, n_cells: np.ndarray) -> np.ndarray:
    """Return Y of units that share a cell width: float64 (n_units,)."""
    n = histogram.sum(axis=1)
    j = np.arange(n_cells.max())
    closed = j < n_cells[:, None]
    in_cells = histogram[:, : len(j) * w].reshape(len(n), len(j), w).sum(axis=2)
    observed = np.where(closed, in_cells, 0)
    longer = n - observed.sum(axis=1)

    q = (1 - p) ** w  # probability to outlast a cell
    expected = (n * (1 - q))[:, None] * q[:, None] ** j
    pearson = np.where(closed, (observed - expected) ** 2 / expected, 0).sum(axis=1)
    beyond = q**n_cells
    pearson += (longer - n * beyond) ** 2 / (n * beyond)

    # scores and information with respect to P = 1 − q, of which p is a function
    outlasted = (observed * j).sum(axis=1) + n_cells * longer
    score = (n - longer) / (1 - q) - outlasted / q
    whole = (1 - p) / (w * p * q) ** 2
    y: np.ndarray = pearson + score**2 / (n * (whole - (1 - beyond) / ((1 - q) ** 2 * q)))
    return y


def rescaled_isi(summary: Summary) -> Outcome:
    r"""Test the intervals against a Bernoulli process by discrete-time rescaling.

    An interval of l bins becomes, with :math:`q = -\ln(1 - \hat p)` and r uniform between 0 and 1,

    .. math:: \xi = q (l - 1) - \ln\big(1 - r (1 - e^{-q})\big), \quad
              D = \sup_\xi \left| \hat F(\xi) - (1 - e^{-\xi}) \right|

    A Bernoulli process makes ξ exponential with mean one, also where bins are not short. At whole bins, F̂ is
    the same for any draw of r: D is taken there, and nothing is left to chance. The p-value,
    :func:`.rescaled_pvalue`, allows for p being estimated from the mean of the same intervals.
    A Bernoulli process, and a Poisson process in short bins, give uniform p-values.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        Statistic and effect are D. NaN for silent and always-on units; for fewer than 10 spikes a trial, or
        more than k³ / 10 trials of k spikes each (they cut off long intervals); for mean intervals above
        ``LONGEST_ISI`` bins; for fewer than 20 intervals; and where fewer than 10 intervals of more than two
        bins are expected.

    References
    ----------
    R. Haslinger, G. Pipa and E. Brown (2010), Discrete time rescaling theorem: determining goodness of fit
    for discrete time statistical models of neural spiking, Neural Computation 22. There the rate is given.
    With an estimated rate, plain Kolmogorov–Smirnov p-values would be too large.

    Examples
    --------
    A memoryless unit, and one that rests for two bins after each spike:

    >>> from ann2neo import Recording, SpikeRaster
    >>> dense = np.random.default_rng(1).random((2, 3000)) < 0.3
    >>> for i in np.flatnonzero(dense[1]):
    ...     dense[1, i + 1 : i + 3] &= not dense[1, i]
    >>> rescaled_isi(Recording({"relu": SpikeRaster.from_dense(dense)}).summarize()).pvalue.round(2)
    array([0.93, 0.  ])
    """
    sums = summary.sums
    with np.errstate(divide="ignore", invalid="ignore"):
        p = sums.n_isis / sums.sum_isi
        beyond_two = sums.n_isis * (1 - p) ** 2
    reason = first_reasons(
        len(p),
        *_no_intervals(summary),
        (sums.n_spikes == sums.n_bins, ALWAYS_ON),
        (sums.sum_isi == sums.n_isis, "intervals all alike"),
        (sums.sum_isi > LONGEST_ISI * sums.n_isis, "intervals too long"),
        ((sums.n_isis < FEWEST_LONGER) | (beyond_two < FEWEST_BEYOND_TWO), "too few intervals"),
    )
    edges = np.arange(1, LONGEST_ISI + 1)

    def distance(rows: np.ndarray) -> np.ndarray:
        assert sums.isi_histogram is not None
        ecdf = np.cumsum(sums.isi_histogram[rows, :-1], axis=1) / sums.n_isis[rows, None]
        farthest: np.ndarray = np.abs(ecdf + np.expm1(edges * np.log1p(-p[rows, None]))).max(axis=1)
        return farthest

    statistic = _by_blocks(distance, reason == 0)
    return Outcome(statistic, rescaled_pvalue(statistic, sums.n_isis, p), statistic, reason)
