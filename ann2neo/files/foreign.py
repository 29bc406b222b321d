"""Spikes in the files of other tools, as Neo Blocks: NWB by its standard, all else as Neo reads it."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .damage import check_stored

if TYPE_CHECKING:
    import h5py
    import neo


RUN_CODE = ("PickleIO",)
"""The readers of Neo that run whatever code the writer of a file put there."""


def read_blocks(path: Path, *, trust: bool = False) -> list[neo.Block]:
    r"""Read the spike trains of any file or folder that Neo can read.

    Parameters
    ----------
    path : pathlib.Path
        A file, or a folder for formats that are folders. Neo's readers for its suffix are tried in their
        order, until one finds spike trains.
    trust : bool
        Open pickles, which run code.

    Returns
    -------
    list of neo.Block
        With their spike trains. Signals stay in the file, if Neo can leave them there.

    Raises
    ------
    ValueError
        If Neo has no reader for it, or no reader finds spike trains; the error gives each one's reason.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "neurons.txt"  # seconds, a line each neuron, tabs between
    ...     _ = path.write_text("0.012\t0.031\n0.020\t0.040\n")
    ...     [block] = read_blocks(path)
    >>> len(block.segments[0].spiketrains)
    2
    """
    readers = readers_of(path)
    reasons, cause = [], None
    for name, reader in readers.items():
        if name in RUN_CODE and not trust:
            raise ValueError(
                f"{path}: a pickle runs any code that its writer put there. If you trust the writer, give "
                "trust=True (on the command line --trust); else ask for the recording as .nwb, .nix or .mat"
            )
        try:
            blocks = _nwb_blocks(path) if name == "NWBIO" and path.is_file() else _neo_blocks(reader, path)
        except Exception as error:
            reasons.append(f"neo.io.{name}: {type(error).__name__}: {error}")
            cause = error
            continue
        if any(len(segment.spiketrains) for block in blocks for segment in block.segments):
            if name == "AsciiSpikeTrainIO":
                _observe_until_the_last_spike(blocks[0].segments[0])
            for block in blocks:
                _cut_to_shared_time(block)
            return blocks
        reasons.append(f"neo.io.{name} opens it, but finds no spike trains")
    if cause is None:
        raise ValueError(f"{path} holds no spike trains ({'; '.join(reasons)})")
    raise ValueError(f"{path} holds no spike trains, or is damaged ({'; '.join(reasons)})") from cause


def readers_of(path: Path) -> dict[str, Any]:
    """Return Neo's readers of spike trains for a file or folder, by name, as Neo orders them."""
    import neo

    kind = "folder" if path.is_dir() else "suffix"
    try:
        candidates = neo.list_candidate_ios(path)
    except ValueError:
        raise ValueError(
            f"{path}: unknown {kind} {path.suffix!r}: Neo has no reader for it. If another library reads it, "
            "make a neo.Block of the spikes and give it to Recording.from_neo(block, bin_size=...)"
        ) from None
    readers: dict[str, Any] = {}
    for reader in candidates:
        if neo.SpikeTrain in reader.supported_objects and (reader.mode == "dir") == path.is_dir():
            readers.setdefault(reader.__name__, reader)  # two are called NixIO; the first is the complete one
    if not readers:
        names = ", ".join(sorted({f"neo.io.{reader.__name__}" for reader in candidates}))
        raise ValueError(
            f"{path}: Neo's readers for the {kind} {path.suffix!r} ({names}) do not give spike trains"
            + ", or read the whole folder: name that" * any(reader.mode == "dir" for reader in candidates)
        )
    return readers


def _neo_blocks(reader: Any, path: Path) -> list[neo.Block]:
    import neo
    import scipy.io
    from neo.io.basefromrawio import BaseFromRaw

    if reader is neo.io.NeoMatlabIO and "block" not in [name for name, *_ in scipy.io.whosmat(path)]:
        return []  # Neo would log an error, and return None
    # by default, NixIO opens files to write in them
    io = reader(str(path), **({"mode": "ro"} if reader is neo.io.NixIO else {}))
    with contextlib.closing(io) if hasattr(io, "close") else contextlib.nullcontext():
        if isinstance(io, BaseFromRaw):  # whose `read` forgets all blocks but the first
            blocks = [io.read_block(number, lazy=True) for number in range(io.block_count())]
        else:
            blocks = io.read()
        for block in blocks:
            if not isinstance(block, neo.Block):
                raise TypeError(f"it holds a {type(block).__name__}, not a Block")
            for segment in block.segments:
                if any(hasattr(train, "load") for train in segment.spiketrains):
                    segment.spiketrains = [train.load() for train in segment.spiketrains]
    return blocks


