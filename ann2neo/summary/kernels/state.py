"""What all back ends share: the state of a unit, row by row, and the bits that are folded into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

FIELDS = (
    "n_spikes",
    "sum_counts",
    "sum_counts_squared",
    "n_isis",
    "sum_isi",
    "sum_isi_squared",
    "n_isi_pairs",
    "sum_isi_product",
    "cv2_whole",
    "cv2_fraction",
    "lv_whole",
    "lv_fraction",
    "n_transitions",
    "lead",
    "first_isi",
    "trail",
    "last_isi",
    "head",
    "tail",
)
"""Rows of the state, int64 (n_fields, n_units).

First the sums for the statistics: spikes; counts in complete windows and their squares; intervals, their
squares, pairs of adjacent intervals and their products; sums of c and of c²; changes between adjacent bins.

Then the edges, where a neighbouring stretch can be joined:

* ``lead``, ``first_isi``: the bins before the first spike, and the first interval, of the first trial;
* ``trail``, ``last_isi``: the bins after the last spike, and the last interval, of the trial still open;
* ``head``, ``tail``: the spikes in the window that began before the stretch, and in the one still open.

Without a spike, lead and trail are −1; without an interval, first_isi and last_isi are 0.
"""

(
    N_SPIKES,
    SUM_COUNTS,
    SUM_COUNTS_SQUARED,
    N_ISIS,
    SUM_ISI,
    SUM_ISI_SQUARED,
    N_ISI_PAIRS,
    SUM_ISI_PRODUCT,
    CV2_WHOLE,
    CV2_FRACTION,
    LV_WHOLE,
    LV_FRACTION,
    N_TRANSITIONS,
    LEAD,
    FIRST_ISI,
    TRAIL,
    LAST_ISI,
    HEAD,
    TAIL,
) = range(len(FIELDS))

WORD = 32
"""Bins in a word."""

FRACTION_BITS = 52
"""c and c² are multiples of 2⁻⁵²."""

MOST_BINS = 1024
"""How many bins are folded at once, at most: so many terms below 2⁵² add up without overflow."""


@dataclass(frozen=True)
class Segment:
    """Bits to fold, all within one trial, and what comes before them.

    Parameters
    ----------
    first, stop : int
        The bits of the words, at most ``MOST_BINS``.
    offset : int
        Bins from the start of the stretch to ``first``.
    window, phase : int
        Bins in a counting window; how many bins of the open window lie before ``first``.
    in_head : bool
        Whether the open window began before the stretch.
    in_first_trial : bool
        Whether this is the trial in which the stretch begins.
    begins : bool
        Whether there is no bin before ``first`` in this trial and stretch.
    """

    first: int
    stop: int
    offset: int
    window: int
    phase: int
    in_head: bool
    in_first_trial: bool
    begins: bool


class Backend(Protocol):
    """What each back end gives."""

    def pack(
        self, activation: torch.Tensor, threshold: torch.Tensor, words: torch.Tensor, first: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Threshold activations into bits.

        Parameters
        ----------
        activation : torch.Tensor
            (n_bins, n_units), floating point.
        threshold : torch.Tensor
            (n_units,), float32, or float64 as the activation.
        words : torch.Tensor
            int32 (n_words, n_units). Bit ``first + t`` of a unit becomes 1 if its activation in bin t
            exceeds its threshold; bits before ``first`` stay.
        first : int
            Bit of the first bin.

        Returns
        -------
        n_active : torch.Tensor
            int64 (n_bins,), spikes in each bin.
        nan : torch.Tensor
            int64 (2,): how many activations are NaN, and the index of the first in the flattened
            activation (−1 if there is no NaN).
        """

    def fold(
        self, words: torch.Tensor, segment: Segment, state: torch.Tensor, histogram: torch.Tensor | None
    ) -> None:
        """Add bits to the sums, in place.

        Parameters
        ----------
        words : torch.Tensor
            int32 (n_words, n_units).
        segment : Segment
            Which bits.
        state : torch.Tensor
            int64 (n_fields, n_units).
        histogram : torch.Tensor, optional
            int64 (n_units, longest + 1): intervals of 1, 2, … ``longest`` bins and, together, longer ones.
        """


def new_state(n_units: int, device: torch.device) -> torch.Tensor:
    """Return the state of units before their first bin: int64 (n_fields, n_units)."""
    if device.type == "cpu":  # a unit's fields side by side: two or three cache lines
        state = torch.zeros(n_units, len(FIELDS), dtype=torch.int64).T
    else:  # a field of neighbouring units side by side: coalesced
        state = torch.zeros(len(FIELDS), n_units, dtype=torch.int64, device=device)
    state[[LEAD, TRAIL]] = -1
    return state
