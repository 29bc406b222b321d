"""Read the NWB file of a recording; its spikes are read when they are asked for."""

from __future__ import annotations

import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..interop.description import NOTES, rebuild
from ..recording.raster import units_at_once
from ..recording.recording import Recording
from ..recording.time import PseudoTime
from .damage import check_stored, check_text
from .deflate import inflated
from .seal import fingerprint

if TYPE_CHECKING:
    import h5py


class NotOurs(Exception):
    """The file can be read, but ann2neo did not write it."""


def read_nwb(path: Path) -> Recording:
    """Open a recording that :func:`write_nwb` wrote; its spikes are read when they are asked for.

    Raises
    ------
    NotOurs
        If it is the NWB file of somebody else.
    ValueError
        If the file is not as it was saved.
    """
    # by h5py: the standard says where all that is needed lies, and pynwb would look at every column
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
            raise ValueError(f"its {len(counts)} trains do not have room for {times.size} spikes")
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
            raise ValueError(f"{len(checksums)} units were saved, but {first} are described")
        return recording
    except BaseException:
        file.close()
        raise


class TrainsInFile:
    """The packed raster of a layer's units, read from a file as rows are asked for.

    Parameters
    ----------
    times : h5py.Dataset
        Spike times of all units in s. The file stays open as long as this object lives.
    offsets : numpy.ndarray
        int64 (n_units + 1,): where the times of each unit of the layer begin, and where the last ones end.
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
                f"{self.times.file.filename} is damaged in the spikes of unit {self.names[rows[0]]}, or of "
                f"the {len(rows) - 1} units read with it ({type(error).__name__}: {error})"
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
    if first == last or times.compression != "gzip" or times.id.get_create_plist().get_nfilters() > 1:
        return np.asarray(times[first:last])
    size = times.chunks[0]
    starts = range(first // size * size, last, size)

    def chunk(start: int) -> np.ndarray:
        not_filtered, raw = times.id.read_direct_chunk((start,))
        return np.frombuffer(raw if not_filtered else inflated(raw, size * times.dtype.itemsize), times.dtype)

    with ThreadPoolExecutor() as pool:
        return np.concatenate([*pool.map(chunk, starts)])[first - starts[0] : last - starts[0]]
