"""Tests of whether a unit is a memoryless process: its counts, intervals and order.

Every table takes its columns from :data:`TESTS`; adding a test touches this file only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .nulls import exponential_pvalue, rescaled_pvalue
from .raster import UNITS_AT_ONCE
from .statistics import LONGEST_ISI, cv_isi, serial_correlation_isi
from .summary import Summary

FEWEST_SPIKES = 20
"""Dispersion is tested from this many spikes N in the windows, if also N² ≥ 20 · n_windows."""

FEWEST_SPIKES_PER_TRIAL = 10
"""Intervals are tested from this many spikes per trial: trials cut off long intervals."""

TRIALS_FOR_INTERVALS, TRIALS_FOR_PAIRS = 10, 200
"""Tests want k³ / so many trials at most where each has k spikes: that trials cut off long intervals biases
them by about 1/k², which more trials show the better."""

FEWEST_PAIRS = 50
"""Their correlation is tested from this many pairs of intervals."""

FEWEST_IN_CELL = 5
"""Fewest intervals that a closed cell of the geometric test may be expected to hold."""

FEWEST_LONGER = 20
"""Fewest intervals that its open cell may be expected to hold: with 5, p < 10⁻³ comes too often."""

FEWEST_BEYOND_TWO = 10
"""Fewest intervals of more than two bins that are expected where intervals are rescaled."""

WIDEST_CELL = LONGEST_ISI // 4
"""Most bins in a cell of the geometric test, which leaves four cells to units of low rate."""

LARGEST_CELL_PROBABILITY = 0.3
"""Cells of the geometric test are widened as long as the first one holds no more than this."""


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


def _dispersion(summary: Summary, free: np.ndarray, scale: float, reason: np.ndarray) -> Outcome:
    """Compare Σ(c − c̄)²/(c̄ · free) with scale · χ² of mean n_windows − 1, on both sides."""
    from scipy.stats import chi2

    sums = summary.sums
    n, total = sums.n_windows, sums.sum_counts
    with np.errstate(divide="ignore", invalid="ignore"):
        dispersion = (n * sums.sum_counts_squared - total**2) / (total * free)
    statistic = np.where(reason == 0, dispersion, np.nan)
    freedom = np.maximum(n - 1, 1)
    null = chi2(freedom / scale, scale=scale)
    tail = np.minimum(null.cdf(statistic), null.sf(statistic))
    return Outcome(statistic, np.minimum(1.0, 2 * tail), statistic / freedom, reason)


def _too_few(summary: Summary, counted: np.ndarray) -> np.ndarray:
    n = summary.sums.n_windows
    return (counted < FEWEST_SPIKES) | (counted**2 < FEWEST_SPIKES * n)


def poisson_dispersion(summary: Summary) -> Outcome:
    r"""Test the counts in windows against a Poisson process by their dispersion, two-sided.

    .. math:: X = \sum_i (c_i - \bar c)^2 / \bar c = n_\mathrm{windows} \cdot \mathrm{FF}

    Counts of a Poisson process give :math:`\chi^2` of n_windows − 1 degrees of freedom. A Bernoulli
    process gives 1 − p times that, so the test rejects memoryless units of large p: it is only half
    of a pair with :func:`binomial_dispersion`.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        The effect is X / (n_windows − 1), variance over mean of the counts. NaN for silent units, for a
        single window, and where the N spikes in the n windows are too few for :math:`\chi^2` (N < 20 or
        N² < 20 n; simulated sizes of the 5 % test above that: 3.5 % to 6 % close to the limits, 5 %
        elsewhere).

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
    reason = _reasons(
        len(sums.n_spikes),
        (sums.n_spikes == 0, SILENT),
        (sums.n_windows < 2, "fewer than two windows"),
        (_too_few(summary, sums.sum_counts), "too few spikes"),
    )
    return _dispersion(summary, np.array(1.0), 1.0, reason)


