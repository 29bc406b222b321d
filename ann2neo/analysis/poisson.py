"""The memoryless process fitted to each unit, how well it fits, and surrogate trains drawn from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..recording.raster import SpikeRaster
from ..recording.recording import Recording
from ..recording.time import PseudoTime
from ..summary.summary import Summary
from .draws import bernoulli, fill_lazily, no_spikes
from .goodness_of_fit.outcome import REASONS
from .goodness_of_fit.tests import TESTS, qvalue
from .likelihood import PROCESSES, criteria, log_likelihood

if TYPE_CHECKING:
    import neo
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class PoissonFit:
    """The memoryless process fitted to each unit, with its goodness of fit.

    Made by :meth:`Summary.fit_poisson`. Every table is the caller's own: to change one changes nothing here.

    Parameters
    ----------
    _units, _reasons : pandas.DataFrame
        What :attr:`units` and :attr:`reasons` return copies of.
    shapes : mapping of str to tuple of int
        Shape of each layer's activation in one bin.
    channel_dims : mapping of str to int or None
        Which dimension of the shape is the channel, if it is a feature map; None: unknown.
    time : PseudoTime
        Bins and trials of the recording.
    alpha : float
        False discovery rate at which :attr:`layers` counts a unit as rejected.

    Examples
    --------
    >>> from ann2neo import Recording, SpikeRaster
    >>> rng = np.random.default_rng(0)
    >>> raster = SpikeRaster.from_dense(rng.random((3, 10_000)) < [[0.1], [0.7], [0.0]])
    >>> fit = Recording({"relu": raster}).summarize(window=100).fit_poisson()
    >>> fit
    PoissonFit(3 units, alpha=0.05)
    >>> fit.units[["rate", "poisson_dispersion_qvalue", "binomial_dispersion_qvalue"]].round(2)
        rate  poisson_dispersion_qvalue  binomial_dispersion_qvalue
    0  103.3                       0.87                        0.77
    1  696.0                       0.00                        0.77
    2    0.0                        NaN                         NaN
    """

    _units: pd.DataFrame
    _reasons: pd.DataFrame
    shapes: Mapping[str, tuple[int, ...]]
    channel_dims: Mapping[str, int | None]
    time: PseudoTime
    alpha: float = 0.05

    @property
    def units(self) -> pd.DataFrame:
        """One row a unit: the fitted processes, and the results of each test.

        The columns of ``summary.places``; ``n_spikes``; ``rate``, the maximum-likelihood rate of a Poisson
        process in Hz; ``activation_probability``, the spike probability of a Bernoulli process; for each of
        ``poisson`` and ``bernoulli``, ``<process>_log_likelihood``, ``_aic`` and ``_bic``; and for each of
        :data:`TESTS`, ``<test>_statistic``, ``_pvalue``, ``_qvalue`` and ``_effect``. These are NaN where the
        test cannot be made: for silent units, which tell nothing beyond a rate of 0, and for units with too
        few spikes. :attr:`reasons` says why.
        """
        return self._units.copy()

    @property
    def reasons(self) -> pd.DataFrame:
        """One row a unit, one column a test: why the test could not be made, empty where it could.

        Each is one of :data:`ann2neo.analysis.goodness_of_fit.outcome.REASONS`.
        """
        return self._reasons.copy()

    @property
    def layers(self) -> pd.DataFrame:
        """One row a layer and one, named ``network``, for all units together.

        ``n_units``, and for each of :data:`TESTS` ``<test>_tested``, the units with a p-value;
        ``<test>_rejected``, the fraction of these with a q-value below ``alpha``; and ``<test>_effect``,
        their mean effect size (both NaN if there are none).
        """
        import pandas as pd

        groups = [*self._units.groupby("layer", sort=False), ("network", self._units)]
        return pd.DataFrame([{"layer": name, **self._count(of_layer)} for name, of_layer in groups])

    def _count(self, units: pd.DataFrame) -> dict[str, float]:
        row: dict[str, float] = {"n_units": len(units)}
        for test in TESTS:
            qvalues = units[f"{test.name}_qvalue"].dropna()
            row[f"{test.name}_tested"] = len(qvalues)
            row[f"{test.name}_rejected"] = (qvalues < self.alpha).mean()
            row[f"{test.name}_effect"] = units[f"{test.name}_effect"].mean()
        return row

    @property
    def untested(self) -> pd.DataFrame:
        """Why units were not tested: one row a test and reason, with ``n_units`` of the network.

        Examples
        --------
        >>> from ann2neo import Recording, SpikeRaster
        >>> raster = SpikeRaster.from_dense([[0] * 50, [1] * 50, [0] * 49 + [1]])
        >>> fit = Recording({"relu": raster}).summarize(window=10).fit_poisson()
        >>> fit.untested.query("test == 'runs'")
            test          reason  n_units
        13  runs          silent        1
        14  runs       always on        1
        15  runs  too few spikes        1
        """
        import pandas as pd

        counts = ((test, why.value_counts(sort=False)) for test, why in self._reasons.items())
        rows = [
            {"test": test, "reason": why, "n_units": n}
            for test, of_test in counts
            for why, n in of_test.items()
            if why and n
        ]
        return pd.DataFrame(rows, columns=["test", "reason", "n_units"])

    def simulate(self, process: str = "poisson", n_bins: int | None = None, seed: int = 0) -> neo.Block:
        """Draw surrogate spike trains from the fitted processes.

        Parameters
        ----------
        process : {"poisson", "bernoulli"}
            ``"poisson"``: trains in continuous time, each by Elephant's
            ``StationaryPoissonProcess`` of the unit's rate. ``"bernoulli"``: spikes at bin centres,
            independently in each bin.
        n_bins : int, optional
            One trial of so many bins; by default the trials of the fitted recording.
        seed : int
            The same seed gives the same trains. NumPy's global random state is neither used nor
            changed.

        Returns
        -------
        neo.Block
            Laid out as :func:`ann2neo.interop.neo_block.to_neo` does, without stimuli and thresholds;
            annotated with ``surrogate``, ``process`` and ``seed``. Poisson trains are drawn when
            first used; to make them a recording, ``Recording.from_neo`` needs a bin size.

        Raises
        ------
        ValueError
            If the process is unknown or ``n_bins`` is less than one.

        Examples
        --------
        >>> from ann2neo import Recording, SpikeRaster
        >>> raster = SpikeRaster.from_dense(np.random.default_rng(0).random((2, 1000)) < 0.1)
        >>> fit = Recording({"relu": raster}).summarize().fit_poisson()
        >>> block = fit.simulate("bernoulli", n_bins=8, seed=1)
        >>> [train.name for train in block.segments[0].spiketrains]
        ['relu[0]', 'relu[1]']
        """
        from ..interop.neo_block import to_neo

        if process not in PROCESSES:
            raise ValueError(f"process={process!r}: give one of {PROCESSES}")
        if n_bins is not None and n_bins < 1:
            raise ValueError(f"n_bins={n_bins}: give at least one bin")
        time = self.time if n_bins is None else PseudoTime(self.time.bin_size, (int(n_bins),))
        rng = np.random.default_rng(seed)
        one_rate = np.zeros(time.n_bins, np.int64)
        rasters = {}
        for layer, units in self._units.groupby("layer", sort=False):
            packed, unknown = no_spikes(len(units), time.n_bins), np.full(len(units), np.nan)
            if process == "bernoulli":
                packed = bernoulli(units["activation_probability"].to_numpy()[:, None], one_rate, rng)
            rasters[str(layer)] = SpikeRaster(
                packed,
                time,
                units["unit"].to_numpy(np.int64),
                self.shapes[str(layer)],
                unknown,
                self.channel_dims[str(layer)],
            )
        annotations = {"surrogate": True, "process": process, "seed": int(seed)}
        block = to_neo(Recording(rasters, annotations=annotations))
        block.name = f"{process} surrogate"
        if process == "poisson":
            fill_lazily(block, _draw(self._units["rate"].to_numpy(), time, seed))
        return block

    def __repr__(self) -> str:
        return f"PoissonFit({len(self._units)} units, alpha={self.alpha:g})"


def _draw(rates: np.ndarray, time: PseudoTime, seed: int) -> Callable[[int, int], neo.SpikeTrain]:
    """Return what draws the train of a trial and unit: Elephant's stationary Poisson process."""
    import quantities as pq
    from elephant.spike_train_generation import StationaryPoissonProcess

    edges = time.trial_edges * time.bin_size * pq.ms

    def draw(trial: int, i: int) -> neo.SpikeTrain:
        process = StationaryPoissonProcess(rates[i] * pq.Hz, edges[trial], edges[trial + 1])
        if rates[i] > 0:
            # Elephant takes no seed and draws from this scipy distribution, by default with
            # NumPy's global state; a stream for each train makes the order of use irrelevant
            process.isi_generator.random_state = np.random.default_rng([seed, trial, i])
        return process.generate_spiketrain()

    return draw


