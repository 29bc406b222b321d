"""Packed rasters that grow bin by bin: in memory up to a limit, from then on in a file."""

from __future__ import annotations

import os
import re
import tempfile
import weakref
from pathlib import Path
from typing import IO, Any

import numpy as np

from .raster import PackedRows, by_unit

BINS_IN_TILE = 1024
"""Bins that are turned from one row a bin to one row a unit together; fewer wait in memory."""


def n_bytes(memory: Any) -> int:
    """Return an amount of memory, a number of bytes or a text such as ``"4 GB"``, in bytes.

    Examples
    --------
    >>> n_bytes("4 GB"), n_bytes("1.5MiB"), n_bytes(1000)
    (4000000000, 1572864, 1000)
    """
    found = re.fullmatch(r"\s*([\d.]+(?:e\d+)?)\s*([kMGT]?)(i?)B?\s*", str(memory), re.IGNORECASE)
    try:
        number, prefix, binary = found.groups()  # type: ignore[union-attr]
        return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " "))
    except (AttributeError, ValueError):
        raise ValueError(f"memory={memory!r}: give a number of bytes, or a text such as '4 GB'") from None


class Spill:
    """Packed rasters of all layers of a recording, which grow in time.

    Parameters
    ----------
    memory : int or str, optional
        How much of them may be in memory: bytes, or a text such as ``"4 GB"``. By default all.
    folder : path
        Where the rest goes, to a file without a name. The file disappears when nothing uses it any more, even
        if the process is killed.

    Examples
    --------
    >>> spill = Spill(memory=0)
    >>> for _ in range(3):  # 1000 bins of nine units, of which the first and the last spike in each bin
    ...     spill.append({"relu": np.tile(np.packbits([1, 0, 1]), (1000, 1))}, {"relu": 3})
    >>> spill.rows("relu").counts().tolist()
    [3000, 0, 3000]
    """

    def __init__(self, memory: Any = None, folder: str | os.PathLike[str] = ".") -> None:
        self.memory = None if memory is None else n_bytes(memory)
        self.folder = Path(folder)
        if self.memory is not None and not os.access(self.folder, os.W_OK):
            raise ValueError(
                f"spill_to={str(folder)!r} is not a folder that can be written to: give another one"
            )
        self._file: IO[bytes] | None = None
        self._in_memory = 0
        self._n_units: dict[str, int] = {}
        self._waiting: dict[str, list[np.ndarray]] = {}
        # arrays, or where in the file they are
        self._tiles: dict[str, list[np.ndarray | int]] = {}

    def append(self, bins: dict[str, np.ndarray], n_units: dict[str, int]) -> None:
        """Add bins to all layers: uint8 (n_bins, ceil(n_units / 8)) each, one row of packed units a bin.

        Raises
        ------
        OSError
            If the file cannot grow. Then nothing is added, and nothing is lost.
        """
        for layer, waiting in self._waiting.items():
            if sum(map(len, waiting)) >= BINS_IN_TILE:
                self._tile(layer)
        for layer, of_layer in bins.items():
            self._n_units[layer] = n_units[layer]
            self._waiting.setdefault(layer, []).append(of_layer)

    def _tile(self, layer: str) -> None:
        bins = np.concatenate(self._waiting[layer])
        self._waiting[layer] = [bins]
        while len(bins) >= BINS_IN_TILE:
            tile = by_unit(bins[:BINS_IN_TILE], self._n_units[layer])
            self._tiles.setdefault(layer, []).append(self._kept(tile))
            bins = bins[BINS_IN_TILE:].copy()
            self._waiting[layer] = [bins]

    def _kept(self, tile: np.ndarray) -> np.ndarray | int:
        if self.memory is None or self._in_memory + tile.nbytes <= self.memory:
            self._in_memory += tile.nbytes
            return tile
        if self._file is None:
            # a buffer would keep what did not fit on the disk, and fail with it again when what did is read
            self._file = tempfile.TemporaryFile(prefix=".ann2neo-", dir=self.folder, buffering=0)  # noqa: SIM115
            weakref.finalize(self, self._file.close)  # what is mapped from it stays
        # past what a failed attempt may have left
        at = self._file.seek(0, os.SEEK_END)
        left = tile.data.cast("B")
        while len(left):
            left = left[self._file.write(left) :]
        return at

    def rows(self, layer: str) -> PackedRows:
        """Return the raster of a layer up to now, one row a unit: uint8 (n_units, ceil(n_bins / 8))."""
        n_units = self._n_units[layer]
        kept = self._tiles.get(layer, [])
        in_file = np.empty(0, np.uint8) if self._file is None else np.memmap(self._file, mode="r")
        size = n_units * BINS_IN_TILE // 8
        tiles = [
            tile if isinstance(tile, np.ndarray) else in_file[tile : tile + size].reshape(n_units, -1)
            for tile in kept
        ]
        tiles.append(by_unit(np.concatenate(self._waiting[layer]), n_units))
        if all(isinstance(tile, np.ndarray) for tile in kept):
            return np.concatenate(tiles, axis=1)
        return TiledRows(tiles)


class TiledRows:
    """A packed raster in pieces that follow one another in time.

    Parameters
    ----------
    tiles : list of numpy.ndarray
        uint8 (n_units, n_bytes) each.
    """

    def __init__(self, tiles: list[np.ndarray]) -> None:
        self.tiles = tiles
        self.shape = (len(tiles[0]), sum(tile.shape[1] for tile in tiles))

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return chosen rows, as an array would."""
        return np.concatenate([tile[rows] for tile in self.tiles], axis=-1)

    def counts(self) -> np.ndarray:
        """Return the number of spikes of each unit: int64 (n_units,)."""
        counts = np.zeros(self.shape[0], np.int64)
        for tile in self.tiles:
            counts += np.bitwise_count(tile).sum(axis=1, dtype=np.int64)
        return counts

    def __reduce__(self) -> tuple[Any, ...]:
        return np.array, (self[:],)  # no other process can open a file without a name
