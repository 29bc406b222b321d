"""Recordings in files: ``.nwb``, ``.nix``, ``.pkl`` and ``.mat``, chosen by suffix.

Spikes are stored as each format stores spike trains, so that everybody can open them. All the rest travels
beside them as the JSON of :func:`ann2neo.interop.description.describe`, so that no format loses anything.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..interop.atomic import check_can_be_written, written_whole
from ..interop.description import HEADER
from ..interop.extras import needed
from ..recording.recording import Recording
from ..recording.time import milliseconds
from .damage import check_hdf5, check_mat
from .foreign import chosen, read_blocks, readers_of
from .nwb_reader import NotOurs, read_nwb
from .nwb_writer import write_nwb
from .seal import checksums_of_units, counts_of_trains, fingerprint

if TYPE_CHECKING:
    import neo


SEAL = "ann2neo_sha256"
"""The Block annotation that holds, in a file, the fingerprint of the recording."""


def save(recording: Recording, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a recording to a file, all of it, in the format that the suffix names.

    ======== ===================================== ===========================================
    suffix   opens in                              needs
    ======== ===================================== ===========================================
    ``.nwb`` :class:`neo.io.NWBIO`, any NWB reader ``pip install 'ann2neo[nwb]'``
    ``.nix`` :class:`neo.io.NixIO`                 ``pip install 'ann2neo[nix]'``, 30 ms a train
    ``.mat`` :class:`neo.io.NeoMatlabIO`, MATLAB   nothing more; 2 GB at most
    ``.pkl`` :class:`neo.io.PickleIO`              nothing more; runs code when opened
    ======== ===================================== ===========================================

    Parameters
    ----------
    recording : Recording
        The spikes of a network.
    path : path
        Where to; the file appears under this name only when it is complete.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    pathlib.Path
        The path.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is not given.
    FileNotFoundError
        If the folder does not exist.
    ImportError
        If the library that writes the format is not installed.
    OSError
        If the disk is full or the folder cannot be written to.
    ValueError
        If the suffix is not one of :data:`SUFFIXES`.

    Notes
    -----
    Whatever happens meanwhile, the old file stays until the new one is complete. A process that is killed
    leaves a folder ``.ann2neo-...`` beside it. It disturbs no later save and may be deleted.

    Examples
    --------
    >>> import tempfile
    >>> from ann2neo import SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1], [0, 0, 0]])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save(recording, f"{folder}/relu.mat")
    ...     load(path) == recording
    True
    """
    path = Path(path)
    if not isinstance(recording, Recording):
        raise TypeError(
            f"save() keeps a Recording, but this is a {type(recording).__name__}: a Summary is kept by "
            'summary.save("name.npz"), a table by its own to_csv or to_parquet'
        )
    check_can_be_saved(path, overwrite=overwrite)
    file_format = _format_of(path)
    try:
        with written_whole(path, overwrite=overwrite) as part:
            file_format.write(recording, part)
    except FileExistsError:
        check_can_be_written(path)  # another process made one meanwhile: this says what to do
        raise
    except (OSError, RuntimeError) as error:  # the HDF5 library's are of either kind
        raise OSError(
            getattr(error, "errno", None) or EIO,
            f"{path} could not be saved ({error}): make room or give another folder. The old file, if there "
            "was one, is unchanged",
        ) from error
    return path