def fit_poisson(summary: Summary, alpha: float = 0.05) -> PoissonFit:
    r"""Fit a Poisson and a Bernoulli process to each unit and test how well they fit.

    The maximum-likelihood rate is spikes over duration, :math:`\hat\lambda = N / T`, and the spike
    probability spikes over bins, :math:`\hat p = N / n`. Likelihoods, AIC and BIC are those of
    :mod:`.likelihood`. q-values are p-values adjusted by Benjamini and Hochberg's procedure over all
    units of the network that could be tested, for each of :data:`TESTS` by itself.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.
    alpha : float
        False discovery rate at which ``PoissonFit.layers`` counts a unit as rejected.

    Returns
    -------
    PoissonFit

    Raises
    ------
    ValueError
        If alpha is not between 0 and 1.

    Examples
    --------
    >>> from ann2neo import Recording, SpikeRaster
    >>> dense = np.random.default_rng(0).random((2, 10_000)) < [[0.1], [0.5]]
    >>> summary = Recording({"relu": SpikeRaster.from_dense(dense)}).summarize(window=100)
    >>> fit_poisson(summary, alpha=0.01).units[["rate", "activation_probability"]].round(2)
        rate  activation_probability
    0  103.3                    0.10
    1  494.3                    0.49

    References
    ----------
    Y. Benjamini and Y. Hochberg (1995), Controlling the false discovery rate, J. R. Stat. Soc. B
    57.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha!r}: give a false discovery rate between 0 and 1")
    import pandas as pd

    sums = summary.sums
    n, p = sums.n_bins, sums.n_spikes / sums.n_bins
    columns = {
        "n_spikes": sums.n_spikes,
        "rate": p / summary.time.bin_size * 1e3,
        "activation_probability": p,
    }
    for process in PROCESSES:
        columns |= criteria(process, log_likelihood(process, sums.n_spikes, n, p), 1, n)
    reasons = {}
    for test in TESTS:
        found = test.function(summary)
        columns[f"{test.name}_statistic"] = found.statistic
        columns[f"{test.name}_pvalue"] = found.pvalue
        columns[f"{test.name}_qvalue"] = qvalue(found.pvalue)
        columns[f"{test.name}_effect"] = found.effect
        reasons[test.name] = pd.Categorical.from_codes(found.reason, REASONS)
    units = summary.places.assign(**columns)
    why = pd.DataFrame(reasons, index=units.index)
    return PoissonFit(units, why, summary.shapes, summary.channel_dims, summary.time, alpha)
