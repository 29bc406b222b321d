"""Neo Blocks as recordings: ours exactly, others by binning."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from itertools import chain, count
from typing import Any

import elephant.conversion
import neo
import numpy as np
import quantities as pq

from ..recording.neurons import BEFORE_BINNING, MERGED
from ..recording.raster import SpikeRaster
from ..recording.recording import Recording
from ..recording.time import PseudoTime, milliseconds
from .description import HEADER, NOTES, bins_of, rebuild
from .quiet import quiet_elephant

_MS = pq.ms.dimensionality


def from_neo(block: neo.Block, bin_size: Any = None) -> Recording:
    """Return a Neo Block as a recording.

    Parameters
    ----------
    block : neo.Block
        Either one made by :func:`~ann2neo.interop.neo_block.to_neo`, also after it was in a file: this gives
        back the very recording. Or any other Block, say of cortical neurons: its spikes are binned.
    bin_size : float (ms) or quantity, optional
        How long a bin is, for a Block from elsewhere. A bin holds one spike at most, so it should be
        short. Spikes that share a bin give a warning, and the annotation ``n_spikes_merged`` counts them;
        ``n_spikes_before_binning`` has the spikes of each layer after and before.

    Returns
    -------
    Recording
        A Block from elsewhere gives one layer for each Group that has spike trains, and a layer ``units``
        for trains in no Group; a trial for each Segment with trains; no stimuli, and NaN as thresholds.
        A unit is found in each segment by the name of its train, if all names in a segment differ, else by
        its position. Bins start at the latest ``t_start`` of a segment's trains, and an incomplete last
        bin is dropped.

    Raises
    ------
    ValueError
        If a Block from elsewhere comes without bin size, has no trains, or has other trains in one segment
        than in the next; if a Block of ours lost trains.
    TypeError
        If it is not a Block.

    Notes
    -----
    Binning is done by :class:`elephant.conversion.BinnedSpikeTrain`.

    Examples
    --------
    >>> import neo, quantities as pq
    >>> segment = neo.Segment()
    >>> segment.spiketrains.append(neo.SpikeTrain([12.1, 40.7] * pq.ms, t_stop=50 * pq.ms))
    >>> block = neo.Block()
    >>> block.segments.append(segment)
    >>> Recording.from_neo(block, bin_size=10 * pq.ms).raster("units").astype(int)
    array([[0, 1, 0, 0, 1]])
    """
    if not isinstance(block, neo.Block):
        raise TypeError(f"from_neo takes a neo.Block, but this is a {type(block).__name__}")
    if bin_size is not None:
        return _from_foreign_block(block, milliseconds(bin_size))
    description, notes = (str(block.annotations.get(key, "")) for key in (HEADER, "notes"))
    if not description and notes.startswith(NOTES):
        description = notes[len(NOTES) : -1]
    if not description:
        raise ValueError(
            f"Block {block.name!r} was not made by ann2neo, so its spikes must be binned: give bin_size, "
            "for example bin_size=1 * quantities.ms"
        )
    return _from_own_block(block, description)


def _from_own_block(block: neo.Block, description: str) -> Recording:
    told = json.loads(description)
    if len(block.segments) != len(told["trial_bins"]):
        raise ValueError(
            f"the Block was made with {len(told['trial_bins'])} segments, but now it has "
            f"{len(block.segments)}: to bin the spikes that are left, give bin_size"
        )

    trains = [{train.name: train for train in segment.spiketrains} for segment in block.segments]

    def packed(time: PseudoTime, names: list[str]) -> np.ndarray:
        edges = time.trial_edges.tolist()
        rows = np.empty((len(names), -(-time.n_bins // 8)), np.uint8)
        for row, name in enumerate(names):
            dense = np.zeros(time.n_bins, bool)
            for trial, named in enumerate(trains):
                if name not in named:
                    raise ValueError(
                        f"segment {trial} has lost its train {name!r}: to bin the spikes that are left, "
                        "give bin_size"
                    )
                bins = bins_of(_in_ms(named[name]), time.bin_size)
                if len(bins) and not edges[trial] <= bins.min() <= bins.max() < edges[trial + 1]:
                    raise ValueError(
                        f"unit {name} has a spike outside trial {trial}, that is outside bins "
                        f"{edges[trial]} to {edges[trial + 1] - 1}: to bin all spikes again, give bin_size"
                    )
                dense[bins] = True
            rows[row] = np.packbits(dense)
        return rows

    return rebuild(description, packed)


def _in_ms(train: neo.SpikeTrain) -> np.ndarray:
    # `rescale` costs ten times as much as all the rest, also where there is nothing to do
    return np.asarray((train if train.dimensionality == _MS else train.rescale("ms")).magnitude)


def _from_foreign_block(block: neo.Block, bin_size: float) -> Recording:
    segments = [segment for segment in block.segments if len(segment.spiketrains)]
    if not segments:
        raise ValueError(f"Block {block.name!r} has no spike trains")
    if len(segments) < len(block.segments):
        warnings.warn(
            f"{len(block.segments) - len(segments)} segments of Block {block.name!r} have no spike trains "
            "and are left out",
            stacklevel=3,
        )
    trains = _aligned([list(segment.spiketrains) for segment in segments], block.name)
    binned = [_binned(of_segment, bin_size) for of_segment in trains]
    time = PseudoTime(bin_size, tuple(dense.shape[1] for dense, _ in binned))
    dense = np.concatenate([of_segment for of_segment, _ in binned], axis=1)
    n_before = np.sum([n for _, n in binned], axis=0)
    n_spikes = sum(len(train) for of_segment in trains for train in of_segment)
    merged = n_spikes - int(dense.sum())
    if merged:
        warnings.warn(
            f"{merged} of {n_spikes} spikes are lost: they share a bin of {bin_size:g} ms with another "
            "spike of their unit, or lie outside the complete bins. A shorter bin_size keeps more",
            stacklevel=3,
        )
    rows_of = _rows_by_group(block, trains[0])
    rasters = {
        layer: SpikeRaster.from_dense(dense[rows], time=time, units=rows, shape=(len(dense),))
        for layer, rows in rows_of.items()
    }
    before = {layer: [int(dense[rows].sum()), int(n_before[rows].sum())] for layer, rows in rows_of.items()}
    about = {"model": block.name or "neurons", MERGED: merged, BEFORE_BINNING: before}
    return Recording(rasters, None, about)


def _aligned(trains: list[list[neo.SpikeTrain]], block_name: str | None) -> list[list[neo.SpikeTrain]]:
    """Return the trains of each segment in the order of units in the first one."""
    n_trains = {len(of_segment) for of_segment in trains}
    if len(n_trains) > 1:
        raise ValueError(
            f"the segments of Block {block_name!r} have different numbers of spike trains, "
            f"{sorted(n_trains)}: give every segment the same units, as a recording needs them in every trial"
        )
    by_name = [{train.name: train for train in of_segment} for of_segment in trains]
    if any(None in named or len(named) < len(of) for named, of in zip(by_name, trains, strict=True)):
        return trains
    for number, named in enumerate(by_name):
        missing = [name for name in by_name[0] if name not in named]
        if missing:
            raise ValueError(
                f"segment {number} of Block {block_name!r} has no train {missing[0]!r}, but the first one "
                "has: give every segment the same units, as a recording needs them in every trial"
            )
    return [[named[name] for name in by_name[0]] for named in by_name]


def check_spike_times(unit: str, times: np.ndarray) -> None:
    """Check that a unit's spike times are times.

    Raises
    ------
    ValueError
        If one is NaN or infinite.

    Examples
    --------
    >>> check_spike_times("unit 3", np.array([0.1, np.nan]))
    Traceback (most recent call last):
    ...
    ValueError: 1 of 2 spike times of unit 3 are NaN or infinite: take them out of the file or Block first
    """
    n_wrong = int((~np.isfinite(times)).sum())
    if n_wrong:
        raise ValueError(
            f"{n_wrong} of {len(times)} spike times of {unit} are NaN or infinite: take them out of the file "
            "or Block first"
        )


def _binned(trains: list[neo.SpikeTrain], bin_size: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which bins have spikes, bool (n_units, n_bins), and how many spikes each train has in them."""
    trains = [train.rescale("ms") for train in trains]
    for number, train in enumerate(trains):
        check_spike_times(train.name or f"train {number}", train.magnitude)
    start = max(train.t_start.item() for train in trains)
    stop = min(train.t_stop.item() for train in trains)
    if stop <= start:
        raise ValueError(
            f"the trains of a segment share no time, as one starts at {start:g} ms and one stops at {stop:g} "
            "ms: leave one of them out"
        )
    n_bins = int((stop - start) / bin_size * (1 + 1e-12))
    if n_bins < 1:
        raise ValueError(
            f"bin_size={bin_size:g} ms, but the trains of a segment share only {stop - start:g} ms: "
            "give a shorter bin_size"
        )
    with quiet_elephant():
        binned = elephant.conversion.BinnedSpikeTrain(
            trains,
            bin_size=bin_size * pq.ms,
            t_start=start * pq.ms,
            t_stop=min(start + n_bins * bin_size, stop) * pq.ms,
            n_bins=n_bins,
        )
        n_spikes = np.asarray(binned.sparse_matrix.sum(axis=1)).ravel()
        return np.asarray(binned.to_bool_array()), n_spikes


def _rows_by_group(block: neo.Block, trains: list[neo.SpikeTrain]) -> dict[str, np.ndarray]:
    row_of = {id(train): row for row, train in enumerate(trains)}  # `trains` keeps them, and so their ids
    layers: dict[str, np.ndarray] = {}
    for number, group in enumerate(block.groups):
        grouped = list(group.spiketrains)
        rows = sorted(row_of[id(train)] for train in grouped if id(train) in row_of)
        if rows:
            layers[_unused(group.name or f"group {number}", layers)] = np.array(rows)
    alone = sorted(set(row_of.values()) - {row for rows in layers.values() for row in rows.tolist()})
    if alone:
        layers[_unused("units", layers)] = np.array(alone)
    return layers


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    """Return a name, numbered if it is taken."""
    numbered = (f"{name} {number}" for number in count(1))
    return next(free for free in chain([name], numbered) if free not in taken)