def check_can_be_saved(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Raise what :func:`save` would raise, before the work is done whose result is to be saved."""
    path = Path(path)
    file_format = _format_of(path)
    check_can_be_written(path, overwrite=overwrite)
    file_format.require()


def load(
    path: str | os.PathLike[str], *, bin_size: Any = None, block: int | None = None, trust: bool = False
) -> Recording:
    """Read a recording that :func:`save` wrote, or the spikes in any other file that Neo can read.

    Parameters
    ----------
    path : path
        The file; a folder, where a format is one.
    bin_size : float (ms) or quantity, optional
        How long a bin is, for a file from elsewhere: see :func:`ann2neo.interop.from_block.from_neo`. A file
        of ours has its own bins.
    block : int, optional
        Which Block to read, counted from 0, if a file from elsewhere holds several.
    trust : bool
        Needed for ``.pkl``: a pickle runs any code that its writer put there.

    Returns
    -------
    Recording
        Equal to the one that was saved. From elsewhere, it has no stimuli and no thresholds.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If the library that reads the format is not installed.
    ValueError
        If Neo does not know the suffix; if the file is damaged or holds no spikes; if it is a pickle and
        ``trust`` is not given; if it is from elsewhere and ``bin_size`` is not given; if it is ours and has
        bins of another size.

    Notes
    -----
    From elsewhere only spike times are read. A reader of Neo may need a library that you have to install.
    NWB is read by its standard, not by :class:`neo.io.NWBIO`: its time is quadratic in the number of trains,
    and it wants exactly one observation interval for each. Further columns of the table of units are
    dropped. In a ``.txt``, :class:`neo.io.AsciiSpikeTrainIO` takes each line for a neuron's spike times in s,
    separated by tabs; all neurons are taken to be observed from 0 to the last spike of any.

    Examples
    --------
    >>> import neo, quantities as pq
    >>> block, segment = neo.Block(), neo.Segment()
    >>> segment.spiketrains.append(neo.SpikeTrain([12.1, 40.7] * pq.ms, t_stop=50 * pq.ms))
    >>> block.segments.append(segment)
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     neo.io.NeoMatlabIO(f"{folder}/neurons.mat").write_block(block)
    ...     load(f"{folder}/neurons.mat", bin_size=10)
    Recording(1 layer, 1 units, 5 bins of 10 ms in 1 trial, 2 spikes)
    """
    path = Path(path)
    if not path.is_dir():
        with path.open("rb"):
            pass  # missing or forbidden: the system's own error says so best
    own = None if path.is_dir() else _FORMATS.get(path.suffix.lower())
    if path.suffix.lower() == ".npz":
        raise ValueError(
            f"{path} is no recording: if it is a summary, read it with ann2neo.Summary.load(path). It keeps "
            "no spikes. The commands ann2neo summarize, compare and info take summaries"
        )
    if own is not None:
        own.require(to_read=True)
        with _damage_named(path):
            own.check(path)
    elif bin_size is None:
        readers_of(path)  # raises if Neo has none
        raise NotBinned(path)
    recording = _read_own_nwb(path, block) if own is _FORMATS[".nwb"] else None
    if recording is None:
        found = chosen(read_blocks(path, trust=trust), block, path)
        if HEADER not in found.annotations:
            return _binned(found, bin_size, path)
        with _damage_named(path):
            recording = _unsealed(found)
    if bin_size is not None and milliseconds(bin_size) != recording.time.bin_size:
        raise ValueError(
            f"bin_size={bin_size}: ann2neo saved {path} in bins of {recording.time.bin_size:g} ms, and it "
            "keeps them: leave out bin_size"
        )
    return recording


def _read_own_nwb(path: Path, block: int | None) -> Recording | None:
    """Return the recording in an NWB file, or None if it is from elsewhere."""
    with _damage_named(path):
        try:
            recording = read_nwb(path)
        except NotOurs:
            return None
    if block:
        raise ValueError(f"{path} holds one Block only: leave out block={block}")
    return recording


def _binned(block: neo.Block, bin_size: Any, path: Path) -> Recording:
    if bin_size is None:
        raise NotBinned(path)
    from ..interop.from_block import from_neo

    try:
        return from_neo(block, bin_size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


class NotBinned(ValueError):
    """A file from elsewhere cannot be opened without saying how long a bin is.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} was not saved by ann2neo, so its spikes must be binned: say how long a bin is, for "
            "example bin_size=1 (ms), on the command line --bin-size 1"
        )


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{path} is damaged, incomplete, or not a {path.suffix} file ({type(error).__name__}: {error})"
        ) from error


def _format_of(path: Path) -> _Format:
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        raise ValueError(
            f"{path}: unknown suffix {path.suffix!r}: give one of {', '.join(SUFFIXES)}"
        ) from None


