"""Null distributions of the Kolmogorov–Smirnov distance of intervals whose rate is estimated from them."""

from __future__ import annotations

from functools import cache

import numpy as np

from ...recording.raster import UNITS_AT_ONCE
from ...summary.statistics import LONGEST_ISI

TAIL_FROM = 0.01
"""Below this p-value the tail of a limiting Gaussian process takes over from simulated values."""


def _exceeding(d: np.ndarray, values: np.ndarray, variance: float) -> np.ndarray:
    """Return p-values from sorted simulated values, and beyond them from the tail of a Gaussian."""
    tail_from = np.quantile(values, 1 - TAIL_FROM)
    tail = TAIL_FROM * np.exp((tail_from**2 - np.maximum(d, tail_from) ** 2) / (2 * variance))
    body: np.ndarray = np.interp(d, values, 1 - (np.arange(len(values)) + 0.5) / len(values))
    return np.where(d > tail_from, tail, body)


def _stephens(distance: np.ndarray, n: np.ndarray | int) -> np.ndarray:
    return (distance - 0.2 / n) * (np.sqrt(n) + 0.26 + 0.5 / np.sqrt(n))


NULL_SIZES = (10, 50, 400)
"""Numbers of intervals for which the null distribution of D* is drawn."""

TAIL_VARIANCE = 0.149192407  # of √n (F̂ − F) where it is largest, at F = 0.34


@cache
def _exponential_null(n: int, n_samples: int = 20_000) -> np.ndarray:
    """Draw D* of samples of n exponential intervals: sorted."""
    intervals = np.sort(np.random.default_rng(n).exponential(size=(n_samples, n)), axis=1)
    cdf = -np.expm1(-intervals / intervals.mean(axis=1, keepdims=True))
    ecdf = np.arange(n + 1) / n
    distance = np.maximum(cdf - ecdf[:-1], ecdf[1:] - cdf).max(axis=1)
    return np.sort(_stephens(distance, n))


def exponential_pvalue(distance: np.ndarray, n: np.ndarray) -> np.ndarray:
    r"""Return the p-value of a Kolmogorov–Smirnov distance to the exponential of the same mean.

    Down to p = 0.01 it is interpolated in simulated values of Stephens' D*, 20 000 for each of three
    numbers of intervals. Many tests together need smaller p-values than a simulation reaches: these follow
    the tail of the limiting Gaussian process,

    .. math:: p \propto e^{-D^{*2} / 2 \sigma^2}, \quad
              \sigma^2 = \max_s \, s (1 - s) - \big((1 - s) \ln(1 - s)\big)^2 = 0.1492

    Parameters
    ----------
    distance : numpy.ndarray
        float64 (n_units,), D; NaN gives NaN.
    n : numpy.ndarray
        int64 (n_units,), number of intervals.

    Returns
    -------
    numpy.ndarray
        float64 (n_units,).

    Examples
    --------
    >>> exponential_pvalue(np.array([0.05, 0.11, 0.3]), np.array([100, 100, 100])).round(3)
    array([0.891, 0.042, 0.   ])
    """
    n = np.maximum(n, 1)
    d = _stephens(np.asarray(distance, np.float64), n)
    of_sizes = np.stack([_exceeding(d, _exponential_null(size), TAIL_VARIANCE) for size in NULL_SIZES])
    # D* still depends a little on n, about linearly on its logarithm
    position = np.interp(np.log(n), np.log(NULL_SIZES), np.arange(len(NULL_SIZES)))
    below = np.minimum(position.astype(np.int64), len(NULL_SIZES) - 2)
    unit = np.arange(len(d))
    lower, upper = of_sizes[below, unit], of_sizes[below + 1, unit]
    pvalue: np.ndarray = lower + (upper - lower) * (position - below)
    return pvalue


NULL_PROBABILITIES = (
    *(1 / LONGEST_ISI, 0.005, 0.007, 0.01, 0.015, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45),
    *(0.5, 0.6, 0.7, 0.8, 0.87, 0.93, 0.98),
)
"""Spike probabilities for which the null distribution of the distance to a geometric is drawn."""

FARTHEST = 1e-3
"""Distributions are compared up to the length that this fraction of intervals is expected to exceed."""


def _survival(p: np.ndarray | float, edges: np.ndarray) -> np.ndarray:
    """Return the probability of geometric intervals of more than so many bins."""
    survival: np.ndarray = np.exp(edges * np.log1p(-np.asarray(p, np.float64)))
    return survival


def _n_edges(p: float) -> int:
    return int(np.clip(np.ceil(np.log(FARTHEST) / np.log1p(-p)), 1, LONGEST_ISI))


