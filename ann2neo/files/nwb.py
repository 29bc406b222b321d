"""Recordings as NWB files: written column by column, read train by train.

NWB keeps spike trains in one table. Written row by row, as :class:`neo.io.NWBIO` does, a train costs
milliseconds; written as whole columns it costs some ten microseconds, and Neo reads the same. Spike times
are written as they are made and read when they are asked for, so that neither needs them all in memory.
"""

from __future__ import annotations

import json
import zlib
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
    rebuild,
    segment_name,
    train_name,
)
from ..recording.raster import units_at_once
from ..recording.recording import Recording
from ..recording.stimuli import Stimuli
from ..recording.time import PseudoTime
from .damage import check_stored, check_text
from .seal import checksums_of_units, counts_of_trains, fingerprint

if TYPE_CHECKING:
    import h5py
    import pynwb


SPIKES_IN_CHUNK = 2**14
"""Spike times that are compressed together: reading a train reads the chunks it lies in."""

CHUNKS_WAITING = 64
"""Chunks that may be in memory at once while a file is written."""

GZIP: dict[str, Any] = {"compression": "gzip", "compression_opts": 1}
"""What every HDF5 library can undo. It takes a spike time from 8 to 3.3 bytes."""

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


class NotOurs(Exception):
    """The file can be read, but ann2neo did not write it."""


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
        # no keywords: with these, Neo's reader does not open a file
        **_provenance(recording),
        # of the fields that NWB has for free text, Neo hands this one on as a Block annotation
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
    """Return what NWB has fields for of where a recording came from."""
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
    from isal import isal_zlib

    size, at = times.chunks[0], 0
    waiting: deque[Future[bytes]] = deque()

    def write() -> None:
        nonlocal at
        times.id.write_direct_chunk((at,), waiting.popleft().result())
        at += size

    with ThreadPoolExecutor() as pool:
        for chunk in _chunks_of_times(recording, size):
            waiting.append(pool.submit(isal_zlib.compress, chunk.tobytes(), 1))
            if len(waiting) > CHUNKS_WAITING:
                write()
        while waiting:
            write()


def _chunks_of_times(recording: Recording, size: int) -> Iterator[np.ndarray]:
    """Yield the times of all spikes in s, so many at once; what the last one lacks is 0."""
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
    """Return when it was recorded; never now, which is when it was saved."""
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

    Texts and spike times are left to be filled in: pynwb goes through its own lists one by one.
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
        # unlike the other's, no uint64: SpikeInterface takes this for a property of units
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


def read_nwb(path: Path) -> Recording:
    """Open a recording that :func:`write_nwb` wrote; its spikes are read when they are asked for.

    Raises
    ------
    NotOurs
        If it is the NWB file of somebody else.
    ValueError
        If the file is not as it was saved.
    """
    # pynwb would look at every column of a file of which the standard fixes the places needed here
    import h5py

    file = h5py.File(path, "r")
    try:
        if "general/notes" not in file:
            raise NotOurs("it has no notes")
        for name in ("general/notes", "identifier"):
            check_text(file[name], path)
        notes = file["general/notes"].asstr()[()]
        if not notes.startswith(NOTES):
            raise NotOurs("its notes hold no recording")
        description = notes[len(NOTES) : -1]
        trial_bins = json.loads(description)["trial_bins"]
        n_trials = len(trial_bins)
        times = file["units/spike_times"]
        for name in ("spike_times_index", "checksum"):
            check_stored(file["units"][name])
        ends, checksums = file["units/spike_times_index"][:], file["units/checksum"][::n_trials]
        counts = np.diff(ends.astype(np.int64), prepend=0)
        if file["identifier"].asstr()[()] != fingerprint(description, counts, checksums):
            raise ValueError("it is not as it was saved")
        possible = len(counts) == n_trials * len(checksums) and counts.sum() == times.size
        if not possible or (counts < 0).any() or (counts.reshape(-1, n_trials) > trial_bins).any():
            raise ValueError(f"{times.size} spikes are not what its {len(counts)} trains have room for")
        offsets = np.concatenate([[0], ends[n_trials - 1 :: n_trials]]).astype(np.int64)
        first = 0

        def packed(time: PseudoTime, names: list[str]) -> TrainsInFile:
            nonlocal first
            units = slice(first, first + len(names))
            first = units.stop
            of_layer = offsets[units.start : units.stop + 1]
            return TrainsInFile(times, of_layer, checksums[units], names, time)

        recording = rebuild(description, packed)
        if first != len(checksums):
            raise ValueError(f"{len(checksums)} units were saved, {first} are described")
        return recording
    except BaseException:
        file.close()
        raise


