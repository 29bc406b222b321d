"""Pseudo-time: equal bins, divided into contiguous trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


def milliseconds(bin_size: Any) -> float:
    """Return a bin size, a number of ms or a time quantity, as a number of ms.

    Examples
    --------
    >>> import quantities as pq
    >>> milliseconds(2 * pq.s), milliseconds(0.5)
    (2000.0, 0.5)
    """
    try:
        value = float(bin_size.rescale("ms").magnitude if hasattr(bin_size, "rescale") else bin_size)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"bin_size={bin_size!r} is not a time: give a number of ms or a quantity such as 1 * ms"
        ) from error
    if not 0 < value < float("inf"):
        raise ValueError(f"bin_size={bin_size!r}: give a positive, finite time")
    return value


def divide(n_bins: int, n_trials: int) -> tuple[int, ...]:
    """Divide bins into contiguous trials whose lengths differ by at most one bin.

    Examples
    --------
    >>> divide(10, 3)
    (4, 3, 3)
    """
    if not 1 <= n_trials <= n_bins:
        raise ValueError(
            f"n_trials={n_trials}, but {n_bins} bins are to be divided: give 1 to {n_bins} trials"
        )
    short, n_longer = divmod(n_bins, n_trials)
    return (short + 1,) * n_longer + (short,) * (n_trials - n_longer)


@dataclass(frozen=True)
class PseudoTime:
    """The time axis of a recording: equal bins, divided into contiguous trials.

    Parameters
    ----------
    bin_size : float
        Duration of a bin in ms.
    trial_bins : tuple of int
        Number of bins in each trial.

    Examples
    --------
    >>> time = PseudoTime(bin_size=2.0, trial_bins=(3, 2))
    >>> time.n_bins, time.n_trials, time.trial_edges.tolist()
    (5, 2, [0, 3, 5])
    """

    bin_size: float
    trial_bins: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.trial_bins or min(self.trial_bins) < 1:
            raise ValueError(f"trial_bins={self.trial_bins}: give every trial at least one bin")

    @property
    def n_bins(self) -> int:
        """Number of bins in all trials together."""
        return sum(self.trial_bins)

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.trial_bins)

    @property
    def trial_edges(self) -> np.ndarray:
        """First bin of each trial, then the number of bins: int64 (n_trials + 1,)."""
        return np.concatenate([[0], np.cumsum(self.trial_bins)]).astype(np.int64)

    def trial_of(self, bins: np.ndarray) -> np.ndarray:
        """Return the trial that each bin lies in."""
        return np.searchsorted(self.trial_edges, bins, side="right") - 1

    def check_window(self, window: int) -> None:
        """Raise ValueError if no trial holds a counting window of so many bins.

        Examples
        --------
        >>> PseudoTime(1.0, (5, 4)).check_window(6)
        Traceback (most recent call last):
        ...
        ValueError: window=6 bins, but the longest of 2 trial(s) has 5: give a window of 1 to 5 bins
        """
        if not isinstance(window, int | np.integer):
            raise ValueError(f"window={window!r}: give a whole number of bins")
        longest = max(self.trial_bins)
        if not 1 <= window <= longest:
            raise ValueError(
                f"window={window} bins, but the longest of {self.n_trials} trial(s) has {longest}: give a "
                f"window of 1 to {longest} bins"
            )

    def window_edges(self, window: int) -> np.ndarray:
        """Return first and end bin of every counting window: int64 (n_windows, 2).

        Windows of ``window`` bins follow one another from the start of each trial; none spans a trial,
        and an incomplete one at the end of a trial is dropped.

        Examples
        --------
        >>> PseudoTime(1.0, (5, 4)).window_edges(2).tolist()
        [[0, 2], [2, 4], [5, 7], [7, 9]]
        """
        self.check_window(window)
        starts = np.concatenate(
            [
                edge + window * np.arange(n // window)
                for edge, n in zip(self.trial_edges, self.trial_bins, strict=False)
            ]
        ).astype(np.int64)
        return np.stack([starts, starts + window], axis=1)
