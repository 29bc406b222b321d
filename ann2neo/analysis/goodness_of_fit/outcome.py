"""What a test gives for all units, and why it gives nothing for some."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NO_HISTOGRAM, SILENT, ALWAYS_ON = "no histogram of intervals", "silent", "always on"

REASONS = (
    "",
    NO_HISTOGRAM,
    SILENT,
    ALWAYS_ON,
    "fewer than two windows",
    "windows of one bin",
    "too few spikes",
    "too few spikes in a trial",
    "too few bins without spike",
    "no adjacent bins",
    "too few intervals",
    "intervals too long",
    "intervals all alike",
)
"""Why a unit has no p-value. The first reason is empty: the unit has a p-value."""


class Outcome(NamedTuple):
    """What a test gives for every unit: arrays (n_units,), NaN where the test cannot be made.

    Parameters
    ----------
    statistic : numpy.ndarray
        float64.
    pvalue : numpy.ndarray
        float64: the probability under the null of a statistic at least as far out.
    effect : numpy.ndarray
        float64: how far a unit is from the null. Unlike a p-value, it does not grow with the recording.
    reason : numpy.ndarray
        int8: why there is no p-value, as a place in :data:`REASONS`; 0 where there is one.
    """

    statistic: np.ndarray
    pvalue: np.ndarray
    effect: np.ndarray
    reason: np.ndarray


def first_reasons(n_units: int, *of_units: tuple[np.ndarray | bool, str]) -> np.ndarray:
    """Return why each unit cannot be tested: the number of the first reason that holds, 0 if none does.

    Parameters
    ----------
    n_units : int
        Number of units.
    *of_units : tuple of (numpy.ndarray or bool, str)
        For which units a reason holds, bool (n_units,) or one for all, and the reason, one of
        :data:`REASONS`. The most telling reason comes first.

    Returns
    -------
    numpy.ndarray
        int8 (n_units,), places in :data:`REASONS`.

    Examples
    --------
    >>> spikes = np.array([0, 3, 50])
    >>> first_reasons(3, (spikes == 0, SILENT), (spikes < 20, "too few spikes")).tolist()
    [2, 6, 0]
    """
    conditions = [np.broadcast_to(holds, (n_units,)) for holds, _ in of_units]
    return np.select(conditions, [REASONS.index(why) for _, why in of_units], 0).astype(np.int8)
