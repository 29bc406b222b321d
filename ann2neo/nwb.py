"""Recordings as NWB files, written column by column.

NWB keeps spike trains in one table. Written row by row, as :class:`neo.io.NWBIO` does, a train costs
milliseconds; written as whole columns it costs some ten microseconds, and Neo reads the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .raster import Stimuli
from .recording import Recording

if TYPE_CHECKING:
    import pynwb

_UNIT_COLUMNS = {
    "layer": "layer of the network",
    "unit": "index in the flattened activation of the layer",
    "channel": "channel in a feature map, else -1",
    "y": "row in a feature map, else -1",
    "x": "column in a feature map, else -1",
    "threshold": "activation above which the unit spikes",
}


class NotOurs(Exception):
    """The file can be read, but ann2neo did not write it."""


def write_nwb(recording: Recording, path: Path) -> None:
    """Write a recording to a new NWB file.

    A row of the table ``units`` is a unit in a trial, with the columns that :class:`neo.io.NWBIO` needs and
    ``layer, unit, channel, y, x, threshold``; the tables ``trials`` and ``stimuli`` say what was
    shown when. Times are in seconds, as NWB has them. The identifier is a hash of the recording.
    """
    import pynwb

    from .spiketrains import NOTES, block_name, describe, segment_name

    description = describe(recording)
    file = pynwb.NWBFile(
        session_description=f"Units of an artificial neural network: {recording!r}",
        identifier=_fingerprint(description, recording),
        session_start_time=_recorded_at(recording),
        # of the fields that NWB has for free text, Neo hands this one on as a Block annotation
        notes=NOTES + description + "}",
    )
    n_trials = recording.n_trials
    segments = np.array([segment_name(trial, n_trials) for trial in range(n_trials)])
    file.units = _nwb_units(recording, segments, block_name(recording))
    file.trials = _nwb_trials(recording, segments)
    if recording.stimuli is not None and len(recording.stimuli):
        file.add_time_intervals(_nwb_stimuli(recording, recording.stimuli, segments))
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)


def _fingerprint(description: str, recording: Recording) -> str:
    digest = hashlib.sha256(description.encode())
    for raster in recording.rasters.values():
        digest.update(raster.packed.tobytes())
    return digest.hexdigest()


def _recorded_at(recording: Recording) -> datetime:
    """Return when it was recorded; never now, which is when it was saved."""
    try:
        moment = datetime.fromisoformat(recording.annotations["recorded_at"])
    except (KeyError, TypeError, ValueError):
        moment = datetime(1970, 1, 1)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _nwb_units(recording: Recording, segments: np.ndarray, block: str) -> pynwb.misc.Units:
    """Return one row for each unit in each trial; the trials of a unit follow one another."""
    import pynwb

    from .spiketrains import train_name

    time, n_units, n_trials = recording.time, recording.n_units, recording.n_trials
    of_layers = [raster.spikes() for raster in recording.rasters.values()]
    bins = np.concatenate([of_layer for of_layer, _ in of_layers])
    counts = np.concatenate([np.diff(offsets) for _, offsets in of_layers])
    row = np.repeat(np.arange(n_units) * n_trials, counts) + time.trial_of(bins)
    n_rows = n_units * n_trials
    table = recording.units
    names = [train_name(*at) for at in zip(table["layer"], table["unit"].tolist(), strict=True)]
    started, stopped = _trial_times(recording)
    columns = {
        "spike_times": ("middle of each bin with a spike, s", _seconds(bins + 0.5, recording)),
        "obs_intervals": ("the trial, s", np.tile(np.stack([started, stopped], 1), (n_units, 1))),
        "_name": ("name of the SpikeTrain in Neo", np.repeat(np.array(names, object), n_trials)),
        "segment": ("trial: name of the Segment in Neo", np.tile(segments, n_units)),
        "block": ("network: name of the Block in Neo", np.full(n_rows, block, object)),
    }
    for name, description in _UNIT_COLUMNS.items():
        columns[name] = description, np.repeat(table[name].to_numpy(), n_trials)
    ends = {
        "spike_times": np.cumsum(np.bincount(row, minlength=n_rows)).astype(np.uint64),
        "obs_intervals": np.arange(1, n_rows + 1, dtype=np.uint64),
    }
    return pynwb.misc.Units(
        name="units",
        description="one row for each unit of the network in each trial",
        id=np.arange(n_rows),  # given as an array: pynwb goes through its own list one by one
        columns=_nwb_columns(columns, ends),
        resolution=recording.time.bin_size / 1e3,
    )


def _nwb_trials(recording: Recording, segments: np.ndarray) -> pynwb.epoch.TimeIntervals:
    import pynwb

    started, stopped = _trial_times(recording)
    # not as NWB's epochs: those come back from Neo with labels that are no strings to Neo itself
    return pynwb.epoch.TimeIntervals(
        name="trials",
        description="contiguous stretches of pseudo-time; nothing in a statistic spans two of them",
        columns=_nwb_columns(
            {
                "start_time": ("start, s", started),
                "stop_time": ("end, s", stopped),
                "segment": ("name of the Segment in Neo", segments),
            }
        ),
    )


def _nwb_stimuli(recording: Recording, stimuli: Stimuli, segments: np.ndarray) -> pynwb.epoch.TimeIntervals:
    import pynwb

    from .spiketrains import as_shown

    columns = {
        "start_time": ("onset, s", _seconds(stimuli.onsets, recording)),
        "stop_time": (
            "onset of the next one, or the end, s",
            _seconds(np.append(stimuli.onsets[1:], recording.n_bins), recording),
        ),
        "stimulus_id": ("which stimulus it was", stimuli.ids),
        "segment": ("trial: name of the Segment in Neo", segments[recording.time.trial_of(stimuli.onsets)]),
    }
    if stimuli.labels is not None:
        columns["label"] = "class of the stimulus", as_shown(stimuli.labels)
    table = pynwb.epoch.TimeIntervals
    # a table has an id, a description, tags and more of its own
    taken = {*dir(table), *(column["name"] for column in table.__columns__)}
    for name, values in stimuli.array_annotations.items():
        column = name
        while column in taken:
            column += "_"
        taken.add(column)
        columns[column] = f"annotation {name} of the stimulus", as_shown(values)
    return table(
        name="stimuli",
        description="what was shown to the network when, in the order of presentation",
        columns=_nwb_columns(columns),
    )


def _seconds(bins: np.ndarray, recording: Recording) -> np.ndarray:
    return bins * recording.time.bin_size / 1e3


def _trial_times(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    edges = _seconds(recording.time.trial_edges, recording)
    return edges[:-1], edges[1:]


def _nwb_columns(
    columns: Mapping[str, tuple[str, np.ndarray]], ends: Mapping[str, np.ndarray] = {}
) -> list[pynwb.core.VectorData]:
    """Make columns of a table from descriptions and values; those with ``ends`` are ragged.

    Numbers are compressed. gzip at its lowest level takes a spike time from 8 to 2.3 bytes, and is as fast
    as lzf, which leaves 3.4; with bytes shuffled both do worse, since the same doubles come in every train.
    """
    from hdmf.backends.hdf5 import H5DataIO
    from pynwb.core import VectorData, VectorIndex

    def stored(values: np.ndarray) -> Any:
        if values.dtype.kind in "OU":
            return values.tolist()
        # HDF5 has no chunks in an empty array
        return H5DataIO(values, compression="gzip", compression_opts=1) if values.size else values

    made = []
    for name, (description, values) in columns.items():
        column = VectorData(name=name, description=description, data=stored(values))
        made.append(column)
        if name in ends:
            made.append(VectorIndex(name=f"{name}_index", data=stored(ends[name]), target=column))
    return made


def read_nwb(path: Path) -> Recording:
    """Read a recording that :func:`write_nwb` wrote.

    Raises
    ------
    NotOurs
        If it is the NWB file of somebody else.
    ValueError
        If the spikes are not those that were saved.
    """
    # pynwb would look at every column of a file of which the standard fixes the places needed here
    import h5py

    from .spiketrains import NOTES, bins_of, rebuild

    with h5py.File(path, "r") as file:
        notes = file["general/notes"].asstr()[()] if "general/notes" in file else ""
        if not notes.startswith(NOTES):
            raise NotOurs("its notes hold no recording")
        times, ends = file["units/spike_times"][:], file["units/spike_times_index"][:]
        identifier = file["identifier"].asstr()[()]
    description = notes[len(NOTES) : -1]
    told = json.loads(description)
    trains = np.split(bins_of(times * 1e3, told["bin_size"]), ends[:-1])
    recording = rebuild(description, lambda trial, names: trains[trial :: len(told["trial_bins"])])
    if identifier != _fingerprint(description, recording):
        raise ValueError("the spikes are not those that were saved")
    return recording