def rescaled_spread(p: np.ndarray) -> np.ndarray:
    r"""Return the largest standard deviation of √n (F̂ − F) of geometric intervals with an estimated p.

    .. math:: \sigma^2 = \max_l \, S (1 - S) - \frac{(p \, l \, S)^2}{1 - p}, \quad S = (1 - p)^l

    Parameters
    ----------
    p : numpy.ndarray
        float64 (n_units,), between 0 and 1.

    Returns
    -------
    numpy.ndarray
        float64 (n_units,).

    Examples
    --------
    For rare spikes, that of exponential intervals, √0.1492; for p near one, √(p (1 − p)²):

    >>> rescaled_spread(np.array([1e-2, 0.5, 0.99])).round(4)
    array([0.3862, 0.3536, 0.0099])
    """
    p, edges = np.asarray(p, np.float64)[:, None], np.arange(1, LONGEST_ISI + 1)
    survival = _survival(p, edges)
    variance = survival * (1 - survival) - (p * edges * survival) ** 2 / (1 - p)
    spread: np.ndarray = np.sqrt(variance.max(axis=1))
    return spread


@cache
def _rescaled_null(p: float, n_samples: int = 10_000) -> np.ndarray:
    """Draw sup √n |F̂ − F| / σ in the limit of many intervals of one p: sorted.

    F̂ is a Brownian bridge at the whole bins l, and the estimate of p removes a part of it: p̂ − p is −p² times
    the deviation of the mean interval, and shifts F by l (1 − p)^(l − 1) times that.
    """
    rng = np.random.default_rng(0)
    edges = np.arange(1, _n_edges(p) + 1)
    survival = _survival(p, edges)
    of_cell = -np.diff(survival, prepend=1.0, append=0.0)
    cells = rng.standard_normal((n_samples, len(of_cell)), np.float32) * np.sqrt(of_cell)
    cells -= of_cell * cells.sum(axis=1, keepdims=True)
    # longer intervals vary among themselves, with the variance of any geometric interval
    beyond = rng.normal(size=n_samples) * np.sqrt(survival[-1] * (1 - p)) / p
    mean_interval = cells @ np.append(edges, len(edges) + 1 / p) + beyond
    bridge = np.cumsum(cells[:, :-1], axis=1)
    left = bridge + p**2 * mean_interval[:, None] * (edges * survival / (1 - p))
    farthest: np.ndarray = np.sort(np.abs(left).max(axis=1)) / rescaled_spread(np.array([p]))
    return farthest


def rescaled_pvalue(distance: np.ndarray, n: np.ndarray, p: np.ndarray) -> np.ndarray:
    r"""Return the p-value of a Kolmogorov–Smirnov distance to the geometric of the same mean.

    √n D / σ, with σ of :func:`rescaled_spread`, is compared with its limit for many intervals: a Gaussian
    process at whole bins, drawn 10 000 times for each of some twenty spike probabilities and interpolated
    between them. p-values below 0.01 follow :math:`e^{-n D^2 / 2 \sigma^2}`.

    Parameters
    ----------
    distance : numpy.ndarray
        float64 (n_units,), D; NaN gives NaN.
    n : numpy.ndarray
        int64 (n_units,), number of intervals.
    p : numpy.ndarray
        float64 (n_units,), one over the mean interval in bins.

    Returns
    -------
    numpy.ndarray
        float64 (n_units,).

    Examples
    --------
    >>> rescaled_pvalue(np.array([0.02, 0.05, 0.3]), np.full(3, 400), np.full(3, 0.3)).round(3)
    array([0.619, 0.014, 0.   ])
    """
    pvalue = np.full(len(distance), np.nan)
    rows = np.flatnonzero(np.isfinite(distance))
    if not len(rows):
        return pvalue
    d = np.sqrt(n[rows]) * distance[rows]
    for first in range(0, len(rows), UNITS_AT_ONCE):
        block = slice(first, first + UNITS_AT_ONCE)
        d[block] /= rescaled_spread(p[rows[block]])
    nodes = np.arange(len(NULL_PROBABILITIES))
    position = np.interp(p[rows], NULL_PROBABILITIES, nodes)
    pvalue[rows] = 0.0
    for node in nodes:
        weight = np.maximum(0.0, 1 - np.abs(position - node))
        near = np.flatnonzero(weight)
        if len(near):
            values = _rescaled_null(NULL_PROBABILITIES[node])
            pvalue[rows[near]] += weight[near] * _exceeding(d[near], values, 1.0)
    return pvalue
