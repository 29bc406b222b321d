"""Memoryless processes with one rate for each class of stimuli, or for each trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..recording.recording import Recording
from ..recording.time import PseudoTime
from ..summary.summary import Summary
from .draws import bernoulli, fill_lazily, no_spikes
from .goodness_of_fit.tests import qvalue
from .likelihood import PROCESSES, criteria, log_likelihood

if TYPE_CHECKING:
    import neo
    import pandas as pd


GROUPS = ("labels", "trials")
"""What bins can be grouped by."""

FEWEST_EXPECTED = 5
"""The test needs at least so many expected spikes, and empty bins, in the smallest group."""


@dataclass(frozen=True, eq=False, repr=False)
class ModulatedFit:
    """Memoryless processes fitted to each unit: with one rate, and with one rate for each group of bins.

    Made by :meth:`Recording.fit_modulated` and :func:`fit_groups`. Every table is the caller's own: to change
    one changes nothing here.

    Parameters
    ----------
    _units, _rates : pandas.DataFrame
        What :attr:`units` and :attr:`rates` return copies of.
    by : str
        What the groups are.
    recording : Recording, optional
        The recording that was fitted; None, if summaries were.
    """

    _units: pd.DataFrame
    _rates: pd.DataFrame
    by: str
    recording: Recording | None = None

    @property
    def units(self) -> pd.DataFrame:
        """One row a unit: the test of one rate, and how well each process fits.

        The columns of ``recording.units``; ``n_spikes``, ``activation_probability``;
        ``modulation_statistic``, ``modulation_pvalue``, ``modulation_qvalue``, ``eta_squared`` and
        ``epsilon_squared``, see :func:`fit_modulated`; and for each process of ``poisson``, ``bernoulli``,
        ``modulated_poisson`` and ``modulated_bernoulli`` its ``<process>_log_likelihood``, ``_aic`` and
        ``_bic``.
        """
        return self._units.copy()

    @property
    def rates(self) -> pd.DataFrame:
        """One row a unit, as in :attr:`units`, one column a group: the spike probability in its bins."""
        return self._rates.copy()

    def simulate(self, process: str = "bernoulli", seed: int = 0) -> neo.Block:
        """Draw surrogate trains of the same rates by group, in the same order of stimuli and trials.

        Parameters
        ----------
        process : {"bernoulli", "poisson"}
            ``"bernoulli"``: spikes at bin centres, independently in each bin. ``"poisson"``: trains in
            continuous time, drawn when first used; the rate is constant within each bin.
        seed : int
            The same seed gives the same trains.

        Returns
        -------
        neo.Block
            Laid out as :meth:`Recording.to_neo` does, with the stimuli of the fitted recording; annotated
            with ``surrogate``, ``process`` and ``seed``. To make Poisson trains a recording,
            ``Recording.from_neo`` needs a bin size.

        Raises
        ------
        ValueError
            If the process is unknown, or if summaries were fitted: they do not keep the order of stimuli.

        Examples
        --------
        >>> from ann2neo import SpikeRaster, Stimuli
        >>> dense = np.arange(100) % 2 * [[1], [0]]
        >>> stimuli = Stimuli.in_order(100, labels=dense[0])
        >>> recording = Recording({"relu": SpikeRaster.from_dense(dense)}, stimuli)
        >>> surrogate = recording.fit_modulated().simulate()
        >>> Recording.from_neo(surrogate).rasters["relu"].counts.tolist()
        [50, 0]
        """
        if process not in PROCESSES:
            raise ValueError(f"process={process!r}: give one of {PROCESSES}")
        if self.recording is None:
            raise ValueError(
                "simulate needs the order of stimuli, and summaries do not keep it: fit a recording, "
                "recording.fit_modulated()"
            )
        rng = np.random.default_rng(seed)
        from ..interop.neo_block import to_neo

        group = _group_of_bins(self.recording, self.by)[1]
        rates, first, rasters = self._rates.to_numpy(), 0, {}
        for layer, raster in self.recording.rasters.items():
            packed, unknown = no_spikes(raster.n_units, raster.n_bins), np.full(raster.n_units, np.nan)
            if process == "bernoulli":
                packed = bernoulli(rates[first : first + raster.n_units], group, rng)
            rasters[layer] = replace(raster, packed=packed, threshold=unknown)
            first += raster.n_units
        annotations = {
            "surrogate": True,
            "process": f"{process}, a rate for each of {self.by}",
            "seed": int(seed),
        }
        block = to_neo(Recording(rasters, self.recording.stimuli, annotations))
        if process == "poisson":
            fill_lazily(block, _draw(rates, group, self.recording.time, seed))
        return block

    def __repr__(self) -> str:
        return f"ModulatedFit({len(self._units)} units, {self._rates.shape[1]} rates by {self.by})"


def fit_modulated(recording: Recording, by: str = "labels") -> ModulatedFit:
    r"""Fit memoryless processes to each unit whose rate depends on the class shown, or on the trial.

    A unit has k spikes in n bins, and :math:`k_g` spikes in the :math:`n_g` bins of group g. The rates are
    :math:`p = k / n` and :math:`p_g = k_g / n_g`. Whether all :math:`p_g` are equal is tested by Pearson's

    .. math:: X^2 = \sum_g \frac{n_g (p_g - p)^2}{p (1 - p)}, \quad
              \eta^2 = X^2 / n, \quad
              \varepsilon^2 = 1 - (1 - \eta^2) \frac{n - 1}{n - G}

    η² is the share of a unit's variance, p (1 − p), that lies between groups. By labels it is the unit's
    class selectivity; by trials, a lack of stationarity. A Bernoulli process of one rate, and a Poisson
    process in short bins, give an X² that follows :math:`\chi^2` with G − 1 degrees of freedom; on average
    they give ε² = 0 and η² = (G − 1) / (n − 1). A unit that always fires for some classes and never for the
    others gives 1. Nothing here depends on the order in which stimuli were shown.

    Parameters
    ----------
    recording : Recording
        The spikes. Where only summaries are kept, use :func:`fit_groups`.
    by : {"labels", "trials"}
        What bins are grouped by.

    Returns
    -------
    ModulatedFit

    Raises
    ------
    ValueError
        If the stimuli have no labels, a label is NaN, or there is only one group.

    Notes
    -----
    Likelihoods, AIC and BIC are those of :mod:`.likelihood`, with 1 and with G parameters. Statistics are
    NaN for silent and always-on units. p-values are NaN also where fewer than ``FEWEST_EXPECTED`` spikes, or
    empty bins, are expected in the smallest group.

    References
    ----------
    T. L. Kelley (1935), An unbiased correlation ratio measure, PNAS 21 (ε²). W. G. Cochran (1954), Some
    methods for strengthening the common χ² tests, Biometrics 10.

    Examples
    --------
    A unit that prefers class 1, and one that does not care:

    >>> from ann2neo import SpikeRaster, Stimuli
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
    names, group = _group_of_bins(recording, by)
    counts = _counts(recording, group, len(names))
    of_group = np.bincount(group, minlength=len(names))
    return ModulatedFit(*_fit(recording.units, counts, of_group, list(names)), by, recording)


