"""The tables of a summary, as pure functions of sums and values: each call makes a new table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .statistics import STATISTICS, Sums

if TYPE_CHECKING:
    import pandas as pd


def unit_rows(places: pd.DataFrame, sums: Sums, values: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return one row a unit: where it is, ``n_bins``, ``n_spikes`` and the value of every statistic."""
    return places.assign(n_bins=sums.n_bins, n_spikes=sums.n_spikes, **values)


def expected_rows(
    process: str, places: pd.DataFrame, p: np.ndarray, bin_size: float, n_windows: int
) -> pd.DataFrame:
    """Return one row a unit: what a memoryless process of spike probability p (n_units,) would give.

    Raises
    ------
    ValueError
        If the process is unknown.
    """
    if process not in ("bernoulli", "poisson"):
        raise ValueError(f"process={process!r}: give 'bernoulli' or 'poisson'")
    columns = {
        statistic.name: getattr(statistic, process)(p, bin_size, n_windows) for statistic in STATISTICS
    }
    return places[["layer", "unit"]].assign(**columns)


def layer_rows(
    units: pd.DataFrame, populations: Sequence[Mapping[str, float]], window: int, n_windows: int
) -> pd.DataFrame:
    """Return one row a layer and one, named ``network``, for all units together.

    Parameters
    ----------
    units : pandas.DataFrame
        One row a unit, of at least one layer.
    populations : sequence of mapping
        What :func:`population` gives for each layer, in their order, and last for the network.
    window, n_windows : int
        Bins in a counting window, and how many windows there are.
    """
    import pandas as pd

    groups = [*units.groupby("layer", sort=False), ("network", units)]
    return pd.DataFrame(
        [
            {"layer": name, **_over_units(of_layer, window, n_windows), **of_population}
            for (name, of_layer), of_population in zip(groups, populations, strict=True)
        ]
    )


def _over_units(units: pd.DataFrame, window: int, n_windows: int) -> dict[str, float]:
    row: dict[str, float] = {
        "n_units": len(units),
        "dead_fraction": float((units["n_spikes"] == 0).mean()),
        "always_on_fraction": float((units["n_spikes"] == units["n_bins"]).mean()),
        "window": window,
        "n_windows": n_windows,
    }
    for statistic in STATISTICS:
        values = units[statistic.name]
        row[f"{statistic.name}_mean"] = values.mean()
        row[f"{statistic.name}_var"] = values.var(ddof=0)
    p, n = units["activation_probability"][units["fano_factor"].notna()], max(1, n_windows)
    noise = (2 * (1 - p) ** 2 * (1 - 1 / window) * (n - 1) / n**2 + p * (1 - p) / (n * window)).mean()
    row["fano_factor_var_excess"] = row["fano_factor_var"] - noise if n_windows > 1 else np.nan
    return row


def population(complexity: np.ndarray, correlation: np.ndarray | None = None) -> dict[str, float]:
    """Return what the units of a layer do together.

    Parameters
    ----------
    complexity : numpy.ndarray
        int64 (n_units + 1,): entry k counts the bins with k active units.
    correlation : numpy.ndarray, optional
        float64 (n_sampled, n_sampled), of the sampled units; without, what needs it is NaN.

    Returns
    -------
    dict of str to float
        The columns of :attr:`ann2neo.Summary.layers` that are about the population.

    Examples
    --------
    Two units: in one bin of four both spike, in two bins one of them.

    >>> row = population(np.array([1, 2, 1]))
    >>> row["n_active_mean"], row["n_silent_bins"], round(row["population_sparseness"], 3)
    (1.0, 1, 0.667)
    """
    n_units, active, n_bins = len(complexity) - 1, np.arange(len(complexity)), int(complexity.sum())
    n_spikes, n_silent = float(active @ complexity), int(complexity[0])
    mean, sparseness = n_spikes / n_bins, np.nan
    if n_units > 1 and n_silent < n_bins:
        sparseness = (1 - n_spikes / (n_bins - n_silent) / n_units) / (1 - 1 / n_units)
    row = {
        "n_active_mean": mean,
        "n_active_var": float((active - mean) ** 2 @ complexity) / n_bins,
        "population_sparseness": sparseness,
        "n_silent_bins": n_silent,
        "correlation_mean": np.nan,
        "participation_ratio": np.nan,
    }
    if correlation is None:
        return row
    vary = np.isfinite(np.diagonal(correlation))
    among = correlation[np.ix_(vary, vary)]
    if len(among) > 1:
        row["correlation_mean"] = float(among[np.triu_indices(len(among), 1)].mean())
        row["participation_ratio"] = len(among) ** 2 / float((among**2).sum())
    return row


def correlation(coactive: np.ndarray, n_bins: int) -> np.ndarray:
    """Return the correlation of spike trains from the bins in which two units spike together.

    Parameters
    ----------
    coactive : numpy.ndarray
        int64 (n, n): in how many bins units i and j both spiked; on the diagonal, in how many one did.
    n_bins : int
        Of how many bins.

    Returns
    -------
    numpy.ndarray
        float64 (n, n), symmetric; NaN for a unit that is silent or always on.

    Examples
    --------
    >>> correlation(np.array([[2, 2, 0], [2, 2, 0], [0, 0, 1]]), n_bins=3).round(6)
    array([[ 1.,  1., -1.], [ 1.,  1., -1.], [-1., -1.,  1.]])
    """
    together = coactive.astype(np.float64)
    count = np.diagonal(together)
    covariance = n_bins * together - np.outer(count, count)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.sqrt(np.diagonal(covariance))
        return np.where(np.outer(scale, scale) > 0, covariance / np.outer(scale, scale), np.nan)
