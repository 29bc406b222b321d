"""Checks a MATLAB file before SciPy reads it, which takes the sizes and types in a file for granted.

It asks for memory for as many cells as the file says, and looks types up in a table without an end: a
damaged file can take all memory, or end the process.
"""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from pathlib import Path

COMPRESSED, MATRIX = 15, 14
NUMBER_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
"""Bytes of a number of each type that MATLAB's format has."""

TEXT_SIZES = {**NUMBER_SIZES, 16: 1, 17: 2, 18: 4}
CELL, STRUCT, OBJECT, CHAR = 1, 2, 3, 4
NUMBERS = range(6, 16)
COMPLEX = 0x08
MOST_COMPRESSED = 100
"""How many times its size a compressed variable may take: Neo's Blocks take 3 to 10 times theirs."""


def check_mat(path: Path) -> None:
    """Raise ValueError if a MATLAB file is not one that SciPy can read in the memory that its size is."""
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
        raise ValueError(f"the element at {begin} is no matrix, or ends beyond its place")
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
        raise ValueError(f"the element at {at} holds no sizes")
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