def fit_groups(summaries: Mapping[Any, Summary], by: str = "groups") -> ModulatedFit:
    """Fit one rate a group to each unit, as :func:`fit_modulated` does, from summaries without spikes.

    Parameters
    ----------
    summaries : mapping
        From group to summary; all summaries have the same units. Rates do not depend on the order of stimuli,
        so classes can be shown one after the other, each into a summary of its own. To fit rates by trial,
        give the summaries that would be merged.
    by : str
        A word for the groups.

    Returns
    -------
    ModulatedFit
        Without ``recording``: it cannot simulate.

    Raises
    ------
    TypeError
        If ``summaries`` is not a mapping of summaries.
    ValueError
        If there are fewer than two groups, a group has no bins, or their units differ.

    Examples
    --------
    A network of random weights is shown weak stimuli, and strong ones:

    >>> import torch, ann2neo
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())
    >>> of_class = {name: torch.randn(500, 3) * size for name, size in (("weak", 0.1), ("strong", 5.0))}
    >>> summaries = {name: ann2neo.summarize(model, stimuli) for name, stimuli in of_class.items()}
    >>> fit_groups(summaries, "classes")
    ModulatedFit(4 units, 2 rates by classes)
    """
    if not isinstance(summaries, Mapping):
        raise TypeError(
            f"summaries is of type {type(summaries).__name__}: give a mapping of summaries, "
            "{group: summary}"
        )
    for name, summary in summaries.items():
        if not isinstance(summary, Summary):
            raise TypeError(
                f"the value of {name!r} is of type {type(summary).__name__}: give a Summary, see "
                "ann2neo.summarize"
            )
    if len(summaries) < 2:
        raise ValueError(f"there are summaries of {list(summaries)} only: give two groups or more")
    name, first = next(iter(summaries.items()))
    places = first.places
    for other, summary in summaries.items():
        if not summary.n_bins:
            raise ValueError(f"the summary of {other!r} has no bins: fill it with stimuli, or leave it out")
        if not summary.places.equals(places):
            raise ValueError(
                f"the summary of {other!r} has {len(summary.places)} units of {summary.shapes}, the one of "
                f"{name!r} has {len(places)} units of {first.shapes}, or their thresholds differ: give "
                "summaries of the same units and thresholds"
            )
    counts = np.stack([summary.sums.n_spikes for summary in summaries.values()], axis=1)
    n_bins = np.array([summary.n_bins for summary in summaries.values()])
    return ModulatedFit(*_fit(places, counts, n_bins, list(summaries)), by)


