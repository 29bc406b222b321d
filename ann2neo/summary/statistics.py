"""The statistics of a unit: each a pure function of integer sums, with its name, unit and expectations.

Every table, label and engine takes its columns from :data:`STATISTICS`. To add a statistic, change this file,
and the Elephant engine, which must call Elephant's own function for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

LONGEST_ISI = 256
"""Inter-spike intervals up to this many bins are counted one by one, longer ones together."""


@dataclass(frozen=True)
class Sums:
    """Sufficient sums of units: all that the statistics need to know about their spike trains.

    Intervals, windows and adjacent bins are counted within trials only. All arrays are read-only, have
    shape (n_units,) and hold integers in bins, except ``sum_cv2`` and ``sum_lv`` (float64) and
    ``isi_histogram``.

    Parameters
    ----------
    n_bins, n_spikes : numpy.ndarray
        Bins observed and spikes in them.
    n_adjacent, n_transitions : numpy.ndarray
        Pairs of adjacent bins, and how many of them have a spike in one of the two bins only.
    n_windows, sum_counts, sum_counts_squared : numpy.ndarray
        Counting windows, the spikes in them and the squares of the counts.
    n_isis, sum_isi, sum_isi_squared : numpy.ndarray
        Inter-spike intervals.
    n_isi_pairs, sum_isi_product, sum_cv2, sum_lv : numpy.ndarray
        Pairs (I, J) of adjacent intervals; the sums of I · J, of 2|I − J|/(I + J) and of
        3((I − J)/(I + J))², the last two with an error below 2⁻⁵⁰ a term.
    isi_histogram : numpy.ndarray, optional
        int64 (n_units, LONGEST_ISI + 1): column k − 1 counts the intervals of k bins, the last column the
        longer ones.
    """

    n_bins: np.ndarray
    n_spikes: np.ndarray
    n_adjacent: np.ndarray
    n_transitions: np.ndarray
    n_windows: np.ndarray
    sum_counts: np.ndarray
    sum_counts_squared: np.ndarray
    n_isis: np.ndarray
    sum_isi: np.ndarray
    sum_isi_squared: np.ndarray
    n_isi_pairs: np.ndarray
    sum_isi_product: np.ndarray
    sum_cv2: np.ndarray
    sum_lv: np.ndarray
    isi_histogram: np.ndarray | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            values = getattr(self, each.name)
            if values is not None:
                view = values.view()
                view.flags.writeable = False
                object.__setattr__(self, each.name, view)

    KEPT: ClassVar[tuple[str, ...]] = (
        "n_spikes",
        "n_transitions",
        "sum_counts",
        "sum_counts_squared",
        "n_isis",
        "sum_isi",
        "sum_isi_squared",
        "n_isi_pairs",
        "sum_isi_product",
    )
    """Fields that are added up as they are."""

    @classmethod
    def concatenate(cls, parts: list[Sums]) -> Sums:
        """Put the units of several layers one after the other."""
        columns: dict[str, Any] = {f.name: [getattr(part, f.name) for part in parts] for f in fields(cls)}
        joined: Any = {n: None if c[0] is None else np.concatenate(c) for n, c in columns.items()}
        return cls(**joined)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator == 0, np.nan, np.divide(numerator, denominator))


def _variance(n: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return the population variance (ddof = 0) from sums of integers.

    The sums are taken around the integer next to the mean, where they are small: up to 2³¹ bins nothing
    overflows, and nothing cancels.
    """
    centre = np.rint(total / np.maximum(n, 1)).astype(np.int64)
    rest = total - n * centre
    around = squares - 2 * centre * total + n * centre**2
    return _ratio(around - rest * _ratio(rest, n), n)


def activation_probability(sums: Sums) -> np.ndarray:
    """Return the fraction of bins with a spike, p: float64 (n_units,).

    Examples
    --------
    >>> from ann2neo import Recording, SpikeRaster
    >>> raster = SpikeRaster.from_dense([[1, 0, 1, 1]])
    >>> activation_probability(Recording({"relu": raster}).summarize(window=2).sums)
    array([0.75])
    """
    return _ratio(sums.n_spikes, sums.n_bins)


