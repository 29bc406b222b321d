"""Indicators of memorization: statistics of one recording over random orders, beside surrogates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..recording.recording import Recording
from ..recording.time import PseudoTime
from ..summary.of_recording import summarize_recording
from ..summary.summary import Summary
from .draws import bernoulli
from .goodness_of_fit.tests import TESTS
from .modulation import fit_modulated
from .poisson import fit_poisson

if TYPE_CHECKING:
    import pandas as pd


RATES = (
    "activation_probability_mean",
    "activation_probability_var",
    "dead_fraction",
    "always_on_fraction",
)
"""Indicators of rates. They do not depend on the order of the stimuli."""

FANO_FACTORS = (
    "fano_factor_mean",
    "fano_factor_var",
    "fano_factor_var_excess",
    "relative_fano_factor_mean",
    "relative_cv_isi_mean",
)
"""Indicators that depend on the order, as :data:`REJECTED` does."""

TOGETHER = ("n_active_var", "population_sparseness", "correlation_mean", "participation_ratio")
"""Indicators of how units are active together."""

REJECTED = tuple(f"{test.name}_rejected" for test in TESTS)
"""Fractions of units that the tests reject, of those that could be tested."""

QUANTILES = np.linspace(0, 1, 21)
"""Which quantiles of p over units :func:`distributions` returns."""


def indicators(
    recording: Recording, *, window: int = 20, n_orders: int = 5, surrogates: bool = True, seed: int = 0
) -> pd.DataFrame:
    r"""Return the statistics that may tell memorizing networks from others, layer by layer.

    Statistics that depend on the order of the stimuli are means over ``n_orders`` random orders. All units
    share an order, so their estimates err together; several orders average that out.

    Parameters
    ----------
    recording : Recording
        The spikes. If its stimuli have labels, these must be the true classes.
    window : int
        Bins in a counting window.
    n_orders : int
        Number of random orders.
    surrogates : bool
        Whether each column but those of :data:`RATES` gets a second one, ``surrogate_<column>``: the same
        statistic of independent Bernoulli trains with the same p, drawn anew for each order. It shows what p
        alone explains.
    seed : int
        For orders and surrogates.

    Returns
    -------
    pandas.DataFrame
        One row a layer, and one named ``network``. The columns of :data:`RATES`, :data:`FANO_FACTORS`,
        :data:`TOGETHER` and :data:`REJECTED`: see :attr:`Summary.layers` and :attr:`PoissonFit.layers`.
        Correlation and participation ratio of the network are means over its layers. Independent bins give a
        relative Fano factor and a CV / √(1 − p) of 1, apart from the bias of short trains.

        With labels also ``class_selectivity``, the mean of ε² over units (:func:`.fit_modulated`), which is 0
        for Bernoulli and Poisson processes of one rate; and ``sorted_relative_fano_factor_mean``, the
        relative Fano factor with the stimuli sorted by class, which is 1 for such processes and grows with
        class
        selectivity: an effect of order.

    Raises
    ------
    ValueError
        If the recording has no stimuli, or fewer bins than a window, or if ``n_orders`` is below one.

    Examples
    --------
    Two units that prefer a class, two that do not:

    >>> from ann2neo import SpikeRaster, Stimuli
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 2, 2000)
    >>> p = np.array([[0.1, 0.6], [0.6, 0.1], [0.3, 0.3], [0.3, 0.3]])
    >>> raster = SpikeRaster.from_dense(rng.random((4, 2000)) < p[:, labels])
    >>> recording = Recording({"relu": raster}, Stimuli.in_order(2000, labels=labels))
    >>> table = indicators(recording).set_index("layer")
    >>> table.loc["network", ["activation_probability_mean", "class_selectivity"]].round(2).tolist()
    [0.33, 0.14]
    >>> table.filter(like="relative_fano").round(1).loc["network"].tolist()
    [1.0, 1.0, 3.7]
    """
    if n_orders < 1:
        raise ValueError(f"n_orders={n_orders}: give at least one")
    by_order, by_surrogate = [], []
    rng = np.random.default_rng([seed, 1])
    for _ in range(n_orders):
        by_order.append(_of_one_order(recording.shuffle_stimuli(int(rng.integers(2**31))), window))
        if surrogates:
            by_surrogate.append(_of_one_order(_surrogate(recording, rng), window))
    table = _mean(by_order)
    if surrogates:
        null = _mean(by_surrogate).drop(columns=["layer", *RATES])
        table = table.join(null.add_prefix("surrogate_"))
    if recording.labels is not None and len(np.unique(recording.labels)) > 1:
        table["class_selectivity"] = _by_layer(fit_modulated(recording, "labels").units)
        in_classes = summarize_recording(recording.sort_stimuli("labels"), window).layers
        table["sorted_relative_fano_factor_mean"] = in_classes["relative_fano_factor_mean"]
    return table


def _of_one_order(recording: Recording, window: int) -> pd.DataFrame:
    summary = summarize_recording(recording, window)
    layers = summary.layers[["layer", *RATES, *FANO_FACTORS, *TOGETHER]].copy()
    # units are correlated within their layer only
    network = layers.index[-1]
    for column in ("correlation_mean", "participation_ratio"):
        layers.loc[network, column] = layers[column].iloc[:-1].mean()
    return layers.join(fit_poisson(summary).layers[[*REJECTED]])


def _surrogate(recording: Recording, rng: np.random.Generator) -> Recording:
    """Draw each unit's bins independently, with its own p, in one trial."""
    time = PseudoTime(recording.time.bin_size, (recording.n_bins,))
    one_rate = np.zeros(recording.n_bins, np.int64)
    rasters = {}
    for layer, raster in recording.rasters.items():
        p = raster.counts / raster.n_bins
        unknown = np.full(raster.n_units, np.nan)
        packed = bernoulli(p[:, None], one_rate, rng)
        rasters[layer] = replace(raster, packed=packed, time=time, threshold=unknown)
    return Recording(rasters)