def _fit(
    places: pd.DataFrame, counts: np.ndarray, of_group: np.ndarray, names: list[Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of units and of rates, from spikes (n_units, n_groups) in bins (n_groups,)."""
    import pandas as pd
    from scipy.stats import chi2

    n, n_groups = int(of_group.sum()), len(of_group)
    k = counts.sum(axis=1)
    p, rates = k / n, counts / of_group
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (of_group * (rates - p[:, None]) ** 2).sum(axis=1) / (p * (1 - p))
    eta_squared = statistic / n
    expected = np.minimum(p, 1 - p) * of_group.min()
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
    for process in PROCESSES:
        columns |= criteria(process, log_likelihood(process, k, n, p), 1, n)
    for process in PROCESSES:
        by_group = log_likelihood(process, counts, of_group, rates).sum(axis=1)
        columns |= criteria(f"modulated_{process}", by_group, n_groups, n)
    return places.assign(**columns), pd.DataFrame(rates, columns=names)


def _draw(
    rates: np.ndarray, group: np.ndarray, time: PseudoTime, seed: int
) -> Callable[[int, int], neo.SpikeTrain]:
    """Return what draws the train of a trial and unit: a Poisson process of one rate in each bin."""
    import quantities as pq

    from ..interop.lazy import spiketrain_view

    edges = time.trial_edges

    def draw(trial: int, i: int) -> neo.SpikeTrain:
        bins = np.arange(edges[trial], edges[trial + 1])
        # a stream for each train makes the order of use irrelevant
        rng = np.random.default_rng([seed, trial, i])
        n_spikes = rng.poisson(rates[i, group[bins]])
        # given their number, the spikes of a constant rate are anywhere in their bin
        at = np.repeat(bins, n_spikes) + rng.random(n_spikes.sum())
        t_start, t_stop = (edge * time.bin_size * pq.ms for edge in edges[trial : trial + 2])
        return spiketrain_view(np.sort(at) * time.bin_size, t_start, t_stop)

    return draw


def _group_of_bins(recording: Recording, by: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the names of the groups, and the group of each bin."""
    if by not in GROUPS:
        raise ValueError(f"by={by!r}: give one of {GROUPS}")
    values = recording.labels if by == "labels" else recording.time.trial_of(np.arange(recording.n_bins))
    if values is None:
        raise ValueError("by='labels', but the stimuli have no labels: give labels= when recording")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError(
            f"{np.isnan(values).sum()} of {len(values)} bins have the label NaN: leave these bins out"
        )
    names, group = np.unique(values, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"by={by!r}, but all bins are of one group, {names[0]}: at least two are needed")
    return names, group


def _counts(recording: Recording, group: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the number of spikes of each unit in each group: int64 (n_units, n_groups)."""
    order, first = np.argsort(group, kind="stable"), np.cumsum(np.bincount(group, minlength=n_groups))[:-1]
    blocks = (dense for raster in recording.rasters.values() for _, dense in raster.blocks())
    starts = np.append(0, first)
    return np.concatenate(
        [np.add.reduceat(dense[:, order], starts, axis=1, dtype=np.int64) for dense in blocks]
    )
