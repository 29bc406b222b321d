"""The statistics of all units, added up while stimuli stream by, and their tables."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..recording.by_layer import value_for
from ..recording.nan import nan_error
from ..recording.raster import SpikeRaster
from ..recording.threshold import values_for
from ..recording.time import PseudoTime, milliseconds
from ..recording.units import Layer, unit_table
from .handover import SummaryHandover
from .kernels.state import WORD
from .kernels.windows import Layout
from .layer_sums import BUFFER, LayerSums
from .statistics import STATISTICS, Sums

if TYPE_CHECKING:
    import pandas as pd


MOST_BINS = 3_037_000_499
"""Bins of the longest stretch, √2⁶³: a squared interval or count of spikes may be its square."""

OF_ONE_RUN = ("interrupted", "n_batches", "batch_size", "n_steps")
"""Annotations of a run and its checkpoint, which a merged summary has not."""

SETTINGS = ("window", "bin_size", "trial_bins", "isi_histogram", "n_correlated", "seed")


class Summary(SummaryHandover):
    """Statistics of every unit of a network over a stretch of pseudo-time, of which no spikes are kept.

    It takes about 200 bytes a unit however many stimuli there are. Adjacent stretches merge into the very
    same summary, bit for bit, that one run over both would have given; so batches, checkpoints, processes
    and machines are one mechanism.

    Parameters
    ----------
    window : int
        Bins in a counting window of the Fano factor. Windows and intervals never span a trial; an
        incomplete last window is dropped.
    bin_size : float (ms) or quantity
        Pseudo-time that one presentation takes.
    trial_bins : int or tuple of int, optional
        Bins in every trial, or in each; without, all is one trial.
    start : int
        First bin of the stretch, where it is a part of a longer one.
    isi_histogram : bool
        Count intervals by length, up to 256 bins, which the interval tests of :meth:`fit_poisson` need: 2
        kB a unit.
    n_correlated : int
        In how many units of each layer, sampled with ``seed``, to count common spikes for
        :meth:`correlation`.
    seed : int
        For that sample.
    backend : {"compiled", "fused", "portable"}, optional
        What does the work: numba on CPUs, Triton on GPUs, or plain torch; by default the fastest for the
        device the activations are on.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    All sums are integers of 64 bits; they hold stretches of 3·10⁹ bins.

    Examples
    --------
    >>> activations = torch.rand(10_000, 3, generator=torch.Generator().manual_seed(0))
    >>> activations += torch.tensor([-0.9, -0.5, -1.0])
    >>> summary = Summary(window=100).update({"relu": activations})
    >>> summary.units[["activation_probability", "fano_factor", "relative_fano_factor"]].round(2)
       activation_probability  fano_factor  relative_fano_factor
    0                     0.1         0.94                  1.05
    1                     0.5         0.42                  0.83
    2                     0.0          NaN                   NaN
    >>> summary.layers[["layer", "n_units", "dead_fraction"]].round(2)
         layer  n_units  dead_fraction
    0     relu        3           0.33
    1  network        3           0.33
    """

    def __init__(
        self,
        window: int = 100,
        *,
        bin_size: Any = 1.0,
        trial_bins: int | tuple[int, ...] | None = None,
        start: int = 0,
        isi_histogram: bool = False,
        n_correlated: int = 50,
        seed: int = 0,
        backend: str | None = None,
    ) -> None:
        if isinstance(trial_bins, list):
            trial_bins = tuple(trial_bins)
        if start < 0 or n_correlated < 0:
            raise ValueError(f"start={start}, n_correlated={n_correlated}: give 0 or more")
        self.layout = Layout(window, trial_bins)
        self.bin_size = milliseconds(bin_size)
        self.start, self.n_bins, self.n_nan = int(start), 0, 0
        self.isi_histogram, self.n_correlated, self.seed = bool(isi_histogram), n_correlated, seed
        self.backend = backend
        self.engine = "raster"
        self.annotations: dict[str, Any] = {}
        self._layers: dict[str, LayerSums] = {}
        self._received: dict[str, torch.Tensor] = {}
        self._steps: np.ndarray | None = None
        self._complexity: torch.Tensor | None = None
        self._cache: dict[str, Any] = {}

    # -- adding bins ---------------------------------------------------------------------------------

    @property
    def window(self) -> int:
        """Bins in a counting window."""
        return self.layout.window

    @property
    def trial_bins(self) -> int | tuple[int, ...] | None:
        """Bins in every trial, or in each; None: all is one trial."""
        return self.layout.trial_bins

    @property
    def stop(self) -> int:
        """End of the stretch: the bin that follows its last."""
        return self.start + self.n_bins

    def update(
        self, activations: Mapping[str, torch.Tensor], threshold: Any = 0.0, *, allow_nan: bool = False
    ) -> Summary:
        """Add the next bins.

        Parameters
        ----------
        activations : mapping of str to torch.Tensor
            (n_bins, …) of each layer: the same layers and units in every call.
        threshold : float, array, or dict of these by layer
            A unit spikes when its activation exceeds it; fixed by the first call.
        allow_nan : bool
            Count NaN as no spike.

        Returns
        -------
        Summary
            This one.

        Raises
        ------
        ValueError
            If layers, shapes or numbers of bins do not fit, or an activation is NaN: then nothing was
            added.
        """
        n_bins = {name: len(activation) for name, activation in activations.items()}
        if len(set(n_bins.values())) != 1:
            raise ValueError(f"update needs the same bins of all layers, these have {n_bins}")
        for name, activation in activations.items():
            known = self._layers.get(name)
            shape = tuple(activation.shape[1:]) or (1,)
            units = np.arange(int(np.prod(shape)))
            if known is None:
                values = values_for(value_for("threshold", threshold, name), name, shape, units)
            else:
                values = known.threshold
            self.receive(Layer(name, (), shape, units), activation.reshape(-1, *shape), values)
        self.complete(next(iter(n_bins.values())), allow_nan=allow_nan)
        return self

    @torch.inference_mode(mode=False)  # tensors made in it could not be added to outside of it
    def receive(
        self,
        layer: Layer,
        activation: torch.Tensor,
        threshold: np.ndarray,
        n_steps: np.ndarray | None = None,
    ) -> None:
        """Take one layer's activations (n_bins, *shape) of the next bins, which count once completed.

        :class:`ann2neo.Probe` calls this in its hooks, before the next module can overwrite the tensor. What
        was received but not completed, because the forward pass failed, is forgotten. ``n_steps`` are the
        bins of each stimulus, without it one.
        """
        self._steps = n_steps
        if layer.name in self._received:
            self._received = {}
        sums = self._layers.get(layer.name)
        if sums is None:
            if self.n_bins:
                raise ValueError(f"layer {layer.name!r} is new; this summary has {list(self._layers)}")
            device = activation.device
            sums = self._layers[layer.name] = LayerSums(
                *(layer.name, layer.units, layer.shape, threshold, self.layout, self.start),
                isi_histogram=self.isi_histogram,
                n_correlated=self.n_correlated,
                seed=self.seed,
                backend=self.backend,
                device=device if device.type == "cuda" else torch.device("cpu"),
            )
        else:
            sums.check(layer.units, layer.shape, threshold)
        with _uninterrupted():
            rows = activation if layer.all_units else layer.recorded(activation)
            self._received[layer.name] = sums.receive(rows)

    def complete(self, n_bins: int, *, allow_nan: bool = False) -> None:
        """Add the bins that every layer received.

        Raises
        ------
        ValueError
            If a layer received none, or an activation is NaN: then nothing is added.
        """
        received, self._received = self._received, {}
        if not self.n_bins:  # forget layers of a first forward pass that failed
            self._layers = {name: self._layers[name] for name in received}
        lacking = [name for name in self._layers if name not in received]
        if lacking:
            raise ValueError(f"layer {lacking[0]!r} is lacking; this summary has {list(self._layers)}")
        self.layout.trial(max(self.stop, self.stop + n_bins - 1))  # raises beyond the last trial
        _check_length(self.n_bins + n_bins)
        n_nan = self._check_nan(received, allow_nan)
        with _uninterrupted():
            self._commit(n_bins)
            self.n_nan += n_nan

    def _check_nan(self, received: Mapping[str, torch.Tensor], allow_nan: bool) -> int:
        together = torch.stack([nan.to(next(iter(received.values())).device) for nan in received.values()])
        for name, (n_nan, first) in zip(received, together.tolist(), strict=True):
            if n_nan and not allow_nan:
                row, place = divmod(first, self._layers[name].n_units)
                raise nan_error(name, self._layers[name].unit_at(place), self._where(row))
        return int(together[:, 0].sum())

    def _where(self, row: int) -> str:
        steps = 1 if self._steps is None else int(self._steps[0])
        if self._steps is not None and (self._steps != steps).any():
            return f"bin {self.stop + row}"
        step = f", step {row % steps}" if steps > 1 else ""
        return f"stimulus {(self.stop + row) // steps}{step}"

    @torch.inference_mode(mode=False)
    def _commit(self, n_bins: int) -> None:
        layers = list(self._layers.values())
        n_units = sum(layer.n_units for layer in layers)
        if self._complexity is None:
            self._complexity = torch.zeros(n_units + 1, dtype=torch.int64, device=layers[0].device)
        active = sum(layer.pending.to(self._complexity.device) for layer in layers)
        assert isinstance(active, torch.Tensor)
        self._complexity.index_add_(0, active, torch.ones_like(active))
        for layer in layers:
            layer.commit(n_bins)
        self.n_bins += n_bins
        self._cache.clear()
        self.engine = "raster"

    def _add_rasters(self, rasters: Mapping[str, SpikeRaster]) -> None:
        for name, raster in rasters.items():
            self._layers[name] = LayerSums(
                *(name, raster.units, raster.shape, raster.threshold, self.layout, self.start),
                isi_histogram=self.isi_histogram,
                n_correlated=self.n_correlated,
                seed=self.seed,
                backend=self.backend,
            )
        rasters = {name: raster.in_memory() for name, raster in rasters.items()}
        n_bins = next(iter(rasters.values())).n_bins
        for first in range(0, n_bins, BUFFER):
            n = min(BUFFER, n_bins - first)
            for name, raster in rasters.items():
                self._layers[name].receive_bits(*_bits(raster, first, n))
            self._commit(n)

    # -- merging, moving, keeping --------------------------------------------------------------------

    def merge(self, other: Summary) -> Summary:
        """Return the summary of this stretch and the one that follows it.

        Both stay as they are. The result is, bit for bit, what one run over both would have given.

        Raises
        ------
        ValueError
            If the other does not begin where this one ends (a part given out of order or twice), or differs
            in window, bins, trials, layers, units or thresholds.

        Examples
        --------
        >>> x = torch.rand(300, 5) - 0.5
        >>> whole = Summary(window=7).update({"relu": x})
        >>> parts = [Summary(7).update({"relu": x[:95]}), Summary(7, start=95).update({"relu": x[95:]})]
        >>> parts[0].merge(parts[1]).units.equals(whole.units)
        True
        """
        self._check_fits(other)
        _check_length(self.n_bins + other.n_bins)
        if not self.n_bins or not other.n_bins:
            return (self if self.n_bins else other).copy()
        whole = self._empty()
        whole._layers = {name: layer.merge(other._layers[name]) for name, layer in self._layers.items()}
        assert self._complexity is not None
        assert other._complexity is not None
        whole._complexity = self._complexity + other._complexity.to(self._complexity.device)
        whole.n_bins, whole.n_nan = self.n_bins + other.n_bins, self.n_nan + other.n_nan
        for name in OF_ONE_RUN:
            whole.annotations.pop(name, None)
        if other.annotations.get("interrupted"):
            whole.annotations["interrupted"] = True
        return whole

    def _check_fits(self, other: Summary) -> None:
        for name in SETTINGS:
            one, two = getattr(self, name), getattr(other, name)
            if one != two:
                raise ValueError(
                    f"cannot merge: one summary has {name}={one}, the other {two}: make all parts alike"
                )
        if other.start != self.stop:
            raise ValueError(
                f"cannot merge: one summary has the bins {self.start} to {self.stop - 1}, the other "
                f"{other.start} to {other.stop - 1}: merge parts in the order of their stimuli, each once"
            )
        if not self.n_bins or not other.n_bins:
            return
        one, two = (part.annotations.get("parameters_sha256") for part in (self, other))
        if None not in (one, two) and one != two:
            raise ValueError(
                f"cannot merge: the models had other parameters (parameters_sha256 {one} and {two}): give "
                "all runs the same weights, or the same seed for random ones"
            )
        if list(self._layers) != list(other._layers):
            raise ValueError(
                f"cannot merge: one summary has the layers {list(self._layers)}, the other "
                f"{list(other._layers)}"
            )
        for name, layer in self._layers.items():
            two = other._layers[name]
            layer.check(two.units, two.shape, two.threshold)

    def _empty(self) -> Summary:
        settings = {name: getattr(self, name) for name in SETTINGS}
        empty = Summary(**settings, start=self.start, backend=self.backend)
        empty.annotations = dict(self.annotations)
        return empty

    def copy(self) -> Summary:
        """Return an independent copy."""
        return Summary.from_state_dict(self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return all that was added up, as plain values and tensors: for checkpoints and files.

        Returns
        -------
        dict
            ``settings`` (plain values), ``complexity`` (tensor) and ``layers``: for each its name, units,
            shape, threshold and sums, units in their order in the layer.
        """
        settings = {name: getattr(self, name) for name in SETTINGS}
        counts = {"start": self.start, "n_bins": self.n_bins, "n_nan": self.n_nan}
        return {
            "settings": {**settings, **counts, "backend": self.backend, "annotations": self.annotations},
            "complexity": torch.zeros(1, dtype=torch.int64)
            if self._complexity is None
            else self._complexity.clone(),
            "layers": [
                {
                    "name": layer.name,
                    "shape": layer.shape,
                    "units": torch.from_numpy(layer.units.copy()),
                    "threshold": torch.from_numpy(layer.threshold.copy()),
                    "correlated": torch.from_numpy(layer.correlated.copy()),
                    **{name: values.clone() for name, values in layer.arrays().items()},
                }
                for layer in self._layers.values()
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what a state_dict tells of; a run then goes on from there, to the same numbers.

        Examples
        --------
        >>> x = torch.rand(300, 5) - 0.5
        >>> interrupted = Summary(window=7).update({"relu": x[:123]})
        >>> resumed = Summary()
        >>> resumed.load_state_dict(interrupted.state_dict())
        >>> resumed.update({"relu": x[123:]}).units.equals(Summary(7).update({"relu": x}).units)
        True
        """
        self.__dict__ = Summary.from_state_dict(state).__dict__

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Summary:
        """Return a summary that is what a state_dict tells of."""
        settings = dict(state["settings"])
        annotations, n_bins, n_nan = (settings.pop(name) for name in ("annotations", "n_bins", "n_nan"))
        if isinstance(settings["trial_bins"], list):  # as JSON keeps it
            settings["trial_bins"] = tuple(settings["trial_bins"])
        summary = cls(**settings)
        summary.annotations, summary.n_bins, summary.n_nan = dict(annotations), n_bins, n_nan
        for saved in state["layers"]:
            layer = LayerSums(
                *(saved["name"], saved["units"].numpy(), tuple(saved["shape"]), saved["threshold"].numpy()),
                *(summary.layout, summary.start),
                isi_histogram=summary.isi_histogram,
                backend=summary.backend,
                device=saved["state"].device,
            )
            layer.correlated = saved["correlated"].numpy()
            layer.coactive = torch.zeros_like(saved["coactive"])
            layer.load(saved, n_bins)
            summary._layers[layer.name] = layer
            summary._complexity = state["complexity"].clone()
        return summary

    def to(self, device: torch.device | str) -> Summary:
        """Return a copy whose sums are on another device."""
        state = self.state_dict()
        state["complexity"] = state["complexity"].to(device)
        for layer in state["layers"]:
            on_device = {"state", "complexity", "coactive", "histogram"} & layer.keys()
            layer.update({name: layer[name].to(device) for name in on_device})
        return Summary.from_state_dict(state)

    def __getstate__(self) -> dict[str, Any]:
        return self.to("cpu").state_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.load_state_dict(state)

    # -- reading -------------------------------------------------------------------------------------

    def _cached(self, name: str, make: Any) -> Any:
        if name not in self._cache:
            if not self.n_bins:
                raise ValueError("this summary has no bins yet: update it, or show stimuli in a Probe first")
            self._cache[name] = make()
        return self._cache[name]

    @property
    def time(self) -> PseudoTime:
        """Bins and trials of the stretch."""
        return self._cached(
            "time", lambda: PseudoTime(self.bin_size, self.layout.pieces(self.start, self.stop))
        )

    @property
    def sums(self) -> Sums:
        """Sufficient sums of all units, layer after layer."""
        return self._cached(
            "sums", lambda: Sums.concatenate([layer.sums() for layer in self._layers.values()])
        )

    @property
    def values(self) -> Mapping[str, np.ndarray]:
        """The value of each statistic for each unit, float64 (n_units,)."""
        return self._cached("values", lambda: {s.name: s.value(self.sums, self.bin_size) for s in STATISTICS})

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each layer's activation in one bin."""
        return {name: layer.shape for name, layer in self._layers.items()}

    @property
    def places(self) -> pd.DataFrame:
        """Which units these are: layer, unit, channel, y, x, threshold, as in :attr:`Recording.units`."""
        return self._cached("places", lambda: unit_table(self._layers))

    @property
    def units(self) -> pd.DataFrame:
        """One row a unit: where it is, its spike count and the value of every statistic.

        Columns are those of ``Recording.units``, ``n_bins``, ``n_spikes`` and the names in
        :data:`ann2neo.summary.STATISTICS`. NaN marks what is undefined: the Fano factor of a silent
        unit, the intervals of a unit with less than two spikes in every trial.
        """
        return self._cached(
            "units",
            lambda: self.places.assign(n_bins=self.sums.n_bins, n_spikes=self.sums.n_spikes, **self.values),
        )

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
            **{s.name: getattr(s, process)(p, self.bin_size) for s in STATISTICS}
        )

    def complexity(self, layer: str | None = None) -> np.ndarray:
        """Return in how many bins how many units spiked together.

        Parameters
        ----------
        layer : str, optional
            The layer; without, the whole network.

        Returns
        -------
        numpy.ndarray
            int64 (n_units + 1,): entry k counts the bins with k active units. As the complexity
            histogram of :class:`elephant.statistics.Complexity` at the resolution of a bin.

        Examples
        --------
        >>> Summary(2).update({"relu": torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])}).complexity("relu")
        array([1, 1, 1])
        """
        histogram = self._complexity if layer is None else self._layer(layer).complexity
        assert histogram is not None
        return histogram.cpu().numpy().copy()

    def correlation(self, layer: str) -> pd.DataFrame:
        r"""Return the correlation of the spike trains of the sampled units of a layer.

        .. math:: \frac{n_{ij} / n - p_i p_j}{\sqrt{p_i (1 - p_i) p_j (1 - p_j)}}

        over all bins, :math:`n_{ij}` of them with spikes of both. Independent units give 0 ± 1/√n_bins; NaN
        for a unit that is silent or always on. As :func:`elephant.spike_train_correlation
        .correlation_coefficient`.

        Returns
        -------
        pandas.DataFrame
            float64, symmetric; rows and columns are unit indices.

        Examples
        --------
        >>> x = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
        >>> Summary(1).update({"relu": x}).correlation("relu").round(6)
             0    1    2
        0  1.0  1.0 -1.0
        1  1.0  1.0 -1.0
        2 -1.0 -1.0  1.0
        """
        import pandas as pd

        sums = self._layer(layer)
        sums.fold()
        together, n = sums.coactive.cpu().numpy().astype(np.float64), self.n_bins
        count = np.diagonal(together)
        covariance = n * together - np.outer(count, count)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.sqrt(np.diagonal(covariance))
            values = np.where(np.outer(scale, scale) > 0, covariance / np.outer(scale, scale), np.nan)
        units = sums.units[sums.correlated]
        return pd.DataFrame(values, index=units, columns=units)

    def _layer(self, name: str) -> LayerSums:
        if name not in self._layers:
            raise KeyError(f"no layer {name!r}; the summary has {list(self._layers)}")
        return self._layers[name]

    @property
    def layers(self) -> pd.DataFrame:
        """One row a layer and one, named ``network``, for all units together.

        ``<statistic>_mean`` and ``<statistic>_var`` are mean and population variance (ddof = 0) over the
        units for which the statistic is defined; ``dead_fraction`` and ``always_on_fraction`` count the
        units that spiked in no bin and in every bin. Of the population: ``n_active_mean`` and
        ``n_active_var``, units that spike in the same bin; ``population_sparseness``, the mean over bins of
        (1 − k/n)/(1 − 1/n) for k active of n units, to which the sparseness of Vinje and Gallant (2000)
        comes down for spikes of one size: 1 for one active unit, 0 for all; ``correlation_mean`` over
        pairs of sampled units; and ``participation_ratio``, the number of dimensions in which the k of
        these that vary do so (Gao et al. 2017): k² / Σ r², k for independent units (k n / (n + k) in n
        bins), 1 for identical ones.

        ``fano_factor_var`` is mostly noise where windows are few: an estimate from n windows of W independent
        bins has a variance of 2 (1 − p)² (1 − 1/W)(n − 1) / n² + p (1 − p) / (n W).
        ``fano_factor_var_excess`` is what is left of it without that.
        """
        return self._cached("layers", self._layer_table)

    def _layer_table(self) -> pd.DataFrame:
        import pandas as pd

        units = self.units
        groups = [*units.groupby("layer", sort=False), ("network", units)]
        names = [*self._layers, None]
        n_windows = int(self.sums.n_windows.max(initial=0))
        return pd.DataFrame(
            [
                {"layer": label, **_over_units(of_layer, self.window, n_windows), **self._of_population(name)}
                for name, (label, of_layer) in zip(names, groups, strict=True)
            ]
        )

    def _of_population(self, layer: str | None) -> dict[str, float]:
        histogram = self.complexity(layer)
        n_units, active = len(histogram) - 1, np.arange(len(histogram))
        mean = float(active @ histogram) / self.n_bins
        row = {
            "n_active_mean": mean,
            "n_active_var": float((active - mean) ** 2 @ histogram) / self.n_bins,
            "population_sparseness": (1 - mean / n_units) / (1 - 1 / n_units) if n_units > 1 else np.nan,
            "correlation_mean": np.nan,
            "participation_ratio": np.nan,
        }
        if layer is not None:
            correlation = self.correlation(layer).to_numpy()
            vary = np.isfinite(np.diagonal(correlation))
            among = correlation[np.ix_(vary, vary)]
            if len(among) > 1:
                row["correlation_mean"] = float(among[np.triu_indices(len(among), 1)].mean())
                row["participation_ratio"] = len(among) ** 2 / float((among**2).sum())
        return row

    def __repr__(self) -> str:
        n_units = sum(layer.n_units for layer in self._layers.values())
        return (
            f"Summary({n_units} units, {self.n_bins} bins of {self.bin_size:g} ms, "
            f"windows of {self.window} bins, engine {self.engine!r})"
        )


def _check_length(n_bins: int) -> None:
    if n_bins > MOST_BINS:
        raise ValueError(
            f"{n_bins} bins in one summary: its sums hold {MOST_BINS}. Begin another one, with start="
        )


def _bits(raster: SpikeRaster, first: int, n_bins: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return bins of a raster as words, int32 (n_words, n_units), and the spikes in each bin."""
    packed = raster.packed[:, first // 8 : -(-(first + n_bins) // 8)]
    spikes = np.unpackbits(packed, axis=1, count=n_bins)
    n_words = -(-n_bins // WORD)
    little = np.zeros((raster.n_units, n_words * WORD // 8), np.uint8)
    little[:, : packed.shape[1]] = np.packbits(spikes, axis=1, bitorder="little")
    words = torch.from_numpy(little.view("<i4").T.copy())
    return words, torch.from_numpy(spikes.sum(axis=0, dtype=np.int64))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C until sums are consistent again."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield  # signals do not come here, or their handler is not Python's
        return
    pressed = []
    signal.signal(signal.SIGINT, lambda *what: pressed.append(what))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        signal.raise_signal(signal.SIGINT)


def merge(summaries: Iterable[Summary]) -> Summary:
    """Merge the parts of one stretch, given in any order: see :meth:`Summary.merge`.

    Examples
    --------
    >>> x = torch.rand(300, 5) - 0.5
    >>> parts = [Summary(7, start=i).update({"relu": x[i : i + 100]}) for i in (200, 0, 100)]
    >>> merge(parts).units.equals(Summary(7).update({"relu": x}).units)
    True
    """
    ordered = sorted(summaries, key=lambda part: (part.start, part.stop))
    if not ordered:
        raise ValueError("there is nothing to merge: give at least one summary")
    return reduce(Summary.merge, ordered)


def _over_units(units: pd.DataFrame, window: int, n_windows: int) -> dict[str, float]:
    row: dict[str, float] = {
        "n_units": len(units),
        "dead_fraction": float((units["n_spikes"] == 0).mean()),
        "always_on_fraction": float((units["n_spikes"] == units["n_bins"]).mean()),
    }
    for statistic in STATISTICS:
        values = units[statistic.name]
        row[f"{statistic.name}_mean"] = values.mean()
        row[f"{statistic.name}_var"] = values.var(ddof=0)
    p, n = units["activation_probability"][units["fano_factor"].notna()], max(1, n_windows)
    noise = (2 * (1 - p) ** 2 * (1 - 1 / window) * (n - 1) / n**2 + p * (1 - p) / (n * window)).mean()
    row["fano_factor_var_excess"] = row["fano_factor_var"] - noise if n_windows > 1 else np.nan
    return row
