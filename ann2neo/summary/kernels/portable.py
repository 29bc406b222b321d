"""The hot loop in plain torch, on any device: it loops over bins, and does each for all units at once."""

from __future__ import annotations

import torch

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


def missing(device_type: str) -> str | None:
    """Return why this back end cannot run on a kind of device: never."""
    return None


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
    spikes = activation > threshold
    words[first // WORD] &= (1 << first % WORD) - 1
    words[first // WORD + 1 : -(-(first + len(spikes)) // WORD)] = 0
    for bit, spike in enumerate(spikes, first):
        words[bit // WORD] |= spike.int() << bit % WORD
    found = torch.isnan(activation)
    where = torch.where(found.any(), found.flatten().int().argmax(), -1)
    return spikes.sum(1), torch.stack([found.sum(), where])


def contrast(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return c = |I − J|/(I + J) and c² of pairs of intervals as multiples of 2⁻⁵²; 0 if one is 0."""
    c = (one - other).abs().double() / (one + other).clamp(min=1).double()
    c = torch.where((one > 0) & (other > 0), c, 0.0)
    return (c * 2.0**FRACTION_BITS).long(), (c * c * 2.0**FRACTION_BITS).long()


def carry(state: torch.Tensor) -> None:
    """Bring the fractions of sums below 1, in place, so that a sum has only one representation."""
    for whole, fraction in ((CV2_WHOLE, CV2_FRACTION), (LV_WHOLE, LV_FRACTION)):
        state[whole] += state[fraction] >> FRACTION_BITS
        state[fraction] &= (1 << FRACTION_BITS) - 1


def add_interval(state: torch.Tensor, isi: torch.Tensor, before: torch.Tensor, n: torch.Tensor) -> None:
    """Add ``n`` (0 or 1) intervals ``isi`` that follow the intervals ``before`` (0 without one)."""
    pair = n * (before > 0)
    of_cv2, of_lv = contrast(isi * n, before)
    state[N_ISIS] += n
    state[SUM_ISI] += isi * n
    state[SUM_ISI_SQUARED] += isi * isi * n
    state[N_ISI_PAIRS] += pair
    state[SUM_ISI_PRODUCT] += isi * before * n
    state[CV2_FRACTION] += of_cv2
    state[LV_FRACTION] += of_lv


def count_intervals(histogram: torch.Tensor, isi: torch.Tensor, rows: torch.Tensor) -> None:
    """Count an interval of each of these rows (n,) in the histogram, in place."""
    cells = rows * histogram.shape[1] + isi.clamp(max=histogram.shape[1]) - 1
    histogram.view(-1).index_add_(0, cells, torch.ones_like(cells))


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
    in_head, position = segment.in_head, segment.phase
    for bit in range(segment.first, segment.stop):
        spike = (words[bit // WORD] >> bit % WORD & 1).long()
        trail, last_isi = state[TRAIL].clone(), state[LAST_ISI].clone()
        if bit > segment.first or not segment.begins:
            state[N_TRANSITIONS] += spike != (trail == 0)
        ends = spike * (trail >= 0)  # an interval
        isi = ends * (trail + 1)
        add_interval(state, isi, last_isi, ends)
        if histogram is not None:
            rows = ends.nonzero()[:, 0]
            count_intervals(histogram, isi[rows], rows)
        if segment.in_first_trial:
            here = segment.offset + bit - segment.first
            state[LEAD] = torch.where((state[LEAD] < 0) & (spike > 0), here, state[LEAD])
            state[FIRST_ISI] = torch.where(state[FIRST_ISI] == 0, isi, state[FIRST_ISI])
        state[LAST_ISI] = torch.where(ends > 0, isi, last_isi)
        state[TRAIL] = torch.where(spike > 0, 0, torch.where(trail >= 0, trail + 1, -1))
        state[N_SPIKES] += spike
        state[TAIL] += spike
        position += 1
        if position == segment.window:
            close_window(state, in_head)
            in_head, position = False, 0
    carry(state)


def close_window(state: torch.Tensor, in_head: bool) -> None:
    """Count the spikes of the window that ends here, or keep them for the stretch before."""
    if in_head:
        state[HEAD] = state[TAIL]
    else:
        state[SUM_COUNTS] += state[TAIL]
        state[SUM_COUNTS_SQUARED] += state[TAIL] ** 2
    state[TAIL] = 0
