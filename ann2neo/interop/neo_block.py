"""Recordings as Neo Blocks, whose spike trains are made when they are used."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any

import neo
import numpy as np
import quantities as pq

from ..recording.raster import SpikeRaster
from ..recording.recording import Recording
from ..recording.stimuli import Stimuli
from ..recording.units import coordinates
from .description import HEADER, as_shown, block_name, describe, segment_name, train_name
from .lazy import LazySpikeTrainList, spiketrain_view


def to_neo(recording: Recording) -> neo.Block:
    """Return a recording as a Neo Block.

    Parameters
    ----------
    recording : Recording
        The spikes of a network.

    Returns
    -------
    neo.Block
        One Segment a trial, on one common time axis, and one Group a layer. A Segment has

        * one SpikeTrain a unit, layer after layer, made when it is first used;
        * an Event ``stimuli`` at the onset of each stimulus, labelled with its class, or with its id if
          there are no classes. Both are array annotations as well, beside those of the stimuli;
        * an Epoch ``presentations`` with the durations of stimuli, and an Epoch ``trials``.

        Spikes stand at bin centres, (k + ½)·bin_size in ms. At bin edges, rounding would move them when
        they are binned again.

    Notes
    -----
    :class:`neo.io.NeoMatlabIO` recognizes trains by their ``id()``, so they must live while it writes: hold
    ``list(segment.spiketrains)`` of each segment meanwhile. :func:`ann2neo.save` does.

    Examples
    --------
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1], [0, 0, 0]])})
    >>> block = recording.to_neo()
    >>> block.segments[0].spiketrains[0]
    <SpikeTrain(array([0.5, 2.5]) * ms, [0.0 ms, 3.0 ms])>
    >>> [group.name for group in block.groups]
    ['relu']
    >>> Recording.from_neo(block) == recording
    True
    """
    time = recording.time
    visible = {k: v for k, v in recording.annotations.items() if isinstance(v, str | int | float)}
    block = neo.Block(name=block_name(recording))
    # not by the constructor: there an annotation called "name" or "description" means something else
    block.annotations = {
        **visible,
        "bin_size": f"{time.bin_size!r} ms",
        HEADER: describe(recording),
    }
    unit_at = _unit_labels(recording)
    for trial, (times, offsets) in enumerate(_times_by_trial(recording)):
        segment = _segment(recording, trial, times, offsets, unit_at)
        segment.block = block
        block.segments.append(segment)
    first = 0
    for layer, raster in recording.rasters.items():
        block.groups.append(_group(block, layer, raster, first))
        first += raster.n_units
    return block


def _segment(
    recording: Recording,
    trial: int,
    times: np.ndarray,
    offsets: np.ndarray,
    unit_at: Callable[[int], tuple[str, dict[str, Any]]],
) -> neo.Segment:
    """Return a trial: the spike times of all units, one unit after the other, its stimuli and extent."""
    time = recording.time
    first, last = time.trial_edges[trial : trial + 2]
    start, stop = first * time.bin_size * pq.ms, last * time.bin_size * pq.ms
    segment = neo.Segment(name=segment_name(trial, time.n_trials), index=trial)
    ends = offsets.tolist()

    def make(i: int) -> neo.SpikeTrain:
        train = spiketrain_view(times[ends[i] : ends[i + 1]], start, stop, segment)
        train.name, train.annotations = unit_at(i)
        return train

    segment.spiketrains = LazySpikeTrainList(recording.n_units, make, segment)
    extent = ([start.item()] * pq.ms, [(stop - start).item()] * pq.ms, [segment.name])
    segment.epochs.append(neo.Epoch(*extent, name="trials"))
    if recording.stimuli is not None:
        event = _stimuli_event(recording.stimuli, first, last, time.bin_size)
        segment.events.append(event)
        until = np.append(event.times.magnitude, stop.item())[1:] * pq.ms
        segment.epochs.append(neo.Epoch(event.times, until - event.times, event.labels, name="presentations"))
    return segment


def _group(block: neo.Block, layer: str, raster: SpikeRaster, first: int) -> neo.Group:
    """Return a layer: the trains of its units in all trials; its first unit is the ``first`` of a segment."""
    n_units = raster.n_units

    def make(i: int) -> neo.SpikeTrain:
        return block.segments[i // n_units].spiketrains[first + i % n_units]

    group = neo.Group(name=layer, shape=json.dumps(raster.shape), n_units=n_units)
    group.spiketrains = LazySpikeTrainList(n_units * raster.time.n_trials, make, None)
    return group


def _unit_labels(recording: Recording) -> Callable[[int], tuple[str, dict[str, Any]]]:
    """Return a function from a unit's position in the recording to its name and annotations."""
    layers, firsts, first = [], [], 0
    for layer, raster in recording.rasters.items():
        columns = {"unit": raster.units, "threshold": raster.threshold}
        if len(raster.shape) == 3 and raster.channel_dim is not None:
            columns |= coordinates(raster.units, raster.shape, raster.channel_dim)
        layers.append((layer, {name: column.tolist() for name, column in columns.items()}))
        firsts.append(first)
        first += raster.n_units

    def unit_at(i: int) -> tuple[str, dict[str, Any]]:
        number = bisect_right(firsts, i) - 1
        layer, columns = layers[number]
        row = i - firsts[number]
        annotations = {"layer": layer}
        for name, column in columns.items():
            annotations[name] = column[row]
        return train_name(layer, columns["unit"][row]), annotations

    return unit_at


def _times_by_trial(recording: Recording) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield for each trial the spike times of all units, one unit after the other, and offsets."""
    time = recording.time
    spikes = [raster.spikes() for raster in recording.rasters.values()]
    bins = np.concatenate([of_layer for of_layer, _ in spikes])
    counts = np.concatenate([np.diff(offsets) for _, offsets in spikes])
    unit = np.repeat(np.arange(len(counts)), counts)
    trial = time.trial_of(bins)
    order = np.argsort(trial, kind="stable")
    times = (bins[order] + 0.5) * time.bin_size
    per_unit = np.bincount(trial * len(counts) + unit, minlength=time.n_trials * len(counts))
    ends = np.concatenate([[0], np.cumsum(per_unit)])
    for k in range(time.n_trials):
        offsets = ends[k * len(counts) : (k + 1) * len(counts) + 1]
        yield times[offsets[0] : offsets[-1]], offsets - offsets[0]


def _stimuli_event(stimuli: Stimuli, first: int, last: int, bin_size: float) -> neo.Event:
    shown = (stimuli.onsets >= first) & (stimuli.onsets < last)
    ids = stimuli.ids[shown]
    array_annotations = {k: as_shown(values[shown]) for k, values in stimuli.array_annotations.items()}
    array_annotations["stimulus_id"] = ids
    labels = ids
    if stimuli.labels is not None:
        labels = array_annotations["label"] = as_shown(stimuli.labels[shown])
    return neo.Event(
        stimuli.onsets[shown] * bin_size * pq.ms,
        labels=labels.astype(str),
        name="stimuli",
        array_annotations=array_annotations,
    )
