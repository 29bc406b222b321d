"""The recording of a network: its layers' rasters, the stimuli, and where they came from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .annotations import as_json
from .handover import RecordingHandover
from .parts import in_trials, layers_named, rows_of, with_labels
from .raster import SpikeRaster
from .stimuli import Stimuli
from .time import PseudoTime
from .units import unit_table

if TYPE_CHECKING:
    import pandas as pd
    import quantities as pq


@dataclass(frozen=True, eq=False, repr=False)
class Recording(RecordingHandover):
    """The spikes of one or more layers over one stretch of pseudo-time, and where they came from.

    Parameters
    ----------
    rasters : mapping of str to SpikeRaster
        The layers in firing order; all on the same pseudo-time.
    stimuli : Stimuli, optional
        What was shown when. Without, nothing is known of it, as in a binned recording of real neurons.
    annotations : mapping, optional
        Model, data set, threshold rule, versions, seed: anything that JSON can hold, kept as JSON keeps
        it (tuples become lists).

    Examples
    --------
    >>> raster = SpikeRaster.from_dense([[1, 0, 1, 1], [0, 0, 0, 1]])
    >>> recording = Recording({"relu": raster}, Stimuli.in_order(4, labels=[3, 7, 3, 7]))
    >>> recording
    Recording(1 layer, 2 units, 4 bins of 1 ms in 1 trial, 4 spikes)
    >>> recording.select(labels=7).raster("relu").astype(int).tolist()
    [[0, 1], [0, 1]]
    """

    rasters: Mapping[str, SpikeRaster]
    stimuli: Stimuli | None = None
    annotations: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rasters:
            raise ValueError("a recording without layers: give at least one raster")
        for layer, raster in self.rasters.items():
            if raster.time != self.time:
                raise ValueError(
                    f"layer {layer!r} has {raster.time}, but layer {self.layers[0]!r} has {self.time}: "
                    "give all layers of a recording the same pseudo-time"
                )
        if self.stimuli is not None:
            self._check_onsets(self.stimuli.onsets)
        object.__setattr__(self, "annotations", json.loads(as_json(self.annotations)))

    def _check_onsets(self, onsets: np.ndarray) -> None:
        in_order = len(onsets) and onsets[0] == 0 and (np.diff(onsets) > 0).all()
        if not in_order or onsets[-1] >= self.n_bins:
            raise ValueError(
                f"stimuli begin in bins {onsets[:3].tolist()} … {onsets[-3:].tolist()} of {self.n_bins}: "
                "give onsets in ascending order, the first of them 0"
            )

    @property
    def time(self) -> PseudoTime:
        """The bins and trials that all layers share."""
        return next(iter(self.rasters.values())).time

    @property
    def layers(self) -> list[str]:
        """Names of the layers in firing order."""
        return list(self.rasters)

    @property
    def bin_size(self) -> pq.Quantity:
        """Pseudo-time that one bin lasts."""
        import quantities as pq

        return self.time.bin_size * pq.ms

    @property
    def n_bins(self) -> int:
        """Number of bins, of all trials together."""
        return self.time.n_bins

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return self.time.n_trials

    @property
    def n_units(self) -> int:
        """Number of recorded units in all layers."""
        return sum(raster.n_units for raster in self.rasters.values())

    @property
    def n_spikes(self) -> int:
        """Number of spikes of all units."""
        return sum(raster.n_spikes for raster in self.rasters.values())

    @property
    def labels(self) -> np.ndarray | None:
        """Label of the stimulus shown in each bin, (n_bins,), or None if there are no labels."""
        if self.stimuli is None or self.stimuli.labels is None:
            return None
        of_bins: np.ndarray = self.stimuli.labels[self._stimulus_of_bin()]
        return of_bins

    def _stimulus_of_bin(self) -> np.ndarray:
        assert self.stimuli is not None
        return np.searchsorted(self.stimuli.onsets, np.arange(self.n_bins), side="right") - 1

    def _raster(self, layer: str) -> SpikeRaster:
        try:
            return self.rasters[layer]
        except KeyError:
            raise KeyError(f"no layer {layer!r}; the recording has {self.layers}") from None

    def raster(self, layer: str, *, as_tensor: bool = False) -> Any:
        """Return who spiked when in a layer.

        Parameters
        ----------
        layer : str
            One of ``layers``.
        as_tensor : bool
            A torch tensor instead of a NumPy array.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            bool (n_units, n_bins).
        """
        dense = self._raster(layer).dense()
        if not as_tensor:
            return dense
        import torch

        return torch.from_numpy(dense)

    @property
    def units(self) -> pd.DataFrame:
        """The recorded units, one row each: layer, unit, channel, y, x, threshold.

        ``unit`` is the index in the layer's flattened activation. ``channel, y, x`` are given for feature
        maps, activations of three dimensions in a bin, where it is known which of these is the channel, and
        are −1 elsewhere.
        """
        return unit_table(self.rasters)

    def select(
        self,
        *,
        layers: str | Sequence[str] | None = None,
        units: Any = None,
        trials: int | Sequence[int] | slice | None = None,
        labels: Any = None,
    ) -> Recording:
        """Return a part of the recording; what is not named stays whole.

        Parameters
        ----------
        layers : str or list of str
            Names or globs.
        units : array of int, dict, or array of bool
            Unit indices for every chosen layer, in the order wanted; or a dict of these by name or glob of
            layers, in which an exact name wins over a glob, and the first of several globs; or a mask over
            the rows of ``units`` of the whole recording. A layer of which no unit is chosen disappears.
        trials : int, list of int or slice
            Trial numbers; trials stay in their order.
        labels : label or list of labels
            Only bins in which such a stimulus was shown. The bins that stay move together within
            their trial, and a trial left empty disappears.

        Returns
        -------
        Recording

        Raises
        ------
        ValueError
            If a layer, unit, trial or label is not in the recording.
        """
        chosen = self.layers if layers is None else layers_named(layers, self.layers)
        rasters = {layer: self.rasters[layer] for layer in chosen}
        if units is not None:
            rows = rows_of(units, chosen, self.rasters)
            rasters = {n: r.take(rows[n]) if n in rows else r for n, r in rasters.items()}
            rasters = {n: raster for n, raster in rasters.items() if raster.n_units}
            if not rasters:
                raise ValueError(f"units= chooses no unit of the layers {chosen}: choose at least one")
        selected = replace(self, rasters=rasters)
        if trials is None and labels is None:
            return selected
        kept = np.ones(self.n_bins, bool)
        if trials is not None:
            kept &= in_trials(trials, self.time)
        if labels is not None:
            kept &= with_labels(labels, self.labels)
        return selected._take_bins(kept)

    def _take_bins(self, keep: np.ndarray) -> Recording:
        if not keep.any():
            raise ValueError("no bin is left: no stimulus with such a label was shown in those trials")
        edges = self.time.trial_edges
        left = np.add.reduceat(keep.astype(np.int64), edges[:-1])
        time = PseudoTime(self.time.bin_size, tuple(int(n) for n in left if n))
        bins = np.flatnonzero(keep)
        stimuli = self.stimuli
        if stimuli is not None:
            # a stimulus keeps its place if any of its bins does; its onset is the first of them
            shown, onsets = np.unique(self._stimulus_of_bin()[bins], return_index=True)
            stimuli = stimuli.take(shown, onsets.astype(np.int64))
        rasters = {n: raster.take_bins(bins, time) for n, raster in self.rasters.items()}
        return replace(self, rasters=rasters, stimuli=stimuli)

    def sort_stimuli(self, by: str = "ids") -> Recording:
        """Return the recording as if the stimuli had been shown in another order.

        Rates stay as they are, and so do correlations between units. Intervals, and Fano factors over
        windows, change: they are statistics of an order. The result is one trial. Its annotations have
        ``sorted_by``, and ``shuffled`` is false.

        Parameters
        ----------
        by : str
            ``ids``, ``labels``, or the name of an array annotation of the stimuli. They are put in ascending
            order of it; equal ones stay in the order they had.

        Returns
        -------
        Recording

        Raises
        ------
        ValueError
            If the stimuli have nothing of that name.

        Examples
        --------
        >>> raster = SpikeRaster.from_dense([[1, 0, 0, 1]])
        >>> shuffled = Recording({"relu": raster}, Stimuli.in_order(4, ids=[3, 1, 0, 2]))
        >>> shuffled.sort_stimuli().raster("relu").astype(int).tolist()
        [[0, 0, 1, 1]]
        """
        stimuli = self.stimuli
        known = {} if stimuli is None else {"ids": stimuli.ids, **stimuli.array_annotations}
        if stimuli is not None and stimuli.labels is not None:
            known["labels"] = stimuli.labels
        if stimuli is None or by not in known:
            raise ValueError(f"cannot sort the stimuli by {by!r}: they have {sorted(known) or 'nothing'}")
        return self._in_order(np.argsort(known[by], kind="stable"), {"shuffled": False, "sorted_by": by})

    def shuffle_stimuli(self, seed: int = 0) -> Recording:
        """Return the recording as if the stimuli had been shown in another, random order.

        Use it to average Fano factors, intervals, and all else that depends on the order, over several
        orders. All units get the same order, so correlations between them stay. The result is one trial.

        Parameters
        ----------
        seed : int
            For the order; the annotation ``shuffled_with`` keeps it.

        Returns
        -------
        Recording

        Raises
        ------
        ValueError
            If the recording has no stimuli.

        Examples
        --------
        >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 0, 1]])}, Stimuli.in_order(4))
        >>> shuffled = recording.shuffle_stimuli(seed=2)
        >>> shuffled.stimuli.ids.tolist(), shuffled.raster("relu").astype(int).tolist()
        ([3, 2, 0, 1], [[1, 0, 1, 0]])
        """
        if self.stimuli is None:
            raise ValueError("cannot shuffle the stimuli: this recording has no stimuli")
        order = np.random.default_rng(seed).permutation(len(self.stimuli))
        return self._in_order(order, {"shuffled": True, "shuffled_with": seed})

    def _in_order(self, order: np.ndarray, annotations: Mapping[str, Any]) -> Recording:
        """Return the recording with its stimuli, however many bins each takes, in this order."""
        assert self.stimuli is not None
        lengths = np.diff(np.append(self.stimuli.onsets, self.n_bins))
        bins = np.concatenate([self.stimuli.onsets[i] + np.arange(lengths[i]) for i in order])
        time = PseudoTime(self.time.bin_size, (self.n_bins,))
        ends = np.cumsum(lengths[order])
        kept = {k: v for k, v in self.annotations.items() if k not in ("sorted_by", "shuffled_with")}
        return replace(
            self,
            rasters={name: raster.take_bins(bins, time) for name, raster in self.rasters.items()},
            stimuli=self.stimuli.take(order, ends - lengths[order]),
            annotations={**kept, **annotations},
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Recording)
            and self.layers == other.layers
            and all(self.rasters[layer] == other.rasters[layer] for layer in self.layers)
            and self.stimuli == other.stimuli
            and as_json(self.annotations) == as_json(other.annotations)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return (
            f"Recording({len(self.rasters)} layer{'s' * (len(self.rasters) > 1)}, {self.n_units} units, "
            f"{self.n_bins} bins of {self.time.bin_size:g} ms in "
            f"{self.n_trials} trial{'s' * (self.n_trials > 1)}, {self.n_spikes} spikes)"
        )