def fano_factor(sums: Sums) -> np.ndarray:
    r"""Return Var(counts) / mean(counts) over windows: float64 (n_units,).

    NaN for silent units, and where there are fewer than two windows. The values are those of
    :func:`elephant.statistics.fanofactor`, whose variance has ddof = 0; it gives 0 for one window.

    Over n windows, independent bins give (n − 1)/n · (1 − p) on average, a Poisson process (n − 1)/n:

    .. math::
        E\left[\tfrac{1}{n} \sum_i (c_i - \bar c)^2\right] = \frac{n - 1}{n} \, W p (1 - p), \quad
        E[\bar c] = W p

    for counts of W bins, since a variance around the mean of the same n counts lacks one degree of freedom.
    The mean of the ratio is not quite the ratio of the means. If the spikes in all windows are given, their
    mean count is fixed and the counts are hypergeometric; then the Fano factor is exactly n W / (n W − 1)
    of this on average, for p their share of the bins, and for Poisson exactly this.

    Examples
    --------
    >>> from ann2neo import Recording, SpikeRaster
    >>> raster = SpikeRaster.from_dense([[1, 0, 1, 1], [0, 0, 0, 0]])
    >>> fano_factor(Recording({"relu": raster}).summarize(window=2).sums).round(3)
    array([0.167, nan])
    """
    mean = _ratio(sums.sum_counts, sums.n_windows)
    factor = _ratio(_variance(sums.n_windows, sums.sum_counts, sums.sum_counts_squared), mean)
    return np.where(sums.n_windows < 2, np.nan, factor)


def of_windows(n_windows: np.ndarray | int) -> np.ndarray:
    """Return (n − 1)/n, which n windows leave of a Fano factor on average; NaN for less than two.

    Examples
    --------
    >>> of_windows(np.array([0, 1, 2, 50]))
    array([ nan,  nan, 0.5 , 0.98])
    """
    n = np.asarray(n_windows, np.float64)
    return np.where(n < 2, np.nan, 1 - _ratio(np.ones_like(n), n))


def cv_isi(sums: Sums) -> np.ndarray:
    """Return the coefficient of variation of the intervals (ddof = 0): float64 (n_units,).

    Independent bins give √(1 − p), a Poisson process 1. One interval gives 0, none NaN, as
    :func:`elephant.statistics.cv` does.

    Examples
    --------
    >>> from ann2neo import Recording, SpikeRaster
    >>> raster = SpikeRaster.from_dense([[1, 1, 0, 0, 1], [1, 0, 0, 0, 0]])
    >>> cv_isi(Recording({"relu": raster}).summarize(window=1).sums)
    array([0.5, nan])
    """
    variance = _variance(sums.n_isis, sums.sum_isi, sums.sum_isi_squared)
    return _ratio(np.sqrt(variance), _ratio(sums.sum_isi, sums.n_isis))


def serial_correlation_isi(sums: Sums) -> np.ndarray:
    r"""Return the correlation of adjacent intervals: float64 (n_units,), NaN where they do not vary.

    .. math:: \frac{\langle I_k I_{k + 1} \rangle - \langle I \rangle^2}
              {\langle I^2 \rangle - \langle I \rangle^2}

    Independent bins, a Poisson process and any other renewal process give 0, on average about −1/n over n
    intervals (Cox and Lewis 1966).

    Examples
    --------
    >>> from ann2neo import Recording, SpikeRaster
    >>> raster = SpikeRaster.from_dense([[1, 1, 0, 1, 1, 0, 1]])
    >>> serial_correlation_isi(Recording({"relu": raster}).summarize(window=1).sums)
    array([-1.])
    """
    mean = _ratio(sums.sum_isi, sums.n_isis)
    variance = _variance(sums.n_isis, sums.sum_isi, sums.sum_isi_squared)
    return _ratio(_ratio(sums.sum_isi_product, sums.n_isi_pairs) - mean**2, variance)