class TrainsInFile:
    """The packed raster of a layer's units, read from a file as rows are asked for.

    Parameters
    ----------
    times : h5py.Dataset
        Spike times of all units in s. The file stays open as long as this lives.
    offsets : numpy.ndarray
        int64 (n_units + 1,), where those of each unit of the layer begin, and where those of the last end.
    checksums : numpy.ndarray
        uint32 (n_units,), see :func:`~ann2neo.files.seal.checksums_of_units`.
    names : list of str
        Of the units.
    time : PseudoTime
        The bins.
    """

    def __init__(
        self,
        times: h5py.Dataset,
        offsets: np.ndarray,
        checksums: np.ndarray,
        names: list[str],
        time: PseudoTime,
    ) -> None:
        self.times, self.offsets, self.checksums, self.names = times, offsets, checksums, names
        self.bin_size, self.n_bins = time.bin_size, time.n_bins
        self.shape = (len(names), -(-time.n_bins // 8))

    def counts(self) -> np.ndarray:
        """Return the number of spikes of each unit: int64 (n_units,)."""
        return np.diff(self.offsets)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return chosen rows, as an array would.

        Raises
        ------
        ValueError
            If they are not those that were saved.
        """
        wanted = np.arange(self.shape[0])[rows]
        flat = wanted.reshape(-1)
        packed = np.empty((len(flat), self.shape[1]), np.uint8)
        at_once = units_at_once(self.n_bins)
        for first in range(0, len(flat), at_once):
            some = slice(first, first + at_once)
            packed[some] = self._read(flat[some])
        return packed.reshape(*wanted.shape, self.shape[1])

    def _read(self, rows: np.ndarray) -> np.ndarray:
        from .spike_times import packed_of

        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
        try:
            times = [_stretch(self.times, self.offsets[run[0]], self.offsets[run[-1] + 1]) for run in runs]
            ends = np.cumsum(np.concatenate([[0], self.counts()[rows]]))
            packed = packed_of(np.concatenate(times), ends, self.bin_size, self.n_bins)
        except Exception as error:
            raise ValueError(
                f"{self.times.file.filename} is damaged where the spikes of unit {self.names[rows[0]]} or "
                f"the {len(rows) - 1} read with it are ({type(error).__name__}: {error})"
            ) from error
        for row, bits in zip(rows, packed, strict=True):
            if zlib.crc32(bits) != self.checksums[row]:
                raise ValueError(
                    f"{self.times.file.filename} is damaged: the spikes of unit {self.names[row]} are not "
                    "those that were saved"
                )
        return packed

    def __reduce__(self) -> tuple[Any, ...]:
        return np.array, (self[:],)  # a file that is open cannot be sent to others


def _stretch(times: h5py.Dataset, first: int, last: int) -> np.ndarray:
    """Return a part of a data set; by several threads, if it is compressed as here."""
    from isal import isal_zlib

    if first == last or times.compression != "gzip" or times.id.get_create_plist().get_nfilters() > 1:
        return times[first:last]
    size = times.chunks[0]
    starts = range(first // size * size, last, size)

    def chunk(start: int) -> np.ndarray:
        not_filtered, raw = times.id.read_direct_chunk((start,))
        # no more than it can be, whatever the file says
        raw = raw if not_filtered else isal_zlib.decompressobj().decompress(raw, size * times.dtype.itemsize)
        return np.frombuffer(raw, times.dtype)

    with ThreadPoolExecutor() as pool:
        return np.concatenate([*pool.map(chunk, starts)])[first - starts[0] : last - starts[0]]
