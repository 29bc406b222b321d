"""The hot loop compiled by numba, on all cores of the CPU.

One instruction compares or counts for several units at once. Intervals are not followed spike by spike. A
table holds for every pattern of ``CHUNK`` bins where its first and last spikes are and what its inner
intervals add up to, so only the interval between two patterns is worked out. What this one adds after its
neighbour comes from a second table, if both are short.
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

from .state import (
    CV2_FRACTION,
    CV2_WHOLE,
    FIRST_ISI,
    FRACTION_BITS,
    HEAD,
    LAST_ISI,
    LEAD,
    LV_FRACTION,
    LV_WHOLE,
    MOST_BINS,
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

CHUNKS = -(-WORD // CHUNK)
"""Chunks in a word."""

SHORT = 64
"""Pairs of intervals below this are looked up."""

PRODUCTS = 32
"""Sums of products stand so many bits above sums of squares, which stay far below 2³²."""

UNITS_AT_ONCE = 4096
"""Units whose word stays in the cache next to a core while 32 bins pass."""

UNITS_TO_FOLD = 512
"""Units whose sums stay there while their words are counted."""

ROWS_AT_ONCE = 4
"""For how many bins a unit's word and threshold are fetched once."""

ONE = 2.0**FRACTION_BITS

BELOW_ONE = 2**FRACTION_BITS - 1


def missing(device_type: str) -> str | None:
    """Return why this back end cannot run on a kind of device, or None."""
    return None if device_type == "cpu" else "it is compiled for CPUs"


