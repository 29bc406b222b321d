"""The hot loop on GPUs, in Triton.

``pack`` reads each activation once and, from the same registers, makes bits, counts the spikes of every
bin and looks for NaN. ``fold`` keeps all sums of a unit in registers while its bits pass.
"""

from __future__ import annotations

import os

import torch
import triton
import triton.language as tl

from .state import FIELDS, FRACTION_BITS, WORD, Segment

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") == "1"

PACK_UNITS = 128
"""Units of a program that packs: a tile of 32 bins of them."""

FOLD_UNITS = 128
"""Units of a program that folds: one a thread."""

NEVER = 2**62
"""The place of the first NaN, as long as there is no NaN."""


assert (WORD, FRACTION_BITS, len(FIELDS)) == (32, 52, 19), "the kernels below are written for these"


def missing(device_type: str) -> str | None:
    """Return why this back end cannot run on a kind of device, or None."""
    if device_type == "cuda" or INTERPRETED:
        return None
    return "Triton needs a GPU, or its interpreter: TRITON_INTERPRET=1"


def pack(
    activation: torch.Tensor, threshold: torch.Tensor, words: torch.Tensor, first: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Threshold activations into bits: see :meth:`ann2neo.summary.kernels.state.Backend.pack`."""
    if not activation.is_floating_point():
        activation = activation.float()
    if activation.stride(1) != 1:
        activation = activation.contiguous()
    n_bins, n_units = activation.shape
    n_active = torch.zeros(n_bins, dtype=torch.int64, device=activation.device)
    nan = torch.zeros(2, dtype=torch.int64, device=activation.device)
    nan[1].fill_(NEVER)
    n_words = -(-(first + n_bins) // WORD) - first // WORD
    grid = (triton.cdiv(n_units, PACK_UNITS), n_words)
    _pack[grid](
        *(activation, threshold, words, n_active, nan),
        *(n_bins, n_units, first, activation.stride(0)),
        UNITS=PACK_UNITS,
    )
    nan[1] = torch.where(nan[0] > 0, nan[1], -1)
    return n_active, nan


def fold(words: torch.Tensor, segment: Segment, state: torch.Tensor, histogram: torch.Tensor | None) -> None:
    """Add bits to the sums: see :meth:`ann2neo.summary.kernels.state.Backend.fold`."""
    s, n_units = segment, state.shape[1]
    _fold[(triton.cdiv(n_units, FOLD_UNITS),)](
        *(words, state, state if histogram is None else histogram),
        *(n_units, *state.stride(), 1 if histogram is None else histogram.shape[1]),
        *(s.first, s.stop, s.offset, s.window, s.phase),
        *(int(s.in_head), int(s.in_first_trial), int(s.begins)),
        HISTOGRAM=histogram is not None,
        UNITS=FOLD_UNITS,
    )


# triton.jit has no types
@triton.jit(do_not_specialize=["n_bins", "first"])  # type: ignore[untyped-decorator, unused-ignore]
def _pack(  # type: ignore[no-untyped-def]
    activation, threshold, words, n_active, nan, n_bins, n_units, first, row, UNITS: tl.constexpr
):
    unit = tl.program_id(0).to(tl.int64) * UNITS + tl.arange(0, UNITS)
    word = first // 32 + tl.program_id(1)
    bit = tl.arange(0, 32)
    bins = word * 32 + bit - first
    is_unit, is_bin = unit < n_units, (bins >= 0) & (bins < n_bins)
    inside = is_bin[:, None] & is_unit[None, :]
    value = tl.load(activation + bins.to(tl.int64)[:, None] * row + unit[None, :], mask=inside, other=0.0)
    if value.dtype != tl.float64:
        value = value.to(tl.float32)
    limit = tl.load(threshold + unit, mask=is_unit, other=0.0)
    spike = ((value > limit[None, :]) & inside).to(tl.int32)

    place = words + word.to(tl.int64) * n_units + unit
    n_kept = tl.maximum(first - word * 32, 0)  # bits of the word that are from earlier bins
    kept = tl.load(place, mask=is_unit, other=0) & ((1 << n_kept) - 1)
    tl.store(place, kept | tl.sum(spike << bit[:, None], axis=0), mask=is_unit)
    tl.atomic_add(n_active + bins, tl.sum(spike, axis=1).to(tl.int64), mask=is_bin)

    is_nan = (value != value) & inside
    n_nan = tl.sum(tl.sum(is_nan.to(tl.int32), axis=1), axis=0)
    if n_nan > 0:
        index = bins.to(tl.int64)[:, None] * n_units + unit[None, :]
        index = tl.where(is_nan, index, 4611686018427387904)
        tl.atomic_add(nan, n_nan.to(tl.int64))
        tl.atomic_min(nan + 1, tl.min(tl.min(index, axis=1), axis=0))


@triton.jit
def _popcount(bits):  # type: ignore[no-untyped-def]
    bits -= (bits >> 1) & 0x55555555
    bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333)
    return (((bits + (bits >> 4)) & 0x0F0F0F0F) * 0x01010101 >> 24) & 0xFF


@triton.jit(  # type: ignore[untyped-decorator, unused-ignore]
    do_not_specialize=[
        "first",
        "stop",
        "offset",
        "window",
        "phase",
        "in_head",
        "in_first_trial",
        "begins",
    ]
)
def _fold(  # type: ignore[no-untyped-def]
    words,
    state,
    histogram,
    n_units,
    field,
    step,
    n_cells,
    first,
    stop,
    offset,
    window,
    phase,
    in_head,
    in_first_trial,
    begins,
    HISTOGRAM: tl.constexpr,
    UNITS: tl.constexpr,
):
    unit = tl.program_id(0).to(tl.int64) * UNITS + tl.arange(0, UNITS)
    known = unit < n_units
    of_unit = state + unit * step
    lead = tl.load(of_unit + 13 * field, mask=known, other=0)
    first_isi = tl.load(of_unit + 14 * field, mask=known, other=0)
    trail = tl.load(of_unit + 15 * field, mask=known, other=0)
    prev = tl.load(of_unit + 16 * field, mask=known, other=0)
    head = tl.load(of_unit + 17 * field, mask=known, other=0)
    tail = tl.load(of_unit + 18 * field, mask=known, other=0)

    zero = unit * 0
    n_spikes, counts, counts_squared, n_transitions = zero, zero, zero, zero
    n_isis, sum_isi, squares, n_pairs, products, cv2, lv = zero, zero, zero, zero, zero, zero, zero
    spiked, before = trail >= 0, (trail == 0).to(tl.int64)
    last = first - 1 - trail  # bit of the last spike, far below 0 perhaps
    one = tl.full((), 1, tl.int64)
    edge = first + one * window - phase  # where the open window ends
    head_open = one * in_head
    for w in range(first // 32, (stop + 31) // 32):
        base = w * 32
        low, high = tl.maximum(first - base, 0), tl.minimum(stop - base, 32)
        inside = (one << high) - (one << low)
        bits = tl.load(words + one * w * n_units + unit, mask=known, other=0).to(tl.int64) & inside
        skip = tl.where((begins > 0) & (base <= first), one << low, 0)
        n_transitions += _popcount((bits ^ (bits << 1 | before << low)) & inside & ~skip)
        before = bits >> (high - 1)

        rest = bits
        while edge <= base + high:
            below = rest & ((one << (edge - base)) - 1)
            rest ^= below
            spikes = _popcount(below)
            n_spikes += spikes
            tail += spikes
            head = tl.where(head_open > 0, tail, head)
            count = tl.where(head_open > 0, 0, tail)
            counts += count
            counts_squared += count * count
            tail = zero
            head_open = head_open * 0
            edge += window
        spikes = _popcount(rest)
        n_spikes += spikes
        tail += spikes

        for b in range(low, high):
            spike = (bits >> b) & 1 > 0
            ends = spike & spiked
            isi = tl.where(ends, base + b - last, 0)
            pair = ends & (prev > 0)
            n_isis += ends.to(tl.int64)
            n_pairs += pair.to(tl.int64)
            sum_isi += isi
            squares += isi * isi
            products += isi * prev
            c = tl.abs(isi - prev).to(tl.float64) / tl.maximum(isi + prev, 1).to(tl.float64)
            c = tl.where(pair, c, 0.0)
            cv2 += (c * 4503599627370496.0).to(tl.int64)
            lv += (c * c * 4503599627370496.0).to(tl.int64)
            if HISTOGRAM:
                cell = histogram + unit * n_cells + tl.minimum(isi, n_cells) - 1
                tl.atomic_add(cell, one, mask=ends & known)
            is_lead = spike & (lead < 0) & (in_first_trial > 0)
            lead = tl.where(is_lead, offset + base + b - first, lead)
            first_isi = tl.where((first_isi == 0) & (in_first_trial > 0), isi, first_isi)
            prev = tl.where(ends, isi, prev)
            last = tl.where(spike, base + b, last)
            spiked = spiked | spike

    _add(of_unit, n_spikes, known)
    _add(of_unit + 1 * field, counts, known)
    _add(of_unit + 2 * field, counts_squared, known)
    _add(of_unit + 3 * field, n_isis, known)
    _add(of_unit + 4 * field, sum_isi, known)
    _add(of_unit + 5 * field, squares, known)
    _add(of_unit + 6 * field, n_pairs, known)
    _add(of_unit + 7 * field, products, known)
    _add_terms(of_unit + 8 * field, of_unit + 9 * field, cv2, known)
    _add_terms(of_unit + 10 * field, of_unit + 11 * field, lv, known)
    _add(of_unit + 12 * field, n_transitions, known)
    tl.store(of_unit + 13 * field, lead, mask=known)
    tl.store(of_unit + 14 * field, first_isi, mask=known)
    tl.store(of_unit + 15 * field, tl.where(spiked, stop - 1 - last, -1), mask=known)
    tl.store(of_unit + 16 * field, prev, mask=known)
    tl.store(of_unit + 17 * field, head, mask=known)
    tl.store(of_unit + 18 * field, tail, mask=known)


@triton.jit
def _add(place, more, known):  # type: ignore[no-untyped-def]
    tl.store(place, tl.load(place, mask=known, other=0) + more, mask=known)


@triton.jit
def _add_terms(whole, fraction, more, known):  # type: ignore[no-untyped-def]
    """Add multiples of 2⁻⁵², and carry whole numbers."""
    total = tl.load(fraction, mask=known, other=0) + more
    _add(whole, total >> 52, known)
    tl.store(fraction, total & 4503599627370495, mask=known)
