"""The hot loop compiled by numba, on all cores of the CPU.

Intervals are not followed spike by spike: a table tells of every pattern of ``CHUNK`` bins where its first
and last spikes are and what its inner intervals add up to, so that only the interval between two patterns
is worked out (its contrast with its neighbours again from a table, while they are short).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit

from . import (
    CV2_FRACTION,
    CV2_WHOLE,
    FIRST_ISI,
    FRACTION_BITS,
    HEAD,
    LAST_ISI,
    LEAD,
    LV_FRACTION,
    LV_WHOLE,
    N_ISI_PAIRS,
    N_ISIS,
    N_SPIKES,
    N_TRANSITIONS,
    SUM_COUNTS,
    SUM_COUNTS_SQUARED,
    SUM_ISI,
    SUM_ISI_PRODUCT,
    SUM_ISI_SQUARED,
    TAIL,
    TRAIL,
    WORD,
    Segment,
)

CHUNK = 11
"""Bins looked up at once: 2¹¹ rows of 32 bytes stay in the cache next to a core."""

SHORT = 64
"""Contrasts of intervals below this are looked up."""

UNITS_AT_ONCE = 4096
"""Units whose word stays in the cache next to a core while 32 bins pass."""

ONE = 2.0**FRACTION_BITS
BELOW_ONE = 2**FRACTION_BITS - 1


def missing(device_type: str) -> str | None:
    """Return why this back end cannot run on a kind of device, or None."""
    return None if device_type == "cpu" else "it is compiled for CPUs"


def pack(
    activation: torch.Tensor, threshold: torch.Tensor, words: torch.Tensor, first: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Threshold activations into bits: see :meth:`ann2neo.kernels.Backend.pack`.

    Examples
    --------
    >>> words = torch.zeros(1, 2, dtype=torch.int32)
    >>> n_active, nan = pack(torch.tensor([[1.0, 0.0], [1.0, 2.0]]), torch.tensor([0.0, 1.0]), words, 3)
    >>> n_active.tolist(), nan.tolist(), words.tolist()
    ([1, 2], [0, -1], [[24, 16]])
    """
    if activation.dtype != torch.float64:
        activation = activation.float()
    rows = activation.contiguous().numpy()
    limits, bits = threshold.contiguous().numpy(), words.numpy().view(np.uint32)

    def work(units: slice) -> tuple[np.ndarray, int]:
        n_active = np.zeros(len(rows), np.int64)
        return n_active, _pack(rows, limits, bits, first, units.start, units.stop, n_active)

    results = _on_all_cores(work, rows.shape[1])
    n_nan = sum(found for _, found in results)
    where = int(torch.isnan(activation).flatten().int().argmax()) if n_nan else -1
    return torch.from_numpy(sum(n_active for n_active, _ in results)), torch.tensor([n_nan, where])


def fold(words: torch.Tensor, segment: Segment, state: torch.Tensor, histogram: torch.Tensor | None) -> None:
    """Add bits to the sums: see :meth:`ann2neo.kernels.Backend.fold`.

    Examples
    --------
    >>> from ann2neo.kernels import new_state
    >>> state = new_state(1, torch.device("cpu"))
    >>> words = torch.tensor([[0b1011]], dtype=torch.int32)
    >>> fold(words, Segment(0, 4, 0, 2, 0, False, True, True), state, None)
    >>> state[[N_SPIKES, SUM_COUNTS_SQUARED, N_ISIS, SUM_ISI, N_TRANSITIONS], 0].tolist()
    [3, 5, 2, 3, 2]
    """
    s, sums, bits = segment, state.numpy(), words.numpy().view(np.uint32)
    patterns, contrasts = _tables()

    def work(units: slice) -> None:
        if histogram is not None:
            cells = histogram.numpy()
            _count_intervals(bits, s.first, s.stop, sums, cells, units.start, units.stop)
        _fold(
            *(bits, s.first, s.stop, s.offset, s.window, s.phase, s.in_head, s.in_first_trial, s.begins),
            *(sums, units.start, units.stop, patterns, contrasts),
        )

    _on_all_cores(work, len(sums.T))


