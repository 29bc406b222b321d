"""Checks a file before the HDF5 library reads it, which takes the sizes in a file for granted.

A data set that was never stored is read as so many zeros, a small chunk may inflate to any size, and a
damaged heap of texts is read in a loop that does not end.
"""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from pathlib import Path
from typing import Any

HEAP = b"GCOL\x01\0\0\0"
"""What a heap begins with, in which texts of any length are."""


def check_hdf5(path: Path) -> None:
    """Raise ValueError if a file has a damaged heap, or a data set larger than what is stored."""
    import h5py

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(HEAP)
        while at >= 0:
            _check_heap(data, at)
            at = data.find(HEAP, at + len(HEAP))
    with h5py.File(path, "r") as file:
        file.visititems(lambda _, each: check_stored(each) if isinstance(each, h5py.Dataset) else None)


def check_text(dataset: Any, path: Path) -> None:
    """Raise ValueError if a data set is not one text, or the heap that the text is in is damaged."""
    place = dataset.id.get_offset()
    if dataset.shape != () or place is None:
        raise ValueError(f"{dataset.name} is no text")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if dataset.id.get_type().is_variable_str():
            _check_heap(data, struct.unpack_from("<4xQ", data, place)[0])


def _check_heap(data: mmap.mmap, at: int) -> None:
    begin = at
    magic, size = struct.unpack_from("<8sQ", data, at)
    end, at = at + size, at + 16
    if magic != HEAP or end > len(data):
        raise ValueError(f"the heap at {begin} ends beyond its place")
    while at + 16 <= end:
        number, size = struct.unpack_from("<H6xQ", data, at)
        at += 16 + size + -size % 8 if number else size  # what is free counts its own header
        if at > end or (not number and size < 16):
            raise ValueError(f"the heap at {begin} is damaged before {at}")


def check_stored(dataset: Any) -> None:
    """Raise ValueError if reading a data set would take more memory than what is stored says.

    Examples
    --------
    >>> import h5py
    >>> with h5py.File.in_memory() as file:
    ...     check_stored(file.create_dataset("nowhere", (10**12,), float))
    Traceback (most recent call last):
    ...
    ValueError: /nowhere says it has 8000000000000 bytes; 0 are stored
    """
    size_of_one = dataset.id.get_type().get_size()
    if not dataset.size:
        return
    if dataset.chunks is None:
        stored, size = dataset.id.get_storage_size(), dataset.size * size_of_one
        if stored < size:
            raise ValueError(f"{dataset.name} says it has {size} bytes; {stored} are stored")
        return
    n_chunks = math.prod(-(-n // m) for n, m in zip(dataset.shape, dataset.chunks, strict=True))
    if dataset.id.get_num_chunks() < n_chunks:
        raise ValueError(
            f"{dataset.name} says it has {n_chunks} chunks; {dataset.id.get_num_chunks()} are stored"
        )
    if dataset.compression != "gzip":
        return
    size = math.prod(dataset.chunks) * size_of_one
    for number in range(n_chunks):
        _, chunk = dataset.id.read_direct_chunk(dataset.id.get_chunk_info(number).chunk_offset)
        inflate = zlib.decompressobj()
        if len(inflate.decompress(chunk, size)) < size or inflate.unconsumed_tail.strip(b"\0"):
            raise ValueError(f"chunk {number} of {dataset.name} has not the {size} bytes of a chunk")
