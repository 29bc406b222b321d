"""What each statistic is: a pure function of integer sums, with its name, unit and expectations.

Every table, label and engine takes its columns from :data:`STATISTICS`; adding a statistic touches this
file (and the Elephant engine, which must call Elephant's own function for it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from .raster import SpikeRaster

LONGEST_ISI = 256
"""Inter-spike intervals up to this many bins are counted one by one, longer ones together."""


@dataclass(frozen=True)
class Sums:
    """Sufficient sums of units: everything the statistics need to know of their spike trains.

    Intervals and windows are counted within trials only. All arrays have shape (n_units,) and hold
    integers in bins, except ``sum_cv2`` and ``sum_lv`` (float64) and ``isi_histogram``.

    Parameters
    ----------
    n_bins, n_spikes : numpy.ndarray
        Bins observed and spikes in them.
    n_windows, sum_counts, sum_counts_squared : numpy.ndarray
        Counting windows, the spikes in them and the squares of the counts.
    n_isis, sum_isi, sum_isi_squared : numpy.ndarray
        Inter-spike intervals.
    n_isi_pairs, sum_cv2, sum_lv : numpy.ndarray
        Pairs (I, J) of adjacent intervals, the sums of 2|I − J|/(I + J) and 3((I − J)/(I + J))².
    isi_histogram : numpy.ndarray
        int64 (n_units, LONGEST_ISI + 1): column k − 1 counts the intervals of k bins, the last column the
        longer ones.
    """

    n_bins: np.ndarray
    n_spikes: np.ndarray
    n_windows: np.ndarray
    sum_counts: np.ndarray
    sum_counts_squared: np.ndarray
    n_isis: np.ndarray
    sum_isi: np.ndarray
    sum_isi_squared: np.ndarray
    n_isi_pairs: np.ndarray
    sum_cv2: np.ndarray
    sum_lv: np.ndarray
    isi_histogram: np.ndarray

    @classmethod
    def of(cls, raster: SpikeRaster, window: int) -> Sums:
        """Sum up the spikes of a layer, in windows of ``window`` bins.

        Examples
        --------
        >>> raster = SpikeRaster.from_dense([[1, 0, 1, 1, 0, 1]])
        >>> sums = Sums.of(raster, window=2)
        >>> sums.sum_counts_squared, sums.sum_isi, sums.isi_histogram[0, :3]
        (array([6]), array([5]), array([1, 2, 0]))
        """
        blocks = [_sums_of_block(dense, raster, window) for _, dense in raster.blocks()]
        return cls.concatenate(blocks)

    @classmethod
    def concatenate(cls, parts: list[Sums]) -> Sums:
        """Put the units of several layers one after the other."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


def _sums_of_block(dense: np.ndarray, raster: SpikeRaster, window: int) -> Sums:
    n_units, n_bins = dense.shape
    edges = raster.time.window_edges(window)
    in_windows = np.concatenate([np.arange(first, last) for first, last in edges])
    counts = dense[:, in_windows].reshape(n_units, -1, window).sum(axis=2, dtype=np.int64)

    unit, bins = np.nonzero(dense)
    trial = raster.time.trial_of(bins)
    follows = (np.diff(unit) == 0) & (np.diff(trial) == 0)
    interval = np.flatnonzero(follows)  # from spike `interval` to the next one
    isi, isi_unit = np.diff(bins)[interval], unit[interval]
    adjacent = np.diff(interval) == 1
    first, second, pair_unit = isi[:-1][adjacent], isi[1:][adjacent], isi_unit[1:][adjacent]
    contrast = (second - first) / (first + second)
    cells = isi_unit * (LONGEST_ISI + 1) + np.minimum(isi, LONGEST_ISI + 1) - 1

    def total(of_unit: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(of_unit, values, minlength=n_units)

    return Sums(
        n_bins=np.full(n_units, n_bins),
        n_spikes=total(unit),
        n_windows=np.full(n_units, len(edges)),
        sum_counts=counts.sum(axis=1),
        sum_counts_squared=(counts**2).sum(axis=1),
        n_isis=total(isi_unit),
        sum_isi=total(isi_unit, isi).astype(np.int64),
        sum_isi_squared=total(isi_unit, isi**2).astype(np.int64),
        n_isi_pairs=total(pair_unit),
        sum_cv2=total(pair_unit, 2 * np.abs(contrast)),
        sum_lv=total(pair_unit, 3 * contrast**2),
        isi_histogram=np.bincount(cells, minlength=n_units * (LONGEST_ISI + 1)).reshape(n_units, -1),
    )


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator == 0, np.nan, np.divide(numerator, denominator))


