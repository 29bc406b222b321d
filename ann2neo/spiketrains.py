"""Recordings as Neo Blocks, and Neo Blocks as recordings: ours exactly, others by binning."""

from __future__ import annotations

import json
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, count
from typing import Any

import elephant.conversion
import neo
import numpy as np
import quantities as pq

from .elephant_engine import quiet_elephant
from .lazy import LazySpikeTrainList, spiketrain_view
from .raster import PseudoTime, SpikeRaster, Stimuli, coordinates, milliseconds
from .recording import Recording

HEADER = "ann2neo"
"""The Block annotation that holds, as JSON, all of a recording but its spikes."""

NOTES = f'{{"{HEADER}": '
"""What the Block annotation ``notes`` begins with that Neo makes of an NWB file of ours."""

_MS = pq.ms.dimensionality


def train_name(layer: str, unit: int) -> str:
    """Return the name of a unit's SpikeTrain, unique in its segment.

    Examples
    --------
    >>> train_name("layer1.0.relu", 12)
    'layer1.0.relu[12]'
    """
    return f"{layer}[{unit}]"


def segment_name(trial: int, n_trials: int) -> str:
    """Return the name of a trial's Segment; names sort as the trials do.

    Examples
    --------
    >>> segment_name(7, n_trials=12)
    'trial 07'
    """
    return f"trial {trial:0{len(str(n_trials - 1))}d}"


def block_name(recording: Recording) -> str:
    """Return the name of a recording's Block: that of the model, if known."""
    return str(recording.annotations.get("model") or "recording")