SECONDS_A_NIX_TRAIN = 0.03
"""What nixio takes, measured: a train is some hundred small objects of HDF5."""


def _write_nix(recording: Recording, path: Path) -> None:
    import neo

    n_trains = recording.n_units * recording.n_trials
    minutes = n_trains * SECONDS_A_NIX_TRAIN / 60
    if minutes > 0.5:
        warnings.warn(
            f"nixio takes some {minutes:.0f} min for {n_trains} trains: save as .nwb, which takes "
            f"{1 + n_trains / 1e4:.0f} s, or save fewer units, recording.select(units=...)",
            stacklevel=3,
        )
    with neo.io.NixIO(str(path), "ow") as io:
        io.write_block(_portable_block(recording))


def _write_mat(recording: Recording, path: Path) -> None:
    import neo

    block = _portable_block(recording)
    for segment in block.segments:
        segment.epochs = []  # of one trial each: SciPy reads scalars, of which Neo cannot make Epochs
    # NeoMatlabIO recognizes trains by their id(), so all must live until the end
    trains = [list(segment.spiketrains) for segment in block.segments]
    neo.io.NeoMatlabIO(str(path)).write_block(block)
    del trains


def _write_pkl(recording: Recording, path: Path) -> None:
    import neo

    neo.io.PickleIO(str(path)).write_block(_sealed_block(recording))


def _portable_block(recording: Recording) -> neo.Block:
    """Return the recording as a Block, its visible annotations only those that every format can hold.

    The description has them all.
    """
    block = _sealed_block(recording)
    block.annotations = {k: v for k, v in block.annotations.items() if _portable(k, v)}
    return block


def _sealed_block(recording: Recording) -> neo.Block:
    """Return the recording as a Block with its fingerprint, which shows later whether a file is damaged."""
    from ..interop.neo_block import to_neo

    block = to_neo(recording)
    block.annotations[SEAL] = _seal(block.annotations[HEADER], recording)
    return block


def _seal(description: str, recording: Recording) -> str:
    return fingerprint(description, counts_of_trains(recording), checksums_of_units(recording))


def _unsealed(block: neo.Block) -> Recording:
    """Return the recording in a Block of ours, unless the Block was damaged."""
    from ..interop.from_block import from_neo

    recording = from_neo(block)
    if block.annotations.get(SEAL) != _seal(str(block.annotations[HEADER]), recording):
        raise ValueError(
            "it is not as it was saved. If somebody changed it on purpose, read it with neo.io and give the "
            "Block to Recording.from_neo(block)"
        )
    return recording


def _portable(key: str, value: Any) -> bool:
    return (
        re.fullmatch("[A-Za-z][A-Za-z0-9_]{,30}", key) is not None
        and not key.endswith("_units")
        and key not in ("nix_name", "neo_name", "name", "description", "file_datetime")
        and (abs(value) < 2**63 if isinstance(value, int) else True)
        and (value.isprintable() if isinstance(value, str) else True)
    )


@dataclass(frozen=True)
class _Format:
    """How a format is written, and the libraries and extra that it needs."""

    write: Callable[[Recording, Path], None]
    writers: tuple[str, ...] = ("scipy",)
    extra: str = ""
    readers: tuple[str, ...] = ()
    check: Callable[[Path], None] = lambda path: None
    """Raises ValueError if a damaged file could take all memory, or would never be read to its end."""

    def require(self, *, to_read: bool = False) -> None:
        """Raise ImportError, with the way out, if the library of this format is missing."""
        for library in (to_read and self.readers) or self.writers:
            needed(library, by="this format", extra=self.extra)


_FORMATS = {
    ".nwb": _Format(write_nwb, ("pynwb",), "nwb", readers=("h5py",)),
    ".nix": _Format(_write_nix, ("nixio",), "nix", check=check_hdf5),
    ".pkl": _Format(_write_pkl),
    ".mat": _Format(_write_mat, check=check_mat),
}

SUFFIXES = tuple(_FORMATS)
"""The suffixes that name a format."""