def _log_series(q: np.ndarray) -> np.ndarray:
    """Return (−ln(1 − q) − q)/q², by its series ½ + q/3 + q²/4 + … where q is small."""
    small = q < 1e-2
    safe = np.where(small, 0.5, q)
    series = sum(q**k / (k + 2) for k in range(8))
    return np.where(small, series, (-np.log1p(-safe) - safe) / safe**2)


def _even_series(q: np.ndarray) -> np.ndarray:
    """Return −ln(1 − q²)/(2q²), by its series ½(1 + q²/2 + q⁴/3 + …) where q is small."""
    small = q < 1e-2
    safe = np.where(small, 0.5, q)
    series = sum(q ** (2 * k) / (2 * k + 2) for k in range(4))
    return np.where(small, series, -np.log1p(-(safe**2)) / (2 * safe**2))


def bernoulli_cv2(p: np.ndarray) -> np.ndarray:
    r"""Return the expected CV2 of independent bins with spike probability p.

    .. math:: 1 - p + p^2 \left[\frac{-\ln p - q}{q^2} + \frac{\ln(1 - q^2)}{2 q^2}\right],
              \quad q = 1 - p

    It follows from :math:`P(I + J = s) = (s - 1) p^2 q^{s - 2}` for two independent geometric intervals. If
    their sum is given, each takes every value from 1 to s − 1 with equal probability.

    Examples
    --------
    >>> bernoulli_cv2(np.array([1e-6, 0.5, 1.0])).round(3)
    array([1. , 0.549, 0. ])
    """
    q = 1 - p
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 0, 1 - p + p**2 * (_log_series(q) - _even_series(q)), np.nan)


