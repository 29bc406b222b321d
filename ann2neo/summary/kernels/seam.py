"""Join two adjacent stretches of pseudo-time: add their sums, and what lies across the seam."""

from __future__ import annotations

import torch

from .portable import add_interval, carry, contrast, count_intervals
from .state import (
    CV2_FRACTION,
    FIRST_ISI,
    HEAD,
    LAST_ISI,
    LEAD,
    LV_FRACTION,
    N_ISI_PAIRS,
    N_TRANSITIONS,
    SUM_COUNTS,
    SUM_COUNTS_SQUARED,
    SUM_ISI_PRODUCT,
    TAIL,
    TRAIL,
)
from .windows import Layout


def join(
    left: torch.Tensor,
    right: torch.Tensor,
    layout: Layout,
    bounds: tuple[int, int, int],
    histogram: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the state of two adjacent stretches together.

    Parameters
    ----------
    left, right : torch.Tensor
        int64 (n_fields, n_units), their states.
    layout : Layout
        Trials and windows.
    bounds : tuple of int
        First bin of the left stretch, first bin of the right one, end of the right one.
    histogram : torch.Tensor, optional
        int64 (n_units, longest + 1): the intervals across the seam are counted in it, in place.

    Returns
    -------
    torch.Tensor
        int64 (n_fields, n_units), the same as if the stretches had been one, bit for bit.

    Examples
    --------
    >>> from ann2neo.summary.kernels.state import N_ISIS, SUM_ISI, Segment, new_state
    >>> from ann2neo.summary.kernels.portable import fold
    >>> halves = [new_state(1, torch.device("cpu")) for _ in range(2)]
    >>> for half in halves:
    ...     fold(torch.tensor([[0b01]]), Segment(0, 2, 0, 9, 0, False, True, True), half, None)
    >>> join(*halves, Layout(9), (0, 2, 4))[[N_ISIS, SUM_ISI]].tolist()
    [[1], [2]]
    """
    start, seam, stop = bounds
    begin, end = layout.trial(seam)
    state = left.clone()
    state[:LEAD] += right[:LEAD]
    if begin == seam:
        state[[TRAIL, LAST_ISI, TAIL]] = right[[TRAIL, LAST_ISI, TAIL]]
        carry(state)
        return state
    _join_intervals(state, left, right, histogram)
    isi = _across(left, right)
    if begin <= start:  # the left stretch lies in this trial
        late = torch.where(right[LEAD] >= 0, seam - start + right[LEAD], -1)
        state[LEAD] = torch.where(left[LEAD] >= 0, left[LEAD], late)
        later = torch.where(isi > 0, isi, right[FIRST_ISI])
        state[FIRST_ISI] = torch.where(left[FIRST_ISI] > 0, left[FIRST_ISI], later)
    if stop < end:  # the right stretch does
        early = torch.where(left[TRAIL] >= 0, left[TRAIL] + (stop - seam), -1)
        state[TRAIL] = torch.where(right[TRAIL] >= 0, right[TRAIL], early)
        earlier = torch.where(isi > 0, isi, left[LAST_ISI])
        state[LAST_ISI] = torch.where(right[LAST_ISI] > 0, right[LAST_ISI], earlier)
    else:
        state[[TRAIL, LAST_ISI]] = right[[TRAIL, LAST_ISI]]
    _join_windows(state, left, right, layout, bounds)
    carry(state)
    return state


def _across(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the interval that spans the seam, (n_units,); 0 for units without one."""
    return ((left[TRAIL] >= 0) & (right[LEAD] >= 0)) * (left[TRAIL] + right[LEAD] + 1)


def _join_intervals(
    state: torch.Tensor, left: torch.Tensor, right: torch.Tensor, histogram: torch.Tensor | None
) -> None:
    isi = _across(left, right)
    exists = (isi > 0).long()
    state[N_TRANSITIONS] += (left[TRAIL] == 0) != (right[LEAD] == 0)
    add_interval(state, isi, left[LAST_ISI], exists)
    after = right[FIRST_ISI]
    of_cv2, of_lv = contrast(isi, after)
    state[N_ISI_PAIRS] += exists * (after > 0)
    state[SUM_ISI_PRODUCT] += isi * after
    state[CV2_FRACTION] += of_cv2
    state[LV_FRACTION] += of_lv
    if histogram is not None:
        rows = exists.nonzero()[:, 0]
        count_intervals(histogram, isi[rows], rows)


def _join_windows(
    state: torch.Tensor,
    left: torch.Tensor,
    right: torch.Tensor,
    layout: Layout,
    bounds: tuple[int, int, int],
) -> None:
    """Close the window that is open at the seam, leave it open, or drop it if its trial ends."""
    start, seam, stop = bounds
    phase, end = layout.phase(seam), layout.trial(seam)[1]
    closes = seam - phase + layout.window
    state[TAIL] = right[TAIL]
    if phase == 0:
        return
    if closes <= min(stop, end):
        count = left[TAIL] + right[HEAD]
        if seam - phase < start:
            state[HEAD] = count
        else:
            state[SUM_COUNTS] += count
            state[SUM_COUNTS_SQUARED] += count**2
    elif stop < end:
        state[TAIL] += left[TAIL]