def to_neo(recording: Recording) -> neo.Block:
    """Return a recording as a Neo Block.

    Parameters
    ----------
    recording : Recording
        The spikes of a network.

    Returns
    -------
    neo.Block
        One Segment a trial, on one common time axis; in it one SpikeTrain a unit, layer after layer,
        made when first used; an Event ``stimuli`` at the onset of each stimulus, labelled with its class
        (or its id), both also as array annotations, beside those of the stimuli; an Epoch
        ``presentations`` with their durations, and one ``trials``. One Group a layer. Spikes stand at bin
        centres, (k + ½)·bin_size in ms: spikes at bin edges are moved by rounding when they are
        binned again.

    Notes
    -----
    Code that tells trains by their ``id()``, as :class:`neo.io.NeoMatlabIO` does, needs them to live:
    hold ``list(segment.spiketrains)`` of each segment meanwhile. :func:`ann2neo.save` does.

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
    # not through the constructor, where an annotation called "name" or "description" means another thing
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
    """Return a layer: the trains of its units in all trials, of which the first is at ``first``."""
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
        if len(raster.shape) == 3:
            columns |= coordinates(raster.units, raster.shape)
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


def as_shown(values: np.ndarray) -> np.ndarray:
    r"""Return strings with what HDF5 cannot hold escaped; numbers as they are.

    A file name that is not UTF-8 has half surrogate pairs in Python.

    Examples
    --------
    >>> as_shown(np.array(["é", "a\udce9.png"])).tolist()
    ['é', 'a\\udce9.png']
    """
    if values.dtype.kind != "U":
        return values
    escaped = [text.encode("utf-8", "backslashreplace").decode() for text in values.tolist()]
    return np.array([text.replace("\0", "\\0") for text in escaped], str)


def describe(recording: Recording) -> str:
    """Return, as ASCII JSON, all of a recording but its spikes; :func:`rebuild` reads it."""

    def compact(values: np.ndarray) -> Any:
        same = len(values) > 1 and np.array_equal(values, np.repeat(values[:1], len(values)), equal_nan=True)
        return values[0].item() if same else values.tolist()

    stimuli = recording.stimuli
    return json.dumps(
        {
            "version": 1,
            "bin_size": recording.time.bin_size,
            "trial_bins": recording.time.trial_bins,
            "layers": [
                {
                    "name": layer,
                    "shape": raster.shape,
                    "units": raster.units.tolist(),
                    "threshold": compact(raster.threshold),
                }
                for layer, raster in recording.rasters.items()
            ],
            "stimuli": None
            if stimuli is None
            else {
                "onsets": stimuli.onsets.tolist(),
                "ids": stimuli.ids.tolist(),
                "labels": None if stimuli.labels is None else stimuli.labels.tolist(),
                "labels_are": None if stimuli.labels is None else stimuli.labels.dtype.kind,
                "array_annotations": {
                    name: {"are": values.dtype.kind, "values": values.tolist()}
                    for name, values in stimuli.array_annotations.items()
                },
            },
            "annotations": dict(recording.annotations),
        }
    )


def rebuild(description: str, bins: Callable[[int, list[str]], Sequence[np.ndarray]]) -> Recording:
    """Return the recording that :func:`describe` described.

    Parameters
    ----------
    description : str
        The JSON.
    bins : callable
        From a trial and the names of all units, in order, to the bins in which each spiked.

    Raises
    ------
    ValueError
        If a spike lies outside its trial.
    """
    told = json.loads(description)
    if told["version"] != 1:
        raise ValueError(
            f"the recording is in version {told['version']} of ann2neo's format, this ann2neo reads "
            "version 1: update it"
        )
    time = PseudoTime(float(told["bin_size"]), tuple(told["trial_bins"]))
    names = [train_name(of["name"], unit) for of in told["layers"] for unit in of["units"]]
    dense = np.zeros((len(names), time.n_bins), bool)
    for trial, (first, last) in enumerate(zip(time.trial_edges, time.trial_edges[1:], strict=False)):
        for row, (name, of_unit) in enumerate(zip(names, bins(trial, names), strict=True)):
            if len(of_unit) and not first <= of_unit.min() <= of_unit.max() < last:
                raise ValueError(
                    f"unit {name} has a spike outside trial {trial}, which spans bins {first} to {last - 1}"
                )
            dense[row, of_unit] = True
    rasters, first = {}, 0
    for of in told["layers"]:
        rows = slice(first, first + len(of["units"]))
        rasters[of["name"]] = SpikeRaster.from_dense(
            dense[rows],
            time=time,
            units=np.array(of["units"], np.int64),
            shape=tuple(of["shape"]),
            threshold=of["threshold"],
        )
        first = rows.stop
    return Recording(rasters, _stimuli_from(told["stimuli"]), told["annotations"])


def _stimuli_from(told: dict[str, Any] | None) -> Stimuli | None:
    if told is None:
        return None
    kinds = {"i": np.int64, "f": np.float64, "U": str}
    labels = told["labels"]
    return Stimuli(
        np.array(told["onsets"], np.int64),
        np.array(told["ids"], np.int64),
        None if labels is None else np.array(labels, kinds[told["labels_are"]]),
        {
            name: np.array(each["values"], kinds[each["are"]])
            for name, each in told.get("array_annotations", {}).items()
        },
    )


def bins_of(times: np.ndarray, bin_size: float) -> np.ndarray:
    """Return the bin of each spike at a bin centre: exact over at least 10⁶ bins of any size.

    Examples
    --------
    >>> bins_of((np.arange(3) + 0.5) * 0.3, 0.3)
    array([0, 1, 2])
    """
    return np.rint(times / bin_size - 0.5).astype(np.int64)


def from_neo(block: neo.Block, bin_size: Any = None) -> Recording:
    """Return a Neo Block as a recording.

    Parameters
    ----------
    block : neo.Block
        Either made by :func:`to_neo` (also when a file was between), which gives back the very
        recording; or any other, say of cortical neurons, whose spikes are then binned.
    bin_size : float (ms) or quantity, optional
        For a Block from elsewhere: the bins to put its spikes in. A bin holds one spike at most, so it
        should be short; spikes that share a bin are counted in the annotation ``n_spikes_merged``,
        with a warning.

    Returns
    -------
    Recording
        A Block from elsewhere gives one layer for each Group that has spike trains, and one, ``units``,
        for trains in no Group; a trial for each Segment with trains; no stimuli and no thresholds (NaN).
        Units are told across segments by the names of their trains, where these have different ones,
        else by position. Bins start at the latest ``t_start`` of a segment's trains, and an incomplete
        last bin is dropped.

    Raises
    ------
    ValueError
        If a Block from elsewhere comes without bin size, has no trains, or other trains in one segment
        than in the next; if a Block of ours lost trains.
    TypeError
        If it is no Block.

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
        raise TypeError(f"from_neo takes a neo.Block, this is a {type(block).__name__}")
    if bin_size is not None:
        return _from_foreign_block(block, milliseconds(bin_size))
    description, notes = (str(block.annotations.get(key, "")) for key in (HEADER, "notes"))
    if not description and notes.startswith(NOTES):
        description = notes[len(NOTES) : -1]
    if not description:
        raise ValueError(
            f"Block {block.name!r} was not made by ann2neo: give the bin_size to bin its spikes in, "
            "for example bin_size=1 * quantities.ms"
        )
    return _from_own_block(block, description)


