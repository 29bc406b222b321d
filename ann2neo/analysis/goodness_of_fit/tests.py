"""Tests of whether a unit is a memoryless process: its counts, intervals and order.

Every table takes its columns from :data:`TESTS`; adding a test touches this file only.
"""

from __future__ import annotations

import numpy as np

from .counts import binomial_dispersion, poisson_dispersion
from .intervals import exponential_isi, geometric_isi, rescaled_isi
from .order import runs, serial_correlation
from .outcome import GoodnessOfFit

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