def pack(
    activation: torch.Tensor, threshold: torch.Tensor, words: torch.Tensor, first: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Threshold activations into bits: see :meth:`ann2neo.summary.kernels.state.Backend.pack`.

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
        n_active = np.zeros(len(rows) + ROWS_AT_ONCE, np.int64)
        n_nan = _pack(rows, limits, bits, first, units.start, units.stop, n_active)
        return n_active[: len(rows)], n_nan

    results = _on_all_cores(work, rows.shape[1])
    n_nan = sum(found for _, found in results)
    where = int(torch.isnan(activation).flatten().int().argmax()) if n_nan else -1
    return torch.from_numpy(sum(n_active for n_active, _ in results)), torch.tensor([n_nan, where])


def fold(words: torch.Tensor, segment: Segment, state: torch.Tensor, histogram: torch.Tensor | None) -> None:
    """Add bits to the sums: see :meth:`ann2neo.summary.kernels.state.Backend.fold`.

    Examples
    --------
    >>> from ann2neo.summary.kernels.state import new_state
    >>> state = new_state(1, torch.device("cpu"))
    >>> words = torch.tensor([[0b1011]], dtype=torch.int32)
    >>> fold(words, Segment(0, 4, 0, 2, 0, False, True, True), state, None)
    >>> state[[N_SPIKES, SUM_COUNTS_SQUARED, N_ISIS, SUM_ISI, N_TRANSITIONS], 0].tolist()
    [3, 5, 2, 3, 2]
    """
    s, sums, bits = segment, state.numpy(), words.numpy().view(np.uint32)
    inner, followers = _tables()

    def work(units: slice) -> None:
        if histogram is not None:
            cells = histogram.numpy()
            _count_intervals(bits, s.first, s.stop, sums, cells, units.start, units.stop)
        _fold(
            *(bits, s.first, s.stop, s.offset, s.window, s.phase, s.in_head, s.in_first_trial, s.begins),
            *(sums, units.start, units.stop, inner, followers),
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
    """Return threads of this process: after a fork, those of the parent are gone."""
    return ThreadPoolExecutor(n_threads, "ann2neo")


@njit(nogil=True, cache=True)
def _pack(  # type: ignore[no-untyped-def]
    activation, threshold, words, first, unit, stop_unit, n_active
):
    n_nan: Any = 0
    word = np.empty(UNITS_AT_ONCE, np.uint32)
    silence = np.full(UNITS_AT_ONCE, -np.inf, activation.dtype)  # where a word or a batch ends within four
    for begin in range(unit, stop_unit, UNITS_AT_ONCE):
        end = min(begin + UNITS_AT_ONCE, stop_unit)
        n_units = end - begin
        limit, silent = threshold[begin:end], silence[:n_units]
        t = 0
        while t < len(activation):
            w, kept = divmod(first + t, WORD)
            of_words = words[w, begin:end]
            for i in range(n_units):
                word[i] = of_words[i] & np.uint32((1 << kept) - 1)
            stop_bit = min(WORD, first + len(activation) - w * WORD)
            for bit in range(kept, stop_bit, ROWS_AT_ONCE):
                n_rows = min(ROWS_AT_ONCE, stop_bit - bit)
                row_0 = activation[t, begin:end]
                row_1 = activation[t + 1, begin:end] if n_rows > 1 else silent
                row_2 = activation[t + 2, begin:end] if n_rows > 2 else silent
                row_3 = activation[t + 3, begin:end] if n_rows > 3 else silent
                n_0, n_1, n_2, n_3, found = np.int32(0), np.int32(0), np.int32(0), np.int32(0), np.int32(0)
                place = np.uint32(bit)
                for i in range(n_units):
                    value_0, value_1, value_2, value_3 = row_0[i], row_1[i], row_2[i], row_3[i]
                    spike_0 = np.uint32(value_0 > limit[i])
                    spike_1 = np.uint32(value_1 > limit[i])
                    spike_2 = np.uint32(value_2 > limit[i])
                    spike_3 = np.uint32(value_3 > limit[i])
                    bits = (
                        spike_0 | spike_1 << np.uint32(1) | spike_2 << np.uint32(2) | spike_3 << np.uint32(3)
                    )
                    word[i] |= bits << place
                    n_0 += np.int32(spike_0)
                    n_1 += np.int32(spike_1)
                    n_2 += np.int32(spike_2)
                    n_3 += np.int32(spike_3)
                    found += np.int32(value_0 != value_0) + np.int32(value_1 != value_1)
                    found += np.int32(value_2 != value_2) + np.int32(value_3 != value_3)
                n_active[t] += n_0
                n_active[t + 1] += n_1
                n_active[t + 2] += n_2
                n_active[t + 3] += n_3
                n_nan += found
                t += n_rows
            for i in range(n_units):
                of_words[i] = word[i]
    return n_nan


@njit(inline="always")
def _popcount(bits):  # type: ignore[no-untyped-def]
    """Count the bits of a uint64, in words in which LLVM recognizes the processor's own instruction."""
    bits -= (bits >> np.uint64(1)) & np.uint64(0x5555555555555555)
    twos = np.uint64(0x3333333333333333)
    bits = (bits & twos) + ((bits >> np.uint64(2)) & twos)
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((bits * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit
def _contrast(one, other):  # type: ignore[no-untyped-def]
    """Return c and c² of two intervals as multiples of 2⁻⁵²; 0 if one of them is 0."""
    c = abs(one - other) / (one + other) if one > 0 and other > 0 else 0.0
    return np.int64(c * ONE), np.int64(c * c * ONE)


def _pair(one: int, other: int) -> np.ndarray:
    """Return what an interval adds after another one: c, c², and in one number its square and the product."""
    c, c_squared = _contrast.py_func(one, other)
    return np.array([c, c_squared, other * other + (one * other << PRODUCTS), 0], np.int64)


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Return what patterns of bins and pairs of short intervals add to the sums.

    Returns
    -------
    inner : numpy.ndarray
        int64 (4·2¹¹,), 4 numbers a pattern: three as of :func:`_pair`, the sum over its intervals from the
        second on; then, 8 bits each, bins before the first spike and from the last one on, first and last
        interval. All are 0 for silence only.
    followers : numpy.ndarray
        int64 (4·SHORT²,), 4 numbers a pair of intervals.
    """
    inner = np.zeros((1 << CHUNK, 4), np.int64)
    for pattern in range(1, 1 << CHUNK):
        spikes = [bit for bit in range(CHUNK) if pattern >> bit & 1]
        isi = [b - a for a, b in pairwise(spikes)]
        for one, other in pairwise(isi):
            inner[pattern] += _pair(one, other)
        first, last = (isi[0], isi[-1]) if isi else (0, 0)
        inner[pattern, 3] = spikes[0] | (CHUNK - spikes[-1]) << 8 | first << 16 | last << 24
    followers = np.array([_pair(one, other) for one in range(SHORT) for other in range(SHORT)])
    return inner.reshape(-1), followers.reshape(-1)


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
    inner,
    followers,
):
    counts = np.empty((6, UNITS_TO_FOLD), np.int64)
    pairs = np.empty((2 * CHUNKS * (MOST_BINS // WORD + 1), 2), np.int64)
    for begin in range(unit, stop_unit, UNITS_TO_FOLD):
        end = min(begin + UNITS_TO_FOLD, stop_unit)
        _add_counts(words, first, stop, window, phase, in_head, begins, state, begin, end, counts)
        _add_intervals(words, first, stop, offset, in_first_trial, state, begin, end, inner, followers, pairs)


@njit(nogil=True, cache=True)
def _add_counts(  # type: ignore[no-untyped-def]
    words, first, stop, window, phase, in_head, begins, state, unit, stop_unit, scratch
):
    n_units = stop_unit - unit
    n_spikes, n_transitions, tail = scratch[0, :n_units], scratch[1, :n_units], scratch[2, :n_units]
    totals, squares, before = scratch[3, :n_units], scratch[4, :n_units], scratch[5, :n_units]
    scratch[:5] = 0
    for i in range(n_units):
        tail[i] = state[TAIL, unit + i]
        n_spikes[i] = -tail[i]
        before[i] = np.int64(state[TRAIL, unit + i] == 0)
    head_open, edge = in_head, first + window - phase  # edge: where the open window ends
    for w in range(first // WORD, (stop + WORD - 1) // WORD):
        base, bits = w * WORD, words[w, unit:stop_unit]
        low, high = max(first - base, 0), min(stop - base, WORD)
        inside = np.uint64((1 << high) - (1 << low))
        with_neighbour = inside & ~np.uint64(1 << low) if begins and base <= first else inside
        up, down = np.uint64(low), np.uint64(high - 1)
        for i in range(n_units):
            word = np.uint64(bits[i]) & inside
            changed = word ^ (word << np.uint64(1) | np.uint64(before[i]) << up)
            n_transitions[i] += _popcount(changed & with_neighbour)
            before[i] = np.int64(word >> down)
        while edge <= base + high:
            below = np.uint64((1 << (edge - base)) - (1 << low))
            for i in range(n_units):
                tail[i] += _popcount(np.uint64(bits[i]) & below)
            if head_open:
                for i in range(n_units):
                    state[HEAD, unit + i] = tail[i]
                    n_spikes[i] += tail[i]
                    tail[i] = 0
                head_open = False
            else:
                for i in range(n_units):
                    n_spikes[i] += tail[i]
                    totals[i] += tail[i]
                    squares[i] += tail[i] * tail[i]
                    tail[i] = 0
            low = edge - base
            edge += window
        rest = np.uint64((1 << high) - (1 << low))
        for i in range(n_units):
            tail[i] += _popcount(np.uint64(bits[i]) & rest)
    for i in range(n_units):
        u = unit + i
        spikes = n_spikes[i] + tail[i]
        n_isis = spikes - np.int64(state[TRAIL, u] < 0 and spikes > 0)
        state[N_SPIKES, u] += spikes
        state[SUM_COUNTS, u] += totals[i]
        state[SUM_COUNTS_SQUARED, u] += squares[i]
        state[N_ISIS, u] += n_isis
        state[N_ISI_PAIRS, u] += n_isis - np.int64(n_isis > 0 and state[LAST_ISI, u] == 0)
        state[N_TRANSITIONS, u] += n_transitions[i]
        state[TAIL, u] = tail[i]


@njit(nogil=True, cache=True)
def _add_intervals(  # type: ignore[no-untyped-def]
    words, first, stop, offset, in_first_trial, state, unit, stop_unit, inner, followers, long
):
    end = (stop + WORD - 1) // WORD * WORD
    for u in range(unit, stop_unit):
        trail, prev = state[TRAIL, u], state[LAST_ISI, u]
        last = first - 1 - trail
        follow = first  # from here on a spike ends an interval
        if trail < 0:
            last = _next_spike(words, u, first, stop)
            if last == stop:
                continue
            follow = last + 1
            if in_first_trial:
                state[LEAD, u] = offset + last - first
        if in_first_trial and state[FIRST_ISI, u] == 0:
            second = _next_spike(words, u, follow, stop)
            if second < stop:
                state[FIRST_ISI, u] = second - last

        cv2, lv, both = state[CV2_FRACTION, u], state[LV_FRACTION, u], np.int64(0)
        n_long = np.uint64(0)
        since = follow // WORD * WORD - last  # bins from the last spike on
        inside = -(1 << (follow % WORD))
        for w in range(follow // WORD, end // WORD):
            # an index of known sign spares the test for a negative one
            word = np.int64(words[np.uint64(w), np.uint64(u)]) & inside
            inside = -1
            if stop - w * WORD < WORD:
                word &= (1 << (stop - w * WORD)) - 1
            if word == 0:
                since += WORD
                continue
            for _ in range(CHUNKS):
                row = np.uint64((word & ((1 << CHUNK) - 1)) * 4)
                word >>= CHUNK
                places = inner[row + np.uint64(3)]
                if places == 0:
                    since += CHUNK
                    continue
                isi, first_inside, last_inside = since + (places & 0xFF), (places >> 16) & 0xFF, places >> 24
                cv2 += inner[row]
                lv += inner[row + np.uint64(1)]
                both += inner[row + np.uint64(2)]
                if (isi | prev) < SHORT:
                    one = np.uint64((prev * SHORT + isi) * 4)
                    other = np.uint64((isi * SHORT + first_inside) * 4)
                    cv2 += followers[one] + followers[other]
                    lv += followers[one + np.uint64(1)] + followers[other + np.uint64(1)]
                    both += followers[one + np.uint64(2)] + followers[other + np.uint64(2)]
                else:
                    long[n_long, 0], long[n_long, 1] = prev, isi
                    n_long += np.uint64(1)
                    long[n_long, 0], long[n_long, 1] = isi, first_inside
                    n_long += np.uint64(1)
                prev = last_inside if last_inside else isi
                since = (places >> 8) & 0xFF
            since -= CHUNKS * CHUNK - WORD
        squares, products = both & ((1 << PRODUCTS) - 1), both >> PRODUCTS
        for k in range(n_long):
            one, other = long[k, 0], long[k, 1]
            c, c_squared = _contrast(one, other)
            cv2 += c
            lv += c_squared
            squares += other * other
            products += one * other

        state[SUM_ISI, u] += end - since - (first - 1 - trail if trail >= 0 else follow - 1)
        state[SUM_ISI_SQUARED, u] += squares
        state[SUM_ISI_PRODUCT, u] += products
        state[CV2_WHOLE, u] += cv2 >> FRACTION_BITS
        state[CV2_FRACTION, u] = cv2 & BELOW_ONE
        state[LV_WHOLE, u] += lv >> FRACTION_BITS
        state[LV_FRACTION, u] = lv & BELOW_ONE
        state[TRAIL, u] = since - 1 - (end - stop)
        state[LAST_ISI, u] = prev
