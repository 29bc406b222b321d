"""Write a recording to an NWB file, column by column.

NWB keeps spike trains in one table. Written row by row, as :class:`neo.io.NWBIO` does, a train costs
milliseconds; written as whole columns it costs some ten microseconds, and Neo reads the same. Spike times
are written as they are made, so that they need not all be in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..interop.description import (
    NOTES,
    as_shown,
    as_text,
    block_name,
    describe,
    segment_name,
    train_name,
)
from ..recording.raster import units_at_once
from ..recording.recording import Recording
from ..recording.stimuli import Stimuli
from .deflate import deflated
from .seal import checksums_of_units, counts_of_trains, fingerprint

if TYPE_CHECKING:
    import h5py
    import pynwb


SPIKES_IN_CHUNK = 2**14
"""Spike times that are compressed together: to read a train is to read the chunks in which it lies."""

CHUNKS_WAITING = 64
"""Chunks that may be in memory at once while a file is written."""

GZIP: dict[str, Any] = {"compression": "gzip", "compression_opts": 1}
"""A compression that every HDF5 library can undo. A spike time takes 3.3 bytes of its 8."""

_UNIT_COLUMNS = {
    "unit": "index in the flattened activation of the layer",
    "channel": "channel in a feature map, else -1",
    "y": "row in a feature map, else -1",
    "x": "column in a feature map, else -1",
    "threshold": "activation above which the unit spikes",
}

_WHAT_IT_IS = (
    "Stimuli were shown to an artificial neural network. A unit spikes when its activation exceeds its "
    "threshold. One stimulus, or one step of it, is one bin of pseudo-time: that a bin lasts so many ms is a "
    "convention. Spikes stand at the middle of their bin."
)


def write_nwb(recording: Recording, path: Path) -> None:
    """Write a recording to a new NWB file.

    A row of the table ``units`` is a unit in a trial, with the columns that :class:`neo.io.NWBIO` needs and
    ``layer, unit, channel, y, x, threshold``; the tables ``trials`` and ``stimuli`` say what was
    shown when. Times are in seconds, as NWB has them. The identifier is a hash of the recording.
    """
    import h5py
    import pynwb

    description = describe(recording)
    counts, checksums = counts_of_trains(recording), checksums_of_units(recording)
    file = pynwb.NWBFile(
        session_description=f"Units of an artificial neural network: {recording!r}",
        identifier=fingerprint(description, counts, checksums),
        session_start_time=_recorded_at(recording),
        experiment_description=_WHAT_IT_IS,
        # no keywords: Neo's reader does not open a file that has some
        **_provenance(recording),
        # NWB has several fields for free text; this one Neo hands on as a Block annotation
        notes=NOTES + description + "}",
    )
    n_trials = recording.n_trials
    segments = np.array([segment_name(trial, n_trials) for trial in range(n_trials)])
    texts = _unit_texts(recording, segments)
    file.units = _nwb_units(recording, counts, checksums, texts)
    file.trials = _nwb_trials(recording, segments)
    if recording.stimuli is not None and len(recording.stimuli):
        file.add_time_intervals(_nwb_stimuli(recording, recording.stimuli, segments))
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)
    with h5py.File(path, "r+") as opened:
        for name, (_, values) in texts.items():
            opened["units"][name][:] = values
        _write_times(opened["units/spike_times"], recording)


def _provenance(recording: Recording) -> dict[str, Any]:
    """Return where a recording came from, as far as NWB has fields for it."""
    import pynwb

    told = {k: v for k, v in recording.annotations.items() if isinstance(v, str | int | float)}
    versions = {k.removesuffix("_version"): str(v) for k, v in told.items() if k.endswith("_version")}
    lines = [f"{name}: {as_text(value)}" for name, value in told.items() if not name.endswith("_version")]
    return {
        "data_collection": "\n".join(lines) or None,
        "was_generated_by": [list(each) for each in versions.items()] or None,
        "subject": pynwb.file.Subject(
            subject_id=as_text(block_name(recording)).replace("/", "-"),
            description="an artificial neural network, no organism: archives ask for a species and an age",
            species="http://purl.obolibrary.org/obo/NCBITaxon_32630",  # synthetic construct
            age="P0D",
            sex="O",
        ),
    }


def _write_times(times: h5py.Dataset, recording: Recording) -> None:
    """Fill a data set with the times of all spikes in s, compressed by several threads, in order."""
    size, at = times.chunks[0], 0
    waiting: deque[Future[bytes]] = deque()

    def write() -> None:
        nonlocal at
        times.id.write_direct_chunk((at,), waiting.popleft().result())
        at += size

    with ThreadPoolExecutor() as pool:
        for chunk in _chunks_of_times(recording, size):
            waiting.append(pool.submit(deflated, chunk.tobytes()))
            if len(waiting) > CHUNKS_WAITING:
                write()
        while waiting:
            write()


def _chunks_of_times(recording: Recording, size: int) -> Iterator[np.ndarray]:
    """Yield the times of all spikes in s, ``size`` of them at a time; zeros fill the last chunk."""
    from .spike_times import seconds_of

    left, at_once = np.empty(0), units_at_once(recording.n_bins)
    for raster in recording.rasters.values():
        for first in range(0, raster.n_units, at_once):
            packed = raster.packed[first : first + at_once]
            left = np.concatenate([left, seconds_of(packed, recording.time.bin_size)])
            whole = len(left) // size * size
            yield from left[:whole].reshape(-1, size)
            left = left[whole:]
    if len(left):
        yield np.pad(left, (0, size - len(left)))


def _recorded_at(recording: Recording) -> datetime:
    """Return when it was recorded, 1970 if unknown; not the time of saving."""
    try:
        moment = datetime.fromisoformat(recording.annotations["recorded_at"])
    except (KeyError, TypeError, ValueError):
        moment = datetime(1970, 1, 1)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _unit_texts(recording: Recording, segments: np.ndarray) -> dict[str, tuple[str, np.ndarray]]:
    """Return the columns of the table of units that are text: descriptions and values."""
    rasters, n_trials = recording.rasters, recording.n_trials
    names = [train_name(layer, unit) for layer, r in rasters.items() for unit in r.units.tolist()]
    layers = np.repeat(np.array([*rasters], object), [raster.n_units for raster in rasters.values()])
    return {
        "_name": ("name of the SpikeTrain in Neo", np.repeat(np.array(names, object), n_trials)),
        "layer": ("layer of the network", np.repeat(layers, n_trials)),
        "segment": ("trial: name of the Segment in Neo", np.tile(segments, len(names)).astype(object)),
        "block": (
            "network: name of the Block in Neo",
            np.full(len(names) * n_trials, block_name(recording), object),
        ),
    }


def _nwb_units(
    recording: Recording,
    counts: np.ndarray,
    checksums: np.ndarray,
    texts: Mapping[str, tuple[str, np.ndarray]],
) -> pynwb.misc.Units:
    """Return one row for each unit in each trial; the trials of a unit follow one another.

    Texts and spike times are filled in later: pynwb would go through its own lists one by one.
    """
    import h5py
    import pynwb
    from hdmf.backends.hdf5 import H5DataIO

    n_units, n_trials = recording.n_units, recording.n_trials
    n_rows, n_spikes = n_units * n_trials, int(counts.sum())
    table = recording.units
    started, stopped = _trial_times(recording)
    of_texts = {
        name: (text, H5DataIO(shape=(n_rows,), dtype=h5py.string_dtype()))
        for name, (text, _) in texts.items()
    }
    columns: dict[str, tuple[str, Any]] = {
        "spike_times": (
            "middle of each bin with a spike, s",
            H5DataIO(
                shape=(n_spikes,), dtype=np.dtype(float), chunks=(min(n_spikes, SPIKES_IN_CHUNK),), **GZIP
            )
            if n_spikes
            else np.empty(0),
        ),
        "obs_intervals": ("the trial, s", np.tile(np.stack([started, stopped], 1), (n_units, 1))),
        **of_texts,
        "checksum": ("CRC-32 of the unit's spikes in all trials", np.repeat(checksums, n_trials)),
    }
    for name, description in _UNIT_COLUMNS.items():
        columns[name] = description, np.repeat(table[name].to_numpy(), n_trials)
    ends: dict[str, np.ndarray] = {
        "spike_times": np.cumsum(counts).astype(np.uint64),
        # uint32, unlike the other: SpikeInterface takes this for a property of units
        "obs_intervals": np.arange(1, n_rows + 1, dtype=np.uint32),
    }
    return pynwb.misc.Units(
        name="units",
        description="one row for each unit of the network in each trial",
        id=np.arange(n_rows),
        columns=_nwb_columns(columns, ends),
        # times are whole multiples of it; SpikeInterface takes it for the sampling interval
        resolution=recording.time.bin_size / 2e3,
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
    columns: Mapping[str, tuple[str, Any]], ends: Mapping[str, np.ndarray] = {}
) -> list[pynwb.core.VectorData]:
    """Make columns of a table from descriptions and values; those with ``ends`` are ragged.

    Numbers are compressed, by gzip at its lowest level.
    """
    from hdmf.backends.hdf5 import H5DataIO
    from pynwb.core import VectorData, VectorIndex

    def stored(values: Any) -> Any:
        if isinstance(values, H5DataIO):
            return values
        if values.dtype.kind in "OU":
            return values.astype(object)
        # HDF5 has no chunks in an empty array
        return H5DataIO(values, **GZIP) if values.size else values

    made = []
    for name, (description, values) in columns.items():
        column = VectorData(name=name, description=description, data=stored(values))
        made.append(column)
        if name in ends:
            made.append(VectorIndex(name=f"{name}_index", data=stored(ends[name]), target=column))
    return made
