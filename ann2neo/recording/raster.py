"""Who spiked when in one layer: one bit a unit and bin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from .time import PseudoTime

UNITS_AT_ONCE = 1024
"""How many units are unpacked together, at most, when a whole layer is walked through."""

BINS_AT_ONCE = 2**23
"""How many bins of all these units together, at most (but always those of one unit)."""


class RowsElsewhere(Protocol):
    """A packed raster that lies elsewhere, in a file say, and is read row by row."""

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
        elsewhere, to be read row by row.
    time : PseudoTime
        The bins and trials.
    units : numpy.ndarray
        int64 (n_units,), the index of each recorded unit in the layer's flattened activation.
    shape : tuple of int
        Shape of the layer's activation in one bin; its product is the number of units of the layer.
    threshold : numpy.ndarray
        float64 (n_units,), the activation above which a unit spiked (NaN: unknown, not thresholded).
    channel_dim : int, optional
        Which dimension of a shape of three, a feature map, is the channel: by default the first. None:
        unknown.

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
    channel_dim: int | None = 0

    def __post_init__(self) -> None:
        if self.channel_dim not in (None, 0, 1, 2):
            raise ValueError(
                f"channel_dim={self.channel_dim!r}: give 0, 1 or 2, the dimension of a feature map that is "
                "the channel, or None if it is not known"
            )
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
        channel_dim: int | None = 0,
    ) -> SpikeRaster:
        """Pack a bool array (n_units, n_bins); by default one trial of bins of 1 ms, units numbered."""
        dense = np.asarray(dense, dtype=bool)
        if dense.ndim != 2:
            raise ValueError(f"a raster of shape {dense.shape}: give bool (n_units, n_bins)")
        time = time or PseudoTime(1.0, (dense.shape[1],))
        if time.n_bins != dense.shape[1]:
            raise ValueError(
                f"the raster has {dense.shape[1]} bins, but its trials have {time.n_bins}: make them alike"
            )
        indices = np.arange(len(dense)) if units is None else np.asarray(units)
        return cls(
            np.packbits(dense, axis=1),
            time,
            indices.astype(np.int64),
            (len(dense),) if shape is None else tuple(int(n) for n in shape),
            np.broadcast_to(np.asarray(threshold, np.float64), len(dense)).copy(),
            channel_dim,
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
        if not isinstance(self.packed, np.ndarray):
            return self.packed.counts()
        counts: np.ndarray = np.bitwise_count(self.packed).sum(axis=1, dtype=np.int64)
        return counts

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
            and self.channel_dim == other.channel_dim
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
    bins: np.ndarray = found - np.repeat(firsts, np.diff(np.searchsorted(found, firsts), append=len(found)))
    return bins