def _on_all_cores(work: Callable[[slice], Any], n_units: int) -> list[Any]:
    """Call ``work`` with slices of the units, on as many threads as torch would use."""
    n_blocks = -(-n_units // UNITS_AT_ONCE)
    n_threads = min(torch.get_num_threads(), n_blocks)
    edges = [n_blocks * i // n_threads * UNITS_AT_ONCE for i in range(n_threads)] + [n_units]
    parts = [slice(*ends) for ends in pairwise(edges)]
    if len(parts) == 1:
        return [work(parts[0])]
    return list(_pool(os.getpid(), n_threads).map(work, parts))


@cache
def _pool(process: int, n_threads: int) -> ThreadPoolExecutor:
    """Return threads of this process: those of a parent do not outlive a fork."""
    return ThreadPoolExecutor(n_threads, "ann2neo")


@njit(nogil=True, cache=True)
def _pack(  # type: ignore[no-untyped-def]
    activation, threshold, words, first, unit, stop_unit, n_active
):
    n_nan: Any = 0
    word = np.empty(UNITS_AT_ONCE, np.uint32)
    for begin in range(unit, stop_unit, UNITS_AT_ONCE):
        n_units = min(UNITS_AT_ONCE, stop_unit - begin)
        limit = threshold[begin : begin + n_units]
        t = 0
        while t < len(activation):
            w, kept = divmod(first + t, WORD)
            of_words = words[w, begin : begin + n_units]
            for i in range(n_units):
                word[i] = of_words[i] & np.uint32((1 << kept) - 1)
            for bit in range(kept, min(WORD, first + len(activation) - w * WORD)):
                values = activation[t, begin : begin + n_units]
                one, spikes, found = np.uint32(1 << bit), np.int32(0), np.int32(0)
                for i in range(n_units):
                    value = values[i]
                    spike = value > limit[i]
                    word[i] |= one if spike else np.uint32(0)
                    # kept to 32 bits, which numba would widen: as many in a vector as activations
                    spikes = np.int32(spikes + spike)
                    found = np.int32(found + (value != value))
                n_active[t] += spikes
                n_nan += found
                t += 1
            for i in range(n_units):
                of_words[i] = word[i]
    return n_nan


@njit(inline="always")
def _popcount(bits):  # type: ignore[no-untyped-def]
    """Count the bits of a word (Hacker's Delight, figure 5-2)."""
    bits -= (bits >> 1) & 0x55555555
    bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333)
    return (((bits + (bits >> 4)) & 0x0F0F0F0F) * 0x01010101 >> 24) & 0xFF


@njit
def _contrast(one, other):  # type: ignore[no-untyped-def]
    """Return c and c² of two intervals as multiples of 2⁻⁵²; 0 if one is 0."""
    c = abs(one - other) / (one + other) if one > 0 and other > 0 else 0.0
    return np.int64(c * ONE), np.int64(c * c * ONE)


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Return what patterns of bins and pairs of short intervals contribute.

    Returns
    -------
    patterns : numpy.ndarray
        int64 (4·2¹¹,), 4 numbers a pattern: c and c² of its pairs of intervals; the sums of its squared
        intervals and of products of adjacent ones, 16 bits each, above; place of the first and last spike,
        first and last interval, 8 bits each, in the last number, which is 0 for silence only.
    contrasts : numpy.ndarray
        int64 (2·SHORT²,), c and c² of pairs of intervals.
    """
    patterns = np.zeros((1 << CHUNK, 4), np.int64)
    for pattern in range(1, 1 << CHUNK):
        spikes = [bit for bit in range(CHUNK) if pattern >> bit & 1]
        isi = [b - a for a, b in pairwise(spikes)]
        pairs = list(pairwise(isi))
        for i, j in pairs:
            patterns[pattern, :2] += _contrast.py_func(i, j)
        patterns[pattern, 2] = sum(i * i for i in isi) | sum(i * j for i, j in pairs) << 16
        first, last = (isi[0], isi[-1]) if isi else (0, 0)
        patterns[pattern, 3] = spikes[0] | spikes[-1] << 8 | first << 16 | last << 24 | 1 << 32
    contrasts = [_contrast.py_func(i, j) for i in range(SHORT) for j in range(SHORT)]
    return patterns.reshape(-1), np.array(contrasts, np.int64).reshape(-1)


@njit(inline="always")
def _next_spike(words, unit, first, stop):  # type: ignore[no-untyped-def]
    """Return the first bit from ``first`` on that is 1, or ``stop``."""
    bit = first
    while bit < stop:
        rest = np.int64(words[bit // WORD, unit]) >> (bit % WORD)
        if rest == 0:
            bit = (bit // WORD + 1) * WORD
        else:
            while rest & 1 == 0:
                rest >>= 1
                bit += 1
            return min(bit, stop)
    return stop


@njit(nogil=True, cache=True)
def _count_intervals(  # type: ignore[no-untyped-def]
    words, first, stop, state, histogram, unit, stop_unit
):
    longest = histogram.shape[1] - 1
    for u in range(unit, stop_unit):
        last = first - 1 - state[TRAIL, u]
        bit = _next_spike(words, u, first, stop)
        if state[TRAIL, u] < 0 and bit < stop:
            last = bit
            bit = _next_spike(words, u, bit + 1, stop)
        while bit < stop:
            histogram[u, min(bit - last, longest + 1) - 1] += 1
            last = bit
            bit = _next_spike(words, u, bit + 1, stop)


@njit(nogil=True, cache=True)
def _fold(  # type: ignore[no-untyped-def]
    words,
    first,
    stop,
    offset,
    window,
    phase,
    in_head,
    in_first_trial,
    begins,
    state,
    unit,
    stop_unit,
    patterns,
    contrasts,
):
    for u in range(unit, stop_unit):
        trail, prev = state[TRAIL, u], state[LAST_ISI, u]
        last = first - 1 - trail
        follow = first  # from here on a spike ends an interval
        if trail < 0:
            last = _next_spike(words, u, first, stop)
            follow = last + 1
            if in_first_trial and last < stop:
                state[LEAD, u] = offset + last - first
        if in_first_trial and state[FIRST_ISI, u] == 0:
            second = _next_spike(words, u, follow, stop)
            if second < stop:
                state[FIRST_ISI, u] = second - last
        begin, has_pair = last, prev > 0

        n_spikes, n_transitions, tail = np.int64(0), np.int64(0), state[TAIL, u]
        squares, products = np.int64(0), np.int64(0)
        cv2, lv = state[CV2_FRACTION, u], state[LV_FRACTION, u]
        head_open, edge = in_head, first + window - phase  # edge: where the open window ends
        before = np.int64(trail == 0)
        for w in range(first // WORD, (stop + WORD - 1) // WORD):
            base = w * WORD
            low, high = max(first - base, 0), min(stop - base, WORD)
            inside = (1 << high) - (1 << low)
            word = np.int64(words[w, u]) & inside
            changed = (word ^ (word << 1 | before << low)) & inside
            if begins and base <= first:
                changed &= ~(1 << low)
            n_transitions += _popcount(changed)
            before = word >> (high - 1)

            rest = word
            while edge <= base + high:
                below = rest & ((1 << (edge - base)) - 1)
                rest ^= below
                spikes = _popcount(below)
                n_spikes += spikes
                tail += spikes
                if head_open:
                    state[HEAD, u] = tail
                    head_open = False
                else:
                    state[SUM_COUNTS, u] += tail
                    state[SUM_COUNTS_SQUARED, u] += tail * tail
                tail = np.int64(0)
                edge += window
            spikes = _popcount(rest)
            n_spikes += spikes
            tail += spikes

            if base + WORD <= follow:
                continue
            if base < follow:
                word &= -(1 << (follow - base))
            while word != 0:
                row = np.uint64((word & ((1 << CHUNK) - 1)) * 4)
                word >>= CHUNK
                places = patterns[row + np.uint64(3)]
                if places != 0:
                    first_inside, last_inside = (places >> 16) & 0xFF, (places >> 24) & 0xFF
                    sums = patterns[row + np.uint64(2)]
                    isi = base + (places & 0xFF) - last
                    squares += isi * isi + (sums & 0xFFFF)
                    products += isi * (prev + first_inside) + (sums >> 16)
                    cv2 += patterns[row]
                    lv += patterns[row + np.uint64(1)]
                    if (isi | prev) < SHORT:
                        one = np.uint64((prev * SHORT + isi) * 2)
                        other = np.uint64((first_inside * SHORT + isi) * 2)
                        cv2 += contrasts[one] + contrasts[other]
                        lv += contrasts[one + np.uint64(1)] + contrasts[other + np.uint64(1)]
                    else:
                        c, c_squared = _contrast(prev, isi)
                        cv2 += c
                        lv += c_squared
                        c, c_squared = _contrast(isi, first_inside)
                        cv2 += c
                        lv += c_squared
                    prev = last_inside if last_inside else isi
                    last = base + ((places >> 8) & 0xFF)
                base += CHUNK

        n_isis = n_spikes - np.int64(trail < 0 and n_spikes > 0)
        state[N_SPIKES, u] += n_spikes
        state[N_ISIS, u] += n_isis
        state[SUM_ISI, u] += last - begin
        state[SUM_ISI_SQUARED, u] += squares
        state[N_ISI_PAIRS, u] += n_isis - np.int64(n_isis > 0 and not has_pair)
        state[SUM_ISI_PRODUCT, u] += products
        state[CV2_WHOLE, u] += cv2 >> FRACTION_BITS
        state[CV2_FRACTION, u] = cv2 & BELOW_ONE
        state[LV_WHOLE, u] += lv >> FRACTION_BITS
        state[LV_FRACTION, u] = lv & BELOW_ONE
        state[N_TRANSITIONS, u] += n_transitions
        state[TRAIL, u] = stop - 1 - last if last < stop else -1
        state[LAST_ISI, u] = prev
        state[TAIL, u] = tail