def _nwb_blocks(path: Path) -> list[neo.Block]:
    """Read the table of units of an NWB file.

    Not by :class:`neo.io.NWBIO`. That wants exactly one observation interval for each unit, which few files
    have; its time grows with the square of the number of units; and it does not open files with keywords.
    """
    import h5py

    from ..interop.from_block import check_spike_times

    with h5py.File(path, "r") as file:
        table = file.get("units", {})
        if "spike_times" not in table:
            return []
        times = _ragged(table, "spike_times")
        for number, of_unit in enumerate(times):
            check_spike_times(f"unit {number}", of_unit)
        observed = _ragged(table, "obs_intervals") if "obs_intervals" in table else None
        names = {column: _texts(table, column, len(times)) for column in ("block", "segment", "_name")}
    if observed is None or not all(map(len, observed)):
        spikes = np.concatenate(times)
        extent = np.array([[min(0, spikes.min(initial=0)), spikes.max(initial=0)]])
        observed = [extent] * len(times)
    return _blocks(times, observed, names, in_trials="segment" in table)


def _ragged(table: h5py.Group, column: str) -> list[np.ndarray]:
    for part in (column, f"{column}_index"):
        check_stored(table[part])
    ends = table[f"{column}_index"][:].astype(np.int64)
    return np.split(table[column][: ends[-1] if len(ends) else 0], ends)[:-1]


def _texts(table: h5py.Group, column: str, n: int) -> list[str | None]:
    """Return a column that Neo writes, None for each row if the file has no such column of texts."""
    import h5py

    if column not in table or h5py.check_string_dtype(table[column].dtype) is None:
        return [None] * n
    texts: list[str | None] = table[column].asstr()[:].tolist()
    return texts


def _blocks(
    times: list[np.ndarray],
    observed: list[np.ndarray],
    names: dict[str, list[str | None]],
    *,
    in_trials: bool,
) -> list[neo.Block]:
    """Make trains of the rows of a table of units.

    If all units were observed in the same intervals, each interval becomes a segment. In files that Neo
    wrote, a row is a unit in a segment.
    """
    import neo
    import quantities as pq

    trains: dict[tuple[str | None, str | None, int], list[neo.SpikeTrain]] = {}
    n_outside, gaps = 0, False
    alike = not in_trials and all(np.array_equal(each, observed[0]) for each in observed)
    labels = zip(names["block"], names["segment"], names["_name"], strict=True)
    for spikes, intervals, (block, segment, name) in zip(times, observed, labels, strict=True):
        gaps |= not alike and len(intervals) > 1
        pieces = intervals if alike else [(intervals.min(), intervals.max())]
        n_outside += len(spikes)
        for number, (start, stop) in enumerate(pieces):
            last = number == len(pieces) - 1
            before = spikes <= stop if last else spikes < stop
            inside = np.sort(spikes[(spikes >= start) & before])
            n_outside -= len(inside)
            train = neo.SpikeTrain(inside, units="s", t_start=start * pq.s, t_stop=stop * pq.s, name=name)
            trains.setdefault((block, segment, number), []).append(train)
    if gaps:
        warnings.warn(
            "units were observed in several intervals, but not all units in the same: gaps count as silence",
            stacklevel=2,
        )
    if n_outside:
        warnings.warn(
            f"{n_outside} spikes are left out: they lie outside the intervals in which their units were "
            "observed",
            stacklevel=2,
        )
    blocks: dict[str | None, neo.Block] = {}
    for (block, segment, _), of_segment in trains.items():
        made = neo.Segment(name=segment)
        made.spiketrains = of_segment  # appended one by one, they would be searched each time
        blocks.setdefault(block, neo.Block(name=block)).segments.append(made)
    return list(blocks.values())


def _observe_until_the_last_spike(segment: neo.Segment) -> None:
    """Take all neurons to be observed until the last spike of any: a text does not say how long they were."""
    stop = max(train.t_stop for train in segment.spiketrains)
    for train in segment.spiketrains:
        train.t_stop = stop


def _cut_to_shared_time(block: neo.Block) -> None:
    """Cut each segment to the time in which all its neurons were observed: Elephant bins only that."""
    cut: dict[int, neo.SpikeTrain] = {}
    n_cut = 0
    for segment in block.segments:
        trains = list(segment.spiketrains)
        if len({train.t_stop.rescale("s").item() for train in trains}) < 2:
            continue
        start, stop = max(train.t_start for train in trains), min(train.t_stop for train in trains)
        if start < stop:
            segment.spiketrains = [train.time_slice(start, stop) for train in trains]
            cut |= {id(train): new for train, new in zip(trains, segment.spiketrains, strict=True)}
            n_cut += sum(map(len, trains)) - sum(map(len, segment.spiketrains))
    for group in block.groups:
        group.spiketrains = [cut.get(id(train), train) for train in group.spiketrains]
    if n_cut:
        warnings.warn(
            f"{n_cut} spikes are left out: not all neurons of their segment were observed at their time",
            stacklevel=2,
        )


def chosen(blocks: list[neo.Block], number: int | None, path: Path) -> neo.Block:
    """Return the Block that was asked for, or the only one.

    Raises
    ------
    ValueError
        If there is no such Block; or if there are several and ``number`` is None.
    """
    if number is None and len(blocks) == 1:
        return blocks[0]
    if number is None or not 0 <= number < len(blocks):
        names = ", ".join(f"{i}: {block.name!r}" for i, block in enumerate(blocks[:10]))
        asked = "" if number is None else f" but no Block {number}"
        raise ValueError(
            f"{path} holds {len(blocks)} Blocks{asked}: choose one, for example block=0 (on the command line "
            f"--block 0): {names}"
        )
    return blocks[number]
