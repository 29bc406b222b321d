"""Checks of files before the HDF5 library or SciPy reads them.

Both take the sizes and types in a file for granted. So a damaged file, or one made on purpose, can take all
memory, never be read to its end, or end the process, and Python cannot catch that.

* HDF5 (``.nwb``, ``.nix``): :func:`check_hdf5`, and :func:`check_stored` and :func:`check_text` for single
  data sets. HDF5 reads a data set that was never stored as so many zeros, inflates a small chunk to any
  size, and loops without end in a damaged heap of texts.
* MATLAB (``.mat``): :func:`check_mat`. SciPy asks for memory for as many cells as the file says, and looks
  types up in a table without looking where it ends.

Each raises ValueError if reading could take more memory than the size of the file accounts for.
"""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from pathlib import Path
from typing import Any

# -- HDF5 ----------------------------------------------------------------------------------------------

HEAP = b"GCOL\x01\0\0\0"
"""How a heap begins, in which HDF5 keeps texts of any length."""


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
    """Raise ValueError if a data set is not one text, or if the heap that holds the text is damaged."""
    place = dataset.id.get_offset()
    if dataset.shape != () or place is None:
        raise ValueError(f"{dataset.name} is not a text")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if dataset.id.get_type().is_variable_str():
            _check_heap(data, struct.unpack_from("<4xQ", data, place)[0])


def _check_heap(data: mmap.mmap, at: int) -> None:
    begin = at
    magic, size = struct.unpack_from("<8sQ", data, at)
    end, at = at + size, at + 16
    if magic != HEAP or end > len(data):
        raise ValueError(f"the heap at {begin} is damaged, or longer than the file")
    while at + 16 <= end:
        number, size = struct.unpack_from("<H6xQ", data, at)
        at += 16 + size + -size % 8 if number else size  # the size of free space includes its header
        if at > end or (not number and size < 16):
            raise ValueError(f"the heap at {begin} is damaged before {at}")


def check_stored(dataset: Any) -> None:
    """Raise ValueError if a data set takes more memory to read than what is stored of it accounts for.

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
            raise ValueError(
                f"chunk {number} of {dataset.name} does not inflate to the {size} bytes of a chunk"
            )


# -- MATLAB --------------------------------------------------------------------------------------------

COMPRESSED, MATRIX = 15, 14
"""Types of an element that holds a whole variable."""

NUMBER_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
"""Bytes of a number, by its type in MATLAB's format."""

TEXT_SIZES = {**NUMBER_SIZES, 16: 1, 17: 2, 18: 4}
"""Bytes of a letter, by its type."""

CELL, STRUCT, OBJECT, CHAR = 1, 2, 3, 4
"""Classes of a matrix whose elements are no numbers."""

NUMBERS = range(6, 16)
"""Classes of a matrix of numbers."""

COMPLEX = 0x08
"""The flag of a matrix that has an imaginary part, too."""

MOST_COMPRESSED = 100
"""How many times its size a compressed variable may take. Neo's Blocks take 3 to 10 times theirs."""


def check_mat(path: Path) -> None:
    """Raise ValueError if SciPy may need more memory for a MATLAB file than its size accounts for."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
        if order is None or struct.unpack_from(f"{order}H", data, 124)[0] != 0x0100:
            raise ValueError("it is not in version 5 of MATLAB's format, which MATLAB's save -v7 writes")
        at = 128
        while at < len(data):
            kind, size, content, _ = _tag(data, at, order)
            at = content + size
            if at > len(data):
                raise ValueError("it ends too early")
            variable: bytes | mmap.mmap = data
            start = content - 8
            if kind == COMPRESSED:
                variable, start = _inflated(data[content:at]), 0
            _check_matrix(variable, start, order)


def _inflated(compressed: bytes) -> bytes:
    most = max(MOST_COMPRESSED * len(compressed), 2**20)
    inflate = zlib.decompressobj()
    content = inflate.decompress(compressed, most)
    if not inflate.eof:
        raise ValueError(f"a variable ends too early, or takes more than {MOST_COMPRESSED} times its size")
    return content


def _tag(data: bytes | mmap.mmap, at: int, order: str) -> tuple[int, int, int, int]:
    """Return type, size and place of an element's content, and where the next element begins."""
    kind, size = struct.unpack_from(f"{order}II", data, at)
    if kind >> 16:  # a small element shares eight bytes with its tag
        kind, size = kind & 0xFFFF, kind >> 16
        if size > 4:
            raise ValueError(f"the small element at {at} has {size} bytes")
        return kind, size, at + 4, at + 8
    return kind, size, at + 8, at + 8 + size + -size % 8