def binomial_dispersion(summary: Summary) -> Outcome:
    r"""Test the counts in windows of W bins against a Bernoulli process, two-sided.

    .. math:: X = \sum_i \frac{(c_i - \bar c)^2}{\bar c (1 - \bar c / W)}

    which is Pearson's statistic of the 2 × n_windows table of bins with and without spike.
    Independent bins give it mean n_windows − 1 and variance 2 (n_windows − 1)(1 − 1/W), less than
    :math:`\chi^2` when windows are short; the null is therefore :math:`\chi^2` scaled to have both.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        The effect is X / (n_windows − 1), variance of the counts over that of independent bins. NaN for
        silent and always-on units, for a single window, for windows of one bin (which hold nothing beyond
        p), and where the spikes or the empty bins, N, in the n windows are too few (N < 20 or N² < 20 n).

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
    reason = _reasons(
        len(sums.n_spikes),
        (sums.n_spikes == 0, SILENT),
        (sums.n_spikes == sums.n_bins, ALWAYS_ON),
        (sums.n_windows < 2, "fewer than two windows"),
        (window < 2, "windows of one bin"),
        (_too_few(summary, sums.sum_counts), "too few spikes"),
        (_too_few(summary, n_bins - sums.sum_counts), "too few bins without spike"),
    )
    return _dispersion(summary, 1 - sums.sum_counts / n_bins, 1 - 1 / max(window, 2), reason)


def _by_blocks(function: Callable[[np.ndarray], np.ndarray], usable: np.ndarray) -> np.ndarray:
    """Apply a function of row numbers to usable rows, a bounded number at once; NaN elsewhere."""
    values = np.full(len(usable), np.nan)
    rows = np.flatnonzero(usable)
    for first in range(0, len(rows), UNITS_AT_ONCE):
        block = rows[first : first + UNITS_AT_ONCE]
        values[block] = function(block)
    return values


def _few_in_trials(summary: Summary, trials: int = TRIALS_FOR_INTERVALS) -> np.ndarray:
    n_trials = summary.time.n_trials
    per_trial = summary.sums.n_spikes / n_trials
    return (per_trial < FEWEST_SPIKES_PER_TRIAL) | ((n_trials > 1) & (per_trial**3 < trials * n_trials))


def _no_intervals(summary: Summary) -> tuple[tuple[np.ndarray | bool, str], ...]:
    """Return what every test of the histogram of intervals cannot do without."""
    sums = summary.sums
    return (
        (sums.isi_histogram is None, NO_HISTOGRAM),
        (sums.n_spikes == 0, SILENT),
        (_few_in_trials(summary), "too few spikes in a trial"),
        (sums.n_isis < 2, "too few intervals"),
    )


def exponential_isi(summary: Summary) -> Outcome:
    r"""Test the intervals against a Poisson process: Kolmogorov–Smirnov distance to exponential.

    .. math:: D = \sup_t \left| \hat F(t) - (1 - e^{-t / \bar I}) \right|

    is exact for intervals of whole bins. Because the mean is estimated (Lilliefors), the p-value is
    that of Stephens' :math:`D^* = (D - 0.2/n)(\sqrt n + 0.26 + 0.5/\sqrt n)`, whose null is nearly
    the same for every number n of intervals: see :func:`ann2neo.nulls.exponential_pvalue`. A Poisson process
    observed in short bins gives uniform p-values: 5 % are below 0.05 while p √n is about 0.15 at
    most, 12 % at 0.7. Intervals in longer bins are not exponential, and with enough of them a
    memoryless unit is rejected: the test is only half of a pair with :func:`geometric_isi`.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        Statistic and effect are D. NaN for silent units, for less than 10 spikes per trial or k in each of
        more than k³ / 10 trials (which cut off long intervals), and for mean intervals above ``LONGEST_ISI``
        bins. Only t ≤ ``LONGEST_ISI`` is compared, as longer intervals are not told apart; D is rarely
        reached beyond, and the simulated size of the 5 % test stays 5 %.

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
    reason = _reasons(
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
        return np.maximum(np.abs(ecdf - cdf), np.abs(cdf - before)).max(axis=1)

    statistic = _by_blocks(distance, reason == 0)
    return Outcome(statistic, exponential_pvalue(statistic, sums.n_isis), statistic, reason)


def geometric_isi(summary: Summary) -> Outcome:
    r"""Test the intervals against a Bernoulli process: chi-square distance to geometric.

    Intervals are counted in J cells of w bins each and one open cell for the longer ones, as
    geometric intervals counted by w bins are again geometric, of :math:`P = 1 - (1 - p)^w`.
    Pearson's statistic of these counts :math:`O_j` gets the Rao–Robson term, which makes up for p
    having been estimated from the mean of the intervals themselves,

    .. math:: Y = \sum_{j=0}^{J} \frac{(O_j - n \pi_j)^2}{n \pi_j}
              + \frac{\big(\sum_j O_j \, \partial_p \ln \pi_j\big)^2}{n (i - i_J)}, \quad
              i = \frac{1}{p^2 (1 - p)}, \quad i_J = \sum_j \frac{(\partial_p \pi_j)^2}{\pi_j}

    and a Bernoulli process gives :math:`\chi^2` of J degrees of freedom. A Poisson process put into
    bins gives the same where bins that hold more than one spike are rare.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        The effect is √((Y − J) / n), 0 for Y < J: Cohen's w, less what chance gives. NaN for silent and
        always-on units, for less than 10 spikes per trial or k in each of more than k³ / 10 trials (which
        cut off long intervals), and for too few intervals.

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
    reason = _reasons(
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
    return pearson + score**2 / (n * (whole - (1 - beyond) / ((1 - q) ** 2 * q)))


def rescaled_isi(summary: Summary) -> Outcome:
    r"""Test the intervals against a Bernoulli process by discrete-time rescaling.

    An interval of l bins becomes, with :math:`q = -\ln(1 - \hat p)` and r uniform between 0 and 1,

    .. math:: \xi = q (l - 1) - \ln\big(1 - r (1 - e^{-q})\big), \quad
              D = \sup_\xi \left| \hat F(\xi) - (1 - e^{-\xi}) \right|

    which a Bernoulli process makes exponential of mean one, also where bins are not short. At whole bins,
    F̂ is the same for any draw of r. D is compared there, which leaves nothing to chance. The p-value,
    :func:`ann2neo.nulls.rescaled_pvalue`, allows for p having been estimated from the mean of the intervals
    themselves. A Bernoulli process, and a Poisson process in short bins, give uniform p-values.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        Statistic and effect are D. NaN for silent and always-on units, for less than 10 spikes per trial or
        k in each of more than k³ / 10 trials (which cut off long intervals), for mean intervals above
        ``LONGEST_ISI`` bins, for fewer than 20 intervals, and where fewer than 10 longer than two bins are
        expected.

    References
    ----------
    R. Haslinger, G. Pipa and E. Brown (2010), Discrete time rescaling theorem: determining goodness of fit
    for discrete time statistical models of neural spiking, Neural Computation 22. There the rate is given;
    with one that is estimated, plain Kolmogorov–Smirnov p-values would be too large.

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
    reason = _reasons(
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
        return np.abs(ecdf + np.expm1(edges * np.log1p(-p[rows, None]))).max(axis=1)

    statistic = _by_blocks(distance, reason == 0)
    return Outcome(statistic, rescaled_pvalue(statistic, sums.n_isis, p), statistic, reason)


def runs(summary: Summary) -> Outcome:
    r"""Test the order of bins with and without spike for independence: Wald and Wolfowitz, two-sided.

    .. math:: Z = \frac{T - m \mu}{\sqrt{\mathrm{Var}(T)}}, \quad \mu = \frac{2 k (n - k)}{n (n - 1)}

    T of the m pairs of adjacent bins have a spike in one of them only, k of the n bins a spike. In one
    trial there are T + 1 runs. Mean and variance are those of all orders of the same bins,

    .. math:: \mathrm{Var}(T) = m \mu (1 - \mu) + 2 c \left(\tfrac{\mu}{2} - \mu^2\right)
              + (m (m - 1) - 2 c) (\nu - \mu^2), \quad
              \nu = \frac{4 k (k - 1) (n - k) (n - k - 1)}{n (n - 1) (n - 2) (n - 3)}

    with c pairs of pairs that share a bin; no pair spans a trial. A Bernoulli process, and any train that
    was shuffled, gives a standard normal Z; so does a Poisson process in short bins. Z < 0: spikes come
    in bursts, Z > 0: they alternate.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        The effect is 1 − T / (m μ), the correlation of adjacent bins: 0 for independent ones. NaN where the
        bins with spike, or those without, N, are too few among the n for a normal distribution (N² < 20 n).

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
    reason = _reasons(
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

    with r their correlation over m pairs of the n intervals,
    :func:`ann2neo.statistics.serial_correlation_isi`; the second term, which is small in one trial, is of
    intervals at the ends of trials, which are in one pair only. A renewal process, Poisson and Bernoulli
    among them, gives a standard normal Z. Unlike :func:`runs`, the test does not mind which distribution
    the intervals have.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.

    Returns
    -------
    Outcome
        The effect is r + 1/n: 0 for independent intervals. NaN for intervals that do not vary, for less than
        10 spikes per trial or k in each of more than k³ / 200 trials (which cut off long intervals), for less
        than ``FEWEST_PAIRS`` pairs, and for too few bins without spike, N, among the n (N² < 20 n).

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
    reason = _reasons(
        len(n),
        (sums.n_spikes == 0, SILENT),
        (_few_in_trials(summary, TRIALS_FOR_PAIRS), "too few spikes in a trial"),
        (m < FEWEST_PAIRS, "too few intervals"),
        (~np.isfinite(z), "intervals all alike"),
        ((sums.n_bins - sums.n_spikes) ** 2 < FEWEST_SPIKES * sums.n_bins, "too few bins without spike"),
    )
    statistic, effect = np.where(reason == 0, (z, correlation), np.nan)
    return Outcome(statistic, 2 * norm.sf(np.abs(statistic)), effect, reason)


TESTS = (
    GoodnessOfFit(
        "poisson_dispersion",
        "poisson",
        "counts",
        "dispersion of the counts in windows, against Poisson",
        "variance over mean of the counts: 1",
        poisson_dispersion,
    ),
    GoodnessOfFit(
        "binomial_dispersion",
        "bernoulli",
        "counts",
        "dispersion of the counts in windows, against binomial",
        "variance of the counts over that of independent bins: 1",
        binomial_dispersion,
    ),
    GoodnessOfFit(
        "exponential_isi",
        "poisson",
        "ISIs",
        "Kolmogorov–Smirnov distance of the intervals to an exponential",
        "that distance: 0",
        exponential_isi,
    ),
    GoodnessOfFit(
        "geometric_isi",
        "bernoulli",
        "ISIs",
        "chi-square distance of the intervals to a geometric",
        "Cohen's w: 0",
        geometric_isi,
    ),
    GoodnessOfFit(
        "rescaled_isi",
        "bernoulli",
        "scaled",
        "Kolmogorov–Smirnov distance of the intervals, rescaled in discrete time, to an exponential",
        "that distance: 0",
        rescaled_isi,
    ),
    GoodnessOfFit(
        "runs",
        "bernoulli",
        "runs",
        "number of runs of bins with and without spike, against any order of them",
        "correlation of adjacent bins: 0",
        runs,
    ),
    GoodnessOfFit(
        "serial_correlation",
        "renewal",
        "pairs",
        "correlation of adjacent intervals, against none",
        "correlation of adjacent intervals: 0",
        serial_correlation,
    ),
)
"""Every test, in the order of the tables' columns."""


def qvalue(pvalue: np.ndarray) -> np.ndarray:
    """Return p-values adjusted for their number (Benjamini and Hochberg 1995); NaN is not counted.

    Examples
    --------
    >>> qvalue(np.array([0.01, np.nan, 0.02, 0.5]))
    array([0.03, nan, 0.03, 0.5 ])
    """
    from scipy.stats import false_discovery_control

    tested = ~np.isnan(pvalue)
    adjusted = np.full(len(pvalue), np.nan)
    if tested.any():
        adjusted[tested] = false_discovery_control(pvalue[tested], method="bh")
    return adjusted
