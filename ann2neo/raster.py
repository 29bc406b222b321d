"""The nouns: pseudo-time, the spike raster of a layer, the stimuli, and the recording of a network.

Nothing here knows Neo, Elephant or a live model. Methods of :class:`Recording` that lead there only
hand over to the room that does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import neo
    import pandas as pd
    import quantities as pq

    from .summary import Summary

UNITS_AT_ONCE = 1024
"""How many units are unpacked together when a whole layer is walked through."""


def milliseconds(bin_size: Any) -> float:
    """Return a bin size, a number of ms or a time quantity, as a number of ms.

    Examples
    --------
    >>> import quantities as pq
    >>> milliseconds(2 * pq.s), milliseconds(0.5)
    (2000.0, 0.5)
    """
    try:
        value = float(bin_size.rescale("ms").magnitude if hasattr(bin_size, "rescale") else bin_size)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"bin_size={bin_size!r} is not a time: give a number of ms or a quantity such as 1 * ms"
        ) from error
    if not 0 < value < float("inf"):
        raise ValueError(f"bin_size={bin_size!r}: give a positive, finite time")
    return value


def divide(n_bins: int, n_trials: int) -> tuple[int, ...]:
    """Divide bins into contiguous trials whose lengths differ by at most one bin.

    Examples
    --------
    >>> divide(10, 3)
    (4, 3, 3)
    """
    if not 1 <= n_trials <= n_bins:
        raise ValueError(f"n_trials={n_trials}, but {n_bins} bins were recorded: give 1 to {n_bins} trials")
    short, n_longer = divmod(n_bins, n_trials)
    return (short + 1,) * n_longer + (short,) * (n_trials - n_longer)


@dataclass(frozen=True)
class PseudoTime:
    """The time axis of a recording: equal bins, divided into contiguous trials.

    Parameters
    ----------
    bin_size : float
        Duration of a bin in ms.
    trial_bins : tuple of int
        Number of bins in each trial.

    Examples
    --------
    >>> time = PseudoTime(bin_size=2.0, trial_bins=(3, 2))
    >>> time.n_bins, time.n_trials, time.trial_edges.tolist()
    (5, 2, [0, 3, 5])
    """

    bin_size: float
    trial_bins: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.trial_bins or min(self.trial_bins) < 1:
            raise ValueError(f"trial_bins={self.trial_bins}: every trial needs at least one bin")

    @property
    def n_bins(self) -> int:
        """Number of bins in all trials together."""
        return sum(self.trial_bins)

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.trial_bins)

    @property
    def trial_edges(self) -> np.ndarray:
        """First bin of each trial, then the number of bins: int64 (n_trials + 1,)."""
        return np.concatenate([[0], np.cumsum(self.trial_bins)]).astype(np.int64)

    def trial_of(self, bins: np.ndarray) -> np.ndarray:
        """Return the trial that each bin lies in."""
        return np.searchsorted(self.trial_edges, bins, side="right") - 1

    def window_edges(self, window: int) -> np.ndarray:
        """Return first and end bin of every counting window: int64 (n_windows, 2).

        Windows of ``window`` bins follow one another from the start of each trial; none spans a trial,
        and an incomplete one at the end of a trial is dropped.

        Examples
        --------
        >>> PseudoTime(1.0, (5, 4)).window_edges(2).tolist()
        [[0, 2], [2, 4], [5, 7], [7, 9]]
        """
        if not 1 <= window <= max(self.trial_bins):
            raise ValueError(
                f"window={window} bins, but the longest of {self.n_trials} trial(s) has "
                f"{max(self.trial_bins)}: give a window of 1 to {max(self.trial_bins)} bins"
            )
        starts = np.concatenate(
            [
                edge + window * np.arange(n // window)
                for edge, n in zip(self.trial_edges, self.trial_bins, strict=False)
            ]
        ).astype(np.int64)
        return np.stack([starts, starts + window], axis=1)


@dataclass(frozen=True, eq=False)
class SpikeRaster:
    """Who spiked when in one layer: immutable, one bit per unit and bin.

    Parameters
    ----------
    packed : numpy.ndarray
        uint8 (n_units, ceil(n_bins / 8)), the bins of a unit packed by :func:`numpy.packbits`.
    time : PseudoTime
        The bins and trials.
    units : numpy.ndarray
        int64 (n_units,), the index of each recorded unit in the layer's flattened activation.
    shape : tuple of int
        Shape of the layer's activation in one bin; its product is the number of units of the layer.
    threshold : numpy.ndarray
        float64 (n_units,), the activation above which a unit spiked (NaN: unknown, not thresholded).

    Examples
    --------
    >>> raster = SpikeRaster.from_dense([[True, False, True], [False, False, False]])
    >>> raster
    SpikeRaster(2 units × 3 bins, 2 spikes)
    >>> raster.dense().astype(int).tolist()
    [[1, 0, 1], [0, 0, 0]]
    """

    packed: np.ndarray
    time: PseudoTime
    units: np.ndarray
    shape: tuple[int, ...]
    threshold: np.ndarray

    def __post_init__(self) -> None:
        for array in (self.packed, self.units, self.threshold):
            array.flags.writeable = False

    @classmethod
    def from_dense(
        cls,
        dense: Any,
        *,
        time: PseudoTime | None = None,
        units: Any = None,
        shape: tuple[int, ...] | None = None,
        threshold: Any = np.nan,
    ) -> SpikeRaster:
        """Pack a bool array (n_units, n_bins); by default one trial of bins of 1 ms, units numbered."""
        dense = np.asarray(dense, dtype=bool)
        if dense.ndim != 2:
            raise ValueError(f"a raster has shape (n_units, n_bins), this has {dense.shape}")
        time = time or PseudoTime(1.0, (dense.shape[1],))
        if time.n_bins != dense.shape[1]:
            raise ValueError(f"the raster has {dense.shape[1]} bins, its trials {time.n_bins}")
        units = np.arange(len(dense)) if units is None else np.asarray(units)
        return cls(
            np.packbits(dense, axis=1),
            time,
            units.astype(np.int64),
            (len(dense),) if shape is None else tuple(int(n) for n in shape),
            np.broadcast_to(np.asarray(threshold, np.float64), len(dense)).copy(),
        )

    @classmethod
    def from_bins(
        cls,
        packed_bins: np.ndarray,
        *,
        time: PseudoTime,
        units: np.ndarray,
        shape: tuple[int, ...],
        threshold: np.ndarray,
    ) -> SpikeRaster:
        """Turn what a network gives, one row of packed units per bin, into one row per unit."""
        packed = np.empty((len(units), -(-time.n_bins // 8)), np.uint8)
        for first in range(0, len(units), UNITS_AT_ONCE):
            last = min(first + UNITS_AT_ONCE, len(units))
            columns = packed_bins[:, first // 8 : -(-last // 8)]
            packed[first:last] = np.packbits(np.unpackbits(columns, axis=1, count=last - first).T, axis=1)
        return cls(packed, time, units, shape, threshold)

    @property
    def n_units(self) -> int:
        """Number of recorded units."""
        return len(self.units)

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return self.time.n_bins

    @property
    def n_spikes(self) -> int:
        """Number of spikes of all units."""
        return int(np.bitwise_count(self.packed).sum(dtype=np.int64))

    def dense(self, rows: Any = slice(None)) -> np.ndarray:
        """Return the raster, or chosen rows of it, as a bool array (n_units, n_bins)."""
        return np.unpackbits(self.packed[rows], axis=-1, count=self.n_bins).view(bool)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Walk through the units: yields rows and their bool array, a bounded number at once."""
        for first in range(0, self.n_units, UNITS_AT_ONCE):
            rows = slice(first, min(first + UNITS_AT_ONCE, self.n_units))
            yield rows, self.dense(rows)

    def spikes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all spikes, unit by unit: bins (n_spikes,) and offsets (n_units + 1,), both int64.

        The spikes of row ``i`` are in the bins ``bins[offsets[i]:offsets[i + 1]]``.
        """
        found = [np.nonzero(dense)[1] for _, dense in self.blocks()]
        counts = np.bitwise_count(self.packed).sum(axis=1, dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return np.concatenate([*found, np.empty(0, np.int64)]).astype(np.int64), offsets

    def take(self, rows: Any) -> SpikeRaster:
        """Return the raster of chosen rows."""
        return replace(
            self,
            packed=self.packed[rows].copy(),
            units=self.units[rows].copy(),
            threshold=self.threshold[rows].copy(),
        )

    def take_bins(self, bins: np.ndarray, time: PseudoTime) -> SpikeRaster:
        """Return the raster of chosen bins, on their new time axis."""
        packed = np.empty((self.n_units, -(-time.n_bins // 8)), np.uint8)
        for rows, dense in self.blocks():
            packed[rows] = np.packbits(dense[:, bins], axis=1)
        return replace(self, packed=packed, time=time)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SpikeRaster)
            and (self.time, self.shape) == (other.time, other.shape)
            and np.array_equal(self.packed, other.packed)
            and np.array_equal(self.units, other.units)
            and np.array_equal(self.threshold, other.threshold, equal_nan=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SpikeRaster({self.n_units} units × {self.n_bins} bins, {self.n_spikes} spikes)"


@dataclass(frozen=True, eq=False)
class Stimuli:
    """What was shown when: one entry a stimulus, in the order of presentation.

    Parameters
    ----------
    onsets : numpy.ndarray
        int64 (n_stimuli,), the first bin of each presentation.
    ids : numpy.ndarray
        int64 (n_stimuli,), which stimulus it was.
    labels : numpy.ndarray, optional
        (n_stimuli,), its class: integers, numbers or strings.

    Examples
    --------
    >>> Stimuli.in_order(3, labels=["cat", "dog", "cat"]).labels.tolist()
    ['cat', 'dog', 'cat']
    """

    onsets: np.ndarray
    ids: np.ndarray
    labels: np.ndarray | None = None

    @classmethod
    def in_order(cls, n_stimuli: int, *, n_steps: int = 1, ids: Any = None, labels: Any = None) -> Stimuli:
        """Lay out stimuli of ``n_steps`` bins one after the other, numbered if without ids."""
        given_ids = np.arange(n_stimuli) if ids is None else np.asarray(ids)
        given_labels = None if labels is None else np.asarray(labels)
        for name, values in (("ids", given_ids), ("labels", given_labels)):
            if values is not None and values.shape != (n_stimuli,):
                raise ValueError(
                    f"{name} of shape {values.shape} for {n_stimuli} stimuli: "
                    f"give one of the {name} per stimulus, shape ({n_stimuli},)"
                )
        if given_ids.dtype.kind not in "iu":
            raise ValueError(f"ids are whole numbers, these are {given_ids.dtype}")
        if given_labels is not None and given_labels.dtype.kind in "iub":
            given_labels = given_labels.astype(np.int64)
        elif given_labels is not None and given_labels.dtype.kind == "f":
            given_labels = given_labels.astype(np.float64)
        elif given_labels is not None:
            given_labels = given_labels.astype(str)
        return cls(n_steps * np.arange(n_stimuli), given_ids.astype(np.int64), given_labels)

    def __len__(self) -> int:
        return len(self.onsets)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stimuli) or (self.labels is None) != (other.labels is None):
            return False
        pairs = [(self.onsets, other.onsets), (self.ids, other.ids)]
        if self.labels is not None and other.labels is not None:
            if self.labels.dtype.kind != other.labels.dtype.kind:
                return False
            pairs.append((self.labels, other.labels))
        return all(np.array_equal(a, b, equal_nan=a.dtype.kind == b.dtype.kind == "f") for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]


def _matching(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True, eq=False, repr=False)
class Recording:
    """The spikes of one or more layers over one stretch of pseudo-time, and where they came from.

    Parameters
    ----------
    rasters : mapping of str to SpikeRaster
        The layers in firing order; all on the same pseudo-time.
    stimuli : Stimuli, optional
        What was shown when. Recordings of real neurons, binned, have none.
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
            raise ValueError("a recording needs at least one layer")
        for layer, raster in self.rasters.items():
            if raster.time != self.time:
                raise ValueError(
                    f"layer {layer!r} has {raster.time}, layer {self.layers[0]!r} has {self.time}: "
                    "all layers of a recording share one pseudo-time"
                )
        object.__setattr__(self, "annotations", json.loads(_as_json(self.annotations)))

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
        return self.stimuli.labels[self._stimulus_of_bin()]

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

        ``unit`` is the index in the layer's flattened activation. ``channel, y, x`` are given for
        feature maps, activations of shape (channels, height, width), and are −1 elsewhere.
        """
        import pandas as pd

        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "layer": layer,
                        "unit": raster.units,
                        **coordinates(raster),
                        "threshold": raster.threshold,
                    }
                )
                for layer, raster in self.rasters.items()
            ],
            ignore_index=True,
        )

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
            Unit indices for every chosen layer, or a dict from layer to its unit indices, or a mask over
            the rows of ``units`` (of the whole recording).
        trials : int, list of int or slice
            Trial numbers.
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
        rasters = dict(self.rasters)
        if units is not None:
            rasters = self._take_units(rasters, units, layers)
        if layers is not None:
            patterns = [layers] if isinstance(layers, str) else list(layers)
            rasters = {n: raster for n, raster in rasters.items() if _matching(n, patterns)}
            if not rasters:
                raise ValueError(f"no layer matches {patterns}; the recording has {self.layers}")
        selected = replace(self, rasters=rasters)
        if trials is not None or labels is not None:
            selected = selected._take_bins(self._bins_of_trials(trials) & self._bins_of(labels))
        return selected

    def _take_units(self, rasters: dict[str, SpikeRaster], units: Any, layers: Any) -> dict[str, SpikeRaster]:
        given = None if isinstance(units, Mapping) else np.asarray(units)
        if given is not None and given.dtype == bool:
            if given.shape != (self.n_units,):
                raise ValueError(f"a mask over units has shape ({self.n_units},), not {given.shape}")
            masks = np.split(given, np.cumsum([r.n_units for r in rasters.values()])[:-1])
            taken = {
                n: r.take(np.flatnonzero(m))
                for (n, r), m in zip(rasters.items(), masks, strict=True)
                if m.any()
            }
            if not taken:
                raise ValueError("the mask over units selects none")
            return taken
        if given is not None:
            patterns = ["*"] if layers is None else [layers] if isinstance(layers, str) else layers
            units = {name: given for name in rasters if _matching(name, patterns)}
        taken = {}
        for layer, wanted in units.items():
            raster = self._raster(layer)
            wanted = np.atleast_1d(wanted)
            rows = {unit: row for row, unit in enumerate(raster.units.tolist())}
            missing = [unit for unit in wanted.tolist() if unit not in rows]
            if missing:
                raise ValueError(f"layer {layer!r} has no recorded unit {missing[0]}")
            taken[layer] = raster.take(np.array([rows[u] for u in wanted.tolist()], dtype=np.int64))
        return taken

    def _bins_of_trials(self, trials: Any) -> np.ndarray:
        numbers = np.arange(self.n_trials)
        if trials is not None:
            try:
                numbers = np.atleast_1d(numbers[trials])
            except IndexError as error:
                raise ValueError(
                    f"trials={trials!r}: the recording has trials 0 to {self.n_trials - 1}"
                ) from error
        return np.isin(self.time.trial_of(np.arange(self.n_bins)), numbers)

    def _bins_of(self, labels: Any) -> np.ndarray:
        if labels is None:
            return np.ones(self.n_bins, bool)
        own = self.labels
        if own is None:
            raise ValueError(f"labels={labels!r}: the recording has no labels")
        keep = np.isin(own, np.atleast_1d(labels))
        if not keep.any():
            known = ", ".join(map(str, np.unique(own)[:20]))
            raise ValueError(f"labels={labels!r}: no stimulus has such a label; there are {known}")
        return keep

    def _take_bins(self, keep: np.ndarray) -> Recording:
        if not keep.any():
            raise ValueError("no bin is left: those trials show no such label")
        edges = self.time.trial_edges
        left = np.add.reduceat(keep.astype(np.int64), edges[:-1])
        time = PseudoTime(self.time.bin_size, tuple(int(n) for n in left if n))
        bins = np.flatnonzero(keep)
        stimuli = self.stimuli
        if stimuli is not None:
            # a stimulus keeps its place if any of its bins does; its onset is the first of them
            shown, onsets = np.unique(self._stimulus_of_bin()[bins], return_index=True)
            stimuli = Stimuli(
                onsets.astype(np.int64),
                stimuli.ids[shown],
                None if stimuli.labels is None else stimuli.labels[shown],
            )
        rasters = {n: raster.take_bins(bins, time) for n, raster in self.rasters.items()}
        return replace(self, rasters=rasters, stimuli=stimuli)

    def to_neo(self) -> neo.Block:
        """Return the recording as a Neo Block: see :func:`ann2neo.spiketrains.to_neo`."""
        from .spiketrains import to_neo

        return to_neo(self)

    @classmethod
    def from_neo(cls, block: neo.Block, bin_size: Any = None) -> Recording:
        """Return a Neo Block as a recording: see :func:`ann2neo.spiketrains.from_neo`."""
        from .spiketrains import from_neo

        return from_neo(block, bin_size)

    def summarize(self, window: int | None = None, engine: str = "raster", progress: bool = False) -> Summary:
        """Return the statistics of all units: see :func:`ann2neo.summary.summarize_recording`."""
        from .summary import summarize_recording

        return summarize_recording(self, window, engine, progress)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Recording)
            and self.layers == other.layers
            and all(self.rasters[layer] == other.rasters[layer] for layer in self.layers)
            and self.stimuli == other.stimuli
            and _as_json(self.annotations) == _as_json(other.annotations)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return (
            f"Recording({len(self.rasters)} layer{'s' * (len(self.rasters) > 1)}, {self.n_units} units, "
            f"{self.n_bins} bins of {self.time.bin_size:g} ms in "
            f"{self.n_trials} trial{'s' * (self.n_trials > 1)}, {self.n_spikes} spikes)"
        )


def _as_json(annotations: Mapping[str, Any]) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        raise ValueError(
            f"annotation value {value!r} is a {type(value).__name__}: "
            "give numbers, strings, lists or dicts, which every file format can keep"
        )

    return json.dumps(dict(annotations), default=plain, sort_keys=True)


def coordinates(raster: SpikeRaster) -> dict[str, np.ndarray]:
    """Return channel, y and x of each recorded unit: int64 (n_units,), −1 outside feature maps.

    Examples
    --------
    >>> raster = SpikeRaster.from_dense(np.zeros((1, 4)), units=[7], shape=(2, 2, 3))
    >>> {name: values.tolist() for name, values in coordinates(raster).items()}
    {'channel': [1], 'y': [0], 'x': [1]}
    """
    if len(raster.shape) == 3:
        places = np.unravel_index(raster.units, raster.shape)
    else:
        places = (np.full(raster.n_units, -1),) * 3
    return {n: p.astype(np.int64) for n, p in zip(("channel", "y", "x"), places, strict=True)}