def _check_matrix(data: bytes | mmap.mmap, at: int, order: str) -> int:
    """Check a matrix and all in it, as SciPy goes through it; return where the next one begins."""
    begin = at
    kind, size, at, _ = _tag(data, at, order)
    end = at + size
    if kind != MATRIX or end > len(data):
        raise ValueError(f"the element at {begin} is not a matrix, or is longer than the file")
    if not size:
        return at
    of_flags, n_bytes, content, at = _tag(data, at, order)
    if (of_flags, n_bytes) != (6, 8):
        raise ValueError(f"the matrix at {begin} has no flags")
    flags = struct.unpack_from(f"{order}I", data, content)[0]
    n = math.prod(_int32(data, at, order))
    at = _tag(data, at, order)[3]
    at = _checked(data, at, order, {1: 1})  # its name
    kind, more = flags & 0xFF, 1
    if kind in (STRUCT, OBJECT):
        if kind == OBJECT:
            at = _checked(data, at, order, {1: 1})
        (length,) = _int32(data, at, order)
        at = _tag(data, at, order)[3]
        names = _tag(data, at, order)[1]
        at = _checked(data, at, order, {1: 1})
        if length < 1 or names % length:
            raise ValueError(f"the matrix at {begin} has field names of {length} bytes")
        more = names // length
    if kind in (CELL, STRUCT, OBJECT):
        if n * max(more, 1) > size:
            raise ValueError(f"the matrix at {begin} has {n} × {more} elements in {size} bytes")
        for _ in range(n * more):
            at = _check_matrix(data, at, order)
    elif kind == CHAR:
        if n > size:
            raise ValueError(f"the text at {begin} has {n} letters in {size} bytes")
        at = _checked(data, at, order, TEXT_SIZES)
    elif kind in NUMBERS:
        for _ in range(2 if flags >> 8 & COMPLEX else 1):
            of_numbers, n_bytes, _, _ = _tag(data, at, order)
            at = _checked(data, at, order, NUMBER_SIZES)
            if n * NUMBER_SIZES[of_numbers] != n_bytes:
                raise ValueError(f"the matrix at {begin} has {n} numbers in {n_bytes} bytes")
    else:
        raise ValueError(f"the matrix at {begin} is of class {kind}, which Neo does not write")
    if at != end:
        raise ValueError(f"the matrix at {begin} ends at {at}, not {end}")
    return at


def _int32(data: bytes | mmap.mmap, at: int, order: str) -> tuple[int, ...]:
    kind, size, content, _ = _tag(data, at, order)
    if kind != 5 or size % 4 or not 4 <= size <= 128:
        raise ValueError(f"the element at {at} does not hold sizes")
    values = struct.unpack_from(f"{order}{size // 4}i", data, content)
    if min(values) < 0:
        raise ValueError(f"the element at {at} holds the size {min(values)}")
    return values


def _checked(data: bytes | mmap.mmap, at: int, order: str, sizes: dict[int, int]) -> int:
    """Check an element that has to be of one of these types; return where the next one begins."""
    kind, size, content, following = _tag(data, at, order)
    if kind not in sizes or size % sizes[kind] or content + size > len(data):
        raise ValueError(f"the element at {at} is of type {kind} and has {size} bytes")
    return following
