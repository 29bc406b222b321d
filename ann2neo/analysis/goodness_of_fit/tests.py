"""Every test of whether a unit is a memoryless process, and how p-values of many units become q-values.

To add a test, write a function from :class:`.Summary` to :class:`.Outcome` beside those it resembles, in
:mod:`.counts`, :mod:`.intervals` or :mod:`.order`, and declare it in :data:`TESTS`: the tables of a fit take
their columns from there. If units can be untestable for a new reason, add it at the end of :data:`.REASONS`.
Then give the test its cases in ``tests/analysis/test_poisson.py``, for calibration and for planted truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...summary.summary import Summary
from .counts import binomial_dispersion, poisson_dispersion
from .intervals import exponential_isi, geometric_isi, rescaled_isi
from .order import runs, serial_correlation
from .outcome import Outcome


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
        What it looks at in a train, in a word.
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
    """Return p-values adjusted for their number (Benjamini and Hochberg 1995). NaN stays NaN, uncounted.

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
