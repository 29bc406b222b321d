"""Trials and counting windows, counted in bins from the very first: any stretch finds its place in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .state import MOST_BINS, Segment

ENDLESS = 2**62
"""Where a stretch without trials ends."""

DEFAULT_WINDOW = 100
"""Bins in a counting window, where no number is given and nobody knows how many bins will come."""

ENOUGH_WINDOWS = 50
"""The default window leaves this many windows: a Fano factor is then good to about 20 %."""

FEW_WINDOWS = 20
"""Fewer windows than this give a warning: a Fano factor is then off by 30 % or more."""


def default_window(trial_bins: Sequence[int] = ()) -> int:
    """Return how many bins a window has if no number is given.

    It is the longest window that leaves 50 windows, has at most 100 bins, and fits into every trial. But it
    has two bins at least, since windows of one bin show nothing beyond p. If nobody knows how many bins will
    come, it is 100.

    Parameters
    ----------
    trial_bins : sequence of int
        Number of bins in each trial; empty, if that is not known.

    Examples
    --------
    >>> default_window(), default_window([10_000]), default_window([500]), default_window([300, 40])
    (100, 100, 10, 6)
    >>> default_window([12]), default_window([1, 1, 1])
    (2, 1)
    """
    if not len(trial_bins):
        return DEFAULT_WINDOW
    bins = np.asarray(trial_bins, np.int64)
    shortest = int(bins.min())
    longest = min(DEFAULT_WINDOW, shortest, int(bins.sum()) // ENOUGH_WINDOWS)
    for window in range(longest, 2, -1):
        if (bins // window).sum() >= ENOUGH_WINDOWS:
            return window
    return min(2, shortest)


@dataclass(frozen=True)
class Layout:
    """Pseudo-time divided into trials, and these into counting windows.

    Parameters
    ----------
    window : int
        Bins in a counting window. Windows follow one another from the start of each trial.
    trial_bins : int or tuple of int, optional
        Bins in every trial, or a tuple with the bins of each; by default all is one trial.

    Examples
    --------
    >>> layout = Layout(window=4, trial_bins=(10, 7))
    >>> layout.trial(12), layout.phase(12), layout.pieces(3, 17), layout.n_windows(3, 17)
    ((10, 17), 2, (7, 7), 2)
    """

    window: int
    trial_bins: int | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.window, int | np.integer) or self.window < 1:
            raise ValueError(f"window={self.window!r}: give a whole number of bins, at least 1")
        if self.trial_bins is None:
            return
        bins = (self.trial_bins,) if isinstance(self.trial_bins, int | np.integer) else self.trial_bins
        if not bins or not all(isinstance(n, int | np.integer) and n >= 1 for n in bins):
            raise ValueError(
                f"trial_bins={self.trial_bins!r}: give a whole number of bins for all trials, or a tuple "
                "with one for each trial; at least 1"
            )

    @cached_property
    def _edges(self) -> np.ndarray:
        assert isinstance(self.trial_bins, tuple)
        return np.concatenate([[0], np.cumsum(self.trial_bins)]).astype(np.int64)

    def trial(self, position: int) -> tuple[int, int]:
        """Return first and end bin of the trial in which a bin lies.

        Raises
        ------
        ValueError
            If all trials end before it.
        """
        if self.trial_bins is None:
            return 0, ENDLESS
        if not isinstance(self.trial_bins, tuple):
            begin = position // self.trial_bins * self.trial_bins
            return begin, begin + self.trial_bins
        if position >= self._edges[-1]:
            raise ValueError(
                f"bin {position} is beyond the last of {len(self.trial_bins)} trials, which have "
                f"{self._edges[-1]} bins: give trial_bins for all stimuli"
            )
        i = int(np.searchsorted(self._edges, position, side="right"))
        return int(self._edges[i - 1]), int(self._edges[i])

    def phase(self, position: int) -> int:
        """Return how many bins of its window lie before a bin."""
        return (position - self.trial(position)[0]) % self.window

    def pieces(self, start: int, stop: int) -> tuple[int, ...]:
        """Return how many bins of each trial lie in a stretch, for those trials that it touches."""
        return tuple(b - a for a, b, _ in self._pieces(start, stop))

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        while start < stop:
            begin, end = self.trial(start)
            yield start, min(stop, end), begin
            start = end

    def n_windows(self, start: int, stop: int) -> int:
        """Return how many complete windows a stretch holds."""
        return sum(
            max(0, (b - begin) // self.window - -(-(a - begin) // self.window))
            for a, b, begin in self._pieces(start, stop)
        )

    def segments(self, start: int, first: int, stop: int) -> Iterator[tuple[Segment, bool]]:
        """Cut bins of a stretch into pieces that can be folded at once.

        Parameters
        ----------
        start : int
            First bin of the stretch.
        first, stop : int
            The bins to fold; ``first`` is bit 0 of the words.

        Yields
        ------
        segment : Segment
        ends : bool
            Whether its last bin is the last of a trial.
        """
        position = first
        while position < stop:
            begin, end = self.trial(position)
            phase = (position - begin) % self.window
            until = min(stop, end, position + MOST_BINS)
            segment = Segment(
                first=position - first,
                stop=until - first,
                offset=position - start,
                window=self.window,
                phase=phase,
                in_head=position - phase < start,
                in_first_trial=begin <= start,
                begins=position == max(begin, start),
            )
            yield segment, until == end
            position = until