def _from_own_block(block: neo.Block, description: str) -> Recording:
    told = json.loads(description)
    if len(block.segments) != len(told["trial_bins"]):
        raise ValueError(
            f"the Block was made with {len(told['trial_bins'])} segments and has {len(block.segments)}: "
            "give bin_size to bin what is left of it"
        )

    def bins(trial: int, names: list[str]) -> list[np.ndarray]:
        trains = {train.name: train for train in block.segments[trial].spiketrains}
        missing = [name for name in names if name not in trains]
        if missing:
            raise ValueError(
                f"segment {trial} has no train {missing[0]!r}, which the Block was made with: "
                "give bin_size to bin what is left of it"
            )
        # `rescale` costs ten times as much as all the rest, also where there is nothing to do
        chosen = (trains[name] for name in names)
        in_ms = (train if train.dimensionality == _MS else train.rescale("ms") for train in chosen)
        return [bins_of(np.asarray(train.magnitude), told["bin_size"]) for train in in_ms]

    return rebuild(description, bins)


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
    time = PseudoTime(bin_size, tuple(dense.shape[1] for dense in binned))
    dense = np.concatenate(binned, axis=1)
    n_spikes = sum(len(train) for of_segment in trains for train in of_segment)
    merged = n_spikes - int(dense.sum())
    if merged:
        warnings.warn(
            f"{merged} of {n_spikes} spikes share a bin of {bin_size:g} ms with another spike of their "
            "unit, or lie outside the complete bins: a shorter bin_size keeps more",
            stacklevel=3,
        )
    rasters = {
        layer: SpikeRaster.from_dense(dense[rows], time=time, units=rows, shape=(len(dense),))
        for layer, rows in _rows_by_group(block, trains[0]).items()
    }
    return Recording(rasters, None, {"model": block.name or "neurons", "n_spikes_merged": merged})


def _aligned(trains: list[list[neo.SpikeTrain]], block_name: str | None) -> list[list[neo.SpikeTrain]]:
    """Return the trains of each segment in the order of units in the first one."""
    n_trains = {len(of_segment) for of_segment in trains}
    if len(n_trains) > 1:
        raise ValueError(
            f"the segments of Block {block_name!r} have {sorted(n_trains)} spike trains: "
            "a recording needs the same units in every trial"
        )
    by_name = [{train.name: train for train in of_segment} for of_segment in trains]
    if any(None in named or len(named) < len(of) for named, of in zip(by_name, trains, strict=True)):
        return trains
    for number, named in enumerate(by_name):
        missing = [name for name in by_name[0] if name not in named]
        if missing:
            raise ValueError(
                f"segment {number} of Block {block_name!r} has no train {missing[0]!r}, the first one has: "
                "a recording needs the same units in every trial"
            )
    return [[named[name] for name in by_name[0]] for named in by_name]


def _binned(trains: list[neo.SpikeTrain], bin_size: float) -> np.ndarray:
    trains = [train.rescale("ms") for train in trains]
    start = max(train.t_start.item() for train in trains)
    stop = min(train.t_stop.item() for train in trains)
    if stop <= start:
        raise ValueError(
            f"the trains of a segment share no time: one starts at {start:g} ms, one stops at {stop:g} ms"
        )
    n_bins = int((stop - start) / bin_size * (1 + 1e-12))
    if n_bins < 1:
        raise ValueError(
            f"bin_size={bin_size:g} ms, but the trains of a segment share only {stop - start:g} ms: "
            "give a shorter bin_size"
        )
    with quiet_elephant():
        return elephant.conversion.BinnedSpikeTrain(
            trains, bin_size=bin_size * pq.ms, t_start=start * pq.ms, n_bins=n_bins
        ).to_bool_array()


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