def _mean(tables: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    together = pd.concat(tables)
    # where no unit could be tested, an order lacks a value: the mean is that of the other orders
    return together.groupby("layer", sort=False).mean().reset_index()


def _by_layer(units: pd.DataFrame) -> np.ndarray:
    of_layers = units.groupby("layer", sort=False)["epsilon_squared"].mean()
    return np.append(of_layers.to_numpy(), units["epsilon_squared"].mean())


def distributions(of: Recording | Summary) -> pd.DataFrame:
    """Return quantiles over units of the activation probability p, from which violins can be drawn.

    Parameters
    ----------
    of : Recording or Summary
        The spikes, or their statistics.

    Returns
    -------
    pandas.DataFrame
        ``layer``, ``quantile`` (0, 0.05, … 1) and ``activation_probability``; layers and ``network``.

    Examples
    --------
    >>> from ann2neo import SpikeRaster
    >>> table = distributions(Recording({"relu": SpikeRaster.from_dense([[1, 0], [0, 0], [1, 1]])}))
    >>> table[table["quantile"] == 0.5]["activation_probability"].tolist()
    [0.5, 0.5]
    """
    import pandas as pd

    p: Mapping[str, Any]
    if isinstance(of, Recording):
        p = {name: raster.counts / raster.n_bins for name, raster in of.rasters.items()}
    else:
        units = of.units.groupby("layer", sort=False)["activation_probability"]
        p = {str(name): of_layer.to_numpy() for name, of_layer in units}
    whole = {**p, "network": np.concatenate([*p.values()])}
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "layer": name,
                    "quantile": QUANTILES,
                    "activation_probability": np.quantile(values, QUANTILES),
                }
            )
            for name, values in whole.items()
        ],
        ignore_index=True,
    )
