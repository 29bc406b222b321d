"""Rates that follow what is shown, or change over trials: a Bernoulli process of one rate a group of bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .goodness_of_fit import qvalue
from .raster import SpikeRaster
from .recording import Recording

if TYPE_CHECKING:
    import neo
    import pandas as pd

GROUPS = ("labels", "trials")
"""What bins are grouped by."""

FEWEST_EXPECTED = 5
"""The test is made from this many expected spikes, and bins without, a group on average."""


@dataclass(frozen=True, eq=False, repr=False)
class ModulatedFit:
    """The Bernoulli process of one rate, and that of one rate a group of bins, fitted to each unit.

    Made by :meth:`Recording.fit_modulated`.

    Parameters
    ----------
    units : pandas.DataFrame
        One row a unit: ``layer, unit, channel, y, x, n_spikes, activation_probability``;
        ``modulation_statistic, modulation_pvalue, modulation_qvalue``, see :func:`fit_modulated`;
        ``eta_squared`` and ``epsilon_squared``; and for each of ``bernoulli`` and ``modulated`` (process)
        ``_log_likelihood``, ``_aic`` and ``_bic``.
    rates : pandas.DataFrame
        One row a unit, in the same order, and one column a group: the spike probability in its bins.
    recording : Recording
        What was fitted.
    by : {"labels", "trials"}
        What the groups are.
    """

    units: pd.DataFrame
    rates: pd.DataFrame
    recording: Recording
    by: str

    def simulate(self, seed: int = 0) -> neo.Block:
        """Draw surrogate trains of the same rates by group, in the same order of stimuli and trials.

        Parameters
        ----------
        seed : int
            The same seed gives the same trains.

        Returns
        -------
        neo.Block
            As of :meth:`Recording.to_neo`, with the stimuli of the fitted recording; annotated with
            ``surrogate``, ``process`` and ``seed``.

        Examples
        --------
        >>> from ann2neo.raster import Stimuli
        >>> dense = np.arange(100) % 2 * [[1], [0]]
        >>> stimuli = Stimuli.in_order(100, labels=dense[0])
        >>> recording = Recording({"relu": SpikeRaster.from_dense(dense)}, stimuli)
        >>> surrogate = recording.fit_modulated().simulate()
        >>> Recording.from_neo(surrogate).rasters["relu"].counts.tolist()
        [50, 0]
        """
        rng = np.random.default_rng(seed)
        group = _group_of_bins(self.recording, self.by)[1]
        rates, first, rasters = self.rates.to_numpy(), 0, {}
        for layer, raster in self.recording.rasters.items():
            packed = np.empty((raster.n_units, -(-raster.n_bins // 8)), np.uint8)
            for rows, dense in raster.blocks():
                p = rates[first + rows.start : first + rows.stop]
                packed[rows] = np.packbits(rng.random(dense.shape) < p[:, group], axis=1)
            unknown = np.full(raster.n_units, np.nan)
            rasters[layer] = SpikeRaster(packed, raster.time, raster.units, raster.shape, unknown)
            first += raster.n_units
        annotations = {"surrogate": True, "process": f"bernoulli, a rate for each of {self.by}", "seed": seed}
        return Recording(rasters, self.recording.stimuli, annotations).to_neo()

    def __repr__(self) -> str:
        return f"ModulatedFit({len(self.units)} units, {self.rates.shape[1]} rates by {self.by})"


def fit_modulated(recording: Recording, by: str = "labels") -> ModulatedFit:
    r"""Fit a Bernoulli process to each unit whose rate depends on the class shown, or on the trial.

    With k spikes in n bins, of which :math:`k_g` of :math:`n_g` in group g, the rates are
    :math:`p = k / n` and :math:`p_g = k_g / n_g`, and that they are all one is tested by Pearson's

    .. math:: X^2 = \sum_g \frac{n_g (p_g - p)^2}{p (1 - p)}, \quad
              \eta^2 = X^2 / n, \quad
              \varepsilon^2 = 1 - (1 - \eta^2) \frac{n - 1}{n - G}

    η² is the share of a unit's variance, p (1 − p), that lies between groups: by labels, its class
    selectivity; by trials, a lack of stationarity. A Bernoulli process of one rate, and a Poisson process in
    short bins, give X² of :math:`\chi^2` with G − 1 degrees of freedom and ε² = 0 on average (η²: (G − 1) /
    (n − 1)); a unit that fires for some classes always and for the others never gives 1. None of it depends
    on the order in which stimuli were shown.

    Parameters
    ----------
    recording : Recording
        The spikes. Summaries keep no spikes by class: this needs a recording.
    by : {"labels", "trials"}
        What bins are grouped by.

    Returns
    -------
    ModulatedFit

    Raises
    ------
    ValueError
        If there are no labels, or only one group.

    Notes
    -----
    Log-likelihoods are natural ones, of a spike or none in each bin; AIC = 2 · parameters − 2 ln L, BIC =
    ln(n) · parameters − 2 ln L, of 1 and of G parameters. Statistics are NaN for silent and always-on units,
    p-values also where ``FEWEST_EXPECTED`` spikes (or bins without) a group are not reached on average.

    References
    ----------
    T. L. Kelley (1935), An unbiased correlation ratio measure, PNAS 21 (ε²). W. G. Cochran (1954), Some
    methods for strengthening the common χ² tests, Biometrics 10.

    Examples
    --------
    A unit that prefers class 1, and one that does not care:

    >>> from ann2neo.raster import Stimuli
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 3, 3000)
    >>> dense = rng.random((2, 3000)) < [np.where(labels == 1, 0.8, 0.1), np.full(3000, 0.3)]
    >>> recording = Recording({"relu": SpikeRaster.from_dense(dense)}, Stimuli.in_order(3000, labels=labels))
    >>> fitted = recording.fit_modulated()
    >>> fitted.rates.round(1)
         0    1    2
    0  0.1  0.8  0.1
    1  0.3  0.3  0.3
    >>> fitted.units[["epsilon_squared", "modulation_qvalue"]].round(2)
       epsilon_squared  modulation_qvalue
    0             0.48               0.00
    1             0.00               0.31
    """
    import pandas as pd
    from scipy.special import xlog1py, xlogy
    from scipy.stats import chi2

    names, group = _group_of_bins(recording, by)
    n, n_groups = recording.n_bins, len(names)
    of_group = np.bincount(group, minlength=n_groups)
    counts = _counts(recording, group, n_groups)
    k = counts.sum(axis=1)
    p, rates = k / n, counts / of_group

    def log_likelihood(k: np.ndarray, n: np.ndarray | int, p: np.ndarray) -> np.ndarray:
        return xlogy(k, p) + xlog1py(n - k, -p)

    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (of_group * (rates - p[:, None]) ** 2).sum(axis=1) / (p * (1 - p))
    eta_squared = statistic / n
    expected = np.minimum(k, n - k) / n_groups
    pvalue = np.where(expected >= FEWEST_EXPECTED, chi2.sf(statistic, n_groups - 1), np.nan)
    columns = {
        "n_spikes": k,
        "activation_probability": p,
        "modulation_statistic": statistic,
        "modulation_pvalue": pvalue,
        "modulation_qvalue": qvalue(pvalue),
        "eta_squared": eta_squared,
        "epsilon_squared": 1 - (1 - eta_squared) * (n - 1) / (n - n_groups) if n > n_groups else np.nan,
    }
    for process, fitted, n_parameters in (
        ("bernoulli", log_likelihood(k, n, p), 1),
        ("modulated", log_likelihood(counts, of_group, rates).sum(axis=1), n_groups),
    ):
        columns[f"{process}_log_likelihood"] = fitted
        columns[f"{process}_aic"] = 2 * n_parameters - 2 * fitted
        columns[f"{process}_bic"] = np.log(n) * n_parameters - 2 * fitted
    units = recording.units.drop(columns="threshold").assign(**columns)
    return ModulatedFit(units, pd.DataFrame(rates, columns=names), recording, by)


def _group_of_bins(recording: Recording, by: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the names of the groups, and the group of each bin."""
    if by not in GROUPS:
        raise ValueError(f"by={by!r}: give one of {GROUPS}")
    values = recording.labels if by == "labels" else recording.time.trial_of(np.arange(recording.n_bins))
    if values is None:
        raise ValueError("by='labels', but the stimuli have none: give them as labels= when recording")
    names, group = np.unique(values, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"by={by!r}, but there is only one, {names[0]}: rates need two groups or more")
    return names, group


def _counts(recording: Recording, group: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the number of spikes of each unit in each group: int64 (n_units, n_groups)."""
    # float32 counts exactly up to 2²⁴
    member = np.zeros((recording.n_bins, n_groups), np.float32 if recording.n_bins < 2**24 else np.float64)
    member[np.arange(recording.n_bins), group] = 1
    blocks = (dense for raster in recording.rasters.values() for _, dense in raster.blocks())
    return np.concatenate([dense.astype(member.dtype) @ member for dense in blocks]).astype(np.int64)