def _variance(n: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return the population variance (ddof = 0) from sums of integers; exact while n·Σx² < 2⁶³."""
    return _ratio(n * squares - total**2, n.astype(np.float64) ** 2)


def activation_probability(sums: Sums) -> np.ndarray:
    """Return the fraction of bins with a spike, p: float64 (n_units,).

    Examples
    --------
    >>> activation_probability(Sums.of(SpikeRaster.from_dense([[1, 0, 1, 1]]), window=2))
    array([0.75])
    """
    return _ratio(sums.n_spikes, sums.n_bins)


def fano_factor(sums: Sums) -> np.ndarray:
    """Return Var(counts) / mean(counts) over windows (ddof = 0): float64 (n_units,), NaN for silence.

    Independent bins give 1 − p, a Poisson process 1; over n windows, (n − 1) / n of that on average. As
    :func:`elephant.statistics.fanofactor`.

    Examples
    --------
    >>> fano_factor(Sums.of(SpikeRaster.from_dense([[1, 0, 1, 1], [0, 0, 0, 0]]), window=2)).round(3)
    array([0.167, nan])
    """
    mean = _ratio(sums.sum_counts, sums.n_windows)
    return _ratio(_variance(sums.n_windows, sums.sum_counts, sums.sum_counts_squared), mean)


def cv_isi(sums: Sums) -> np.ndarray:
    """Return the coefficient of variation of the intervals (ddof = 0): float64 (n_units,).

    Independent bins give √(1 − p), a Poisson process 1. One interval gives 0, none NaN, as
    :func:`elephant.statistics.cv` does.

    Examples
    --------
    >>> cv_isi(Sums.of(SpikeRaster.from_dense([[1, 1, 0, 0, 1], [1, 0, 0, 0, 0]]), window=1))
    array([0.5, nan])
    """
    variance = _variance(sums.n_isis, sums.sum_isi, sums.sum_isi_squared)
    return _ratio(np.sqrt(variance), _ratio(sums.sum_isi, sums.n_isis))


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

    It follows from :math:`P(I + J = s) = (s - 1) p^2 q^{s - 2}` for two independent geometric intervals, of
    which, given their sum, each takes every value from 1 to s − 1 with equal probability.

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

    Derived as :func:`bernoulli_cv2`.

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
        (p, bin size in ms) → the value expected of independent bins with spike probability p, and of a
        Poisson process of the same rate.
    depends_on_order : bool
        Whether another order of the same stimuli gives another value.
    """

    name: str
    unit: str
    description: str
    value: Callable[[Sums, float], np.ndarray]
    bernoulli: Callable[[np.ndarray, float], np.ndarray]
    poisson: Callable[[np.ndarray, float], np.ndarray]
    depends_on_order: bool


def _one(p: np.ndarray, bin_size: float) -> np.ndarray:
    return np.where(p > 0, 1.0, np.nan)


def _below_one(expected: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda p, bin_size: np.where(p > 0, expected(p), np.nan)


STATISTICS = (
    Statistic(
        "activation_probability",
        "",
        "fraction of bins with a spike, p",
        lambda sums, bin_size: activation_probability(sums),
        lambda p, bin_size: p,
        lambda p, bin_size: p,
        depends_on_order=False,
    ),
    Statistic(
        "mean_firing_rate",
        "Hz",
        "spikes per second of pseudo-time",
        lambda sums, bin_size: activation_probability(sums) / bin_size * 1e3,
        lambda p, bin_size: p / bin_size * 1e3,
        lambda p, bin_size: p / bin_size * 1e3,
        depends_on_order=False,
    ),
    Statistic(
        "fano_factor",
        "",
        "variance over mean of the spike counts in windows",
        lambda sums, bin_size: fano_factor(sums),
        _below_one(lambda p: 1 - p),
        _one,
        depends_on_order=True,
    ),
    Statistic(
        "relative_fano_factor",
        "",
        "Fano factor over the 1 − p of independent bins",
        lambda sums, bin_size: _ratio(fano_factor(sums), 1 - activation_probability(sums)),
        lambda p, bin_size: np.where((p > 0) & (p < 1), 1.0, np.nan),
        lambda p, bin_size: _ratio(_one(p, bin_size), 1 - p),
        depends_on_order=True,
    ),
    Statistic(
        "mean_isi",
        "ms",
        "mean inter-spike interval",
        lambda sums, bin_size: _ratio(sums.sum_isi, sums.n_isis) * bin_size,
        lambda p, bin_size: _ratio(np.full_like(p, bin_size), p),
        lambda p, bin_size: _ratio(np.full_like(p, bin_size), p),
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
        lambda p, bin_size: np.where((p > 0) & (p < 1), 1.0, np.nan),
        lambda p, bin_size: _ratio(_one(p, bin_size), np.sqrt(1 - p)),
        depends_on_order=True,
    ),
    Statistic(
        "cv2_isi",
        "",
        "CV2, local variation of adjacent inter-spike intervals (Holt et al. 1996)",
        lambda sums, bin_size: _ratio(sums.sum_cv2, sums.n_isi_pairs),
        lambda p, bin_size: bernoulli_cv2(p),
        _one,
        depends_on_order=True,
    ),
    Statistic(
        "lv_isi",
        "",
        "LV, local variation of adjacent inter-spike intervals (Shinomoto et al. 2003)",
        lambda sums, bin_size: _ratio(sums.sum_lv, sums.n_isi_pairs),
        lambda p, bin_size: bernoulli_lv(p),
        _one,
        depends_on_order=True,
    ),
)
"""Every statistic of a unit, in the order of the tables' columns."""
