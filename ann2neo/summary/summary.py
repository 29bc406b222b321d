"""The statistics of all units, added up while stimuli stream by, and their tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from ..recording.by_layer import value_for
from ..recording.caller import warn_caller
from ..recording.neurons import n_spikes_before_binning
from ..recording.threshold import values_for
from ..recording.time import PseudoTime, milliseconds
from ..recording.units import Layer, unit_table
from .handover import SummaryHandover
from .kernels.windows import DEFAULT_WINDOW, Layout
from .npz import damage_named, read_state, write_state
from .remarks import Remark, all_or_nothing, few_windows, lost_in_binning
from .statistics import STATISTICS, Sums
from .sums.network_sums import NetworkSums
from .tables import correlation, expected_rows, layer_rows, population, unit_rows

if TYPE_CHECKING:
    import pandas as pd


Made = TypeVar("Made")

OF_ONE_RUN = ("interrupted", "n_batches", "batch_size", "n_steps")
"""Annotations about one run and its checkpoint: a merged summary drops them."""

SETTINGS = ("window", "bin_size", "trial_bins", "isi_histogram", "n_correlated", "seed")
"""What summaries must have in common to be merged."""


class Summary(SummaryHandover):
    """Statistics of every unit of a network over a stretch of pseudo-time. It keeps no spikes.

    It takes about 200 bytes a unit however many stimuli there are. Adjacent stretches merge into the very
    same summary, bit for bit, that one run over both would have given; so batches, checkpoints, processes
    and machines are one mechanism.

    Every table is the caller's own: to change it changes nothing else. Arrays are read-only.

    Parameters
    ----------
    window : int
        Bins in a counting window of the Fano factor, by default 100, since nobody knows how many bins will
        come. Windows and intervals never span a trial; an incomplete last window is dropped. A Fano factor
        of fewer than 20 windows is mostly noise, and whoever reads it gets a warning.
    bin_size : float (ms) or quantity
        Pseudo-time that one presentation takes.
    trial_bins : int or tuple of int, optional
        Bins in every trial, or a tuple with the bins of each; by default all is one trial.
    start : int
        First bin of the stretch, if it is a part of a longer one.
    isi_histogram : bool
        Count intervals by length, up to 256 bins. The interval tests of :meth:`fit_poisson` need this; it
        takes 2 kB a unit.
    n_correlated : int
        How many units of each layer to sample, with ``seed``, for :meth:`correlation`.
    seed : int
        For that sample.
    backend : {"compiled", "fused", "portable"}, optional
        What does the work: numba on CPUs, Triton on GPUs, or plain torch. By default the fastest one for
        the device of the activations.

    Attributes
    ----------
    annotations : dict
        Where the numbers come from: model, threshold, versions, seed; anything that JSON can hold.

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
    0                     0.1         0.94                  1.06
    1                     0.5         0.42                  0.84
    2                     0.0          NaN                   NaN
    >>> summary.layers[["layer", "n_units", "dead_fraction"]].round(2)
         layer  n_units  dead_fraction
    0     relu        3           0.33
    1  network        3           0.33
    """

    def __init__(
        self,
        window: int = DEFAULT_WINDOW,
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
        self.start, self.isi_histogram = int(start), bool(isi_histogram)
        self.n_correlated, self.seed, self.backend = n_correlated, seed, backend
        self.engine = "raster"
        self.annotations: dict[str, Any] = {}
        self._network = NetworkSums(
            self.layout,
            self.start,
            isi_histogram=self.isi_histogram,
            n_correlated=n_correlated,
            seed=seed,
            backend=backend,
        )
        self._cache: dict[str, Any] = {}

    # -- adding bins ---------------------------------------------------------------------------------

    @property
    def window(self) -> int:
        """Bins in a counting window."""
        return self.layout.window

    @property
    def n_windows(self) -> int:
        """Complete counting windows in the bins so far."""
        return self.layout.n_windows(self.start, self.stop)

    @property
    def trial_bins(self) -> int | tuple[int, ...] | None:
        """Bins in every trial, or a tuple with the bins of each; None if all is one trial."""
        return self.layout.trial_bins

    @property
    def n_bins(self) -> int:
        """Bins added up so far."""
        return self._network.n_bins

    @property
    def n_nan(self) -> int:
        """Activations that were NaN, and counted as no spike."""
        return self._network.n_nan

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
            raise ValueError(f"update needs the same bins of all layers, but these have {n_bins}")
        for name, activation in activations.items():
            known = self._network.layers.get(name)
            shape = tuple(activation.shape[1:]) or (1,)
            units = np.arange(int(np.prod(shape)))
            if known is None:
                values = values_for(value_for("threshold", threshold, name), name, shape, units)
            else:
                values = known.threshold
            layer = Layer(name, (), shape, units, known.channel_dim if known else 0)
            self.receive(layer, activation.reshape(-1, *shape), values)
        self.complete(next(iter(n_bins.values())), allow_nan=allow_nan)
        return self

    def receive(
        self,
        layer: Layer,
        activation: torch.Tensor,
        threshold: np.ndarray,
        n_steps: np.ndarray | None = None,
    ) -> None:
        """Take one layer's activations (n_bins, *shape) of the next bins. They count once completed.

        :class:`ann2neo.Probe` calls this in its hooks, before the next module can overwrite the tensor. If
        the forward pass fails and nothing is completed, what was received is forgotten. ``n_steps`` are the
        bins of each stimulus, by default one.
        """
        self._network.receive(layer, activation, threshold, n_steps)

    def receive_bits(
        self, layer: Layer, words: torch.Tensor, n_active: torch.Tensor, threshold: np.ndarray
    ) -> None:
        """Take one layer's spikes in the next bins. They count once completed.

        Parameters
        ----------
        layer : Layer
            The layer.
        words : torch.Tensor
            int32 (n_words, n_units): bit t of a unit's words is 1 if it spiked in bin t.
        n_active : torch.Tensor
            int64 (n_bins,), spikes in each bin.
        threshold : numpy.ndarray
            float64 (n_units,).
        """
        self._network.receive_bits(layer, words, n_active, threshold)

    def complete(self, n_bins: int, *, allow_nan: bool = False) -> None:
        """Add the bins that every layer received.

        Raises
        ------
        ValueError
            If a layer received nothing, or an activation is NaN: then no bin is added.
        """
        self._cache.clear()
        self.engine = "raster"
        self._network.complete(n_bins, allow_nan=allow_nan)

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
        if not self.n_bins or not other.n_bins:
            return (self if self.n_bins else other).copy()
        whole = Summary(**self._settings, start=self.start, backend=self.backend)
        whole._network = self._network.merge(other._network)
        kept = {name: value for name, value in self.annotations.items() if name not in OF_ONE_RUN}
        whole.annotations = deepcopy(kept)
        if other.annotations.get("interrupted"):
            whole.annotations["interrupted"] = True
        return whole

    def _check_fits(self, other: Summary) -> None:
        for name in SETTINGS:
            one, two = getattr(self, name), getattr(other, name)
            if one != two:
                way_out = "make all parts alike"
                if name == "window":
                    way_out = "give the same window= to all parts; without it each part takes its own"
                raise ValueError(f"cannot merge: one summary has {name}={one}, the other {two}: {way_out}")
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
                "all runs the same weights, or the same seed if they are random"
            )
        self._network.check_fits(other._network)

    @property
    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in SETTINGS}

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
        counts = {"start": self.start, "n_bins": self.n_bins, "n_nan": self.n_nan}
        about = {"backend": self.backend, "annotations": deepcopy(self.annotations)}
        return {"settings": {**self._settings, **counts, **about}, **self._network.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become the summary of a state_dict; a run then goes on from there, to the same numbers.

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
        """Return the summary of a state_dict. The tensors in it are copied."""
        settings = dict(state["settings"])
        annotations, n_bins, n_nan = (settings.pop(name) for name in ("annotations", "n_bins", "n_nan"))
        if isinstance(settings["trial_bins"], list):  # as JSON keeps it
            settings["trial_bins"] = tuple(settings["trial_bins"])
        summary = cls(**settings)
        summary.annotations = deepcopy(dict(annotations))
        summary._network.load(state, n_bins, n_nan)
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

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write all that was added up to a file, which appears under its name when it is complete.

        Parameters
        ----------
        path : path
            Where to, a name that ends in ``.npz``; a file that exists is replaced.

        Returns
        -------
        pathlib.Path
            The path.

        Raises
        ------
        ValueError
            If the suffix is not ``.npz``, or JSON cannot keep an annotation.
        FileNotFoundError
            If the folder does not exist.

        Examples
        --------
        >>> import tempfile
        >>> summary = Summary(window=2).update({"relu": torch.rand(9, 4) - 0.5})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Summary.load(summary.save(f"{folder}/part.npz")).units.equals(summary.units)
        True
        """
        return write_state(self.state_dict(), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Summary:
        """Read what :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the suffix is not ``.npz``, or the file is damaged or holds no summary.
        """
        state = read_state(path)
        with damage_named(path):
            return cls.from_state_dict(state)

    # -- reading -------------------------------------------------------------------------------------

    def _cached(self, name: str, make: Callable[[], Made]) -> Made:
        """Return what was made before, if no bin was added since. Nobody else gets it to change."""
        if name not in self._cache:
            if not self.n_bins:
                raise ValueError("this summary has no bins yet: update it, or show stimuli in a Probe first")
            self._cache[name] = make()
        made: Made = self._cache[name]
        return made

    def with_values(self, values: Mapping[str, np.ndarray], engine: str) -> Summary:
        """Return a copy whose statistics have the values that another engine found for the same spikes.

        Copies of it, files and merged summaries have the values of the sums again.

        Parameters
        ----------
        values : mapping of str to numpy.ndarray
            float64 (n_units,) for each name in :data:`ann2neo.summary.STATISTICS`.
        engine : str
            Its name, the new ``engine``.
        """
        other = self.copy()
        other._cache["values"] = _read_only({name: np.array(given) for name, given in values.items()})
        other.engine = engine
        return other

    @property
    def time(self) -> PseudoTime:
        """Bins and trials of the stretch."""
        return self._cached(
            "time", lambda: PseudoTime(self.bin_size, self.layout.pieces(self.start, self.stop))
        )

    @property
    def sums(self) -> Sums:
        """Sufficient sums of all units, layer after layer; read-only."""
        return self._cached("sums", self._network.sums)

    @property
    def values(self) -> Mapping[str, np.ndarray]:
        """The value of each statistic for each unit, float64 (n_units,); read-only."""
        self._cached("warned", self._warn)
        return self._cached(
            "values", lambda: _read_only({s.name: s.value(self.sums, self.bin_size) for s in STATISTICS})
        )

    def _warn(self) -> None:
        n_spikes = int(self.sums.n_spikes.sum())
        for remark in (
            few_windows(self.n_windows, self.window, self.time.trial_bins),
            all_or_nothing("all layers", n_spikes, self.n_bins * len(self.sums.n_spikes)),
        ):
            if remark:
                warn_caller(remark, Remark)

    @property
    def n_spikes(self) -> dict[str, int]:
        """Number of spikes of each layer."""
        of_units = self._places["layer"].to_frame().assign(n_spikes=self.sums.n_spikes)
        of_layers: dict[str, int] = of_units.groupby("layer", sort=False)["n_spikes"].sum().to_dict()
        return of_layers

    @property
    def n_spikes_before_binning(self) -> dict[str, int]:
        """Number of spikes that layers of neurons had in the bins, where several could share one.

        Only of layers of which the annotations know it: see :meth:`ann2neo.Recording.from_neo`.
        """
        return n_spikes_before_binning(self.annotations, self.n_spikes)

    @property
    def remarks(self) -> list[str]:
        """What has to be known before the numbers are read, in plain words.

        Few windows; layers that never spike, or always; spikes of neurons that share a bin.

        Examples
        --------
        >>> Summary(2).update({"relu": torch.zeros(100, 3)}).remarks
        ['relu: no unit ever spikes. If that is not what you want, lower the threshold']
        """
        seconds = self.n_bins * self.bin_size / 1e3
        before, n_spikes = self.n_spikes_before_binning, self.n_spikes
        found = [few_windows(self.n_windows, self.window, self.time.trial_bins)]
        for name, layer in self._network.layers.items():
            found.append(all_or_nothing(name, n_spikes[name], self.n_bins * layer.n_units))
            if name in before:
                of_all_units = seconds * layer.n_units
                found.append(lost_in_binning(name, n_spikes[name], before[name], of_all_units))
        return [remark for remark in found if remark]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each layer's activation in one bin."""
        return {name: layer.shape for name, layer in self._network.layers.items()}

    @property
    def channel_dims(self) -> dict[str, int | None]:
        """Which dimension of each layer's shape is the channel, if it is a feature map; None: unknown."""
        return {name: layer.channel_dim for name, layer in self._network.layers.items()}

    @property
    def places(self) -> pd.DataFrame:
        """Which units these are: layer, unit, channel, y, x, threshold, as in :attr:`Recording.units`."""
        return self._places.copy()

    @property
    def _places(self) -> pd.DataFrame:
        return self._cached("places", lambda: unit_table(self._network.layers))

    @property
    def units(self) -> pd.DataFrame:
        """One row a unit: where it is, its spike count and the value of every statistic.

        Columns are those of ``Recording.units``, ``n_bins``, ``n_spikes`` and the names in
        :data:`ann2neo.summary.STATISTICS`. NaN means undefined, as the Fano factor of a silent unit is, or
        the intervals of a unit with less than two spikes in every trial.
        """
        return unit_rows(self._places, self.sums, self.values)

    def expected(self, process: str) -> pd.DataFrame:
        """Return the values that a memoryless process of each unit's own rate would give.

        Parameters
        ----------
        process : {"bernoulli", "poisson"}
            Independent bins with the unit's spike probability p, or a Poisson process of its rate. A bin
            holds at most one spike, so a memoryless unit behaves as the Bernoulli process.

        Returns
        -------
        pandas.DataFrame
            ``layer``, ``unit`` and one column a statistic, one row a unit.

        Raises
        ------
        ValueError
            If the process is unknown.
        """
        p = self.values["activation_probability"]
        return expected_rows(process, self._places, p, self.bin_size, self.n_windows)

    def complexity(self, layer: str | None = None) -> np.ndarray:
        """Return in how many bins how many units spiked together.

        Parameters
        ----------
        layer : str, optional
            The layer; by default the whole network.

        Returns
        -------
        numpy.ndarray
            int64 (n_units + 1,): entry k counts the bins with k active units. This is the complexity
            histogram of :class:`elephant.statistics.Complexity`, if its bins are ours.

        Examples
        --------
        >>> Summary(2).update({"relu": torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])}).complexity("relu")
        array([1, 1, 1])
        """
        sums = self._network if layer is None else self._network.layer(layer)
        return sums.complexity.cpu().numpy().copy()

    def correlation(self, layer: str) -> pd.DataFrame:
        r"""Return the correlation of the spike trains of the sampled units of a layer.

        .. math:: \frac{n_{ij} / n - p_i p_j}{\sqrt{p_i (1 - p_i) p_j (1 - p_j)}}

        over all n bins, of which :math:`n_{ij}` have spikes of both units. Independent units give 0 ± 1/√n. A
        unit that is silent or always on gives NaN. The values are those of
        :func:`elephant.spike_train_correlation.correlation_coefficient`.

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

        sums = self._network.layer(layer)
        sums.fold()
        units = sums.units[sums.correlated]
        return pd.DataFrame(correlation(sums.coactive.cpu().numpy(), self.n_bins), units, units)

    @property
    def layers(self) -> pd.DataFrame:
        """One row a layer and one, named ``network``, for all units together.

        ``<statistic>_mean`` and ``<statistic>_var`` are mean and population variance (ddof = 0) over the
        units for which the statistic is defined. ``dead_fraction`` and ``always_on_fraction`` count the
        units that spiked in no bin and in every bin.

        About the population:

        * ``n_active_mean`` and ``n_active_var``: how many units spike in the same bin.
        * ``population_sparseness``: the mean of (1 − k/n)/(1 − 1/n) over bins in which k ≥ 1 of n units are
          active. It is the sparseness of Vinje and Gallant (2000) for spikes of one size: 1 for one active
          unit, 0 for all. It is not defined for a bin without spikes: there are ``n_silent_bins`` of these,
          which are left out. Independent units of probability p give (1 − p/(1 − qⁿ))/(1 − 1/n), q = 1 − p.
        * ``correlation_mean``: over pairs of sampled units.
        * ``participation_ratio``: in how many dimensions the sampled units vary (Gao et al. 2017), k² / Σ r²
          for k units that vary. Independent units give k (k n / (n + k) in n bins), identical ones 1.

        The Fano factor is over ``n_windows`` windows of ``window`` bins. If they are few, ``fano_factor_var``
        is mostly noise: an estimate from n windows of W independent
        bins has a variance of 2 (1 − p)² (1 − 1/W)(n − 1) / n² + p (1 − p) / (n W).
        ``fano_factor_var_excess`` is ``fano_factor_var`` minus this.
        """
        return self._cached("layers", self._layer_rows).copy()

    def _layer_rows(self) -> pd.DataFrame:
        of_layers = [
            population(self.complexity(name), self.correlation(name).to_numpy()) for name in self.shapes
        ]
        of_network = population(self.complexity())
        return layer_rows(self.units, [*of_layers, of_network], self.window, self.n_windows)

    def __repr__(self) -> str:
        n_units = sum(layer.n_units for layer in self._network.layers.values())
        return (
            f"Summary({n_units} units, {self.n_bins} bins of {self.bin_size:g} ms, "
            f"windows of {self.window} bins, engine {self.engine!r})"
        )


def _read_only(values: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    for of_units in values.values():
        of_units.flags.writeable = False
    return MappingProxyType(dict(values))


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
