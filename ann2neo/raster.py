"""The nouns that carry time: the bins and trials, the spike raster of a layer, the stimuli."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

UNITS_AT_ONCE = 1024
"""How many units are unpacked together, at most, when a whole layer is walked through."""

BINS_AT_ONCE = 2**23
"""How many bins of all these units together, at most (but always those of one unit)."""


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
        if not isinstance(window, int | np.integer):
            raise ValueError(f"window={window!r}: give a whole number of bins")
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


class RowsElsewhere(Protocol):
    """A packed raster that is not in memory, but in a file say, and comes in chosen rows."""

    shape: tuple[int, int]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return chosen rows, as an array would."""

    def counts(self) -> np.ndarray:
        """Return the number of spikes of each row: int64 (n_units,)."""


PackedRows = np.ndarray | RowsElsewhere
"""uint8 (n_units, ceil(n_bins / 8)), the bins of a unit packed by :func:`numpy.packbits`."""


@dataclass(frozen=True, eq=False)
class SpikeRaster:
    """Who spiked when in one layer: immutable, one bit per unit and bin.

    Parameters
    ----------
    packed : numpy.ndarray or RowsElsewhere
        uint8 (n_units, ceil(n_bins / 8)), the bins of a unit packed by :func:`numpy.packbits`; in memory, or
        where chosen rows can be had from.
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

    packed: PackedRows
    time: PseudoTime
    units: np.ndarray
    shape: tuple[int, ...]
    threshold: np.ndarray

    def __post_init__(self) -> None:
        for name in ("packed", "units", "threshold"):
            if not isinstance(getattr(self, name), np.ndarray):
                continue
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

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

    @property
    def n_units(self) -> int:
        """Number of recorded units."""
        return len(self.units)

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return self.time.n_bins

    @property
    def counts(self) -> np.ndarray:
        """Number of spikes of each unit: int64 (n_units,)."""
        if isinstance(self.packed, np.ndarray):
            return np.bitwise_count(self.packed).sum(axis=1, dtype=np.int64)
        return self.packed.counts()

    @property
    def n_spikes(self) -> int:
        """Number of spikes of all units."""
        return int(self.counts.sum())

    def in_memory(self) -> SpikeRaster:
        """Return the raster with all rows in memory, one bit a unit and bin."""
        return self if isinstance(self.packed, np.ndarray) else replace(self, packed=self.packed[:])

    def dense(self, rows: Any = slice(None)) -> np.ndarray:
        """Return the raster, or chosen rows of it, as a bool array (n_units, n_bins)."""
        return np.unpackbits(self.packed[rows], axis=-1, count=self.n_bins).view(bool)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Walk through the units: yields rows and their bool array, a bounded number at once."""
        at_once = units_at_once(self.n_bins)
        for first in range(0, self.n_units, at_once):
            rows = slice(first, min(first + at_once, self.n_units))
            yield rows, self.dense(rows)

    def spikes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all spikes, unit by unit: bins (n_spikes,) and offsets (n_units + 1,), both int64.

        The spikes of row ``i`` are in the bins ``bins[offsets[i]:offsets[i + 1]]``.
        """
        offsets = np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)
        bins = [spike_bins(dense) for _, dense in self.blocks()]
        return np.concatenate([*bins, np.empty(0, np.int64)]), offsets

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
            and np.array_equal(self.units, other.units)
            and np.array_equal(self.threshold, other.threshold, equal_nan=True)
            and all(np.array_equal(dense, other.dense(rows)) for rows, dense in self.blocks())
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SpikeRaster({self.n_units} units × {self.n_bins} bins, {self.n_spikes} spikes)"


def by_unit(packed_bins: np.ndarray, n_units: int) -> np.ndarray:
    """Turn what a network gives, one row of packed units per bin, into one row of packed bins per unit.

    Examples
    --------
    >>> bins = np.packbits([[1, 0, 1], [0, 0, 1]], axis=1)
    >>> np.unpackbits(by_unit(bins, 3), axis=1, count=2).tolist()
    [[1, 0], [0, 0], [1, 1]]
    """
    packed = np.empty((n_units, -(-len(packed_bins) // 8)), np.uint8)
    for first in range(0, n_units, UNITS_AT_ONCE):
        last = min(first + UNITS_AT_ONCE, n_units)
        columns = packed_bins[:, first // 8 : -(-last // 8)]
        packed[first:last] = np.packbits(np.unpackbits(columns, axis=1, count=last - first).T, axis=1)
    return packed


def units_at_once(n_bins: int) -> int:
    """Return how many units of so many bins are unpacked together."""
    return max(1, min(UNITS_AT_ONCE, BINS_AT_ONCE // max(1, n_bins)))


def spike_bins(dense: np.ndarray) -> np.ndarray:
    """Return the bins of the spikes in a bool array (n_units, n_bins), unit by unit: int64 (n_spikes,).

    Examples
    --------
    >>> spike_bins(np.array([[True, False, True], [False, True, False]]))
    array([0, 2, 1])
    """
    n_units, n_bins = dense.shape
    # in one dimension it takes less than half the time that it takes in two
    found = np.flatnonzero(dense)
    firsts = np.arange(n_units) * n_bins
    return found - np.repeat(firsts, np.diff(np.searchsorted(found, firsts), append=len(found)))


@dataclass(frozen=True, eq=False)
class Stimuli:
    """What was shown when: one entry a stimulus, in the order of presentation.

    Parameters
    ----------
    onsets : numpy.ndarray
        int64 (n_stimuli,), the first bin of each presentation, which lasts until the next one.
    ids : numpy.ndarray
        int64 (n_stimuli,), which stimulus it was.
    labels : numpy.ndarray, optional
        (n_stimuli,), its class: integers, numbers or strings.
    array_annotations : mapping of str to numpy.ndarray
        Anything else of each stimulus, (n_stimuli,): its file, what the model took it for.

    Examples
    --------
    >>> stimuli = Stimuli.in_order(2, labels=["cat", "dog"], array_annotations={"file": ["a.png", "b.png"]})
    >>> stimuli.labels.tolist(), stimuli.array_annotations["file"].tolist()
    (['cat', 'dog'], ['a.png', 'b.png'])
    """

    onsets: np.ndarray
    ids: np.ndarray
    labels: np.ndarray | None = None
    array_annotations: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def in_order(
        cls,
        n_stimuli: int,
        *,
        n_steps: Any = 1,
        ids: Any = None,
        labels: Any = None,
        array_annotations: Mapping[str, Any] | None = None,
    ) -> Stimuli:
        """Lay out stimuli one after the other, each of ``n_steps`` bins or of its own number of them.

        Without ids they are numbered.

        Raises
        ------
        ValueError
            If there is not one of each per stimulus, ids are no whole numbers, or an annotation's name
            means another thing or is none that files can keep.
        """
        for name in array_annotations or {}:
            if name in NOT_ANNOTATIONS or not (isinstance(name, str) and name.isidentifier()):
                raise ValueError(
                    f"{name!r} as the name of a stimulus annotation: give a word of letters, digits and _, "
                    f"other than {', '.join(NOT_ANNOTATIONS)}"
                )
        columns = {"labels": labels, **(array_annotations or {})}
        values = {name: _one_each(name, v, n_stimuli) for name, v in columns.items() if v is not None}
        each = n_steps if np.ndim(n_steps) else np.full(n_stimuli, n_steps)
        lengths = _whole_numbers("n_steps", each, n_stimuli)
        if (lengths < 1).any():
            raise ValueError(f"stimulus {int((lengths < 1).argmax())} takes no bin: leave it out")
        return cls(
            np.cumsum(lengths) - lengths,
            _whole_numbers("ids", np.arange(n_stimuli) if ids is None else ids, n_stimuli),
            values.pop("labels", None),
            values,
        )

    def take(self, which: np.ndarray, onsets: np.ndarray) -> Stimuli:
        """Return chosen stimuli, in the order given, at new onsets."""
        return Stimuli(
            onsets,
            self.ids[which],
            None if self.labels is None else self.labels[which],
            {name: values[which] for name, values in self.array_annotations.items()},
        )

    def __len__(self) -> int:
        return len(self.onsets)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stimuli) or (self.labels is None) != (other.labels is None):
            return False
        if self.array_annotations.keys() != other.array_annotations.keys():
            return False
        pairs = [(self.onsets, other.onsets), (self.ids, other.ids)]
        if self.labels is not None and other.labels is not None:
            pairs.append((self.labels, other.labels))
        pairs += [(values, other.array_annotations[k]) for k, values in self.array_annotations.items()]
        return all(_same(one, two) for one, two in pairs)

    __hash__ = None  # type: ignore[assignment]


NOT_ANNOTATIONS = (
    "ids", "labels", "onsets", "label", "stimulus_id", "start_time", "stop_time", "segment",
    "self", "neo_name", "nix_name",
)  # fmt: skip
"""Names that tell other things of stimuli, in files and in Neo too."""


def _one_each(name: str, values: Any, n_stimuli: int) -> np.ndarray:
    """Return values (n_stimuli,) as int64, float64 or str, which every format keeps."""
    given = np.asarray(values)
    if given.shape != (n_stimuli,):
        raise ValueError(
            f"{name} of shape {given.shape} for {n_stimuli} stimuli: "
            f"give one of the {name} per stimulus, shape ({n_stimuli},)"
        )
    if given.dtype.kind == "u" and (given > np.iinfo(np.int64).max).any():
        raise ValueError(f"{name} as large as {given.max()}: give whole numbers below 2**63, or strings")
    kind = {"i": np.int64, "u": np.int64, "b": np.int64, "f": np.float64}.get(given.dtype.kind, str)
    return given.astype(kind)


def _whole_numbers(name: str, values: Any, n_stimuli: int) -> np.ndarray:
    given = np.asarray(values)
    if given.dtype.kind not in "iu":
        raise ValueError(f"{name} are whole numbers, these are {given.dtype}")
    return _one_each(name, given, n_stimuli)


def _same(one: np.ndarray, two: np.ndarray) -> bool:
    numbers = one.dtype.kind == two.dtype.kind == "f"
    return one.dtype.kind == two.dtype.kind and np.array_equal(one, two, equal_nan=numbers)


def coordinates(units: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return channel, y and x of units of a layer: int64 (n_units,), −1 outside feature maps.

    Examples
    --------
    >>> {name: values.tolist() for name, values in coordinates(np.array([7]), (2, 2, 3)).items()}
    {'channel': [1], 'y': [0], 'x': [1]}
    """
    places = np.unravel_index(units, shape) if len(shape) == 3 else (np.full(len(units), -1),) * 3
    return {n: p.astype(np.int64) for n, p in zip(("channel", "y", "x"), places, strict=True)}
