"""The statistics of all units of a recording, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .raster import PseudoTime
from .recording import Recording
from .statistics import STATISTICS, Sums

if TYPE_CHECKING:
    import pandas as pd

    from .poisson import PoissonFit

ENGINES = ("raster", "elephant")


@dataclass(frozen=True, eq=False, repr=False)
class Summary:
    """Statistics of every recorded unit, and their mean and variance over units.

    Made by :meth:`Recording.summarize`.

    Parameters
    ----------
    places : pandas.DataFrame
        ``Recording.units``: which units these are.
    shapes : mapping of str to tuple of int
        Shape of each layer's activation in one bin.
    sums : Sums
        Their sufficient sums.
    time : PseudoTime
        Bins and trials of the recording.
    window : int
        Bins in a counting window.
    engine : str
        What computed the values: ``"raster"`` or ``"elephant"``.
    values : mapping of str to numpy.ndarray
        The value of each statistic for each unit, float64 (n_units,).

    Examples
    --------
    >>> from ann2neo.raster import SpikeRaster
    >>> from ann2neo.recording import Recording
    >>> rng = np.random.default_rng(0)
    >>> raster = SpikeRaster.from_dense(rng.random((3, 10_000)) < [[0.1], [0.5], [0.0]])
    >>> summary = Recording({"relu": raster}).summarize(window=100)
    >>> summary.units[["activation_probability", "fano_factor", "relative_fano_factor"]].round(2)
       activation_probability  fano_factor  relative_fano_factor
    0                    0.10         0.96                  1.07
    1                    0.49         0.53                  1.04
    2                    0.00          NaN                   NaN
    >>> summary.layers[["layer", "n_units", "dead_fraction"]].round(2)
         layer  n_units  dead_fraction
    0     relu        3           0.33
    1  network        3           0.33
    """

    places: pd.DataFrame
    shapes: Mapping[str, tuple[int, ...]]
    sums: Sums
    time: PseudoTime
    window: int
    engine: str
    values: Mapping[str, np.ndarray]

    @cached_property
    def units(self) -> pd.DataFrame:
        """One row a unit: where it is, its spike count and the value of every statistic.

        Columns are those of ``Recording.units``, ``n_bins``, ``n_spikes`` and the names in
        :data:`ann2neo.statistics.STATISTICS`. NaN marks what is undefined: the Fano factor of a silent
        unit, the intervals of a unit with less than two spikes in every trial.
        """
        return self.places.assign(n_bins=self.sums.n_bins, n_spikes=self.sums.n_spikes, **self.values)

    def expected(self, process: str) -> pd.DataFrame:
        """Return the values that a memoryless process of each unit's own rate would give.

        Parameters
        ----------
        process : {"bernoulli", "poisson"}
            Independent bins with the unit's spike probability p, or a Poisson process of its rate. A bin
            holds at most one spike, so Bernoulli is the null that a memoryless unit meets.

        Returns
        -------
        pandas.DataFrame
            ``layer``, ``unit`` and one column a statistic, one row a unit.
        """
        if process not in ("bernoulli", "poisson"):
            raise ValueError(f"process={process!r}: give 'bernoulli' or 'poisson'")
        p = self.values["activation_probability"]
        return self.places[["layer", "unit"]].assign(
            **{s.name: getattr(s, process)(p, self.time.bin_size) for s in STATISTICS}
        )

    @cached_property
    def layers(self) -> pd.DataFrame:
        """One row a layer and one, named ``network``, for all units together.

        ``<statistic>_mean`` and ``<statistic>_var`` are mean and population variance (ddof = 0) over the
        units for which the statistic is defined; ``dead_fraction`` and ``always_on_fraction`` count the
        units that spiked in no bin and in every bin.
        """
        import pandas as pd

        units = self.units
        groups = [*units.groupby("layer", sort=False), ("network", units)]
        return pd.DataFrame([{"layer": name, **_over_units(of_layer)} for name, of_layer in groups])

    def fit_poisson(self, alpha: float = 0.05) -> PoissonFit:
        """Fit a Poisson process to each unit and test it: see :func:`ann2neo.poisson.fit`."""
        from .poisson import fit

        return fit(self, alpha)

    def __repr__(self) -> str:
        return (
            f"Summary({len(self.places)} units, {self.time.n_bins} bins of {self.time.bin_size:g} ms, "
            f"windows of {self.window} bins, engine {self.engine!r})"
        )


def _over_units(units: pd.DataFrame) -> dict[str, float]:
    row: dict[str, float] = {
        "n_units": len(units),
        "dead_fraction": float((units["n_spikes"] == 0).mean()),
        "always_on_fraction": float((units["n_spikes"] == units["n_bins"]).mean()),
    }
    for statistic in STATISTICS:
        values = units[statistic.name]
        row[f"{statistic.name}_mean"] = values.mean()
        row[f"{statistic.name}_var"] = values.var(ddof=0)
    return row


def default_window(time: PseudoTime) -> int:
    """Return 100 bins, or the shortest trial where that is shorter."""
    return min(100, *time.trial_bins)


def summarize_recording(
    recording: Recording, window: int | None = None, engine: str = "raster", progress: bool = False
) -> Summary:
    """Compute every statistic of every unit of a recording.

    Parameters
    ----------
    recording : Recording
        The spikes.
    window : int, optional
        Bins in a counting window of the Fano factor; by default 100, or the shortest trial if that is
        shorter. Windows and intervals never span a trial; an incomplete last window is dropped.
    engine : {"raster", "elephant"}
        ``"raster"`` sums up the raster with NumPy. ``"elephant"`` calls Elephant's functions on Neo
        SpikeTrains: the same values, at about 10 ms a unit.
    progress : bool
        Show a progress bar (Elephant engine).

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        If the window is longer than every trial, or the engine is unknown.

    Examples
    --------
    >>> from ann2neo import SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1, 1], [0, 1, 0, 0]])})
    >>> summarize_recording(recording, window=2, engine="elephant").values["fano_factor"].round(3)
    array([0.167, 0.5  ])
    """
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r}: give one of {ENGINES}")
    window = default_window(recording.time) if window is None else window
    sums = Sums.concatenate([Sums.of(raster, window) for raster in recording.rasters.values()])
    if engine == "elephant":
        from .elephant_engine import statistics_by_elephant

        values = statistics_by_elephant(recording, window, progress)
    else:
        values = {s.name: s.value(sums, recording.time.bin_size) for s in STATISTICS}
    shapes = {layer: raster.shape for layer, raster in recording.rasters.items()}
    return Summary(recording.units, shapes, sums, recording.time, window, engine, values)