def bernoulli_lv(p: np.ndarray) -> np.ndarray:
    r"""Return the expected LV of independent bins with spike probability p.

    .. math:: 1 - 2 p + 2 p^2 \frac{-\ln p - q}{q^2}, \quad q = 1 - p

    It is derived in the same way as :func:`bernoulli_cv2`.

    Examples
    --------
    >>> bernoulli_lv(np.array([1e-6, 0.5, 1.0])).round(3)
    array([1. , 0.386, 0. ])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 0, 1 - 2 * p + 2 * p**2 * _log_series(1 - p), np.nan)


@dataclass(frozen=True)
class Statistic:
    """One column of the tables of units.

    Parameters
    ----------
    name : str
        The column; Elephant's name where it has one.
    unit : str
        Physical unit of the values, empty for plain numbers.
    description : str
        One sentence for tables, plots and files.
    value : callable
        (sums, bin size in ms) → float64 (n_units,), NaN where undefined.
    bernoulli, poisson : callable
        (p, bin size in ms, number of windows) → the value expected of independent bins with spike
        probability p, and of a Poisson process of the same rate.
    depends_on_order : bool
        Whether another order of the same stimuli gives another value.
    """

    name: str
    unit: str
    description: str
    value: Callable[[Sums, float], np.ndarray]
    bernoulli: Callable[[np.ndarray, float, int], np.ndarray]
    poisson: Callable[[np.ndarray, float, int], np.ndarray]
    depends_on_order: bool


def _one(p: np.ndarray, bin_size: float, n_windows: int) -> np.ndarray:
    return np.where(p > 0, 1.0, np.nan)


def _below_one(expected: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda p, bin_size, n_windows: np.where(p > 0, expected(p), np.nan)


STATISTICS = (
    Statistic(
        "activation_probability",
        "",
        "fraction of bins with a spike, p",
        lambda sums, bin_size: activation_probability(sums),
        lambda p, bin_size, n_windows: p,
        lambda p, bin_size, n_windows: p,
        depends_on_order=False,
    ),
    Statistic(
        "mean_firing_rate",
        "Hz",
        "spikes per second of pseudo-time",
        lambda sums, bin_size: activation_probability(sums) / bin_size * 1e3,
        lambda p, bin_size, n_windows: p / bin_size * 1e3,
        lambda p, bin_size, n_windows: p / bin_size * 1e3,
        depends_on_order=False,
    ),
    Statistic(
        "fano_factor",
        "",
        "variance over mean of the spike counts in windows",
        lambda sums, bin_size: fano_factor(sums),
        lambda p, bin_size, n_windows: np.where(p > 0, of_windows(n_windows) * (1 - p), np.nan),
        lambda p, bin_size, n_windows: np.where(p > 0, of_windows(n_windows), np.nan),
        depends_on_order=True,
    ),
    Statistic(
        "relative_fano_factor",
        "",
        "Fano factor over that of independent bins, (n − 1)/n · (1 − p) in n windows",
        lambda sums, bin_size: _ratio(
            fano_factor(sums), of_windows(sums.n_windows) * (1 - activation_probability(sums))
        ),
        lambda p, bin_size, n_windows: np.where((p > 0) & (p < 1) & (n_windows > 1), 1.0, np.nan),
        lambda p, bin_size, n_windows: np.where(n_windows > 1, _ratio(_one(p, bin_size, 0), 1 - p), np.nan),
        depends_on_order=True,
    ),
    Statistic(
        "mean_isi",
        "ms",
        "mean inter-spike interval",
        lambda sums, bin_size: _ratio(sums.sum_isi, sums.n_isis) * bin_size,
        lambda p, bin_size, n_windows: _ratio(np.full_like(p, bin_size), p),
        lambda p, bin_size, n_windows: _ratio(np.full_like(p, bin_size), p),
        depends_on_order=True,
    ),
    Statistic(
        "cv_isi",
        "",
        "coefficient of variation of the inter-spike intervals",
        lambda sums, bin_size: cv_isi(sums),
        _below_one(lambda p: np.sqrt(1 - p)),
        _one,
        depends_on_order=True,
    ),
    Statistic(
        "relative_cv_isi",
        "",
        "coefficient of variation over the √(1 − p) of independent bins",
        lambda sums, bin_size: _ratio(cv_isi(sums), np.sqrt(1 - activation_probability(sums))),
        lambda p, bin_size, n_windows: np.where((p > 0) & (p < 1), 1.0, np.nan),
        lambda p, bin_size, n_windows: _ratio(_one(p, bin_size, n_windows), np.sqrt(1 - p)),
        depends_on_order=True,
    ),
    Statistic(
        "cv2_isi",
        "",
        "CV2, local variation of adjacent inter-spike intervals (Holt et al. 1996)",
        lambda sums, bin_size: _ratio(sums.sum_cv2, sums.n_isi_pairs),
        lambda p, bin_size, n_windows: bernoulli_cv2(p),
        _one,
        depends_on_order=True,
    ),
    Statistic(
        "lv_isi",
        "",
        "LV, local variation of adjacent inter-spike intervals (Shinomoto et al. 2003)",
        lambda sums, bin_size: _ratio(sums.sum_lv, sums.n_isi_pairs),
        lambda p, bin_size, n_windows: bernoulli_lv(p),
        _one,
        depends_on_order=True,
    ),
    Statistic(
        "serial_correlation_isi",
        "",
        "correlation of adjacent inter-spike intervals",
        lambda sums, bin_size: serial_correlation_isi(sums),
        _below_one(lambda p: np.where(p < 1, 0.0, np.nan)),
        lambda p, bin_size, n_windows: np.where(p > 0, 0.0, np.nan),
        depends_on_order=True,
    ),
    Statistic(
        "transition_probability",
        "",
        "fraction of pairs of adjacent bins with a spike in one of the two only",
        lambda sums, bin_size: _ratio(sums.n_transitions, sums.n_adjacent),
        lambda p, bin_size, n_windows: 2 * p * (1 - p),
        lambda p, bin_size, n_windows: 2 * p * (1 - p),
        depends_on_order=True,
    ),
)
"""Every statistic of a unit, in the order of the tables' columns."""
